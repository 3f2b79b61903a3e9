# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Find files by checksum, also inside zip files such as jar, war and ear, and make such a file with others in it."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import tempfile
import typing as t
import zipfile
import zlib

#: Endings of files that are looked into.
CONTAINERS = (".jar", ".war", ".ear", ".zip")
#: How deep zip files in zip files are looked into, and how large an entry may be.
MAX_DEPTH = 5
MAX_ENTRY = 1024**3

_ZIP64 = 2 * 1024**3
_CHUNK = 1024**2
_IN_MEMORY = 16 * 1024**2
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)


class Search(t.NamedTuple):
    """What to look for: files of a name, by glob, with one of these checksums."""

    name: str
    checksums: t.FrozenSet[str]

    def wants(self, path: str) -> bool:
        """Tell whether a file of this name is looked at."""
        return fnmatch.fnmatchcase(path.rpartition("/")[2], self.name)


def find(path: str, search: Search) -> t.Set[str]:
    """Return the wanted checksums of a file and of all in it; a damaged zip file holds what could be read."""
    if not (search.wants(path) or path.lower().endswith(CONTAINERS)):
        return set()
    with open(path, "rb") as stream:
        return _find(stream, path, search, 0)


def _find(stream: t.Any, path: str, search: Search, depth: int) -> t.Set[str]:
    found = set()  # type: t.Set[str]
    if search.wants(path):
        checksum = _checksum(stream)
        if checksum in search.checksums:
            return {checksum}
    if depth < MAX_DEPTH and path.lower().endswith(CONTAINERS):
        with contextlib.suppress(*_DAMAGED), zipfile.ZipFile(stream) as package:
            for info in package.infolist():
                if _concerns(info, search):
                    with contextlib.suppress(*_DAMAGED), _unpacked(package, info) as entry:
                        found |= _find(entry, info.filename, search, depth + 1)
    return found


def _concerns(info: zipfile.ZipInfo, search: Search) -> bool:
    looked_at = search.wants(info.filename) or info.filename.lower().endswith(CONTAINERS)
    return looked_at and not info.is_dir() and info.file_size <= MAX_ENTRY


def _unpacked(package: zipfile.ZipFile, info: zipfile.ZipInfo) -> t.Any:
    """Return the content of an entry; where it fits nowhere, a slower reader of it that needs no room."""
    entry = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        with package.open(info) as source:
            for chunk in iter(lambda: source.read(_CHUNK), b""):
                try:
                    entry.write(chunk)
                except OSError:  # a full or a read-only disk; check mode must look all the same
                    entry.close()
                    return package.open(info)
    except _DAMAGED:
        entry.close()
        raise
    entry.seek(0)
    return entry


def _checksum(stream: t.Any) -> str:
    digest = hashlib.sha256()
    for chunk in iter(lambda: stream.read(_CHUNK), b""):
        digest.update(chunk)
    stream.seek(0)
    return digest.hexdigest()


def replace(path: str, target: t.BinaryIO, search: Search, replacement: str) -> None:
    """Write to C(target) what C(path) holds, with C(replacement) in the place of every wanted file.

    Other entries of zip files keep their order, time, compression and mode, and so does what stands before the first.

    Raises:
        OSError: C(path) or C(target) failed.
        ValueError: a zip file cannot be read whole.
    """
    with open(path, "rb") as stream:
        _replace(stream, path, target, search, replacement, 0)


def _replace(stream: t.Any, path: str, target: t.Any, search: Search, replacement: str, depth: int) -> None:
    if search.wants(path) and _checksum(stream) in search.checksums:
        with open(replacement, "rb") as new:
            _copy(new, target)
    elif depth < MAX_DEPTH and path.lower().endswith(CONTAINERS) and _find(stream, path, search, depth):
        stream.seek(0)
        try:
            _rebuild(stream, target, search, replacement, depth)
        except _DAMAGED as error:
            raise ValueError("a zip file cannot be read whole") from error
    else:
        stream.seek(0)
        _copy(stream, target)


def _rebuild(stream: t.Any, target: t.Any, search: Search, replacement: str, depth: int) -> None:
    with zipfile.ZipFile(stream) as package:
        entries = package.infolist()
        before = min(info.header_offset for info in entries)
        stream.seek(0)
        target.write(stream.read(before))
        with zipfile.ZipFile(target, "w", allowZip64=True) as made:
            made.comment = package.comment
            for info in entries:
                with _unpacked(package, info) as entry, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as new:
                    if _concerns(info, search):
                        _replace(entry, info.filename, new, search, replacement, depth + 1)
                    else:
                        _copy(entry, new)
                    _add(made, info, new)


def _add(made: zipfile.ZipFile, info: zipfile.ZipInfo, content: t.Any) -> None:
    entry = zipfile.ZipInfo(info.filename, info.date_time)
    for name in ("compress_type", "comment", "extra", "create_system", "internal_attr", "external_attr"):
        setattr(entry, name, getattr(info, name))
    content.seek(0, os.SEEK_END)
    entry.file_size = content.tell()
    content.seek(0)
    with made.open(entry, "w", force_zip64=entry.file_size > _ZIP64) as target:
        _copy(content, target)


def _copy(source: t.Any, target: t.Any) -> None:
    for chunk in iter(lambda: source.read(_CHUNK), b""):
        target.write(chunk)
