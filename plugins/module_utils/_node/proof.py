# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Prove which version a node runs: the probe, the health check, and the processes that run."""

from __future__ import annotations

import os
import time
import typing as t

from . import processes
from .commands import Commands
from .errors import PatchError
from .health import can_judge, check_health
from .result import Report

#: Seconds that processes with old files get to end by themselves.
SETTLE_SECONDS = 3.0
_RESTART_SECONDS = 120


class Proof:
    """What a version has to show.

    Args:
        probe: reads the version on the node, or None when the program is not there.
        compare: compares the node's version with one of the definition.
        health: C(health) of the definition.
        old_processes: C(fail), C(restart) or C(ignore), what to do about processes that use old files.
        commands: how to run commands.
        report: where to say how it went.
    """

    def __init__(
        self,
        probe: t.Callable[[], t.Optional[str]],
        compare: t.Callable[[str, str], int],
        health: t.Optional[t.Mapping[str, t.Any]],
        old_processes: str,
        commands: Commands,
        report: Report,
    ) -> None:
        self._probe = probe
        self._compare = compare
        self._health = health
        self._old_processes = old_processes
        self._commands = commands
        self._report = report
        self._restarted = []  # type: t.List[str]

    def version(self) -> t.Optional[str]:
        """Return the version on the node, or None when there is none."""
        return self._probe()

    def healthy(self) -> None:
        """Raise PatchError C(health_failed) unless the program works."""
        if self._health is not None:
            with self._report.step("health"):
                check_health(self._health, self._commands)

    def is_new(self, target: str) -> None:
        """Raise PatchError C(wrong_version) unless the node is at C(target)."""
        with self._report.step("verify"):
            version = self._probe()
        self._report.log.event("verified", version=version)
        if version is None or self._compare(version, target) != 0:
            message = "the probe says {0}, not {1}; check the version in the definition and what the probe runs".format(
                version or "not installed", target
            )
            raise PatchError("wrong_version", message)

    def none_is_old(self, is_old: processes.IsOld, since: float, files_too: bool) -> None:
        """Raise PatchError C(old_process) while a process still uses old files; restart its service if so wanted."""
        if self._old_processes == "ignore":
            return
        with self._report.step("processes"):
            old = processes.using(is_old, since, files_too)
            if old and self._old_processes == "restart":
                # Not the service that this runs in: it would be the end of this run too.
                self._restarted = sorted({process.unit for process in old} - {"", processes.unit_of(os.getpid())})
                self._restart()
            deadline = time.monotonic() + SETTLE_SECONDS
            while old and time.monotonic() < deadline:
                time.sleep(0.1)
                old = processes.using(is_old, since, files_too)
        if old:
            message = "process {0.pid} ({0.name}{1}) still uses {0.path}; restart it by services, or see old_processes"
            unit = " of " + old[0].unit if old[0].unit else ""
            raise PatchError("old_process", message.format(old[0], unit))

    def _restart(self) -> None:
        for unit in self._restarted:
            self._report.log.event("restart", unit=unit)
            self._commands.run(["systemctl", "restart", unit], _RESTART_SECONDS)

    def is_back(self, before: t.Optional[str]) -> None:
        """Raise PatchError unless the node is at C(before) and healthy; a health command it never had is not run."""
        self._restart()  # what none_is_old() has restarted runs the new version
        version = self._probe()
        self._report.after = version
        if version != before:
            raise PatchError("wrong_version", "the probe says {0}".format(version or "not installed"))
        if before is not None and self._health is not None and can_judge(self._health):
            check_health(self._health, self._commands)
