"""The only place that starts Ansible's programs, and that knows ansible-runner."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchwave import environment
from patchwave.errors import PatchwaveError, Stopped

#: What one host's task came to: event name without `runner_on_`, host, the task's action, and its result.
OnResult = Callable[[str, str, str, dict[str, Any]], None]

_EVENTS = ("runner_on_ok", "runner_on_failed", "runner_on_unreachable")
#: Seconds between two questions whether a play or the inventory is to be left.
_ASKED_EVERY = 0.25
#: Seconds that ansible-inventory has to end when it is told to.
_GRACE = 2.0
#: So often what is left of a play is killed, for it may have forked meanwhile, with so many seconds between.
_ROUNDS, _ROUND = 40, 0.05
#: Characters of what Ansible said that go into a line of ours.
_LONGEST = 500
_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SECRETS = re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"'\\]+")


@dataclass(frozen=True)
class Inventory:
    """An inventory as Ansible sees it: hosts by group, those of its child groups too, and variables by host."""

    groups: dict[str, list[str]]
    hostvars: dict[str, dict[str, Any]]

    def held(self) -> set[str]:
        """Return the hosts that a tag holds from patching."""
        return {host for host, known in self.hostvars.items() if known.get("not_patchable") == "held"}

    def of_all(self, name: str) -> list[Any]:
        """Return a list that the inventory set for all hosts, such as `unread`; empty where it set none."""
        found: Any = next((known[name] for known in self.hostvars.values() if known.get(name)), [])
        return found if isinstance(found, list) else []


@dataclass(frozen=True)
class Play:
    """A playbook to run.

    Attributes:
        playbook: its name, such as `patchwave.aws.patch_software`.
        inventory: an inventory source.
        hosts: the hosts that it is limited to.
        variables: extra variables; data, in which Ansible finds no template.
        log: gets what Ansible printed.
        most: hosts that a task runs for at once; 0 leaves it to Ansible's own setting.
    """

    playbook: str
    inventory: Path
    hosts: list[str]
    variables: dict[str, Any]
    log: Path
    most: int


def read_inventory(source: Path, folder: Path, stopped: Callable[[], bool]) -> Inventory:
    """Ask ansible-inventory for everything in the source.

    Args:
        source: an inventory file or folder.
        folder: a private folder; plugins keep what they have asked there, so that plays need not ask again.
        stopped: asked now and then; once it says True, this gives up.

    Raises:
        PatchwaveError: some part of it could not be read.
        Stopped: it was to be left.
    """
    file, said = folder / "inventory.json", folder / "inventory.log"
    program = str(environment.programs() / "ansible-inventory")
    command = [program, "--list", "-i", str(source), "--output", str(file)]
    with said.open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment.ansible(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _wait(process, stopped)
    try:
        output = json.loads(file.read_text(encoding="utf-8"), object_hook=_plain)
    except (OSError, ValueError):
        raise PatchwaveError(_reason(source, said.read_text(encoding="utf-8", errors="replace"))) from None
    groups = {name: _members(output, name) for name in output if name != "_meta"}
    return Inventory(groups, output.get("_meta", {}).get("hostvars", {}))


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


def _members(output: dict[str, Any], name: str) -> list[str]:
    """Return the hosts of a group and of all groups below it; Ansible allows no circle."""
    group = output.get(name, {})
    below = [host for child in group.get("children", ()) for host in _members(output, child)]
    return [*group.get("hosts", ()), *below]


def play(wanted: Play, folder: Path, on_result: OnResult, cancelled: Callable[[], bool]) -> str:
    """Run a playbook.

    Args:
        wanted: what to run.
        folder: the private folder that read_inventory() was given.
        on_result: called for each task that began or ended on a host.
        cancelled: asked now and then; once it says True, Ansible is killed. What its workers do is not waited for.

    Returns:
        What Ansible said last of what went wrong, in a line; empty where it ended well.
    """
    from ansible_runner.config.runner import RunnerConfig
    from ansible_runner.utils import get_callback_dir

    own = folder / f"play-{len(list(folder.glob('play-*')))}"
    own.mkdir(mode=0o700)
    (own / "limit").write_text("\n".join(wanted.hosts), encoding="utf-8")
    (own / "variables.json").write_text(json.dumps(_unsafe(wanted.variables), allow_nan=False), encoding="utf-8")
    config = RunnerConfig(
        private_data_dir=str(own), playbook=wanted.playbook, quiet=True, settings={"pexpect_timeout": _ASKED_EVERY}
    )
    config.prepare()
    # Ansible itself says what ./ansible.cfg and relative paths mean, here as for the inventory: the user's folder.
    config.cwd = os.getcwd()
    config.env = {
        **environment.ansible(folder, wanted.most),
        "ANSIBLE_CALLBACK_PLUGINS": get_callback_dir(),
        "ANSIBLE_STDOUT_CALLBACK": "awx_display",
        "AWX_ISOLATED_DATA_DIR": config.artifact_dir,
    }
    arguments = ["-i", str(wanted.inventory), "--limit", f"@{own}/limit", "-e", f"@{own}/variables.json"]
    child = [sys.executable, str(Path(__file__).with_name("child.py")), str(os.getpid())]
    config.command = [*child, *arguments, wanted.playbook]
    status, code = "", None
    try:
        status, code = _run(config, on_result, cancelled)
    finally:
        if not status or status == "canceled" or code is None:  # killed: its workers have sessions of their own
            _end_all(f"AWX_ISOLATED_DATA_DIR={config.artifact_dir}")
        printed = Path(config.artifact_dir) / "stdout"
        text = printed.read_text(encoding="utf-8", errors="replace") if printed.exists() else ""
        _keep(_SECRETS.sub(r"\1...", text), wanted.log)
        shutil.rmtree(own, ignore_errors=True)
    return "" if status == "successful" else _said(text)


def _run(config: Any, on_result: OnResult, cancelled: Callable[[], bool]) -> tuple[str, int | None]:
    """Run what a configuration of ansible-runner says.

    Returns:
        How it ended in ansible-runner's words, and its exit code; None when a signal ended it.
    """
    from ansible_runner.runner import Runner

    events = Path(config.artifact_dir) / "job_events"

    def on_event(event: dict[str, Any]) -> bool:
        name, data = str(event.get("event")), event.get("event_data")
        if name in _EVENTS and isinstance(data, dict):
            result = data.get("res")
            on_result(
                name.removeprefix("runner_on_"),
                str(data.get("host", "")),
                str(data.get("task_action", "")),
                result if isinstance(result, dict) else {},
            )
        return False  # no file for each event

    class Genuine(Runner):
        """Takes events from Ansible's callback only: text that a node made Ansible print may look like one."""

        def event_callback(self, event_data: dict[str, Any]) -> None:
            uuid = str(event_data.get("uuid", ""))
            if re.fullmatch(r"[0-9a-f-]+", uuid) and (events / f"{uuid}-partial.json").exists():
                super().event_callback(event_data)

    runner = Genuine(config, cancel_callback=cancelled, event_handler=on_event)
    runner.run()
    return str(runner.status), runner.rc


