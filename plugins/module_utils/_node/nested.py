# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Find files by checksum, also inside zip files such as jar, war and ear, and make such a file with others in it."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import tempfile
import typing as t

from .zips import Budget, Endless, Entry, Exhausted, Limits, Unreadable, Zip

#: Endings of zip files by other names: of Java and its servers, Jenkins, NiFi, Android, and Python.
CONTAINERS = (
    *(".jar", ".war", ".ear", ".zip", ".rar", ".sar", ".kar", ".par", ".har", ".nar", ".hpi", ".jpi", ".wab", ".esb"),
    *(".lpkg", ".nbm", ".aar", ".apk", ".whl", ".egg", ".pyz"),
)

_CHUNK = 1024**2
_IN_MEMORY = 8 * 1024**2
_LOCAL = b"PK\x03\x04"


class Search(t.NamedTuple):
    """What to look for: files of a name, by glob, with one of these checksums; C(accepted) ones are passed over."""

    name: str
    checksums: t.FrozenSet[str]
    accepted: t.FrozenSet[str] = frozenset()

    def wants(self, path: str) -> bool:
        """Tell whether a file of this name is what is looked for; zip files of Windows may have backslashes."""
        return fnmatch.fnmatchcase(re.split(r"[/\\]", path)[-1], self.name)

    def concerns(self, path: str) -> bool:
        """Tell whether a file of this name is looked at, for itself or for what is in it."""
        return self.wants(path) or path.lower().endswith(CONTAINERS)


class Finding(t.NamedTuple):
    """What is in one file.

    Attributes:
        known: checksums that were looked for.
        doubts: (path inside, why) of each copy that cannot be judged; the path is empty for the file itself.
        exhausted: whether it was not read to its end.
    """

    known: t.Set[str]
    doubts: t.List[t.Tuple[str, str]]
    exhausted: bool = False


def find(stream: t.BinaryIO, called: str, search: Search, size: int, limits: Limits) -> Finding:
    """Look into a file and all in it. What cannot be judged is told and hides nothing else.

    Args:
        stream: the file, open to read.
        called: its name.
        search: what to look for.
        size: its size in bytes.
        limits: what it may cost.
    """
    finding = Finding(set(), [])
    try:
        _find(stream, called, (), search, Budget(size, limits), finding)
    except Exhausted as error:
        finding.doubts.append(("", str(error)))
        return finding._replace(exhausted=True)
    return finding


def _find(stream: t.Any, name: str, above: t.Tuple[str, ...], search: Search, budget: Budget, into: Finding) -> None:
    if search.wants(name):
        checksum = _checksum(stream, budget)
        if checksum in search.checksums:
            into.known.add(checksum)
        if checksum in search.checksums or checksum in search.accepted:
            return
        into.doubts.append(("!".join(above), "its checksum {0} is not known".format(checksum)))
    package = _package(stream, name, above, search, budget, into)
    concerned = [entry for entry in package.entries if _concerns(entry, search)] if package else []
    if package and concerned and len(above) >= budget.limits.depth:
        into.doubts.append(("!".join(above), "it is nested too deep"))
        return
    for entry in concerned if package else ():
        path = (*above, entry.name)
        try:
            with _opened(t.cast(Zip, package), entry) as content:
                _find(content, entry.name, path, search, budget, into)
        except Unreadable as error:
            into.doubts.append(("!".join(path), str(error)))


def _package(
    stream: t.Any, name: str, above: t.Tuple[str, ...], search: Search, budget: Budget, into: Finding
) -> t.Optional[Zip]:
    """Return what is in a zip file; one that is none, whatever its name says, holds nothing."""
    if not name.lower().endswith(CONTAINERS):
        return None
    try:
        return Zip(stream, budget)
    except Unreadable as error:
        stream.seek(0)
        is_zip = not isinstance(error, Endless) or _LOCAL in stream.read(_CHUNK)
        if is_zip and not search.wants(name):
            into.doubts.append(("!".join(above), str(error)))
    return None


def _concerns(entry: Entry, search: Search) -> bool:
    return not entry.name.endswith("/") and search.concerns(entry.name)


def _opened(package: Zip, entry: Entry, folder: t.Optional[str] = None) -> t.Any:
    """Return the content of an entry; where it fits nowhere, a slower reader of it that needs no room."""
    content = package.open(entry)
    if entry.is_stored:  # so it can be read where it is
        return content
    copy = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=folder)  # noqa: SIM115 - the caller closes it
    try:
        for chunk in iter(lambda: content.read(_CHUNK), b""):
            copy.write(chunk)
    except OSError:  # a full or a read-only disk; check mode must look all the same
        copy.close()
        content.seek(0)
        return content
    except (Unreadable, Exhausted):
        copy.close()
        raise
    copy.seek(0)
    return copy


def _checksum(stream: t.Any, budget: Budget) -> str:
    digest, left = hashlib.sha256(), budget.limits.file
    stream.seek(0)
    for chunk in iter(lambda: stream.read(_CHUNK), b""):
        digest.update(chunk)
        left -= len(chunk)
        budget.spend()
        if left < 0:
            raise Exhausted("it is too large")
    stream.seek(0)
    return digest.hexdigest()


class _Part(t.NamedTuple):
    """A part of a file, read as a file of its own."""

    stream: t.Any
    start: int
    place: t.List[int]
    size: int

    def seek(self, offset: int) -> None:
        self.place[0] = offset

    def read(self, size: int) -> bytes:
        self.stream.seek(self.start + self.place[0])
        data = bytes(self.stream.read(max(0, min(size, self.size - self.place[0]))))
        self.place[0] += len(data)
        return data


class Replacement(t.NamedTuple):
    """What takes the place of every wanted file: C(stream) holds it; C(folder) is for temporary files."""

    search: Search
    stream: t.BinaryIO
    folder: str
    limits: Limits


def replace(stream: t.BinaryIO, called: str, size: int, target: t.BinaryIO, by: Replacement) -> bool:
    """Write to C(target), a new file, what C(stream) holds, with the replacement in place of every wanted file.

    All else is the same byte for byte.

    Returns:
        bool: whether there was any.

    Raises:
        OSError: the disk failed.
        Unreadable: it cannot be done, and why.
    """
    try:
        return _replace(stream, called, 0, target, by, Budget(size, by.limits))
    except Exhausted as error:
        raise Unreadable(str(error)) from None


def _replace(stream: t.Any, name: str, depth: int, target: t.Any, by: Replacement, budget: Budget) -> bool:
    """Append to C(target) what takes the place of a file, if it has to be another one."""
    if by.search.wants(name) and _checksum(stream, budget) in by.search.checksums:
        by.stream.seek(0)
        for chunk in iter(lambda: by.stream.read(_CHUNK), b""):
            target.write(chunk)
        return True
    if depth >= budget.limits.depth or not name.lower().endswith(CONTAINERS):
        return False
    try:
        package = Zip(stream, budget)
    except Unreadable:
        return False
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=by.folder) as made:
        contents = {}  # type: t.Dict[int, t.Any]
        for entry in (entry for entry in package.entries if _concerns(entry, by.search)):
            start = made.seek(0, 2) or made.tell()  # a spooled file's seek() returns nothing before Python 3.11
            try:
                with _opened(package, entry, by.folder) as content:
                    if _replace(content, entry.name, depth + 1, made, by, budget):
                        contents[entry.offset] = _Part(made, start, [0], made.tell() - start)
            except Unreadable:  # which find() has told
                made.truncate(start)
        if contents:
            package.write(target, contents)
        return bool(contents)
