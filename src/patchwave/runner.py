"""Run plays; the only place that knows ansible-runner."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchwave import child, environment, output
from patchwave.folders import of_temporary

#: What one host's task came to: event name without `runner_on_`, host, the task's action, and its result.
OnResult = Callable[[str, str, str, dict[str, Any]], None]

_EVENTS = ("runner_on_ok", "runner_on_failed", "runner_on_unreachable")
#: Seconds between two questions whether a play is to be left.
_ASKED_EVERY = 0.25
#: So often what is left of a play is killed, for it may have forked meanwhile, with so many seconds between.
_ROUNDS, _ROUND = 40, 0.05


@dataclass(frozen=True)
class Play:
    """A playbook to run.

    Attributes:
        playbook: its name, such as `patchwave.aws.patch_software`.
        inventory: an inventory source.
        hosts: the hosts that it is limited to.
        variables: extra variables; data, in which Ansible finds no template.
        log: gets what Ansible printed.
    """

    playbook: str
    inventory: Path
    hosts: list[str]
    variables: dict[str, Any]
    log: Path


class Ansible:
    """Runs the plays of one rollout, one after the other."""

    def __init__(self, folder: Path, most: int) -> None:
        """Take the private folder that the inventory was read in, and how many hosts a task runs for at once.

        0 of these leaves it to Ansible's own setting.
        """
        self._folder, self._most = folder, most
        self._prepared: _Process | None = None

    def prepare(self) -> None:
        """Load Ansible for the next play, before it is known what that is."""
        self._prepared = self._prepared or _Process(self._folder, self._most)

    def play(self, wanted: Play, on_result: OnResult, cancelled: Callable[[], bool]) -> str:
        """Run a playbook.

        Args:
            wanted: what to run.
            on_result: called for each task that began or ended on a host.
            cancelled: asked now and then; once it says True, Ansible is killed with all that it has started.

        Returns:
            What Ansible said last of what went wrong, in a line; empty where it ended well.
        """
        process, self._prepared = self._prepared or _Process(self._folder, self._most), None
        return process.play(wanted, on_result, cancelled)

    def close(self) -> None:
        """End what was loaded and not played."""
        if self._prepared:
            self._prepared.close()


class _Process:
    """One process of `ansible-playbook`, under ansible-runner in a thread of its own."""

    def __init__(self, folder: Path, most: int) -> None:
        """Start it; it waits for what it is to play."""
        from ansible_runner.config.runner import RunnerConfig
        from ansible_runner.utils import get_callback_dir

        self._own = folder / f"play-{time.monotonic_ns()}"
        settings = {"pexpect_timeout": _ASKED_EVERY}
        try:
            self._own.mkdir(mode=0o700)
            config = RunnerConfig(private_data_dir=str(self._own), playbook="-", quiet=True, settings=settings)
            config.prepare()
        except OSError as error:
            raise of_temporary(error) from error
        # Ansible itself says what ./ansible.cfg and relative paths mean, here as for the inventory: the user's folder.
        config.cwd = os.getcwd()
        config.env = {
            **environment.ansible(folder, most),
            "ANSIBLE_CALLBACK_PLUGINS": get_callback_dir(),
            "ANSIBLE_STDOUT_CALLBACK": "awx_display",
            "AWX_ISOLATED_DATA_DIR": config.artifact_dir,
        }
        config.command = [*child.command("playbook"), str(self._own / "arguments.json")]
        self._config = config
        self._ended: tuple[str, int | None] = ("", None)
        self._on_result: OnResult = lambda *dummy: None
        self._cancelled: Callable[[], bool] = lambda: False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def play(self, wanted: Play, on_result: OnResult, cancelled: Callable[[], bool]) -> str:
        """See Ansible.play()."""
        self._on_result, self._cancelled = on_result, cancelled
        try:
            self._begin(wanted)
        except OSError as error:
            self.close()
            raise of_temporary(error) from error
        self._thread.join()
        status, code = self._ended
        if status in ("", "canceled") or code is None:  # killed, and its workers have sessions of their own
            _end_all(f"AWX_ISOLATED_DATA_DIR={self._config.artifact_dir}")
        printed = Path(self._config.artifact_dir) / "stdout"
        text = printed.read_text(encoding="utf-8", errors="replace") if printed.exists() else ""
        _keep(output.without_secrets(text), wanted.log)
        shutil.rmtree(self._own, ignore_errors=True)
        if self._error:
            raise self._error
        return "" if status == "successful" else output.what_went_wrong(text)

    def _begin(self, wanted: Play) -> None:
        """Say what is to be played; the file that it waits for comes last and whole."""
        own = self._own
        (own / "limit").write_text("\n".join(wanted.hosts), encoding="utf-8")
        (own / "variables.json").write_text(json.dumps(_unsafe(wanted.variables), allow_nan=False), encoding="utf-8")
        arguments = ["-i", str(wanted.inventory), "--limit", f"@{own}/limit", "-e", f"@{own}/variables.json"]
        draft = own / "arguments.draft"
        draft.write_text(json.dumps([*arguments, wanted.playbook]), encoding="utf-8")
        draft.replace(own / "arguments.json")

    def close(self) -> None:
        """End it."""
        self._cancelled = lambda: True
        self._thread.join()

    def _run(self) -> None:
        try:
            self._ended = _run(self._config, lambda *event: self._on_result(*event), lambda: self._cancelled())
        except OSError as error:  # told by play(); files of ansible-runner lie there, and nothing else is written
            self._error = of_temporary(error)
        except Exception as error:
            self._error = error


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


def _keep(text: str, log: Path) -> None:
    """Write what Ansible printed where its user alone can read it."""
    with contextlib.suppress(OSError):  # a full disk costs the log, not the results
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
