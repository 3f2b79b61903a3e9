# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Read the members of tar and zip files, whatever made them."""

from __future__ import annotations

import os
import stat
import tarfile
import typing as t
import zipfile

from .unpacked import Deadline, TooMuch, Unpacked

_ZIP_UNIX = 3
#: Systems whose zip files have folders parted by a backslash: FAT, NTFS, VFAT.
_ZIP_WINDOWS = (0, 10, 11, 14)
_ZIP_FOLDER = 0x10
_ZIP_ENCRYPTED = 1
_ZIP_HEADER = 30
#: Bytes of a zip file's list for each member that is allowed.
_ZIP_LISTED = 160
_MAX_LINK = 4096
_LABEL = b"V"


class Member(t.NamedTuple):
    """One file, folder, link or hard link: C(path) in the new folder, C(target) of a link, C(info) to read it with.

    A C(mode) of -1 is not known.
    """

    kind: str
    path: str
    size: int
    mode: int
    target: str
    info: t.Any


class Tar:
    """A tar file, compressed or not; see archive.Limits."""

    def __init__(self, archive: str, limits: t.Any, deadline: Deadline) -> None:
        most = min(limits.tree_bytes, max(limits.ratio_floor, limits.ratio * os.path.getsize(archive)))
        self._stream = Unpacked(archive, most, deadline)
        try:
            self._tar = tarfile.TarFile(fileobj=t.cast("t.Any", self._stream))
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def members(self) -> t.Iterator[Member]:
        """List what it holds."""
        for info in self._tar:
            self._stream.next_member()
            info.pax_headers = {}  # they may be large, and are kept for all members
            if info.type == _LABEL:
                continue
            yield Member(_tar_kind(info), info.name, info.size if info.isreg() else 0, info.mode, info.linkname, info)
        if self._stream.last.strip(b"\0") or len(self._stream.last) not in (0, tarfile.BLOCKSIZE):
            raise EOFError("it ends in the middle")
        self._stream.listed()

    def open(self, member: Member) -> t.Any:
        """Return the content of a file."""
        return self._tar.extractfile(member.info)


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isreg():
        return "file"
    return "dir" if info.isdir() else "link" if info.issym() else "hardlink" if info.islnk() else "device"


class _Bounded:
    """A file of which no more is read at a time than the list of so many members takes."""

    def __init__(self, stream: t.Any, most: int, deadline: Deadline) -> None:
        self._stream = stream
        self._most = most
        self._deadline = deadline
        for name in ("tell", "seekable", "close"):
            setattr(self, name, getattr(stream, name))

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset < 0:
            raise ValueError("an offset leads before its begin")
        return int(self._stream.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        self._deadline.check()
        data = self._stream.read(self._most + 1 if size < 0 else min(size, self._most + 1))  # type: bytes
        if len(data) > self._most:
            raise TooMuch("it has more members than is sane")
        return data


class Zip:
    """A zip file; see archive.Limits."""

    def __init__(self, archive: str, limits: t.Any, deadline: Deadline) -> None:
        most = max(_ZIP_LISTED * limits.members, 1024**2)
        self._stream = open(archive, "rb")  # noqa: SIM115 - close() does it
        try:
            self._zip = zipfile.ZipFile(t.cast("t.Any", _Bounded(self._stream, most, deadline)))
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        """Close it."""
        self._zip.close()
        self._stream.close()

    def members(self) -> t.Iterator[Member]:
        """List what it holds."""
        self._check_overlap()
        for info in self._zip.infolist():
            yield self._member(info)

    def _member(self, info: zipfile.ZipInfo) -> Member:
        if info.flag_bits & _ZIP_ENCRYPTED:
            raise ValueError("it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is compressed by another method than deflate")
        windows = info.create_system in _ZIP_WINDOWS
        path = info.filename.replace("\\", "/") if windows else info.filename
        mode = info.external_attr >> 16 if info.create_system == _ZIP_UNIX else 0
        folder = path.endswith("/") or (windows and bool(info.external_attr & _ZIP_FOLDER)) or stat.S_ISDIR(mode)
        kind, target = "dir" if folder else "file", ""
        if stat.S_ISLNK(mode):
            kind, target = "link", self._target(info)
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "device"
        size = info.file_size if kind == "file" else 0
        return Member(kind, path, size, 0o755 if kind == "dir" and not mode else _zip_mode(mode), target, info)

    def _check_overlap(self) -> None:
        """Refuse entries that share bytes, of which little makes much."""
        end = 0
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise TooMuch("its entries overlap")
            end = info.header_offset + _ZIP_HEADER + info.compress_size

    def _target(self, info: zipfile.ZipInfo) -> str:
        if info.file_size > _MAX_LINK:
            raise ValueError("a link is too long")
        with self._zip.open(info) as stream:
            return os.fsdecode(stream.read(_MAX_LINK))

    def open(self, member: Member) -> t.Any:
        """Return the content of a file."""
        return self._zip.open(member.info)


def _zip_mode(mode: int) -> int:
    """Return the mode of a file; one that neither says what it is nor that it is a program is only a filler."""
    return stat.S_IMODE(mode) if stat.S_IMODE(mode) and (stat.S_IFMT(mode) or mode & 0o111) else -1


Reader = t.Union[Tar, Zip]


def reader(archive: str, form: str, limits: t.Any, deadline: Deadline) -> Reader:
    """Return what reads an archive of the form C(tar) or C(zip); C(auto) looks at the content."""
    if form == "auto":
        with open(archive, "rb") as stream:
            form = "zip" if stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06") else "tar"
    return Zip(archive, limits, deadline) if form == "zip" else Tar(archive, limits, deadline)
