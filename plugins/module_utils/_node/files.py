# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The files kind of patch: vulnerable copies of a file, wherever they are, also inside jar, war, ear and zip files."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import secrets
import stat
import typing as t

from . import attributes, fetch, nested
from .copies import Copies
from .disk import Disk, existing_ancestor
from .download import Download
from .errors import PatchError
from .folders import Folder, identity, is_guarded, place_for
from .search import Walk
from .text import label
from .transaction import SWITCH, Kind, Remark, Undo
from .zips import Limits, Unreadable

Step = t.Tuple[str, t.Callable[[], None]]

#: Errors that say that a file is not there any more, or is another one.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EAGAIN)
_CHUNK = 1024**2


class Files(Kind):
    """Replace every vulnerable copy. Each is switched by one rename; the old one is kept until the commit.

    What concerns one copy alone, whatever somebody has put in its place, is told and stops no other.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        compare: how versions compare.
        download: the file that takes the place of the others.
        limits: what one file may cost.
    """

    kind = "files"
    files_too = True

    def __init__(
        self,
        name: str,
        definition: t.Mapping[str, t.Any],
        disk: Disk,
        compare: t.Callable[[str, str], int],
        download: Download,
        limits: t.Optional[Limits] = None,
    ) -> None:
        self._options = definition["files"] or {}
        self._disk = disk
        self._compare = compare
        self._download = download
        self._limits = limits or Limits()
        self._state = definition["state_dir"]
        self._vulnerable = {
            entry["sha256"].lower(): entry["version"] for entry in self._options.get("vulnerable") or []
        }  # type: t.Dict[str, str]
        self._copies = Copies(disk, self._limits)
        self._left = {}  # type: t.Dict[str, str]
        self._ours = []  # type: t.List[str]
        self._searched = self._switched = False

    @property
    def sought(self) -> str:
        """See Kind."""
        return "a known copy of " + str(self._options.get("name"))

    def probe(self) -> t.Optional[str]:
        """Return the lowest version among all copies on this node whose checksum is known, or None.

        After the switch vulnerable copies are those that could not be replaced, or are new, and are left.
        """
        known = dict(self._vulnerable)
        known[self._download.sha256] = self._options["version"]
        accepted = frozenset(checksum.lower() for checksum in self._options.get("accepted") or [])
        search = nested.Search(self._options["name"], frozenset(known), accepted)
        walk = Walk(self._options["paths"], [*self._options["exclude"], *self._ours])
        self._copies.find(walk, search, self._vulnerable.keys())
        self._searched = True
        wanted = self._copies.known - (self._vulnerable.keys() if self._switched else set())
        if self._switched:
            self._left = {path: self._left.get(path, "it is vulnerable again") for path in self._copies.vulnerable}
        return min((known[one] for one in wanted), key=functools.cmp_to_key(self._compare), default=None)

    def remark(self) -> Remark:
        """See Kind."""
        parts, data = [], {}  # type: t.List[str], t.Dict[str, t.Any]
        left = sorted(self._left.items())
        for key, copies, what in (
            ("copies_left", left, "vulnerable and cannot be replaced"),
            ("unknown_copies", self._copies.doubts, "unknown and cannot be judged"),
        ):
            if copies:
                text = "{0} {1} {2}: {3[0]} ({3[1]})"
                parts.append(text.format(len(copies), "copy is" if len(copies) == 1 else "copies are", what, copies[0]))
                shown = [label("{0}: {1}".format(*copy), 180) for copy in copies[:2]]
                data[key] = {"count": len(copies), "copies": shown}
        return Remark("copies_left" if left else "unknown_copies" if parts else "", "; ".join(parts), data)

    # -- before --------------------------------------------------------------------------------------------------

    def broken(self) -> bool:
        """See Kind."""
        return False

    def check(self) -> None:
        """See Kind."""
        self._download.check()
        if not self._searched:  # the definition has a probe of its own
            self.probe()
        errors, needed = {}, {}  # type: t.Dict[str, PatchError], t.Dict[str, int]
        for path in self._copies.vulnerable:
            try:
                size = self._require(path)
            except PatchError as error:
                errors[path] = error
            else:
                place = place_for(os.path.dirname(path), self._state)
                needed[place] = needed.get(place, 0) + size
        if errors and not needed:
            raise next(iter(errors.values()))
        self._left = {path: error.message for path, error in errors.items()}
        for place, size in needed.items():
            self._disk.require(existing_ancestor(place), size + fetch.RESERVE)

    def _require(self, path: str) -> int:
        """Return the size of a copy that can be replaced."""
        self._disk.require(os.path.dirname(path), 0)
        try:
            with Folder.at(os.path.dirname(path), self._disk) as folder:
                folder.require_replaceable(os.path.basename(path))
                info = folder.stat(os.path.basename(path))
        except OSError as error:
            raise _gone(path, error) from None
        return info.st_size if info else 0

    def plan(self) -> Undo:
        """See Kind. Names of our own cannot be guessed."""
        name = ".patchwave-" + secrets.token_hex(8)
        places = [os.path.realpath(self._state)]
        copies = []  # type: t.List[t.Tuple[str, str, int]]
        for path, called in self._copies.vulnerable.items():
            if path not in self._left:
                place = place_for(os.path.dirname(path), self._state)
                places += [] if place in places else [place]
                copies.append((path, called, places.index(place)))
        self._ours = [os.path.join(place, name) for place in places]
        return {"name": name, "places": places, "copies": copies, "made": []}

    # -- forward -------------------------------------------------------------------------------------------------

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""
        replacement = os.path.join(undo["places"][0], undo["name"], "replacement")

        def download() -> None:
            for place in undo["places"]:
                with Folder.at(place, self._disk) as folder:
                    folder.make(undo["name"]).close()
            self._download.to(replacement)

        def stage() -> None:
            errors = []  # type: t.List[PatchError]
            with open(replacement, "rb") as new:
                for number, (path, called, place) in enumerate(undo["copies"]):
                    try:
                        made = self._stage(path, called, os.path.join(undo["places"][place], undo["name"]), number, new)
                        undo["made"].append(made)
                    except PatchError as error:
                        self._left[path] = error.message
                        errors.append(error)
            if errors and not undo["made"]:
                raise errors[0]

        return [("fetch", download), ("stage", stage)]

    def _stage(self, path: str, called: str, ours: str, number: int, new: t.BinaryIO) -> t.List[t.Any]:
        """Keep a copy and write what takes its place; return what switch() and undo() need."""
        name, old = os.path.basename(path), "{0}.old".format(number)
        try:
            with Folder.at(os.path.dirname(path), self._disk) as folder, Folder.at(ours, self._disk) as scratch:
                folder.require_replaceable(name)
                folder.keep(name, scratch, old)
                here = folder.stat(name)
                by = nested.Replacement(
                    nested.Search(self._options["name"], frozenset(self._vulnerable)), new, ours, self._limits
                )
                with os.fdopen(scratch.open(old), "rb") as source:
                    checksum = self._write(source, called, folder.path, scratch.create("{0}.new".format(number)), by)
        except Unreadable as error:
            raise PatchError("bad_archive", "{0} cannot be rebuilt ({1}); repair it".format(path, error)) from None
        except OSError as error:
            if error.errno in _GONE:
                raise _gone(path, error) from None
            raise
        return [path, os.path.dirname(ours), number, checksum, list(identity(here)) if here else None]

    def _write(self, source: t.BinaryIO, called: str, folder: str, new: int, by: nested.Replacement) -> str:
        """Write the file that takes the place of C(source), with all that it has; return its checksum."""
        before = os.fstat(source.fileno())
        with os.fdopen(new, "w+b") as target:
            replaced = nested.replace(source, called, before.st_size, target, by)
            target.flush()
            attributes.carry(source.fileno(), target.fileno())
            if not replaced or identity(os.fstat(source.fileno())) != identity(before):
                raise OSError(errno.EAGAIN, "it changes")
            if attributes.is_privileged(target.fileno()) and not is_guarded(folder, before.st_uid):
                raise PatchError("unsafe_folder", "{0} gives rights, and others may rename it".format(called))
            os.fsync(target.fileno())
            return _checksum(target)

    def switch(self, undo: Undo) -> None:
        """See Kind."""
        self._switched = True
        for path, place, number, dummy, known in undo["made"]:
            ours = os.path.join(place, undo["name"])
            try:
                with Folder.at(os.path.dirname(path), self._disk) as folder, Folder.at(ours, self._disk) as scratch:
                    info = folder.stat(os.path.basename(path))
                    if info is None or list(identity(info)) != known:
                        raise OSError(errno.EAGAIN, "it changed")
                    beside = "{0}.{1}".format(undo["name"], number)
                    scratch.move("{0}.new".format(number), folder, os.path.basename(path), beside)
                    folder.sync()
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._left[path] = _gone(path, error).message

    def is_old(self, undo: Undo, path: str, deleted: bool) -> bool:
        """See Kind."""
        if any(path.startswith(os.path.join(place, undo["name"]) + "/") for place in undo["places"]):
            return True
        return deleted and any(path == made[0] for made in undo["made"])

    # -- back, and the end ---------------------------------------------------------------------------------------

    def undo(self, undo: Undo, phase: str) -> None:
        """See Kind. A copy that somebody has removed or replaced since is left so."""
        self._switched = False
        if "made" not in undo:
            self._undo_beside(undo, phase)
            return
        for path, place, number, checksum, dummy in undo["made"] if phase == SWITCH else ():
            ours = os.path.join(place, undo["name"])
            try:
                with Folder.at(os.path.dirname(path), self._disk) as folder, Folder.at(ours, self._disk) as scratch:
                    beside = "{0}.{1}".format(undo["name"], number)
                    folder.remove(beside)
                    if _is_to_go_back(folder, os.path.basename(path), scratch, number, checksum):
                        scratch.move("{0}.old".format(number), folder, os.path.basename(path), beside)
                    folder.sync()
            except OSError as error:
                if error.errno not in _GONE:
                    raise
        self.finish(undo)

    def finish(self, undo: Undo) -> None:
        """See Kind."""
        if "made" not in undo:
            self._undo_beside(undo, "")
            return
        for place in undo["places"]:
            self._disk.remove_tree(os.path.join(place, undo["name"]))

    def _undo_beside(self, undo: Undo, phase: str) -> None:
        """Put the node back, or tidy up, after a run of a release that kept files beside their copies."""
        for path, new, old in undo["files"]:
            try:
                with Folder.at(os.path.dirname(path), self._disk) as folder:
                    name, kept = os.path.basename(path), os.path.basename(old)
                    info, current = folder.stat(kept), folder.stat(name)
                    same = info and current and os.path.samestat(info, current)
                    if phase == SWITCH and info and stat.S_ISREG(info.st_mode) and not same:
                        folder.move(kept, folder, name, os.path.basename(new))
                    folder.remove(kept)
                    folder.remove(os.path.basename(new))
                    folder.sync()
            except OSError as error:
                if error.errno not in _GONE:
                    raise
        self._disk.remove_tree(undo["folder"])


def _is_to_go_back(folder: Folder, name: str, scratch: Folder, number: int, checksum: str) -> bool:
    """Tell whether a copy is the one that we have put there."""
    old, current = scratch.stat("{0}.old".format(number)), folder.stat(name)
    if old is None or current is None or os.path.samestat(old, current):
        return False
    with os.fdopen(folder.open(name), "rb") as stream:
        return _checksum(stream) == checksum


def _checksum(stream: t.BinaryIO) -> str:
    digest = hashlib.sha256()
    stream.seek(0)
    for chunk in iter(lambda: stream.read(_CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _gone(path: str, error: OSError) -> PatchError:
    why = os.strerror(error.errno or 0)
    return PatchError("io_error", "{0} changed meanwhile ({1}); run again".format(path, why))
