# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Unpack a tar or zip archive into a new folder, and nowhere else.

Every member is judged before the first one is written, see archive_members.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import typing as t
import zipfile

from .archive_members import Places, judge, unsafe
from .archive_readers import Member, Reader, reader
from .disk import Disk
from .errors import PatchError
from .text import tidy
from .unpacked import Deadline, TooMuch, reader_errors

_DAMAGED = [
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    MemoryError,
]  # type: t.List[t.Any]
_DAMAGED_TYPES = (*_DAMAGED, *reader_errors())

_CHUNK = 1024**2
#: How programs begin.
_PROGRAMS = (b"#!", b"\x7fELF")


class Limits(t.NamedTuple):
    """What an archive may grow to."""

    members: int = 200000
    tree_bytes: int = 8 * 1024**3
    #: Largest size unpacked for each byte of archive; trees below C(ratio_floor) bytes are not judged.
    ratio: int = 200
    ratio_floor: int = 64 * 1024**2
    #: Bytes of all names and targets of links.
    name_bytes: int = 64 * 1024**2
    #: Seconds that reading it may take, in all.
    seconds: float = 600
    #: Bytes that stay free on the file system.
    reserve: int = 16 * 1024**2


DEFAULT_LIMITS = Limits()
_NOWHERE = Places()


def unpack(
    archive: str,
    tree: str,
    disk: Disk,
    form: str = "auto",
    strip: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    places: Places = _NOWHERE,
) -> int:
    """Unpack C(archive) into the new folder C(tree) and make it durable.

    Executable files and folders get mode 0755 less what the archive forbids, others 0644; never setuid, setgid or
    sticky bits, and never write permission for group or others. Files belong to the user who runs this. Where a
    zip file has no modes, what begins as a program does is executable. Of members with one path the last one counts.

    Args:
        archive: path of the archive.
        tree: path of the folder, which must not exist.
        disk: how to write.
        form: C(tar), C(zip) or C(auto), which looks at the content.
        strip: leading parts removed from each path; members with no more parts than that are left out.
        limits: what the archive may grow to.
        places: where absolute links may lead.

    Returns:
        int: bytes unpacked.

    Raises:
        PatchError: C(bad_archive), C(unsafe_archive), C(no_space) or C(command_missing).
        OSError: C(tree) cannot be written.
    """
    deadline = Deadline(limits.seconds)
    with _reading():
        source = reader(archive, form, limits, deadline)
    with contextlib.closing(source):
        with _reading():
            members = judge(source, strip, os.path.getsize(archive), limits, places, deadline)
        total = sum(member.size for member in members)
        if total + limits.reserve > disk.free(os.path.dirname(tree)):
            message = "the archive unpacks to {0} bytes in {1}; free some and run again".format(
                total, os.path.dirname(tree)
            )
            raise PatchError("no_space", message)
        _write_all(source, members, tree, disk, limits, deadline)
    return total


@contextlib.contextmanager
def _reading() -> t.Iterator[None]:
    """Turn what the archive readers raise for damaged input into PatchError."""
    try:
        yield
    except TooMuch as error:
        raise unsafe(str(error), "limits of archives") from None
    except _DAMAGED_TYPES as error:
        raise PatchError(
            "bad_archive", "the archive is no intact tar or zip: {0}".format(tidy(str(error), 80))
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise PatchError("bad_archive", "the archive is damaged: {0}".format(tidy(str(error), 80))) from None


def _write_all(
    source: Reader, members: t.Sequence[Member], tree: str, disk: Disk, limits: Limits, deadline: Deadline
) -> None:
    disk.make_dir(tree)
    folders = {tree}
    for member in members:
        with _reading():
            deadline.check()
            if len(folders) > limits.members:
                raise TooMuch("it has more than {0} folders".format(limits.members))
        path = os.path.join(tree, member.path)
        _make_folders(os.path.dirname(path), folders, disk)
        if member.kind == "dir":
            _make_folders(path, folders, disk)
            os.chmod(path, (member.mode & 0o755) | 0o700)
            continue
        if os.path.lexists(path):
            disk.step("unlink " + path)
            os.unlink(path)
        if member.kind == "link":
            disk.step("symlink " + path)
            os.symlink(member.target, path)
        elif member.kind == "hardlink":
            disk.step("link " + path)
            os.link(os.path.join(tree, member.target), path)
        else:
            with _reading():
                _write_file(source, member, path, disk)
    for folder in sorted(folders, key=len, reverse=True):
        disk.sync_dir(folder)


def _make_folders(path: str, folders: t.Set[str], disk: Disk) -> None:
    if path not in folders:
        _make_folders(os.path.dirname(path), folders, disk)
        disk.make_dir(path)
        folders.add(path)


def _write_file(source: Reader, member: Member, path: str, disk: Disk) -> None:
    disk.step("write " + path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as target, source.open(member) as content:
        left, begin = member.size, b""
        while left > 0:
            chunk = content.read(min(left, _CHUNK))
            if not chunk:
                raise EOFError("{0} is cut short".format(member.path))
            begin = begin or chunk[:4]
            target.write(chunk)
            left -= len(chunk)
        content.read(1)  # the end of a zip member is where its checksum is compared
        target.flush()
        mode = member.mode if member.mode >= 0 else 0o755 if begin.startswith(_PROGRAMS) else 0o644
        os.fchmod(target.fileno(), (mode & 0o755) | 0o600)
        os.fsync(target.fileno())
