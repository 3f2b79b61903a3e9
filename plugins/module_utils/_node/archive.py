# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Unpack a tar or zip archive into a new folder, and nowhere else.

Every member is judged before the first one is written. A member's path is relative, holds no C(..), and never leads
through another member that is a link. A link's target climbs only out of real folders of the tree and never above it.
So no link can point outside, alone or through others.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
import typing as t
import zipfile

from .disk import Disk
from .errors import PatchError
from .text import tidy

_DAMAGED = [tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError]  # type: t.List[t.Any]
with contextlib.suppress(ImportError):
    import zlib

    _DAMAGED.append(zlib.error)
with contextlib.suppress(ImportError):
    import lzma

    _DAMAGED.append(lzma.LZMAError)
_DAMAGED_TYPES = tuple(_DAMAGED)

_CHUNK = 1024**2
_ZIP_UNIX = 3
_ZIP_ENCRYPTED = 1
_MAX_LINK = 4096


class Limits(t.NamedTuple):
    """What an archive may grow to."""

    members: int = 200000
    tree_bytes: int = 8 * 1024**3
    #: Largest size unpacked for each byte of archive; trees below C(ratio_floor) bytes are not judged.
    ratio: int = 200
    ratio_floor: int = 64 * 1024**2
    #: Bytes that stay free on the file system.
    reserve: int = 16 * 1024**2


DEFAULT_LIMITS = Limits()


class Member(t.NamedTuple):
    """One file, folder, link or hard link: C(path) in the new folder, C(target) of a link, C(info) to read it with."""

    kind: str
    path: str
    size: int
    mode: int
    target: str
    info: t.Any


def unpack(
    archive: str, tree: str, disk: Disk, form: str = "auto", strip: int = 0, limits: Limits = DEFAULT_LIMITS
) -> int:
    """Unpack C(archive) into the new folder C(tree) and make it durable.

    Executable files and folders get mode 0755 less what the archive forbids, others 0644; never setuid, setgid or
    sticky bits, and never write permission for group or others. Files belong to the user who runs this.

    Args:
        archive: path of the archive.
        tree: path of the folder, which must not exist.
        disk: how to write.
        form: C(tar), C(zip) or C(auto), which looks at the content.
        strip: leading parts removed from each path; members with no more parts than that are left out.
        limits: what the archive may grow to.

    Returns:
        int: bytes unpacked.

    Raises:
        PatchError: C(bad_archive), C(unsafe_archive) or C(no_space).
        OSError: C(tree) cannot be written.
    """
    with _reading():
        reader = _reader(archive, form)
    with contextlib.closing(reader):
        with _reading():
            members = _judge(reader, strip, os.path.getsize(archive), limits)
        total = sum(member.size for member in members)
        if total + limits.reserve > disk.free(os.path.dirname(tree)):
            message = "the archive unpacks to {0} bytes in {1}; free some and run again".format(
                total, os.path.dirname(tree)
            )
            raise PatchError("no_space", message)
        _write_all(reader, members, tree, disk)
    return total


