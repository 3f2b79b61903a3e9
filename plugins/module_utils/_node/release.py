# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The archive kind of patch: versions side by side in one folder, and a link to the one that runs."""

from __future__ import annotations

import json
import os
import typing as t

from . import archive, commands, fetch
from .disk import Disk, existing_ancestor, missing_dirs
from .download import Download
from .errors import PatchError
from .transaction import SWITCH, Kind, Undo

#: Name of the link in dest.
LINK = "current"

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
        self._history = os.path.join(definition["state_dir"], name + ".versions.json")

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
            "staging": os.path.join(self._dest, ".staging-" + self._name),
        }

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
            archive.unpack(packed, tree, self._disk, self._archive["format"], self._archive["strip"], self._limits)
            self._check_health_command(tree)

        def place() -> None:
            version = os.path.join(undo["dest"], undo["version"])
            if undo["existed"]:
                self._disk.set_aside(version, os.path.join(staging, "replaced"))
            self._disk.rename(tree, version)

        return [("fetch", download), ("stage", stage), ("place", place)]

    def switch(self, undo: Undo) -> None:
        """See Kind."""
        scratch = os.path.join(undo["staging"], "link")
        self._disk.point(os.path.join(undo["dest"], LINK), undo["version"], scratch)

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
            self._disk.remove_tree(version)
        elif os.path.lexists(replaced):
            self._disk.remove_tree(version)
            self._disk.rename(replaced, version)

    def finish(self, undo: Undo) -> None:
        """See Kind. Removes versions beyond C(keep), but only those this module has put or found behind the link."""
        self._disk.remove_tree(undo["staging"])
        known = [version for version in self._versions() if version != undo["version"]]
        previous = os.path.normpath(undo["link"] or "")
        if previous != undo["version"] and os.path.dirname(previous) in ("", undo["dest"]):
            previous = os.path.basename(previous)
            known = [version for version in known if version != previous] + [previous] * (previous not in ("", "."))
        for version in known[: -self._keep]:
            self._disk.remove_tree(os.path.join(undo["dest"], version))
        self._disk.write_json(
            self._history, {"dest": undo["dest"], "versions": [*known[-self._keep :], undo["version"]]}
        )

    def _versions(self) -> t.List[str]:
        """Return the names of version folders known from earlier runs, the one used last at the end."""
        try:
            with open(self._history, encoding="utf-8") as stream:
                history = json.load(stream)
        except (FileNotFoundError, ValueError):
            return []
        if not isinstance(history, dict) or history.get("dest") != self._dest:
            return []
        names = history.get("versions") or []
        return [
            name
            for name in names
            if isinstance(name, str) and os.path.basename(name) == name and name not in ("", ".", "..")
        ]


def _within(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")
