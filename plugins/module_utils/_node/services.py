# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The services of a program: stopped before the switch, started after it, in order."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from . import users
from .commands import Answer, Commands, found
from .errors import PatchError

#: One service as its definition and the journal hold it.
Service = t.Mapping[str, t.Any]

_SYSTEMD = "/run/systemd/system"
_SYSV = "/etc/init.d/"
_QUERY_SECONDS = 30
#: What systemd calls a service that runs, and one that is about to: starting, or waiting to be started again.
_RUNS = ("active", "reloading", "refreshing")
_ABOUT_TO = "activating"
_ENDED = ("inactive", "failed")
_STATES = (*_RUNS, _ABOUT_TO, *_ENDED, "deactivating", "maintenance", "unknown")


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

    def check(self, first: bool = False) -> None:
        """Raise PatchError: C(service_missing), one is not on this node; C(run_as_failed), see users.

        Args:
            first: the program is not there yet, so its services need not be, either.
        """
        if first:
            self._wanted = [service for service in self._wanted if self._exists(service)]
        for service in self._wanted:
            if not self._exists(service):
                message = "no service {0} by {1} on this node; check services"
                raise PatchError("service_missing", message.format(service["name"], service["manager"]))
            for verb in ("status", "stop", "start") if service["manager"] != "systemd" else ():
                users.check_writer(_argv(service, verb), service.get("run_as"), "services[].run_as")

    def running(self) -> t.List[Service]:
        """Return those that run now or are about to, as plain data for the journal."""
        states = [(service, self._state(service)) for service in self._wanted]
        return [dict(service, was=state) for service, state in states if state in (*_RUNS, _ABOUT_TO)]

    def stop(self, services: t.Sequence[Service]) -> None:
        """Stop services, the last one first.

        Raises:
            PatchError: C(service_failed), one did not stop in its time.
        """
        for service in reversed(services):
            self._change(service, "stop")

    def halt(self, services: t.Sequence[Service]) -> None:
        """Stop what runs of some services, as far as it can be stopped; what goes on is restarted by start()."""
        for service in reversed(services):
            with contextlib.suppress(PatchError):
                if self._state(service) in (*_RUNS, _ABOUT_TO):
                    self._change(service, "stop")

    def start(self, services: t.Sequence[Service]) -> None:
        """Start services in order; one that still runs is restarted.

        Raises:
            PatchError: C(service_failed).
        """
        for service in services:
            if self._state(service) in (*_RUNS, _ABOUT_TO):
                self._change(service, "stop")
            self._change(service, "start")

    def restore(self, services: t.Sequence[Service]) -> None:
        """Start services in order, all that can be started.

        Raises:
            PatchError: C(service_failed), of the first that did not.
        """
        problems = []  # type: t.List[PatchError]
        for service in services:
            try:
                self.start([service])
            except PatchError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def still_run(self, services: t.Sequence[Service]) -> None:
        """Raise PatchError C(service_failed) when one that was started has ended since."""
        for service in services:
            state = self._state(service)
            if state not in _goals(service, "start"):
                raise _failed("service {0} was started and is {1} now; see its log".format(service["name"], state))

    def _state(self, service: Service) -> str:
        """Return what a service does, in systemd's words; an unclear answer is no answer."""
        answer = self._run(service, "status", _QUERY_SECONDS)
        if service["manager"] == "systemd":
            word = answer.text.partition("\n")[0].strip()
        else:
            word = "active" if answer.rc == 0 else "inactive"
        if answer.rc is None or answer.timed_out or word not in _STATES:
            raise _failed("nobody can say whether service {0} runs: {1}".format(service["name"], answer.excuse()))
        return word

    def _run(self, service: Service, verb: str, timeout: float) -> Answer:
        return self._commands.run(_argv(service, verb), timeout, user=users.named(service.get("run_as")), clean=True)

    def _exists(self, service: Service) -> bool:
        if service["manager"] == "systemd":
            show = ["systemctl", "show", "--property=LoadState", "--value", service["name"]]
            return self._commands.run(show, _QUERY_SECONDS).text.partition("\n")[0].strip() == "loaded"
        return all(found(_argv(service, verb)[0]) for verb in ("status", "stop", "start"))

    def _change(self, service: Service, verb: str) -> None:
        deadline = time.monotonic() + service["timeout"]
        answer = self._run(service, verb, service["timeout"])
        if answer.rc != 0 or answer.timed_out:
            raise _failed("{0} of service {1} {2}".format(verb, service["name"], answer.excuse()))
        state = self._state(service)
        while state not in _goals(service, verb):
            if state == "failed" or time.monotonic() > deadline:
                raise _failed("{0} of service {1} left it {2}; see its log".format(verb, service["name"], state))
            self._sleep(0.1)
            state = self._state(service)


def _failed(message: str) -> PatchError:
    return PatchError("service_failed", message)


def _goals(service: Service, verb: str) -> t.Tuple[str, ...]:
    """Return the states that a start or stop is to end in; what was about to run need not come further."""
    if verb == "stop":
        return _ENDED
    return (*_RUNS, _ABOUT_TO) if service.get("was") == _ABOUT_TO else _RUNS


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
