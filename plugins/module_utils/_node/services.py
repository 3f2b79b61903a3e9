# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The services of a program: stopped before the switch, started after it, in order."""

from __future__ import annotations

import os
import time
import typing as t

from .commands import Commands, found
from .errors import PatchError

#: One service as its definition and the journal hold it.
Service = t.Mapping[str, t.Any]

_SYSTEMD = "/run/systemd/system"
_SYSV = "/etc/init.d/"
_QUERY_SECONDS = 30


class Services:
    """Stop and start services by systemd, System V scripts or commands.

    Args:
        wanted: services in the order in which they start.
        commands: how to run commands.
        sleep: C(time.sleep) or a stand-in.
    """

    def __init__(
        self, wanted: t.Sequence[Service], commands: Commands, sleep: t.Callable[[float], None] = time.sleep
    ) -> None:
        self._wanted = [dict(service, manager=_manager(service)) for service in wanted]
        self._commands = commands
        self._sleep = sleep

    def check(self) -> None:
        """Raise PatchError C(service_missing) when one is not on this node."""
        for service in self._wanted:
            if not self._exists(service):
                message = "no service {0} by {1} on this node; check services"
                raise PatchError("service_missing", message.format(service["name"], service["manager"]))

    def running(self) -> t.List[Service]:
        """Return those that run now, as plain data for the journal."""
        return [service for service in self._wanted if self.runs(service)]

    def stop(self, services: t.Sequence[Service]) -> None:
        """Stop services, the last one first.

        Raises:
            PatchError: C(service_failed), one did not stop in its time.
        """
        for service in reversed(services):
            self._change(service, "stop")

    def start(self, services: t.Sequence[Service]) -> None:
        """Start services in order; one that still runs is restarted.

        Raises:
            PatchError: C(service_failed).
        """
        for service in services:
            if self.runs(service):
                self._change(service, "stop")
            self._change(service, "start")

    def runs(self, service: Service) -> bool:
        """Tell whether a service runs, or is about to."""
        answer = self._commands.run(_argv(service, "status"), _QUERY_SECONDS)
        if service["manager"] == "systemd":
            return answer.text.strip() in ("active", "activating", "reloading")
        return answer.rc == 0 and not answer.timed_out

    def _exists(self, service: Service) -> bool:
        if service["manager"] == "systemd":
            show = ["systemctl", "show", "--property=LoadState", "--value", service["name"]]
            return self._commands.run(show, _QUERY_SECONDS).text.strip() == "loaded"
        return all(found(_argv(service, verb)[0]) for verb in ("status", "stop", "start"))

    def _change(self, service: Service, verb: str) -> None:
        deadline = time.monotonic() + service["timeout"]
        answer = self._commands.run(_argv(service, verb), service["timeout"])
        done = answer.rc == 0 and not answer.timed_out
        while done and self.runs(service) != (verb == "start"):
            if time.monotonic() > deadline:
                done = False
            self._sleep(0.1)
        if not done:
            why = answer.excuse() if answer.rc != 0 or answer.timed_out else "did not happen in time"
            raise PatchError("service_failed", "{0} of service {1} {2}".format(verb, service["name"], why))


def _manager(service: Service) -> str:
    if service["manager"] != "auto":
        return str(service["manager"])
    if service.get("start"):
        return "commands"
    return "systemd" if os.path.isdir(_SYSTEMD) else "sysv"


def _argv(service: Service, verb: str) -> t.List[str]:
    if service["manager"] == "commands":
        return list(service[verb])
    if service["manager"] == "sysv":
        return [_SYSV + service["name"], verb]
    return ["systemctl", "is-active" if verb == "status" else verb, service["name"]]
