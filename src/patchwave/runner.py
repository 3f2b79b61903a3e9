"""The only place that knows ansible-runner."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner

from patchwave.errors import PatchwaveError

#: Hosts that Ansible works on at once where a task runs for each host; Ansible's own default is 5.
_FORKS = 20

#: What one host's task ended with: event name without `runner_on_`, host, the task's action, and its result.
OnResult = Callable[[str, str, str, dict[str, Any]], None]


@dataclass(frozen=True)
class Inventory:
    """An inventory as Ansible sees it: hosts by group, those of its child groups too, and variables by host."""

    groups: dict[str, list[str]]
    hostvars: dict[str, dict[str, Any]]

    def held(self) -> set[str]:
        """Return the hosts that a tag holds from patching."""
        return {host for host, known in self.hostvars.items() if known.get("not_patchable") == "held"}

    def unread(self) -> list[dict[str, str]]:
        """Return what the user chose to go on without: account, region and error of each."""
        return next((known["unread"] for known in self.hostvars.values() if known.get("unread")), [])


def read_inventory(source: Path, cache: Path) -> Inventory:
    """Ask ansible-inventory for everything in the source.

    Args:
        source: an inventory file or folder.
        cache: a folder in which plugins keep what they have asked, so that plays need not ask again.

    Raises:
        PatchwaveError: some part of it could not be read.
    """
    with private_folder() as folder:
        # Not by its standard output, of which ansible-runner makes an event a line, with a file for each.
        file = folder / "inventory.json"
        printed = ansible_runner.get_inventory(
            action="list",
            inventories=[str(source)],
            output_file=str(file),
            quiet=True,
            private_data_dir=str(folder),
            envvars=_environment(cache),
        )
        try:
            output = _plain(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise PatchwaveError(_reason(source, "\n".join(map(str, printed)))) from None
    groups = {name: _members(output, name) for name in output if name != "_meta"}
    return Inventory(groups, output.get("_meta", {}).get("hostvars", {}))


def _members(output: dict[str, Any], name: str) -> list[str]:
    """Return the hosts of a group and of all groups below it; Ansible allows no circle."""
    group = output.get(name, {})
    below = [host for child in group.get("children", ()) for host in _members(output, child)]
    return [*group.get("hosts", ()), *below]


def play(
    playbook: str,
    inventory: Path,
    cache: Path,
    hosts: list[str],
    variables: dict[str, Any],
    log: Path,
    most: int,
    on_result: OnResult,
    cancelled: Callable[[], bool],
) -> str:
    """Run a playbook on these hosts only.

    Args:
        playbook: its name, such as `patchwave.aws.patch_software`.
        inventory: an inventory source.
        cache: the folder that read_inventory() was given.
        hosts: the hosts that it is limited to.
        variables: extra variables; they must hold no secrets, for Ansible may print them.
        log: gets what Ansible printed.
        most: hosts that a task runs for at once; 0 leaves it to Ansible's own setting.
        on_result: called for each task that ended on a host.
        cancelled: asked now and then; once it says True, Ansible is stopped.

    Returns:
        How Ansible ended, in ansible-runner's words: `successful`, `failed`, `canceled` or `timeout`.
    """

    def on_event(event: dict[str, Any]) -> bool:
        name = event.get("event", "")
        if name in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable"):
            data = event["event_data"]
            on_result(name.removeprefix("runner_on_"), data["host"], data["task_action"], data.get("res") or {})
        return False  # no file for each event

    with private_folder() as folder:
        (folder / "limit").write_text("\n".join(hosts), encoding="utf-8")
        (folder / "variables.json").write_text(json.dumps(variables), encoding="utf-8")
        run = ansible_runner.run(
            private_data_dir=str(folder),
            playbook=playbook,
            inventory=str(inventory),
            limit=f"@{folder}/limit",
            cmdline=f"-e @{folder}/variables.json",
            envvars=_environment(cache, most),
            event_handler=on_event,
            cancel_callback=cancelled,
            quiet=True,
            suppress_env_files=True,
        )
        shutil.copyfile(run.stdout.name, log)
    return str(run.status)


def _plain(value: Any) -> Any:
    """Undo the mark that ansible-inventory puts on strings that must not be templated; the driver templates nothing."""
    if isinstance(value, dict):
        return (
            value["__ansible_unsafe"]
            if set(value) == {"__ansible_unsafe"}
            else {k: _plain(v) for k, v in value.items()}
        )
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _environment(cache: Path, most: int = 0) -> dict[str, str]:
    """Ansible's programs are those beside this Python, whether or not its folder is on PATH."""
    own = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if path[0] != own:  # ansible-runner looks in the PATH of this process
        os.environ["PATH"] = os.pathsep.join([own, *path])
    own_forks = os.environ.get("ANSIBLE_FORKS", "")
    forks = int(own_forks) if own_forks.isdigit() else _FORKS
    return {
        "ANSIBLE_FORKS": str(min(most, forks) if most else forks),
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_INVENTORY_CACHE": "true",
        "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(cache),
        "ANSIBLE_INVENTORY_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_INVENTORY_CACHE_TIMEOUT": "0",  # for as long as the rollout takes
        "ANSIBLE_NOCOLOR": "true",
    }


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for this user only, and remove it when the block ends."""
    with tempfile.TemporaryDirectory(prefix="patchwave-") as folder:
        yield Path(folder)


def _reason(source: Path, output: str) -> str:
    """Pick the file and the line that says why out of what Ansible printed around them."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", output).split())
    file = re.search(r"Completely failed to parse inventory source (.+?)(?= \[[A-Z ]+\]:|$)", text)
    # Ansible tries one plugin after the other on a file; the first is the one that it is for.
    said = (r"patchwave\.aws\.patch_groups: (.*?)", r"Failed to parse inventory with '\w+' plugin: (.*?)")
    found = (re.search(one + r"(?= Failed to parse inventory with| Origin:| \[[A-Z ]+\]:|$)", text) for one in said)
    why = next((match.group(1) for match in found if match), text[-400:])
    return f"{file.group(1) if file else source}: {why or 'ansible-inventory could not read it'}"