def _end_all(variable: str) -> None:
    """Kill every process that has this variable in the environment that it was started with, where /proc tells."""
    marker = variable.encode() + b"\0"
    for dummy in range(_ROUNDS):
        found = [int(entry.parent.name) for entry in Path("/proc").glob("[0-9]*/environ") if _has(entry, marker)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_ROUND)


def _has(file: Path, marker: bytes) -> bool:
    try:
        return marker in file.read_bytes() + b"\0"
    except OSError:
        return False  # ended meanwhile, or another user's


def _unsafe(value: Any) -> Any:
    """Mark every text as data, in which Ansible looks for no template."""
    if isinstance(value, dict):
        return {key: _unsafe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unsafe(item) for item in value]
    return {"__ansible_unsafe": value} if isinstance(value, str) else value


def _plain(found: dict[str, Any]) -> Any:
    """Undo the mark that ansible-inventory puts on data; the driver templates nothing."""
    return found["__ansible_unsafe"] if len(found) == 1 and "__ansible_unsafe" in found else found


def _keep(text: str, log: Path) -> None:
    """Write what Ansible printed where its user alone can read it."""
    with contextlib.suppress(OSError):  # a full disk costs the log, not the results
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)


def _said(output: str) -> str:
    """Pick what went wrong out of all that Ansible printed, the last of it: an error, a task's failure, any line."""
    lines = [line.rstrip() for line in _COLORS.sub("", output).replace("\r", "").splitlines()]
    found = ""
    for index, line in enumerate(lines):
        error = re.match(r"(?:\[ERROR\]: |ERROR! )(.*)", line)
        fatal = re.match(r"fatal: \[.*?\]: \w+! => (.*)", line)
        if error:
            found = _paragraph([error.group(1), *lines[index + 1 :]])
        elif fatal and not found:
            found = _message(fatal.group(1))
    if not found:
        other = [line for line in lines if line and not re.match(r"(PLAY|TASK|ok:|changed:|skipping:|\[WARN)", line)]
        found = other[-1] if other else ""
    return _line(found)


def _paragraph(lines: list[str]) -> str:
    """Return the lines up to the first one that is empty or says where in a file it was."""
    ends = (index for index, line in enumerate(lines) if index and (not line or line.startswith(("Origin: ", "PLAY"))))
    return " ".join(lines[: next(ends, len(lines))])


def _message(result: str) -> str:
    """Return the message in a task's result as Ansible prints it."""
    try:
        found = json.loads(result)
    except ValueError:
        return result
    return str(found.get("msg", "")) if isinstance(found, dict) else ""


def _line(text: str) -> str:
    """Return text as one line that is not too long and holds no signature."""
    text = _SECRETS.sub(r"\1...", " ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _reason(source: Path, output: str) -> str:
    """Pick the file and the line that says why out of what Ansible printed around them."""
    text = " ".join(_COLORS.sub("", output).split())
    file = re.search(r"Completely failed to parse inventory source (.+?)(?= \[[A-Z ]+\]:|$)", text)
    # Ansible tries one plugin after the other on a file; the first is the one that it is for.
    said = (r"patchwave\.aws\.patch_groups: (.*?)", r"Failed to parse inventory with '\w+' plugin: (.*?)")
    found = (re.search(one + r"(?= Failed to parse inventory with| Origin:| \[[A-Z ]+\]:|$)", text) for one in said)
    why = next((match.group(1) for match in found if match), "") or _said(output)
    return f"{file.group(1) if file else source}: {why or 'ansible-inventory could not read it'}"
