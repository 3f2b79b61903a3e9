"""What is written on a node while nothing may be (`patchwave lab switch --check-only`).

It is found out afterwards rather than refused: check mode asks whether it could write, and is to get the node's answer.
"""

import contextlib
import os
from pathlib import Path

from patchwave_lab.labdir import OVERLAID

#: There, beside the nodes' directories, while the switch is on; what was written is noted in it.
NOTES = "check-only"
#: Where the agent, Python, sshd and the launcher of modules, as in /tmp, have what goes with them or with a reboot.
IGNORED = (
    "/run/patchwave-lab",
    "/run/patchwave",
    "/run/sshd",
    "/run/utmp",
    "/var/log/wtmp",
    "/var/log/btmp",
    "/var/log/lastlog",
)
#: Paths that a message names.
SHOWN = 5
Look = dict[str, tuple[int, int]]


def watched(home: Path) -> bool:
    """Is the switch on for the node whose directory this is?"""
    return (home.parent / NOTES).exists()


def look(home: Path) -> Look:
    """All that makes the node differ from this machine, except /tmp: inode and time of change by path in the node.

    What lies elsewhere is this machine's; of that only `/` itself is looked at.
    """
    found: Look = {"/": _stamp("/")}
    for name in (*OVERLAID, "run"):
        top = home / (name if name == "run" else f"{name}.up")
        for folder, folders, files in os.walk(top):
            inner = f"/{name}{folder.removeprefix(str(top))}"
            for each in [*folders, *files]:
                with contextlib.suppress(FileNotFoundError):
                    found[f"{inner}/{each}"] = _stamp(os.path.join(folder, each))
    return {path: entry for path, entry in found.items() if not _ignored(path)}


def note(home: Path, node: str, before: Look) -> str:
    """Note what was written since `before`, and say it in one line; empty for nothing."""
    after = look(home)
    written = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if not written:
        return ""
    more = f" and {len(written) - SHOWN} more" if len(written) > SHOWN else ""
    line = f"{node}: the lab is check-only, but this was written: {', '.join(written[:SHOWN])}{more}\n"
    with (home.parent / NOTES).open("a") as notes:
        notes.write(line)
    return line


def _stamp(path: str) -> tuple[int, int]:
    entry = os.lstat(path)
    return entry.st_ino, entry.st_ctime_ns


def _ignored(path: str) -> bool:
    return path.startswith(IGNORED) or "__pycache__" in path
