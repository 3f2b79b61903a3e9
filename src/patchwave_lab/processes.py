"""Processes of a lab: is the server the one we started, and what still runs inside a node?"""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Held while a process is started or a script is written. A process that is started meanwhile would hold the script
#: open for writing for a moment, and nobody could run it ("Text file busy").
STARTING = threading.Lock()


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def is_same_process(pid: int, started: int) -> bool:
    """Is `pid` still the process that started then? A process id alone may have been given to another one."""
    return start_time(pid) == started


def stop(pid: int, started: int, patience: float = 3.0) -> None:
    """Ask a process to end, and end it after `patience` seconds."""
    for sign, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, patience)):
        if not is_same_process(pid, started):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + wait
        while is_same_process(pid, started) and time.monotonic() < deadline:
            time.sleep(0.02)


def servers(lab: Path) -> list[int]:
    """Servers of the lab in this directory, also one whose id nobody wrote down: who started it was killed."""
    mark, found = f"\0patchwave_lab.server\0{lab}\0".encode(), []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def inside(nodes: Path) -> list[int]:
    """Processes that run inside a node below `nodes`: the mounts they see name that directory.

    This finds them after the server has died too, and finds nothing else: a node's mounts are private to it.
    """
    own = os.readlink("/proc/self/ns/mnt")
    mark = f"upperdir={nodes}/"
    # A node that has not got its mounts yet.
    starting = f"/enter.sh\0{nodes}".encode()
    verdicts: dict[str, bool] = {own: False}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if starting in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
                continue
            namespace = os.readlink(entry / "ns/mnt")
            if namespace not in verdicts:
                verdicts[namespace] = mark in (entry / "mountinfo").read_text()
        except OSError:
            continue
        if verdicts[namespace]:
            found.append(int(entry.name))
    return found


def kill_inside(nodes: Path, patience: float = 5.0) -> int:
    """Kill everything that runs inside a node below `nodes`; the number of processes killed."""
    killed: set[int] = set()
    deadline = time.monotonic() + patience
    while (pids := inside(nodes)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(0.02)
    return len(killed)


def remove_tree(path: Path) -> None:
    """Remove a directory, also where a node or overlayfs left directories without any permission."""

    def unlock(function: Callable[..., Any], name: str, _error: object) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700, follow_symlinks=os.chmod not in os.supports_follow_symlinks)
            if os.path.isdir(name) and not os.path.islink(name):
                shutil.rmtree(name, ignore_errors=True)
            else:
                os.unlink(name)

    shutil.rmtree(path, onerror=unlock)
