# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The archive kind of patch with layout in_place: the archive's files take the place of those in one folder."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import secrets
import stat
import time
import typing as t

from . import archive, attributes, fetch
from .archive_members import Places
from .disk import Disk, existing_ancestor, missing_dirs
from .download import Download
from .errors import PatchError
from .folders import Folder, Identity, identity, is_guarded, place_for, resolve
from .transaction import SWITCH, Kind, Undo
from .unpacked import require_zstd

Step = t.Tuple[str, t.Callable[[], None]]

_CHUNK = 1024**2

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
        self._options = definition["archive"] or {}
        self._asked = definition["dest"] or "/"
        self._dest = os.path.realpath(self._asked)
        self._state = definition["state_dir"]
        self._disk = disk
        self._download = download
        self._limits = limits or archive.DEFAULT_LIMITS
        self._known = {}  # type: t.Dict[int, t.Optional[Identity]]

    # -- before --------------------------------------------------------------------------------------------------

    def broken(self) -> bool:
        """See Kind. Files of others may be in the folder too."""
        return False

    def check(self) -> None:
        """See Kind."""
        self._download.check()
        require_zstd(self._options["url"].partition("?")[0])
        folder = existing_ancestor(self._dest)
        if not os.path.isdir(folder) or resolve(self._asked) != self._dest:
            raise PatchError("dest_conflict", "{0} is no folder; move it away".format(folder))
        self._disk.require(folder, 0)
        self._disk.require(existing_ancestor(self._place()), self._download.size + fetch.RESERVE)

    def _place(self) -> str:
        return place_for(existing_ancestor(self._dest), self._state)

    def plan(self) -> Undo:
        """See Kind. Names of our own cannot be guessed."""
        name = ".patchwave-" + secrets.token_hex(8)
        return {
            "dest": self._dest,
            "name": name,
            "staging": os.path.join(self._place(), name),
            "created": missing_dirs(self._dest),
            "folders": [],
            "changes": [],
        }

    # -- forward -------------------------------------------------------------------------------------------------

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""
        staging = undo["staging"]
        packed, tree = os.path.join(staging, "archive"), os.path.join(staging, "tree")

        def download() -> None:
            for folder in undo["created"]:
                self._disk.make_dir(folder)
            with Folder.at(os.path.dirname(staging), self._disk) as place:
                place.make(undo["name"]).close()
            self._download.to(packed)

        def stage() -> None:
            self._unpack(packed, tree)
            undo["folders"], undo["changes"] = self._compare(tree, undo["dest"])

        def save() -> None:
            ours, dest = Folder.at(staging, self._disk), Folder.at(undo["dest"], self._disk)
            with ours, dest, ours.make("saved") as saved:
                for number, change in enumerate(undo["changes"]):
                    self._save(number, change, tree, saved, dest)
                saved.sync()

        return [("fetch", download), ("stage", stage), ("save", save)]

    def _unpack(self, packed: str, tree: str) -> None:
        """Make the folder of the new files from what was downloaded."""
        options = self._options
        places = Places((self._dest,), tuple(options.get("outside_links") or ()))
        archive.unpack(packed, tree, self._disk, options["format"], options["strip"], self._limits, places)

    def _compare(self, tree: str, dest: str) -> t.Tuple[t.List[str], t.List[Change]]:
        """Return the folders to make, the upper ones first, and the changes to make."""
        folders, changes = [], []  # type: t.List[str], t.List[Change]
        for folder, names, files in os.walk(tree):
            links = [name for name in names if os.path.islink(os.path.join(folder, name))]
            names[:] = [
                name
                for name in names
                if not self._stays(dest, os.path.normpath(os.path.join(os.path.relpath(folder, tree), name)))
            ]
            for path in (os.path.relpath(os.path.join(folder, name), tree) for name in sorted(names)):
                if os.path.basename(path) not in links and not _is_folder(os.path.join(dest, path)):
                    _refuse_other(os.path.join(dest, path))
                    folders.append(path)
            for path in (os.path.relpath(os.path.join(folder, name), tree) for name in sorted(files + links)):
                if _is_folder(os.path.join(dest, path)):
                    raise PatchError("dest_conflict", "{0} is a folder; move it away".format(os.path.join(dest, path)))
                old = os.path.lexists(os.path.join(dest, path))
                if not self._stays(dest, path):
                    changes.append((path, old, True))
        return folders, changes + self._removals(dest, {path for path, dummy, dummy in changes})

    def _stays(self, dest: str, path: str) -> bool:
        """Tell whether the node has what C(preserve) names at a path: a file, a link, or a folder with all in it."""
        parts = path.split("/")
        lengths = [len(_parts(glob)) for glob in self._options.get("preserve") or () if _matches(path, [glob])]
        return any(os.path.lexists(os.path.join(dest, *parts[:length])) for length in lengths)

    def _removals(self, dest: str, brought: t.Set[str]) -> t.List[Change]:
        found = []  # type: t.List[Change]
        for folder, names, files in os.walk(dest) if self._options.get("remove") else ():
            names.sort()
            links = [name for name in names if os.path.islink(os.path.join(folder, name))]
            for path in (os.path.relpath(os.path.join(folder, name), dest) for name in sorted(files + links)):
                kept = path in brought or _matches(path, self._options.get("preserve"))
                if not kept and _matches(path, self._options["remove"]):
                    found.append((path, True, False))
        return found

    def _save(self, number: int, change: Change, tree: str, saved: Folder, dest: Folder) -> None:
        """Keep an old file, and give the new one what the old one has, or what its folder gives to new files."""
        path, old, new = change
        with _nearest(dest, os.path.dirname(path)) as folder:
            name = os.path.basename(path)
            if old:
                folder.require_replaceable(name)
                folder.keep(name, saved, str(number))
                self._known[number] = _identity(folder, name)
            if new:
                _dress(os.path.join(tree, path), folder, saved, str(number))

    def switch(self, undo: Undo) -> None:
        """See Kind."""
        tree, kept = os.path.join(undo["staging"], "tree"), os.path.join(undo["staging"], "saved")
        with Folder.at(undo["dest"], self._disk) as dest, Folder.at(kept, self._disk) as saved:
            for path in undo["folders"]:
                with dest.below(os.path.dirname(path)) as folder:
                    folder.extend(os.path.basename(path))
            for number, (path, dummy, new) in enumerate(undo["changes"]):
                name = os.path.basename(path)
                with dest.below(os.path.dirname(path)) as folder:
                    self._save_again(number, folder, name, saved)
                    if new:
                        with Folder.at(os.path.dirname(os.path.join(tree, path)), self._disk) as ours:
                            ours.move(name, folder, name, _beside(undo, number))
                    else:
                        folder.remove(name)
            self._sync(undo, dest)

    def _save_again(self, number: int, folder: Folder, name: str, saved: Folder) -> None:
        """Keep a file anew that the program has replaced since, as one may that writes its state when it stops."""
        known = _identity(folder, name)
        if known is not None and known != self._known.get(number):
            saved.remove(str(number))
            folder.keep(name, saved, str(number))

    def _sync(self, undo: Undo, dest: Folder) -> None:
        for path in sorted({os.path.dirname(path) for path, dummy, dummy in undo["changes"]} | {*undo["folders"]}):
            with contextlib.suppress(FileNotFoundError), dest.below(path) as folder:
                folder.sync()

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
        """See Kind. Only what is not as it was is put back; what cannot be is told when all else is."""
        if phase == SWITCH:
            kept, problems = os.path.join(undo["staging"], "saved"), []  # type: str, t.List[OSError]
            with Folder.at(undo["dest"], self._disk) as dest, contextlib.ExitStack() as stack:
                # Without it the old files are all back, and a killed undo() was about to end.
                saved = stack.enter_context(Folder.at(kept, self._disk)) if os.path.isdir(kept) else None
                for number, change in enumerate(undo["changes"]):
                    try:
                        self._put_back(number, change, dest, saved, _beside(undo, number))
                    except OSError as error:
                        problems.append(error)
                for path in reversed(undo["folders"]):
                    with contextlib.suppress(FileNotFoundError), dest.below(os.path.dirname(path)) as folder:
                        folder.remove_empty(os.path.basename(path))
                self._sync(undo, dest)
            if problems:
                raise problems[0]
        self._disk.remove_tree(undo["staging"])
        for path in reversed(undo["created"]):
            self._disk.remove_empty(path)

    def _put_back(self, number: int, change: Change, dest: Folder, saved: t.Optional[Folder], beside: str) -> None:
        path, old, dummy = change
        name = os.path.basename(path)
        try:
            folder = dest.below(os.path.dirname(path))
        except FileNotFoundError:
            if old and saved is not None and saved.stat(str(number)) is not None:
                raise
            return
        with folder:
            folder.remove(beside)
            _set_aside(folder, name, beside)
            if not old:
                folder.remove(name)
            elif saved is not None and saved.stat(str(number)) is not None and not _same(folder, name, saved, number):
                saved.move(str(number), folder, name, beside)

    def finish(self, undo: Undo) -> None:
        """See Kind."""
        self._disk.remove_tree(undo["staging"])


