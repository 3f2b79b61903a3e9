# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Run the commands of a definition, and read the version that its probe prints."""

from __future__ import annotations

import os
import threading
import time
import typing as t

from .._core import versions
from .._core.probe_output import read
from . import environment, processes, users
from .errors import PatchError
from .text import tidy

#: Shape of bounded.run_command: (argv, **options) -> (rc, stdout, stderr).
RunCommand = t.Callable[..., t.Tuple[int, str, str]]

_SEARCHED = 64 * 1024


class Answer(t.NamedTuple):
    """How a command ended: C(rc) is None when it could not start; C(text) is standard output, then standard error."""

    rc: t.Optional[int]
    text: str
    timed_out: bool

    def excuse(self, *marks: str) -> str:
        """Say in a few words how the command failed: with two lines from one of C(marks) on, else with the last."""
        lines = self.text.strip().split("\n")
        first = next((number for number, line in enumerate(lines) if line.startswith(marks)), len(lines) - 1)
        last = tidy(" ".join(lines[first : first + 2]), 160)
        how = (
            "timed out" if self.timed_out else "did not start" if self.rc is None else "ended with {0}".format(self.rc)
        )
        return "{0}: {1}".format(how, last) if last else how


class Commands:
    """Run a definition's commands without a shell, within a time limit.

    Args:
        run_command: bounded.run_command() or a stand-in.
    """

    def __init__(self, run_command: RunCommand) -> None:
        self._run_command = run_command
        self._count = 0
        self._mark = ""
        self.new_mark()

    def new_mark(self) -> str:
        """Return what marks all that is started from now on, see processes.MARK; nothing else has it."""
        self._mark = "{0}-{1}".format(os.getpid(), time.time_ns())
        return self._mark

    def run(
        self,
        argv: t.Sequence[str],
        timeout: float,
        environ: t.Optional[t.Mapping[str, str]] = None,
        cwd: str = "/",
        limit: t.Optional[int] = _SEARCHED,
        user: t.Optional[users.User] = None,
        clean: bool = False,
    ) -> Answer:
        """Run one command; it and all that it started are killed after C(timeout) seconds.

        Args:
            argv: program and arguments.
            timeout: in seconds.
            environ: variables beside those of environment.of_commands().
            cwd: where it runs.
            limit: how many characters of each stream are kept.
            user: who runs it, where that is not the user of this module.
            clean: give it the environment of a service.
        """
        who = user or users.me()
        base = environment.of_services(who) if clean else environment.of_commands(os.environ, who)
        self._count += 1
        mark = "{0}.{1}".format(self._mark, self._count)
        timer = None  # type: t.Optional[threading.Timer]
        expired = threading.Event()

        def watch(process: t.Any) -> None:
            nonlocal timer

            def expire() -> None:
                if process.poll() is not None:
                    return  # only what it has started still holds its output
                expired.set()
                process.kill()
                processes.kill_marked(mark)

            timer = threading.Timer(timeout, expire)
            timer.daemon = True
            timer.start()

        try:
            marked = dict(base, **dict(environ or {}, **{processes.MARK: mark}))
            rc, out, err = self._run_command(who.command(argv), cwd=cwd, environ=marked, begun=watch)
        except OSError as error:
            return Answer(None, os.strerror(error.errno) if error.errno else str(error), False)
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()  # it may be killing
        return Answer(rc, out[:limit] + "\n" + err[:limit], expired.is_set())

    def probe(
        self, options: t.Mapping[str, t.Any], is_version: t.Callable[[t.Any], bool] = versions.is_version
    ) -> t.Optional[str]:
        """Return the version of the program on this node, or None when its command is not there.

        Raises:
            PatchError: C(probe_failed).
        """
        argv = options["command"]
        if not found(argv[0]):
            return None
        answer = self.run(argv, options["timeout"], user=users.reader(argv, options.get("run_as")))
        if answer.timed_out or answer.rc != 0:
            raise PatchError("probe_failed", "the probe {0} {1}".format(tidy(argv[0], 80), answer.excuse()))
        try:
            version = read(answer.text, options["pattern"])
        except ValueError as error:
            message = "the probe {0}: {1}; set probe.pattern".format(tidy(argv[0], 80), tidy(str(error), 200))
            raise PatchError("probe_failed", message) from None
        if version is None or not is_version(version):
            message = "no version in what the probe {0} printed; check probe.pattern".format(tidy(argv[0], 80))
            raise PatchError("probe_failed", message)
        return version


def found(program: str) -> bool:
    """Tell whether a command's program is on this node: a path that exists, or a name on PATH."""
    if "/" in program:
        return os.path.exists(program)
    return environment.which(program) is not None


def elsewhere(program: str) -> t.Optional[str]:
    """Return where a program that is missing at its own path is after all: on PATH, or as a process that runs it."""
    name = os.path.basename(program)
    path = environment.which(name) if name != program else None
    if path is not None:
        return path
    running = processes.running(name)
    return "process {0}".format(running) if running is not None else None
