# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The archive kind of patch: versions side by side in one folder, and a link to the one that runs."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from . import archive, brought, commands, fetch, outside, retired
from .archive_members import Places
from .disk import Disk, existing_ancestor, missing_dirs
from .download import Download
from .errors import PatchError
from .folders import is_guarded, place_for, resolve
from .history import History, is_name
from .inheritance import Inheritance
from .text import some
from .transaction import SWITCH, Kind, Remark, Undo
from .unpacked import require_zstd

#: Name of the link in dest.
LINK = "current"
#: Seconds after which what a new version has written into its folder is no mere trace of having been tried.
_TRIAL = 900

Step = t.Tuple[str, t.Callable[[], None]]


class Release(Kind):
    """Put an archive into C(dest/<version>) and point C(dest/current) to it.

    All that is not yet the version, or no longer, is in C(dest/.staging-<name>), which is gone when the run has ended.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        download: the archive.
        limits: what the archive may grow to.
    """

    kind = "archive"

    def __init__(
        self,
        name: str,
        definition: t.Mapping[str, t.Any],
        disk: Disk,
        download: Download,
        limits: t.Optional[archive.Limits] = None,
    ) -> None:
        self._name = name
        self._download = download
        self._archive = definition["archive"]
        self._dest = os.path.normpath(definition["dest"] or "/")
        self._keep = definition["keep"]
        self._health = definition["health"]
        self._disk = disk
        self._limits = limits or archive.DEFAULT_LIMITS
        self._links = [os.path.normpath(path) for path in self._option("links")]
        self._state = definition["state_dir"]
        self._close = definition["old_processes"] != "ignore"  # a process that goes on needs its files
        self._notes = []  # type: t.List[str]

    def _option(self, key: str) -> t.List[str]:
        return list((self._archive or {}).get(key) or [])

    def _history(self, dest: str) -> History:
        return History(os.path.join(self._state, self._name + ".versions.json"), dest, self._disk)

    # -- before --------------------------------------------------------------------------------------------------

    def broken(self) -> bool:
        """See Kind."""
        return os.path.lexists(os.path.join(self._dest, LINK))

    def check(self) -> None:
        """See Kind."""
        self._download.check()
        folder = existing_ancestor(self._dest)
        if not os.path.isdir(folder):
            raise PatchError("dest_conflict", "{0} is no folder; move it away".format(folder))
        self._disk.require(folder, self._download.size + fetch.RESERVE)
        self._check_places()
        outside.check_links(self._links)
        resolve(self._dest)
        self._place()
        require_zstd(self._archive["url"].partition("?")[0])
        self._check_health_command(None)

    def _check_places(self) -> None:
        link, folder = os.path.join(self._dest, LINK), os.path.join(self._dest, self._archive["version"])
        if os.path.lexists(link) and not os.path.islink(link):
            raise PatchError("dest_conflict", "{0} is no link; move it away".format(link))
        if os.path.lexists(folder):
            if os.path.islink(folder) or not os.path.isdir(folder):
                raise PatchError("dest_conflict", "{0} is no folder; move it away".format(folder))
            if os.path.realpath(link) == os.path.realpath(folder):
                message = "{0} is in use and the probe reports another version; check archive.version and the probe"
                raise PatchError("dest_conflict", message.format(folder))

    def _check_health_command(self, tree: t.Optional[str]) -> None:
        """Refuse a health command that is not there; one below C(dest/current) is looked up in C(tree)."""
        if not self._health or not self._health.get("command"):
            return
        program = self._health["command"][0]
        link = os.path.join(self._dest, LINK) + "/"
        if program.startswith(link):
            missing = tree is not None and not os.path.lexists(os.path.join(tree, program[len(link) :]))
        else:
            missing = not program.startswith(self._dest + "/") and not commands.found(program)
        if missing:
            message = "the health command {0} is neither on this node nor in the archive".format(program)
            raise PatchError("health_missing", message)

    # -- forward -------------------------------------------------------------------------------------------------

    def plan(self) -> Undo:
        """See Kind."""
        link = os.path.join(self._dest, LINK)
        return {
            "dest": self._dest,
            "version": self._archive["version"],
            "link": os.readlink(link) if os.path.islink(link) else None,
            "previous": os.path.realpath(link) if os.path.islink(link) else None,
            "existed": os.path.lexists(os.path.join(self._dest, self._archive["version"])),
            "created": missing_dirs(self._dest),
            "staging": os.path.join(self._place(), ".staging-" + self._name),
            "links": [],
            "closed": {},
        }

    def _place(self) -> str:
        """Return where to unpack: where nobody else may rename it, and from where it can be renamed to dest."""
        real = os.path.realpath(existing_ancestor(self._dest))
        if is_guarded(real):
            return self._dest
        place = place_for(real, self._state)
        if os.stat(existing_ancestor(place)).st_dev != os.stat(real).st_dev:
            message = (
                "others than root may change {0}, and there is no other place on its file system; change its owner"
            )
            raise PatchError("unsafe_folder", message.format(self._dest))
        return place

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""
        staging = undo["staging"]
        packed, tree = os.path.join(staging, "archive"), os.path.join(staging, "tree")

        def download() -> None:
            for folder in undo["created"]:
                self._disk.make_dir(folder)
            self._disk.remove_tree(staging)
            self._disk.make_dir(staging, 0o700)
            self._download.to(packed)

        def stage() -> None:
            options = self._archive
            inside = (os.path.join(undo["dest"], LINK), os.path.join(undo["dest"], undo["version"]))
            places = Places(inside, tuple(self._option("outside_links")))
            archive.unpack(packed, tree, self._disk, options["format"], options["strip"], self._limits, places)
            self._check_health_command(tree)
            self._disk.write_json(os.path.join(staging, "brought.json"), brought.record(tree, self._disk))
            self._survey(undo, tree)

        def place() -> None:
            version = os.path.join(undo["dest"], undo["version"])
            if undo["existed"]:
                self._disk.set_aside(version, os.path.join(staging, "replaced"))
            self._disk.rename(tree, version)

        return [("fetch", download), ("stage", stage), ("place", place)]

    def _survey(self, undo: Undo, tree: str) -> None:
        """Give the new version what the old one has been given, and find out what has to change with the switch."""
        history = self._history(undo["dest"])
        roots = self._old(undo, history)
        if undo["link"] is None and self._links:  # a layout made by hand, of which any folder may be a version
            with contextlib.suppress(OSError), os.scandir(undo["dest"]) as entries:
                roots += [entry.path for entry in entries if entry.is_dir() and entry.name[:1] != "."]
        undo["links"] = outside.moves(self._links, roots, os.path.join(undo["dest"], LINK), tree)
        if undo["previous"] is None and undo["links"]:
            undo["previous"] = outside.root_in(os.path.realpath(undo["links"][0][0]), roots, tree)
        if undo["previous"] is not None and os.path.isdir(undo["previous"]):
            self._inherit(undo, history, tree)
        undo["closed"] = self._to_close(undo, history, set(os.listdir(tree)))

    def _inherit(self, undo: Undo, history: History, tree: str) -> None:
        previous = os.path.realpath(undo["previous"])
        name = os.path.basename(previous) if self._is_version(undo, previous) else ""
        inheritance = Inheritance(history.brought(name) or {}, history.modes(name), self._disk)
        inheritance.carry(previous, tree)
        if inheritance.refused:
            text = "setuid, setgid or capabilities were not carried, since others may rename files there: {0}"
            self._notes.append(text.format(some(inheritance.refused)))

    def _old(self, undo: Undo, history: History) -> t.List[str]:
        """Return the folders of old versions that are known, as they are called and as they really are."""
        old = [os.path.join(undo["dest"], name) for name in history.versions if name != undo["version"]]
        old += history.roots + [undo["previous"]] * bool(undo["previous"])
        version = os.path.realpath(os.path.join(undo["dest"], undo["version"]))
        roots = {path for root in old for path in (root, os.path.realpath(root)) if os.path.isdir(root)}
        return sorted(root for root in roots if os.path.realpath(root) != version and len(root) > 1)

    def _is_version(self, undo: Undo, path: str) -> bool:
        return bool(os.path.dirname(path) == os.path.realpath(undo["dest"]))

    def _to_close(self, undo: Undo, history: History, new: t.Set[str]) -> t.Dict[str, t.Any]:
        """Return, for each old version in dest, what there is to close; one that is still led to stays open."""
        found = {}  # type: t.Dict[str, t.Any]
        moved = [os.path.join(undo["dest"], LINK)] + [link[0] for link in undo["links"]]
        for root in self._old(undo, history):
            if not self._is_version(undo, root) or os.path.islink(root):
                continue
            name = os.path.basename(root)
            names = sorted({os.path.join(undo["dest"], name), root})
            program = new | {path.partition("/")[0] for path in history.brought(name) or {}}
            close = self._close and not outside.leading_to(names, moved)
            changes = retired.survey(root, program, close, self._disk)
            if changes:
                found[root] = changes
        return found

    def switch(self, undo: Undo) -> None:
        """See Kind."""
        scratch = os.path.join(undo["staging"], "link")
        self._disk.point(os.path.join(undo["dest"], LINK), undo["version"], scratch)
        outside.move(undo["links"], False, self._disk)

    def is_old(self, undo: Undo, path: str, deleted: bool) -> bool:
        """See Kind. Old is all in dest but the new version, and where the link led before."""
        version = os.path.join(os.path.realpath(undo["dest"]), undo["version"])
        if not deleted and _within(path, version):
            return False
        roots = (undo["dest"], os.path.realpath(undo["dest"]), undo.get("previous"))
        return any(root and _within(path, root) for root in roots)

    # -- back, and the end ---------------------------------------------------------------------------------------

    def undo(self, undo: Undo, phase: str) -> None:
        """See Kind."""
        link, staging = os.path.join(undo["dest"], LINK), undo["staging"]
        if phase == SWITCH:
            outside.move(undo.get("links", []), True, self._disk)
        if phase == SWITCH and os.path.islink(link) and os.readlink(link) == undo["version"] != undo["link"]:
            if undo["link"] is None:
                self._disk.remove(link)
            else:
                self._disk.point(link, undo["link"], os.path.join(staging, "link"))
        if phase in ("place", SWITCH):
            self._undo_place(undo)
        self._disk.remove_tree(staging)
        for folder in reversed(undo["created"]):
            self._disk.remove_empty(folder)

    def _undo_place(self, undo: Undo) -> None:
        version = os.path.join(undo["dest"], undo["version"])
        replaced = os.path.join(undo["staging"], "replaced")
        if not undo["existed"]:
            self._discard(undo, version)
        elif os.path.lexists(replaced):
            self._discard(undo, version)
            self._disk.rename(replaced, version)

    def _discard(self, undo: Undo, version: str) -> None:
        """Remove the new version with what it wrote while it was tried; one that was used for longer keeps its data."""
        mine, since = self._brought(undo)
        if mine is not None and brought.strangers(version, mine, self._disk, since + _TRIAL):
            brought.prune(version, mine, self._disk)
            self._leave(version, undo)
        self._disk.remove_tree(version)

    def _brought(self, undo: Undo) -> t.Tuple[t.Optional[brought.Brought], float]:
        """Return what the archive brought and when, or None where there is no such list."""
        try:
            with open(os.path.join(undo["staging"], "brought.json"), encoding="utf-8") as stream:
                return json.load(stream), os.fstat(stream.fileno()).st_mtime
        except (FileNotFoundError, ValueError):
            return None, 0

    def _leave(self, path: str, undo: Undo) -> None:
        """Move what no archive brought to a name of its own in dest, and tell."""
        base = os.path.join(undo["dest"], undo["version"] + ".left")
        names = [base] + ["{0}.{1}".format(base, number) for number in range(2, 1000)]
        left = next(name for name in names if not os.path.lexists(name))
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(handle, 0o700)
        finally:
            os.close(handle)
        self._disk.rename(path, left)
        self._notes.append("{0} has what no archive brought".format(left))

    def finish(self, undo: Undo) -> None:
        """See Kind. Removes versions beyond C(keep), but of each only what its archive brought, and closes the others.

        Not before: a service that is restarted after the switch still loads from the old version as it stops.
        """
        history, version = self._history(undo["dest"]), undo["version"]
        for root, changes in undo.get("closed", {}).items():
            retired.close(root, changes, self._disk)
        replaced = os.path.join(undo["staging"], "replaced")
        if brought.prune(replaced, history.brought(version) or {}, self._disk):
            self._leave(replaced, undo)
        known = self._known(undo, history)
        kept, gone = known[max(0, len(known) - self._keep) :], known[: max(0, len(known) - self._keep)]
        for name in gone:
            self._prune(os.path.join(undo["dest"], name), history.brought(name))
        roots = [os.path.join(undo["dest"], name) for name in gone] + [undo["previous"]] * bool(undo.get("previous"))
        roots = [root for root in roots if root not in [os.path.join(undo["dest"], name) for name in [*kept, version]]]
        closed = undo.get("closed", {})
        modes = {os.path.basename(root): {one[0]: one[1] for one in changes} for root, changes in closed.items()}
        modes = {name: {**one, **history.modes(name)} for name, one in modes.items()}
        old_roots = [root for root in history.roots if root not in roots]
        history.write([*kept, version], old_roots + roots, {version: self._brought(undo)[0]}, modes)
        self._disk.remove_tree(undo["staging"])
        for entry in undo.get("links", []):
            self._disk.remove(entry[3])

    def _known(self, undo: Undo, history: History) -> t.List[str]:
        """Return the old versions in dest that this module has put there or found in use, the last one last."""
        known = [name for name in history.versions if name != undo["version"]]
        previous = os.path.normpath(undo["link"] or undo.get("previous") or "")
        folders = ("", undo["dest"], os.path.realpath(undo["dest"]))
        if previous != undo["version"] and os.path.dirname(previous) in folders:
            previous = os.path.basename(previous)
            known = [name for name in known if name != previous] + [previous] * is_name(previous)
        return known

    def _prune(self, path: str, mine: t.Optional[brought.Brought]) -> None:
        if not os.path.isdir(path) or os.path.islink(path):
            return
        stays = brought.prune(path, mine or {}, self._disk)
        if stays and mine:
            self._notes.append("{0} stays with what no archive brought: {1}".format(path, some(stays)))
        elif stays:
            self._notes.append("{0} stays, since this module did not make it".format(path))

    def remark(self) -> Remark:
        """See Kind. Tells what still leads to an old version, on every run."""
        undo = {"dest": self._dest, "version": "", "link": "", "previous": None}  # type: Undo
        link = os.path.join(self._dest, LINK)
        if os.path.islink(link):
            undo["version"] = os.path.basename(os.path.realpath(link))
        led = []  # type: t.List[str]
        with contextlib.suppress(OSError):  # to know less is no fault of a node that is right
            led = outside.leading_to(self._old(undo, self._history(self._dest)), [link])
        told = ["an old version is still led to by {0}; see archive.links".format(some(led))] * bool(led)
        return Remark(text="; ".join(self._notes + told))


def _within(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")
