# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs inside a node, in one process: patches it again and again, disturbs each run, and looks at what is left.

Standard input says what to do, standard output what was found; see test_crashes.py.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import DEFINITION
from ansible_collections.patchwave.aws.plugins.module_utils._node import fetch, software
from ansible_collections.patchwave.aws.plugins.module_utils._node.archive import Limits
from ansible_collections.patchwave.aws.plugins.module_utils._node.bounded import run_command
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk

LASTING = ("lock", "software_patch.log")
STATE = "/var/lib/patchwave"
SPEC = {"name": {"type": "str", "required": True}, **DEFINITION}


class Lab:
    """A node that can be put back, patched, disturbed and looked at.

    Args:
        args: the module's arguments.
        folders: all folders that the patch may change.
        ask: command whose output belongs to the state of the node.
        files: what else it may change: files in folders of others, which need not be there yet.
    """

    def __init__(self, args: dict[str, t.Any], folders: list[str], ask: list[str], files: t.Sequence[str] = ()) -> None:
        self.params = ArgumentSpecValidator(SPEC).validate(args).validated_parameters
        self.folders, self.files = folders, files
        self.ask, self.kept = ask, Path("/mnt/kept")
        for path in [*folders, *files]:
            Path(f"{self.kept}{path}").parent.mkdir(parents=True, exist_ok=True)
            if path in folders:
                Path(path).mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path):
                subprocess.run(["cp", "-a", "-T", path, f"{self.kept}{path}"], check=True)

    def reset(self) -> None:
        for folder in self.folders:
            for entry in os.scandir(folder):
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
        for path in [*self.files, *self.beside()]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for path in [*self.folders, *self.files]:
            if os.path.lexists(f"{self.kept}{path}"):
                subprocess.run(["cp", "-a", "-T", f"{self.kept}{path}", path], check=True)

    def beside(self) -> list[str]:
        """Return what stands beside the files, and may be left of them."""
        found = {name for path in self.files for name in glob.glob(glob.escape(path) + "?*")}
        hidden = {name for path in self.files for name in glob.glob(f"{os.path.dirname(path)}/.patchwave*")}
        return sorted((found | hidden) - set(self.files))

    def look(self) -> dict[str, t.Any]:
        """Return what a run must leave alike: files, answers of the package manager, names of state files."""
        found: dict[str, t.Any] = {"ask": subprocess.run(self.ask, capture_output=True, text=True, check=False).stdout}
        for folder in self.folders:
            if folder != STATE and "/lib/dpkg" not in folder and "/lib/rpm" not in folder:
                for path in [Path(folder), *Path(folder).rglob("*")]:
                    if path.name != "log":  # of maintainer scripts, which may run again
                        found[str(path)] = entry(path)
        found.update({path: entry(Path(path)) for path in [*self.files, *self.beside()] if os.path.lexists(path)})
        found["state"] = sorted(
            str(path.relative_to(STATE)) for path in Path(STATE).rglob("*") if path.name not in LASTING
        )
        found["scratch"] = glob.glob("/.patchwave-*") + glob.glob("/*/.patchwave-*")
        return found

    def patch(self, disk: Disk | None = None) -> dict[str, t.Any]:
        limits = Limits(reserve=0)
        return software.patch_software(self.params, run_command, disk=disk, limits=limits)

    def started(self, disk: Disk) -> int:
        """Run in a child, in a process group of its own; return its id."""
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            try:
                self.patch(disk)
            finally:
                os._exit(0)
        return child

    def killed(self, step: int | None, after: float | None, group: bool) -> bool:
        """Run in a child that kills itself at a step, or is killed after a time; tell whether it came to that."""
        count = itertools.count()

        def checkpoint(label: str) -> None:
            if next(count) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        child = self.started(Disk(checkpoint))
        if after is not None:
            time.sleep(after)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL) if group else os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def entry(path: Path) -> list[t.Any]:
    """Return what is compared of one file."""
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return ["link", os.readlink(path)]
    content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(info.st_mode) else ""
    attributes = {name: os.getxattr(path, name).hex() for name in os.listxattr(path)}
    return [oct(info.st_mode), info.st_uid, info.st_gid, content, attributes]


class Full(Disk):
    """A disk that others fill while the patch runs: it looks roomy and is not."""

    def free(self, path: str) -> int:
        return 2**40


