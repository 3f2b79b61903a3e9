# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What runs on this node, as /proc tells it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
import typing as t

#: Environment variable that marks every process a command of ours starts, whatever session it moves to.
MARK = "PATCHWAVE_RUN"

_DELETED = " (deleted)"
_SHELL = re.compile(r"(ba|da|z|k|a)?sh\Z")
_INTERPRETER = re.compile(
    r"(python|pypy|node|java|jsvc|ruby|perl|php(-fpm)?|lua|tclsh|dotnet|mono|deno|bun|beam\.smp)[0-9.]*\Z"
)
#: Libraries by which a program of any name is an interpreter too.
_RUNTIME = re.compile(r"/lib(jvm|python[0-9.]+|ruby[0-9.-]*|perl|node|coreclr|php[0-9.]*)\.so")
#: Variables that say where an interpreter finds its programs.
_PROGRAMS = re.compile(
    r"(CLASSPATH|(JAVA_TOOL|JDK_JAVA|_JAVA|NODE)_OPTIONS|(PYTHON|NODE_|GEM_)PATH|PYTHONSTARTUP|PERL5?(LIB|OPT)|RUBY(LIB|OPT))="
)
#: What parts words of a command line into paths: C(-Dx=/a), C(/a:/b), C(--x='/a b'), C(@/a).
_PARTS = re.compile(r"[=:;,@\s'\"]+")
#: Words that are looked at of one process: any user may start one with a million.
_MOST_WORDS = 1000
#: Endings of open files that are programs, not data.
_CODE = (".jar", ".war", ".ear", ".zip", ".jmod", ".whl", ".pyz", ".phar", ".asar", ".dll", ".beam")
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
        since: when the new files were in place; what an interpreter that started earlier was told to run is old, if its
            path is one of the old or of the replaced files, or a folder of them.
        files_too: also look at open files that do not look like programs.
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


def running(name: str) -> t.Optional[int]:
    """Return a process of this node, containers apart, whose program has a file of this name."""
    for pid in _pids():
        if pid != os.getpid() and os.path.basename(_split(_link(pid, "exe"))[0]) == name and _is_ours(pid):
            return pid
    return None


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
    mapped = {columns[5] for columns in _maps(pid) if len(columns) == 6 and columns[5].startswith("/")}
    yield from mapped
    with contextlib.suppress(OSError):
        opened = [_link(pid, "fd/" + name) for name in os.listdir("/proc/{0}/fd".format(pid))]
        yield from (path for path in opened if files_too or _split(path)[0].lower().endswith(_CODE))
    # A start is told in ticks, so in doubt it was after.
    if _started(pid) + _TICK <= since:
        yield from (path + _DELETED for path in _interpreted(pid, os.path.basename(_split(program)[0]), mapped))


def _maps(pid: int) -> t.Iterator[t.List[str]]:
    for line in os.fsdecode(_read(pid, "maps")).splitlines():
        yield line.split(None, 5)


def _interpreted(pid: int, program: str, mapped: t.Collection[str]) -> t.Iterator[str]:
    """Give the files and folders that an interpreter may have its program from, of which it may hold none open.

    They are what its arguments and variables name, from the folder that it works in, and that folder; it is not what a
    shell reads from.
    """
    words, folder = os.fsdecode(_read(pid, "cmdline")).split("\0")[1:-1], _link(pid, "cwd")
    if not words or not folder.startswith("/") or pid in _above():  # what a person types into, or what runs this
        return
    if _SHELL.match(program):
        options = list(itertools.takewhile(lambda word: word[:1] in ("-", "+"), words))
        words = words[len(options) :][:1] if not any("c" in word for word in options if word[:2] != "--") else []
    elif _INTERPRETER.match(program) or any(map(_RUNTIME.search, mapped)):
        yield folder
        words += [entry for entry in os.fsdecode(_read(pid, "environ")).split("\0") if _PROGRAMS.match(entry)]
        words += [part for word in words for part in _PARTS.split(word)]
    else:
        return
    for word in {word[:-2] if word.endswith("/*") else word for word in words[:_MOST_WORDS] if word}:
        path = os.path.normpath(os.path.join(folder, word))
        yield path
        yield os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        yield os.path.realpath(path)


def _above() -> t.Set[int]:
    """Return the processes that this one runs under."""
    found = set()  # type: t.Set[int]
    pid = os.getppid()
    while pid > 0 and pid not in found:
        found.add(pid)
        fields = _read(pid, "stat").rpartition(b")")[2].split()
        pid = int(fields[1]) if len(fields) > 1 else 0
    return found


def _started(pid: int) -> float:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[19]) * _TICK if len(fields) > 19 else float("inf")
