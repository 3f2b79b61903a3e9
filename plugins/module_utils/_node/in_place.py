# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The archive kind of patch with layout in_place: the archive's files take the place of those in one folder."""

from __future__ import annotations

import fnmatch
import os
import stat
import typing as t

from . import archive, fetch
from .disk import Disk, copy_file, copy_owner, existing_ancestor, missing_dirs
from .download import Download
from .errors import PatchError
from .transaction import SWITCH, Kind, Undo

Step = t.Tuple[str, t.Callable[[], None]]

#: Path below dest, whether something is there now, and whether the archive brings something.
Change = t.Tuple[str, bool, bool]


class InPlace(Kind):
    """Replace files in C(dest), each by one rename, and keep every old one until the commit.

    The old files are saved before services stop, so the switch is renames alone.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        download: the archive.
        limits: what the archive may grow to.
    """

    kind = "in_place"
    files_too = True

    def __init__(
        self,
        name: str,
        definition: t.Mapping[str, t.Any],
        disk: Disk,
        download: Download,
        limits: t.Optional[archive.Limits] = None,
    ) -> None:
        self._name = name
        self._options = definition["archive"] or {}
        self._dest = os.path.realpath(definition["dest"] or "/")
        self._disk = disk
        self._download = download
        self._limits = limits or archive.DEFAULT_LIMITS

    # -- before --------------------------------------------------------------------------------------------------

    def broken(self) -> bool:
        """See Kind. Files of others may be in the folder too."""
        return False

    def check(self) -> None:
        """See Kind."""
        self._download.check()
        folder = existing_ancestor(self._dest)
        if not os.path.isdir(folder):
            raise PatchError("dest_conflict", "{0} is no folder; move it away".format(folder))
        self._disk.require(folder, self._download.size + fetch.RESERVE)

    def plan(self) -> Undo:
        """See Kind."""
        return {
            "dest": self._dest,
            "staging": os.path.join(self._dest, ".staging-" + self._name),
            "created": missing_dirs(self._dest),
            "folders": [],
            "changes": [],
        }

    # -- forward -------------------------------------------------------------------------------------------------

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""
        staging = undo["staging"]
        packed, tree, saved = (os.path.join(staging, name) for name in ("archive", "tree", "saved"))

        def download() -> None:
            for folder in undo["created"]:
                self._disk.make_dir(folder)
            self._disk.remove_tree(staging)
            self._disk.make_dir(staging, 0o700)
            self._download.to(packed)

        def stage() -> None:
            archive.unpack(packed, tree, self._disk, self._options["format"], self._options["strip"], self._limits)
            undo["folders"], undo["changes"] = self._compare(tree, undo["dest"])
            for path, old, new in undo["changes"]:
                if new:
                    _dress(os.path.join(tree, path), os.path.join(undo["dest"], path), old)

        def save() -> None:
            self._disk.make_dir(saved, 0o700)
            for number, (path, old, dummy) in enumerate(undo["changes"]):
                if old:
                    self._save(os.path.join(undo["dest"], path), os.path.join(saved, str(number)))
            self._disk.sync_dir(saved)

        return [("fetch", download), ("stage", stage), ("save", save)]

    def _compare(self, tree: str, dest: str) -> t.Tuple[t.List[str], t.List[Change]]:
        """Return the folders to make, the upper ones first, and the changes to make."""
        folders, changes = [], []  # type: t.List[str], t.List[Change]
        for folder, names, files in os.walk(tree):
            links = [name for name in names if os.path.islink(os.path.join(folder, name))]
            names[:] = [name for name in names if not self._leads_away(dest, os.path.relpath(folder, tree), name)]
            for path in (os.path.relpath(os.path.join(folder, name), tree) for name in sorted(names)):
                if os.path.basename(path) not in links and not _is_folder(os.path.join(dest, path)):
                    _refuse_other(os.path.join(dest, path))
                    folders.append(path)
            for path in (os.path.relpath(os.path.join(folder, name), tree) for name in sorted(files + links)):
                if _is_folder(os.path.join(dest, path)):
                    raise PatchError("dest_conflict", "{0} is a folder; move it away".format(os.path.join(dest, path)))
                old = os.path.lexists(os.path.join(dest, path))
                if not (old and _matches(path, self._options.get("preserve"))):
                    changes.append((path, old, True))
        return folders, changes + self._removals(dest, {path for path, dummy, dummy in changes})

    def _leads_away(self, dest: str, folder: str, name: str) -> bool:
        """Tell whether a link of the node stands where the archive has something, and is to stay."""
        path = os.path.normpath(os.path.join(folder, name))
        return os.path.islink(os.path.join(dest, path)) and _matches(path, self._options.get("preserve"))

    def _removals(self, dest: str, brought: t.Set[str]) -> t.List[Change]:
        found = []  # type: t.List[Change]
        for folder, names, files in os.walk(dest) if self._options.get("remove") else ():
            names[:] = sorted(name for name in names if name != ".staging-" + self._name)
            links = [name for name in names if os.path.islink(os.path.join(folder, name))]
            for path in (os.path.relpath(os.path.join(folder, name), dest) for name in sorted(files + links)):
                kept = path in brought or _matches(path, self._options.get("preserve"))
                if not kept and _matches(path, self._options["remove"]):
                    found.append((path, True, False))
        return found

    def _save(self, path: str, saved: str) -> None:
        self._disk.require_replaceable(path)
        self._disk.step("save " + path)
        try:
            os.link(path, saved, follow_symlinks=False)
        except OSError:  # a file system without hard links, or a file of another user
            copy_file(path, saved)
            if not os.path.islink(saved):
                self._disk.sync_file(saved)

    def switch(self, undo: Undo) -> None:
        """See Kind."""
        for folder in undo["folders"]:
            path = os.path.join(undo["dest"], folder)
            self._disk.make_dir(path)
            copy_owner(os.path.dirname(path), path)
        for path, dummy, new in undo["changes"]:
            target = os.path.join(undo["dest"], path)
            self._disk.step("switch " + target)
            if new:
                os.replace(os.path.join(undo["staging"], "tree", path), target)
            else:
                os.unlink(target)
        self._sync(undo)

    def _sync(self, undo: Undo) -> None:
        folders = {os.path.dirname(os.path.join(undo["dest"], path)) for path, dummy, dummy in undo["changes"]}
        for folder in folders | {os.path.join(undo["dest"], path) for path in undo["folders"]}:
            if os.path.isdir(folder):
                self._disk.sync_dir(folder)

    def is_old(self, undo: Undo, path: str, deleted: bool) -> bool:
        """See Kind."""
        if path.startswith(os.path.join(undo["staging"], "saved") + "/"):
            return True
        inside = os.path.relpath(path, undo["dest"]) if deleted else ".."
        if inside == os.pardir or inside.startswith("../"):
            return False
        folder = "" if inside == os.curdir else inside + "/"
        return any(old and (changed == inside or changed.startswith(folder)) for changed, old, dummy in undo["changes"])

    # -- back, and the end ---------------------------------------------------------------------------------------

    def undo(self, undo: Undo, phase: str) -> None:
        """See Kind."""
        if phase == SWITCH:
            for number, (path, old, dummy) in enumerate(undo["changes"]):
                self._put_back(
                    os.path.join(undo["dest"], path), os.path.join(undo["staging"], "saved", str(number)), old
                )
            for folder in reversed(undo["folders"]):
                self._disk.remove_empty(os.path.join(undo["dest"], folder))
            self._sync(undo)
        self._disk.remove_tree(undo["staging"])
        for folder in reversed(undo["created"]):
            self._disk.remove_empty(folder)

    def _put_back(self, path: str, saved: str, old: bool) -> None:
        if not old:
            self._disk.remove(path)
        elif os.path.lexists(saved):
            same = os.path.lexists(path) and os.path.samestat(os.lstat(path), os.lstat(saved))
            if not same:  # to rename one name of a file to another of its names does nothing
                self._disk.step("restore " + path)
                os.replace(saved, path)

    def finish(self, undo: Undo) -> None:
        """See Kind."""
        self._disk.remove_tree(undo["staging"])


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _refuse_other(path: str) -> None:
    """Refuse what stands where the archive has a folder; through a link files would land elsewhere."""
    if os.path.lexists(path):
        raise PatchError("dest_conflict", "{0} is no folder; move it away".format(path))


def _matches(path: str, patterns: t.Optional[t.Sequence[str]]) -> bool:
    """Tell whether one of C(patterns) matches a path or a folder above it, each part of the path by itself."""
    parts = path.split("/")
    globs = [[part for part in pattern.split("/") if part not in ("", ".")] for pattern in patterns or ()]
    return any(0 < len(glob) <= len(parts) and all(map(fnmatch.fnmatchcase, parts, glob)) for glob in globs)


def _dress(new: str, target: str, old: bool) -> None:
    """Give a new file the owner and mode of the one that it replaces, or the owner of the folder that it joins."""
    if not old:
        info = os.stat(existing_ancestor(os.path.dirname(target)))
        if os.geteuid() == 0:
            mode = os.lstat(new).st_mode
            os.lchown(new, info.st_uid, info.st_gid)
            if not stat.S_ISLNK(mode):
                os.chmod(new, stat.S_IMODE(mode))
    elif not os.path.islink(new) and not os.path.islink(target):
        os.chmod(new, stat.S_IMODE(os.lstat(target).st_mode))
        copy_owner(target, new)
