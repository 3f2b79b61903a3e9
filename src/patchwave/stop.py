"""Stop a rollout from outside: with its file, and nothing else of it on this machine."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from patchwave import runner
from patchwave.errors import PatchwaveError, Stopped
from patchwave.folders import private_folder
from patchwave.interrupts import Interrupts
from patchwave.inventory import read_inventory
from patchwave.progress import Screen
from patchwave.rollout_file import RolloutFile, read_rollout

PLAYBOOK = "patchwave.aws.stop"
EXIT_DONE, EXIT_PART = 0, 2


def stop_rollout(path: Path, by: str, reason: str, lift: bool, interrupts: Interrupts) -> int:
    """Stop the rollout in a file, or with `lift` let it go on.

    Args:
        path: the rollout file.
        by: who does it; empty: the user of this process.
        reason: why.
        lift: whether a stop is to be taken back.
        interrupts: tells of signals.

    Returns:
        0 when all was done, 2 when the rollout is stopped and something could not be done, which is said.

    Raises:
        PatchwaveError: a mistake, or nothing could be done.
        Stopped: a signal came before that.
    """
    wanted = read_rollout(path)
    if not wanted.bucket:
        raise PatchwaveError(f"{path}: bucket: is required to stop a rollout from outside; the mark lies there")
    screen = Screen()
    screen.say(f"Reading the inventory {wanted.inventory.name} ...")
    with private_folder() as private:
        ansible = runner.Ansible(private, 0)
        try:
            inventory = read_inventory(wanted.inventory, private, interrupts.asked, ansible.prepare)
            if interrupts.asked():
                raise Stopped
            hosts = sorted(inventory.hostvars)
            result, said = _played(wanted, ansible, private, hosts, _variables(wanted, by, reason, lift))
        finally:
            ansible.close()
    if "rollout" not in result:
        told = result.get("msg") or said or "the inventory has no host through which an account could be asked"
        raise PatchwaveError(f"{path}: {' '.join(str(told).split())}")
    screen.say(" ".join(str(result.get("msg", "")).split()))
    for problem in result.get("problems", ()):
        screen.say(f"not done: {problem}")
    return EXIT_PART if result.get("problems") else EXIT_DONE


def _variables(wanted: RolloutFile, by: str, reason: str, lift: bool) -> dict[str, Any]:
    return {
        "patchwave_hosts": "all",
        "patchwave_rollout": wanted.name,
        "patchwave_bucket": wanted.bucket,
        "patchwave_bucket_owner": wanted.vars.get("patch_software_bucket_owner") or "",
        "patchwave_stop_by": by or _user(),
        "patchwave_stop_reason": reason,
        "patchwave_stop_state": "absent" if lift else "present",
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody has this number
        return ""


def _played(
    wanted: RolloutFile, ansible: runner.Ansible, folder: Path, hosts: list[str], variables: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """Run the play; return its action's result, and what Ansible said that went wrong."""
    results: list[dict[str, Any]] = []

    def on_result(how: str, host: str, action: str, result: dict[str, Any]) -> None:
        if action == PLAYBOOK:
            results.append(result)

    play = runner.Play(PLAYBOOK, wanted.inventory, hosts, variables, folder / "stop.log")
    said = ansible.play(play, on_result, lambda: False)
    return (results[-1] if results else {}), said