@contextlib.contextmanager
def _reading() -> t.Iterator[None]:
    """Turn what the archive readers raise for damaged input into PatchError."""
    try:
        yield
    except _DAMAGED_TYPES as error:
        raise PatchError(
            "bad_archive", "the archive is no intact tar or zip: {0}".format(tidy(str(error), 80))
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise PatchError("bad_archive", "the archive is damaged: {0}".format(tidy(str(error), 80))) from None


class _Tar:
    def __init__(self, archive: str) -> None:
        self._tar = tarfile.open(archive, "r:*")  # noqa: SIM115 - close() does it

    def close(self) -> None:
        self._tar.close()

    def members(self) -> t.Iterator[Member]:
        for info in self._tar:
            kind = "file" if info.isreg() else "dir" if info.isdir() else "link" if info.issym() else "device"
            kind = "hardlink" if info.islnk() else kind
            yield Member(kind, info.name, info.size if kind == "file" else 0, info.mode, info.linkname, info)

    def open(self, member: Member) -> t.Any:
        return self._tar.extractfile(member.info)


class _Zip:
    def __init__(self, archive: str) -> None:
        self._zip = zipfile.ZipFile(archive)

    def close(self) -> None:
        self._zip.close()

    def members(self) -> t.Iterator[Member]:
        for info in self._zip.infolist():
            if info.flag_bits & _ZIP_ENCRYPTED:
                raise ValueError("it is encrypted")
            mode = info.external_attr >> 16 if info.create_system == _ZIP_UNIX else 0
            kind = "dir" if info.is_dir() else "file"
            target = ""
            if stat.S_ISLNK(mode):
                kind, target = "link", self._target(info)
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "device"
            bits = stat.S_IMODE(mode) or (0o755 if kind == "dir" else 0o644)
            yield Member(kind, info.filename, info.file_size if kind == "file" else 0, bits, target, info)

    def _target(self, info: zipfile.ZipInfo) -> str:
        with self._zip.open(info) as stream:
            return os.fsdecode(stream.read(_MAX_LINK))

    def open(self, member: Member) -> t.Any:
        return self._zip.open(member.info)


_Reader = t.Union[_Tar, _Zip]


def _reader(archive: str, form: str) -> _Reader:
    if form == "auto":
        with open(archive, "rb") as stream:
            form = "zip" if stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06") else "tar"
    return _Zip(archive) if form == "zip" else _Tar(archive)


def _judge(reader: _Reader, strip: int, archive_bytes: int, limits: Limits) -> t.List[Member]:
    """Return the members to write, all of them safe."""
    kept, kinds, total = [], {}, 0  # type: t.List[Member], t.Dict[str, str], int
    for count, raw in enumerate(reader.members(), 1):
        total += raw.size
        grown = total > max(limits.ratio_floor, limits.ratio * archive_bytes)
        if count > limits.members or total > limits.tree_bytes or grown:
            raise _unsafe("it unpacks to more than is sane", raw.path)
        parts = _parts(raw.path, raw.path)[strip:]
        if not parts:
            continue
        member = raw._replace(path="/".join(parts))
        if member.kind == "link":
            _check_link(member, parts)
        elif member.kind == "hardlink":
            member = member._replace(target="/".join(_parts(raw.target, raw.path)[strip:]))
            if kinds.get(member.target) != "file":
                raise _unsafe("a hard link to no file before it", raw.path)
        elif member.kind == "device":
            raise _unsafe("neither file, folder nor link", raw.path)
        _check_place(member, parts, kinds)
        kept.append(member)
    if not any(member.kind == "file" for member in kept):
        raise PatchError(
            "bad_archive", "no file is left in the archive after strip={0}; check archive.strip".format(strip)
        )
    return kept


def _parts(path: str, shown: str) -> t.List[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise _unsafe("a path that leads outside", shown)
    return parts


def _check_link(member: Member, parts: t.Sequence[str]) -> None:
    steps = [part for part in member.target.split("/") if part not in ("", ".")]
    climbs = next((index for index, part in enumerate(steps) if part != ".."), len(steps))
    if member.target.startswith("/") or not member.target or ".." in steps[climbs:] or climbs > len(parts) - 1:
        raise _unsafe("a link that may lead outside", member.path)


def _check_place(member: Member, parts: t.Sequence[str], kinds: t.Dict[str, str]) -> None:
    """Refuse a member below another that is no folder, and a second member of the same path."""
    for depth in range(1, len(parts)):
        if kinds.setdefault("/".join(parts[:depth]), "dir") != "dir":
            raise _unsafe("a path through another member that is no folder", member.path)
    kind = "file" if member.kind == "hardlink" else member.kind
    if member.path in kinds and (kinds[member.path], kind) != ("dir", "dir"):
        raise _unsafe("two members of the same path", member.path)
    kinds[member.path] = kind


def _unsafe(what: str, path: str) -> PatchError:
    return PatchError(
        "unsafe_archive", "refused the archive: {0} ({1}); check where it comes from".format(what, tidy(path, 80))
    )


def _write_all(reader: _Reader, members: t.Sequence[Member], tree: str, disk: Disk) -> None:
    disk.make_dir(tree)
    folders = {tree}
    for member in members:
        path = os.path.join(tree, member.path)
        _make_folders(os.path.dirname(path), folders, disk)
        if member.kind == "dir":
            _make_folders(path, folders, disk)
            os.chmod(path, (member.mode & 0o755) | 0o700)
        elif member.kind == "link":
            disk.step("symlink " + path)
            os.symlink(member.target, path)
        elif member.kind == "hardlink":
            disk.step("link " + path)
            os.link(os.path.join(tree, member.target), path)
        else:
            with _reading():
                _write_file(reader, member, path, disk)
    for folder in sorted(folders, key=len, reverse=True):
        disk.sync_dir(folder)


def _make_folders(path: str, folders: t.Set[str], disk: Disk) -> None:
    if path not in folders:
        _make_folders(os.path.dirname(path), folders, disk)
        disk.make_dir(path)
        folders.add(path)


def _write_file(reader: _Reader, member: Member, path: str, disk: Disk) -> None:
    disk.step("write " + path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as target, reader.open(member) as source:
        left = member.size
        while left > 0:
            chunk = source.read(min(left, _CHUNK))
            if not chunk:
                raise EOFError("{0} is cut short".format(member.path))
            target.write(chunk)
            left -= len(chunk)
        source.read(1)  # the end of a zip member is where its checksum is compared
        target.flush()
        os.fchmod(target.fileno(), (member.mode & 0o755) | 0o600)
        os.fsync(target.fileno())
