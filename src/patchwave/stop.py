"""Stop a rollout from outside: with its file and its inventory, and nothing else of it on this machine."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from ansible_collections.patchwave.aws.plugins.module_utils._core import run_names

from patchwave import runner
from patchwave.errors import PatchwaveError, Stopped
from patchwave.folders import private_folder
from patchwave.interrupts import Interrupts
from patchwave.inventory import read_inventory
from patchwave.progress import Screen
from patchwave.rollout_file import Target, read_target

PLAYBOOK = "patchwave.aws.stop"
EXIT_DONE, EXIT_NOTHING, EXIT_PART = 0, 1, 2
#: An inventory without any node, for what the bucket alone does.
_NOBODY = Path("localhost,")


def stop_rollout(path: Path, by: str, reason: str, all_: bool, lift: bool, interrupts: Interrupts) -> int:
    """Stop the rollout in a file, or with `lift` let it go on.

    Args:
        path: the rollout file.
        by: who does it; empty: the user of this process.
        reason: why.
        all_: whether all rollouts of the bucket are meant.
        lift: whether a stop is to be taken back.
        interrupts: tells of signals.

    Returns:
        0 when all was done, 2 when something could not be done, which is said, 1 when nothing could.

    Raises:
        PatchwaveError: a mistake; nothing was done.
        Stopped: a signal came before anything was done.
    """
    wanted = read_target(path)
    if not wanted.bucket:
        raise PatchwaveError(f"{path}: bucket: is required to stop a rollout from outside; the mark lies there")
    screen = Screen()
    variables = {
        "patchwave_rollout": run_names.ALL if all_ else wanted.name,
        "patchwave_bucket": wanted.bucket,
        "patchwave_bucket_owner": wanted.bucket_owner,
        "patchwave_stop_by": _text(by or _user()),
        "patchwave_stop_reason": _text(reason),
        "patchwave_stop_state": "absent" if lift else "present",
    }
    with private_folder() as private:
        play = _Plays(private, variables)
        # What keeps nodes from beginning needs the bucket alone, and does not wait for an inventory.
        first = play.run(_NOBODY, ["localhost"], path)
        _say(screen, first)
        if lift:
            return EXIT_PART if first.get("marked") else EXIT_DONE if "rollout" in first else EXIT_NOTHING
        second = _cancel(play, wanted, screen, interrupts)
    if not (first.get("payloads") or second.get("commands") or first.get("problems")):
        screen.say("Nothing of it was under way; is that its name?")
    if first.get("problems") or second.get("problems"):
        return EXIT_PART if first.get("marked") or second.get("changed") else EXIT_NOTHING
    return EXIT_DONE


def _cancel(play: _Plays, wanted: Target, screen: Screen, interrupts: Interrupts) -> dict[str, Any]:
    """Cancel the rollout's commands; return the result, or only a problem where the inventory cannot be had."""
    screen.say(f"Reading the inventory {wanted.inventory.name} ...")
    try:
        inventory = read_inventory(wanted.inventory, play.folder, interrupts.left_alone)
        result = play.run(wanted.inventory, sorted(inventory.hostvars), wanted.inventory)
    except (PatchwaveError, Stopped) as error:
        why = str(error) or "interrupted"
        result = {"problems": [f"no command was cancelled, for the inventory cannot be had: {why}"]}
    _say(screen, result)
    return result


def _say(screen: Screen, result: dict[str, Any]) -> None:
    lines = [str(result.get("msg", "")), *(f"NOT DONE: {problem}" for problem in result.get("problems", ()))]
    for line in filter(None, (" ".join(line.partition("; NOT DONE: ")[0].split()) for line in lines)):
        screen.say(line)


def _text(value: str) -> str:
    """Return a word of the command line, which need not be UTF-8, as a text that any file takes."""
    return value.encode("utf-8", "replace").decode()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody has this number
        return ""


class _Plays:
    """Runs the playbook on some inventory."""

    def __init__(self, folder: Path, variables: dict[str, Any]) -> None:
        """Take a private folder and the playbook's variables."""
        self.folder, self._variables = folder, variables

    def run(self, inventory: Path, hosts: list[str], blamed: Path) -> dict[str, Any]:
        """Return the result of the action.

        Raises:
            PatchwaveError: there is none; nothing was done.
        """
        results: list[dict[str, Any]] = []

        def on_result(how: str, host: str, action: str, result: dict[str, Any]) -> None:
            if action == PLAYBOOK:
                results.append(result)

        given = {**self._variables, "patchwave_hosts": "all"}
        play = runner.Play(PLAYBOOK, inventory, hosts, given, self.folder / "stop.log")
        ansible = runner.Ansible(self.folder, 0)
        try:
            said = ansible.play(play, on_result, lambda: False)
        finally:
            ansible.close()
        result = results[0] if results else {}
        if "rollout" not in result:
            told = result.get("msg") or said or "there is no host through which an account could be asked"
            raise PatchwaveError(f"{blamed}: {' '.join(str(told).split())}; the rollout is NOT stopped")
        return result