def _set_aside(folder: Folder, name: str, beside: str) -> None:
    """Move a folder away that somebody has made where a file was; it is theirs, and must not stop the way back."""
    info = folder.stat(name)
    if info is not None and stat.S_ISDIR(info.st_mode):
        left = "{0}.{1}.left".format(beside, time.time_ns())
        os.rename(name, left, src_dir_fd=folder.handle, dst_dir_fd=folder.handle)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _refuse_other(path: str) -> None:
    """Refuse what stands where the archive has a folder; through a link files would land elsewhere."""
    if os.path.lexists(path):
        raise PatchError("dest_conflict", "{0} is no folder; move it away".format(path))


def _matches(path: str, patterns: t.Optional[t.Sequence[str]]) -> bool:
    """Tell whether one of C(patterns) matches a path or a folder above it, each part of the path by itself."""
    parts = path.split("/")
    globs = [_parts(pattern) for pattern in patterns or ()]
    return any(0 < len(glob) <= len(parts) and all(map(fnmatch.fnmatchcase, parts, glob)) for glob in globs)


def _parts(path: str) -> t.List[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _nearest(dest: Folder, path: str) -> Folder:
    """Open a folder below dest, or the nearest above it that is there."""
    try:
        return dest.below(path)
    except FileNotFoundError:
        return _nearest(dest, os.path.dirname(path))


def _identity(folder: Folder, name: str) -> t.Optional[Identity]:
    info = folder.stat(name)
    return None if info is None else identity(info)


def _beside(undo: Undo, number: int) -> str:
    return "{0}.{1}".format(undo.get("name") or ".patchwave", number)


def _dress(new: str, folder: Folder, saved: Folder, old: str) -> None:
    """Give a new file all that the one has which it replaces, or what one that is made in its folder would have."""
    before = saved.stat(old) or os.fstat(folder.handle)
    if os.path.islink(new):
        if os.geteuid() == 0:
            os.lchown(new, before.st_uid, before.st_gid)
        return
    with open(new, "rb") as target:
        if not stat.S_ISREG(before.st_mode):
            attributes.inherit(folder.handle, target.fileno())
        else:
            with os.fdopen(saved.open(old), "rb") as source:
                attributes.carry(source.fileno(), target.fileno())
            if attributes.is_privileged(target.fileno()) and not is_guarded(folder.path, before.st_uid):
                message = "{0} gives rights, and others may rename it; change that or its folder"
                raise PatchError("unsafe_folder", message.format(folder.join(os.path.basename(new))))
        os.fsync(target.fileno())


def _same(folder: Folder, name: str, saved: Folder, number: int) -> bool:
    """Tell whether a file is still the old one: the same file, or the same in content, owner and mode as its copy."""
    now, old = folder.stat(name), saved.stat(str(number))
    if now is None or old is None:
        return False
    if os.path.samestat(now, old):
        return True
    if any(getattr(now, key) != getattr(old, key) for key in ("st_mode", "st_uid", "st_gid", "st_size")):
        return False
    if stat.S_ISLNK(now.st_mode):
        return os.readlink(name, dir_fd=folder.handle) == os.readlink(str(number), dir_fd=saved.handle)
    with os.fdopen(folder.open(name), "rb") as one, os.fdopen(saved.open(str(number)), "rb") as other:
        chunks = iter(lambda: (one.read(_CHUNK), other.read(_CHUNK)), (b"", b""))
        return all(left == right for left, right in chunks)
