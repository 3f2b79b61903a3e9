"""Read an inventory: which hosts, in which groups, with which of the variables that the driver needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from patchwave import child, environment, output, vars_files
from patchwave.errors import PatchwaveError, Stopped
from patchwave.folders import check_room, of_temporary

#: Seconds between two questions whether it is to be left.
_ASKED_EVERY = 0.25
#: Seconds that ansible-inventory has to end when it is told to.
_GRACE = 2.0


@dataclass(frozen=True)
class Inventory:
    """An inventory as Ansible sees it.

    Attributes:
        groups: hosts by group, those of its child groups too.
        hostvars: variables by host, of those in child.HOST_VARIABLES.
        of_all: lists that the inventory sets for all hosts, by name, of those in child.VARIABLES_OF_ALL.
    """

    groups: dict[str, list[str]]
    hostvars: dict[str, dict[str, Any]]
    of_all: dict[str, list[Any]] = field(default_factory=dict)

    def held(self) -> set[str]:
        """Return the hosts that a tag holds from patching."""
        return {host for host, known in self.hostvars.items() if known.get("not_patchable") == "held"}


def read_inventory(
    source: Path,
    folder: Path,
    stopped: Callable[[], bool],
    meanwhile: Callable[[], None] = lambda: None,
    others: Collection[Path] = (),
) -> Inventory:
    """Ask ansible-inventory for everything in the source.

    Args:
        source: an inventory file or folder.
        folder: a private folder; plugins keep what they have asked there, so that plays need not ask again.
        stopped: asked now and then; once it says True, this gives up.
        meanwhile: done while it is at work.
        others: folders where a user may have put variables that Ansible does not read.

    Raises:
        PatchwaveError: some part of it could not be read.
        Stopped: it was to be left.
    """
    beside = vars_files.check(source, others)
    file, said = folder / "inventory.json", folder / "inventory.log"
    with _log(said) as log:
        process = subprocess.Popen(
            [*child.command("inventory"), "--list", "-i", str(source), "--output", str(file)],
            env=environment.ansible(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            meanwhile()
        finally:
            _wait(process, stopped)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        check_room(folder)  # or the inventory would be blamed for it
        printed = said.read_text(encoding="utf-8", errors="replace")
        raise PatchwaveError(output.why_no_inventory(source, printed, beside.locked)) from None
    known = found.pop("_meta", {})
    groups = {name: _members(found, name) for name in found}
    if not any(groups.values()):
        why = "nothing in it, or no node has the tag 'Patch Group' or 'PatchGroup' in its accounts and regions"
        raise PatchwaveError(f"{source}: the inventory has no host: {why}")
    of_all = {name: value for name, value in known.get("of_all", {}).items() if isinstance(value, list)}
    hostvars = known.get("hostvars", {})
    printed = said.read_text(encoding="utf-8", errors="replace")
    told = [*beside.warnings(groups, hostvars), *output.warnings(printed)]
    if told:
        of_all["inventory_warnings"] = [*told, *of_all.get("inventory_warnings", [])]
    return Inventory(groups, hostvars, of_all)


def _log(file: Path) -> IO[bytes]:
    try:
        return file.open("wb")
    except OSError as error:
        raise of_temporary(error) from error


def _wait(process: subprocess.Popen[bytes], stopped: Callable[[], bool]) -> None:
    """Wait for a process in a session of its own, and end all of the session when it is to be left."""
    while True:
        try:
            process.wait(_ASKED_EVERY)
            return
        except subprocess.TimeoutExpired:
            if not stopped():
                continue
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
        raise Stopped


def _members(found: dict[str, Any], name: str) -> list[str]:
    """Return the hosts of a group and of all groups below it; Ansible allows no circle."""
    group = found.get(name, {})
    below = [host for one in group.get("children", ()) for host in _members(found, one)]
    return [*group.get("hosts", ()), *below]