def crash(lab: Lab, wanted: dict[str, t.Any]) -> dict[str, t.Any]:
    """Kill at every step, once and twice; then at random instants, one to three times before the next whole run.

    Kills at steps are counted. Whether a run still lives at an instant depends on how busy the machine is.
    """
    lab.reset()
    start = time.monotonic()
    clean = lab.patch()
    duration, expected = time.monotonic() - start, lab.look()
    faults, kills, chance = [], 0, random.Random(wanted["seed"])

    def judge(how: str) -> None:
        result = lab.patch()
        after = lab.look()
        may_end = ("patched", "current") if clean["outcome"] == "patched" else (clean["outcome"],)
        if result["outcome"] not in may_end or after != expected:
            faults.append([how, result["outcome"], result["msg"], diff(after, expected)])

    for step in itertools.count(0, wanted.get("stride", 1)):
        lab.reset()
        if not lab.killed(step, None, False):
            break
        kills += 1
        if kills % 2:
            kills += lab.killed(step // 2, None, False)
        judge(f"step {step}")
    for number in range(wanted["random"]):
        lab.reset()
        moments = [chance.uniform(0, duration) for dummy in range(1 + number % 3)]
        for moment in moments:
            lab.killed(None, moment, bool(number % 2))
        judge(f"killed at {moments}")
    return {"clean": clean["outcome"], "steps": step, "kills": kills, "faults": faults, "seconds": duration}


def unpacking(lab: Lab, wanted: dict[str, t.Any]) -> dict[str, t.Any]:
    """Kill rpm, and all, while there are files of its own making beside those of the package."""
    lab.reset()
    clean, expected = lab.patch(), lab.look()
    lab.reset()
    child = lab.started(Disk())
    while not glob.glob(wanted["pattern"]):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended before it was seen to unpack"
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left, result = glob.glob(wanted["pattern"]), lab.patch()
    faults = diff(lab.look(), expected) if result["outcome"] == clean["outcome"] else [result]
    return {"clean": clean["outcome"], "left": left, "faults": faults}


def chain(lab: Lab, wanted: dict[str, t.Any]) -> dict[str, t.Any]:
    """Kill one run after the other, each a step or an instant later than the one before it, and then let one end."""
    lab.reset()
    steps: list[str] = []
    start = time.monotonic()
    clean = lab.patch(Disk(steps.append))
    duration, expected = time.monotonic() - start, lab.look()
    lab.reset()
    kills = 0
    for step in range(0, len(steps), wanted["stride"]):
        if lab.killed(step, None, False):
            kills += 1
        else:  # the one before had come so far that it was only to be finished
            lab.reset()
        if step % 4 == 0:
            lab.killed(None, duration * step / len(steps), bool(step % 8))
    result = lab.patch()
    faults = diff(lab.look(), expected) if result["outcome"] in ("patched", "current") else [result]
    return {"clean": clean["outcome"], "kills": kills, "faults": faults, "seconds": duration}


def fill(lab: Lab, wanted: dict[str, t.Any]) -> dict[str, t.Any]:
    """Leave the disk one page or name more each time until a run succeeds; each failure is mended by more room."""
    faults, failures = [], []
    lab.reset()
    expected_before = lab.look()
    clean = lab.patch()
    expected = lab.look()
    unit, room = wanted["room"]
    plenty = f"{room}={2**30 if room == 'size' else 2**18}"
    for step in itertools.count():
        lab.reset()
        subprocess.run(["mount", "-o", f"remount,{room}={used(room) + step * unit}", "/mnt"], check=True)
        result = lab.patch(Full())
        subprocess.run(["mount", "-o", f"remount,{plenty}", "/mnt"], check=True)
        if result["outcome"] == "patched":
            break
        failures.append([result["outcome"], result["reason"]])
        after = lab.look()
        if result["reason"] != "rollback_failed" and after != expected_before:
            faults.append([step, result, diff(after, expected_before)])
        lab.patch()
        if lab.look() != expected:
            faults.append([step, "then", diff(lab.look(), expected)])
    return {"clean": clean["outcome"], "failures": failures, "faults": faults}


def used(room: str) -> int:
    """Return the bytes or names in use below /mnt, which all folders of a node share."""
    info = os.statvfs("/mnt")
    return (info.f_blocks - info.f_bfree) * info.f_frsize if room == "size" else info.f_files - info.f_ffree


def diff(after: dict[str, t.Any], expected: dict[str, t.Any]) -> list[t.Any]:
    return [(key, after.get(key)) for key in sorted({*after, *expected}) if after.get(key) != expected.get(key)]


def main() -> None:
    wanted = json.load(sys.stdin)
    fetch.RESERVE = 0
    lab = Lab(wanted["args"], wanted["folders"], wanted["ask"], wanted.get("files", ()))
    modes = {"crash": crash, "chain": chain, "unpacking": unpacking, "fill": fill}
    json.dump(modes[wanted["mode"]](lab, wanted), sys.stdout)


if __name__ == "__main__":
    main()
