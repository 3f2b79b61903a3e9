# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The files kind of patch: vulnerable copies of a file, wherever they are, also inside jar, war, ear and zip files."""

from __future__ import annotations

import functools
import glob
import hashlib
import os
import typing as t

from . import fetch, nested
from .disk import Disk, copy_file, copy_owner
from .download import Download
from .errors import PatchError
from .transaction import SWITCH, Kind, Undo

Step = t.Tuple[str, t.Callable[[], None]]

_SKIPPED = ("/proc", "/sys", "/dev", "/run")


class Files(Kind):
    """Replace every vulnerable copy. Each is switched by one rename; the old one stays beside it until the commit.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        compare: how versions compare.
        download: the file that takes the place of the others.
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
    ) -> None:
        self._options = definition["files"] or {}
        self._disk = disk
        self._compare = compare
        self._download = download
        self._folder = os.path.join(definition["state_dir"], name + ".files")
        self._vulnerable = {
            entry["sha256"].lower(): entry["version"] for entry in self._options.get("vulnerable") or []
        }  # type: t.Dict[str, str]
        self._found = []  # type: t.List[str]

    @property
    def sought(self) -> str:
        """See Kind."""
        return "a known copy of " + str(self._options.get("name"))

    def probe(self) -> t.Optional[str]:
        """Return the lowest version among all copies on this node whose checksum is known, or None."""
        known = dict(self._vulnerable)
        known[self._download.sha256] = self._options["version"]
        search = nested.Search(self._options["name"], frozenset(known))
        self._found = []
        versions = []  # type: t.List[str]
        for path in self._candidates():
            try:
                checksums = nested.find(path, search)
            except FileNotFoundError:  # gone since it was listed
                continue
            except OSError as error:  # who does not know must not say that there is none
                message = "cannot look into {0} ({1}); mend it or exclude its folder"
                raise PatchError("probe_failed", message.format(path, os.strerror(error.errno or 0))) from None
            versions += [known[checksum] for checksum in checksums]
            if any(checksum in self._vulnerable for checksum in checksums):
                self._found.append(path)
        return min(versions, key=functools.cmp_to_key(self._compare), default=None)

    def _candidates(self) -> t.Iterator[str]:
        """Walk the folders of C(paths), never through a link to a folder, and give each regular file once."""
        excluded = {*_SKIPPED, *self._options["exclude"], self._folder}
        roots = sorted({os.path.realpath(root) for path in self._options["paths"] for root in glob.glob(path)})
        seen = set()  # type: t.Set[str]
        for root in roots:
            for folder, folders, names in os.walk(root, onerror=_unlisted):
                folders[:] = sorted(name for name in folders if os.path.join(folder, name) not in excluded)
                for name in sorted(names) if folder not in excluded else ():
                    path = os.path.join(folder, name)
                    if path not in seen and os.path.isfile(path) and not os.path.islink(path):
                        seen.add(path)
                        yield path

    def broken(self) -> bool:
        """See Kind."""
        return False

    def check(self) -> None:
        """See Kind."""
        self._download.check()
        for path in self._found:
            self._disk.require(os.path.dirname(path), os.path.getsize(path) + fetch.RESERVE)
            self._disk.require_replaceable(path)

    def plan(self) -> Undo:
        """See Kind."""
        return {"folder": self._folder, "files": [[path, *_beside(path)] for path in self._found]}

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""
        replacement = os.path.join(undo["folder"], "replacement")

        def download() -> None:
            self._disk.remove_tree(undo["folder"])
            self._disk.make_dir(undo["folder"], 0o700)
            self._download.to(replacement)

        def stage() -> None:
            search = nested.Search(self._options["name"], frozenset(self._vulnerable))
            for path, new, dummy in undo["files"]:
                self._disk.remove(new)
                self._make(path, new, search, replacement)

        return [("fetch", download), ("stage", stage)]

    def _make(self, path: str, new: str, search: nested.Search, replacement: str) -> None:
        self._disk.step("write " + new)
        handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w+b") as stream:
            try:
                nested.replace(path, stream, search, replacement)
            except ValueError:
                raise PatchError("bad_archive", "{0} holds a damaged zip file; repair it".format(path)) from None
            stream.flush()
            os.fchmod(stream.fileno(), os.stat(path).st_mode & 0o7777)
            copy_owner(path, new)
            os.fsync(stream.fileno())

    def switch(self, undo: Undo) -> None:
        """See Kind."""
        for path, new, old in undo["files"]:
            self._disk.step("keep " + old)
            try:
                os.link(path, old)
            except PermissionError:  # a file system without hard links
                copy_file(path, old)
            self._disk.rename(new, path)

    def is_old(self, undo: Undo, path: str, deleted: bool) -> bool:
        """See Kind."""
        return any(
            path == old or (deleted and path in (file, os.path.dirname(file))) for file, dummy, old in undo["files"]
        )

    def undo(self, undo: Undo, phase: str) -> None:
        """See Kind."""
        for path, new, old in undo["files"]:
            if phase == SWITCH and os.path.lexists(old):
                if os.path.samefile(path, old):  # to rename one name of a file to another of its names does nothing
                    self._disk.remove(old)
                else:
                    self._disk.rename(old, path)
            self._disk.remove(new)
        self._disk.remove_tree(undo["folder"])

    def finish(self, undo: Undo) -> None:
        """See Kind."""
        for dummy, new, old in undo["files"]:
            self._disk.remove(old)
            self._disk.remove(new)
        self._disk.remove_tree(undo["folder"])


def _unlisted(error: OSError) -> None:
    """Pass over a folder that is gone, or closed to root as only a user's own mount is; refuse another."""
    if not isinstance(error, FileNotFoundError) and not (isinstance(error, PermissionError) and os.geteuid() == 0):
        message = "cannot look into {0} ({1}); mend it or exclude it"
        raise PatchError("probe_failed", message.format(error.filename, os.strerror(error.errno or 0)))


def _beside(path: str) -> t.Tuple[str, str]:
    """Return where the new and the old file of C(path) are meanwhile, in its folder."""
    stem = os.path.join(os.path.dirname(path), ".patchwave-" + hashlib.sha256(os.fsencode(path)).hexdigest()[:16])
    return stem + ".new", stem + ".old"
