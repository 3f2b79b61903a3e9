# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What runs on this node, as /proc tells it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import typing as t

#: Environment variable that marks every process a command of ours starts, whatever session it moves to.
MARK = "PATCHWAVE_RUN"

_DELETED = " (deleted)"
_INTERPRETER = re.compile(r"(python|node|java|ruby|perl|php|(ba|da|z|k)?sh)[0-9.]*\Z")
_UNIT = re.compile(r"/([^/\n]+\.service)(/|$)", re.MULTILINE)
#: Services without which no session lives on; needrestart leaves them alone too.
_SESSIONS = ("user@", "dbus", "systemd-logind", "getty@", "serial-getty@")
#: Seconds of a clock tick, in which the kernel tells when a process began.
_TICK = 1 / os.sysconf("SC_CLK_TCK")

#: Tells whether a file is an old one: its path, and whether its name is gone.
IsOld = t.Callable[[str, bool], bool]


class Process(t.NamedTuple):
    """A process that uses an old file: C(unit) is its systemd service, or empty, see unit_of()."""

    pid: int
    name: str
    path: str
    unit: str


def now() -> float:
    """Return the time on the clock that process start times are told in."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def using(is_old: IsOld, since: float, files_too: bool = False) -> t.List[Process]:
    """List processes of this node, containers apart, that run or map an old file.

    Args:
        is_old: tells old files.
        since: when the new files were in place; a script of an interpreter that started earlier is old, if its path
            is one of the old or of the replaced files.
        files_too: also look at open files, such as the jar of a Java program.
    """
    found = []  # type: t.List[Process]
    for pid in _pids():
        if pid == os.getpid() or not _is_ours(pid):
            continue
        path = next((path for path in _paths(pid, since, files_too) if is_old(*_split(path))), None)
        if path is not None:
            found.append(Process(pid, _name(pid), path, unit_of(pid)))
    return found


def unit_of(pid: int) -> str:
    """Return the systemd service of a process, or nothing where to restart it would end what users run."""
    match = _UNIT.search(_read(pid, "cgroup").decode("utf-8", "replace"))
    return match.group(1) if match and not match.group(1).startswith(_SESSIONS) else ""


def named(names: t.Iterable[str]) -> t.List[str]:
    """Return which of C(names) run: names of processes, as in C(ps -e), or of their programs."""
    running = set()  # type: t.Set[str]
    for pid in _pids():
        if pid != os.getpid():
            running.update((_name(pid), os.path.basename(_split(_link(pid, "exe"))[0])))
    return [name for name in names if name in running]


def kill_marked(mark: str) -> int:
    """Kill every process that carries C(mark) or a mark that begins with it and a dot; return how many."""
    wanted = "{0}={1}".format(MARK, mark).encode()
    killed = set()  # type: t.Set[int]
    for dummy in range(20):
        alive = [pid for pid in _pids() if pid != os.getpid() and _carries(pid, wanted)]
        if not alive:
            break
        for pid in alive:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed.update(alive)
        time.sleep(0.02)
    return len(killed)


def _carries(pid: int, wanted: bytes) -> bool:
    entries = _read(pid, "environ").split(b"\0")
    return any(entry == wanted or entry.startswith(wanted + b".") for entry in entries)


def _pids() -> t.List[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _read(pid: int, name: str) -> bytes:
    try:
        with open("/proc/{0}/{1}".format(pid, name), "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink("/proc/{0}/{1}".format(pid, name))
    except OSError:
        return ""


def _is_ours(pid: int) -> bool:
    """Tell whether the process sees this root folder; one in a container has files of its own."""
    try:
        return os.path.samestat(os.stat("/proc/{0}/root".format(pid)), os.stat("/"))
    except OSError:
        return False


def _split(path: str) -> t.Tuple[str, bool]:
    return (path[: -len(_DELETED)], True) if path.endswith(_DELETED) else (path, False)


def _name(pid: int) -> str:
    return _read(pid, "comm").decode("utf-8", "replace").strip() or str(pid)


def _paths(pid: int, since: float, files_too: bool) -> t.Iterator[str]:
    program = _link(pid, "exe")
    yield program
    seen = set()  # type: t.Set[str]
    for line in os.fsdecode(_read(pid, "maps")).splitlines():
        columns = line.split(None, 5)
        if len(columns) == 6 and columns[5].startswith("/") and columns[5] not in seen:
            seen.add(columns[5])
            yield columns[5]
    if files_too:
        with contextlib.suppress(OSError):
            for name in os.listdir("/proc/{0}/fd".format(pid)):
                yield _link(pid, "fd/" + name)
    # A start is told in ticks, so in doubt it was after.
    if _INTERPRETER.match(os.path.basename(_split(program)[0])) and _started(pid) + _TICK <= since:
        script = next((word for word in os.fsdecode(_read(pid, "cmdline")).split("\0")[1:] if word[:1] != "-"), "")
        if script.startswith("/"):
            yield script + _DELETED
            yield os.path.join(os.path.realpath(os.path.dirname(script)), os.path.basename(script)) + _DELETED


def _started(pid: int) -> float:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[19]) * _TICK if len(fields) > 19 else float("inf")
