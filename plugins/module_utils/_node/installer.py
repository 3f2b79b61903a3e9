# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The kinds that run a program which installs: one that is there (command), or one that is downloaded (installer)."""

from __future__ import annotations

import os
import typing as t

from . import users
from .commands import Commands, found
from .disk import Disk, existing_ancestor
from .download import Download
from .errors import PatchError
from .transaction import SWITCH, Kind, Undo

Step = t.Tuple[str, t.Callable[[], None]]

#: Word of a command that stands for the path of the downloaded installer.
INSTALLER = "{installer}"


class Command(Kind):
    """Run a command for the switch, and the definition's own undo to go back.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        commands: how to run the commands.
    """

    kind = "command"

    def __init__(self, name: str, definition: t.Mapping[str, t.Any], disk: Disk, commands: Commands) -> None:
        self._options = definition[self.kind] or {}
        self._disk = disk
        self._commands = commands
        self._folder = os.path.join(definition["state_dir"], name + "." + self.kind)

    def _argv(self) -> t.List[str]:
        return list(self._options["command"])

    def _file_name(self) -> str:
        return "installer"

    def broken(self) -> bool:
        """See Kind."""
        return False

    def check(self) -> None:
        """See Kind."""
        for argv in (self._argv(), self._options["undo"]):
            if argv[0] != INSTALLER and not found(argv[0]):
                raise PatchError("command_missing", "{0} is not on this node; check {1}".format(argv[0], self.kind))
            if argv[0] != INSTALLER:
                users.check_writer(argv, self._options.get("run_as"), self.kind + ".run_as")

    def plan(self) -> Undo:
        """See Kind."""
        path = os.path.join(self._folder, "file", self._file_name())
        argv, undo = (
            [path if word == INSTALLER else word for word in argv] for argv in (self._argv(), self._options["undo"])
        )
        return {
            "folder": self._folder,
            "path": path,
            "command": argv,
            "undo": undo,
            "timeout": self._options["timeout"],
            "run_as": self._options.get("run_as"),
        }

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""
        return []

    def switch(self, undo: Undo) -> None:
        """See Kind."""
        # Nobody but this module's own user can read a downloaded installer.
        self._run(undo, "command", undo.get("run_as") if self.kind == "command" else None, "install_failed")

    def _run(self, undo: Undo, key: str, run_as: t.Optional[str], reason: str) -> None:
        argv = undo[key]
        self._disk.step("run " + argv[0])
        answer = self._commands.run(argv, undo["timeout"], user=users.named(run_as))
        if answer.rc != 0 or answer.timed_out:
            raise PatchError(reason, "{0} {1}".format(argv[0], answer.excuse()))
        self._disk.step("ran " + argv[0])

    def undo(self, undo: Undo, phase: str) -> None:
        """See Kind. The definition's undo must bear to run again, and when the command did not come far."""
        done = os.path.join(undo["folder"], "undone")
        if phase == SWITCH and not os.path.exists(done):
            self._run(undo, "undo", undo.get("run_as"), "rollback_failed")
            os.makedirs(undo["folder"], 0o700, exist_ok=True)
            self._disk.write_json(done, {})  # an undo that uses the installer cannot run once that is removed
        self.finish(undo)

    def finish(self, undo: Undo) -> None:
        """See Kind."""
        self._disk.remove_tree(undo["folder"])


class Installer(Command):
    """Download a vendor's installer and run it."""

    kind = "installer"

    def __init__(
        self,
        name: str,
        definition: t.Mapping[str, t.Any],
        disk: Disk,
        commands: Commands,
        download: Download,
    ) -> None:
        super().__init__(name, definition, disk, commands)
        self._download = download

    def _argv(self) -> t.List[str]:
        return [*self._options["interpreter"], INSTALLER, *self._options["arguments"]]

    def _file_name(self) -> str:
        """Keep the name: some installers look at it, or at its ending."""
        return self._download.file_name or super()._file_name()

    def check(self) -> None:
        """See Kind."""
        self._download.check()
        folder = existing_ancestor(self._folder)
        if not self._options["interpreter"] and os.statvfs(folder).f_flag & os.ST_NOEXEC:
            message = "nothing may be run in {0} (noexec); set installer.interpreter, or another state_dir"
            raise PatchError("unsupported_node", message.format(folder))
        super().check()

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""

        def download() -> None:
            self._disk.remove_tree(undo["folder"])
            for folder in (undo["folder"], os.path.dirname(undo["path"])):
                self._disk.make_dir(folder, 0o700)
            self._download.to(undo["path"])
            os.chmod(undo["path"], 0o700)

        return [("fetch", download)]
