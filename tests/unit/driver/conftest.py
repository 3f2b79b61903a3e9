"""A rollout of nodes `a1`, `a2`, ... in `wave_a` and so on, whose plays are played by the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Node, Plan, Wave

from patchwave import rollout, runner
from patchwave.interrupts import Interrupts
from patchwave.inventory import Inventory
from patchwave.progress import Screen
from patchwave.rollout_file import RolloutFile

DEFINITION = {"fixed_in": "2", "archive": {"version": "2"}}


class Batch:
    """The action of a wave, as the journal and the event stream know it."""

    def __init__(self, play: runner.Play, on_result: runner.OnResult, interrupts: Interrupts) -> None:
        self.play, self.event, self.interrupts = play, on_result, interrupts
        self.hosts, self.journal = play.hosts, Path(play.variables["patch_software_journal"])

    def write(self, event: str, **details: Any) -> None:
        """Append an event to the journal."""
        with self.journal.open("a") as file:
            file.write(json.dumps({"event": event, "time": 1.0, **details}) + "\n")

    def start(self) -> None:
        """Begin."""
        self.write("started", token=f"patchwave {self.play.variables['patch_software_token']}", pid=99999999)

    def send(self, *hosts: str, comment: str = "c") -> None:
        """Send a command to hosts."""
        self.write("intent", comment=comment, where="1 r", nodes=list(hosts))
        self.write("sent", command_id="id", where="1 r", nodes=list(hosts))

    def end(self, *hosts: str, **result: Any) -> None:
        """Give hosts a result, by default that they were patched."""
        given = {"source": "node", "outcome": "patched", **result}
        for host in hosts:
            self.write("result", host=host, **given)

    def alone(self, event: str, host: str, token: str | None = None, **details: Any) -> None:
        """Append an event of a process that works for one host over its own connection."""
        own = self.play.variables["patch_software_token"] if token is None else token
        self.write(event, token=f"patchwave {own}", host=host, **details)

    def patch(self, *hosts: str, **result: Any) -> None:
        """Begin, send, end, for all hosts unless some are given."""
        self.start()
        self.send(*(hosts or self.hosts))
        self.end(*(hosts or self.hosts), **result)
        self.write("finished")


@dataclass
class Rollouts:
    """Runs rollouts in one folder."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    waves: dict[str, int] = field(default_factory=lambda: {"wave_a": 2, "wave_b": 2})
    transport: str = "run_command"
    budgets: tuple[int, int] = (0, 100)
    inventory: Inventory = field(default_factory=lambda: Inventory({}, {}))
    changes: dict[str, Any] = field(default_factory=dict)
    played: list[str] = field(default_factory=list)

    def run(self, **plays: Callable[[Batch], str | None]) -> tuple[int, dict[str, Any]]:
        """Run it with what is played for each wave; a wave without one is patched. Return exit code and report."""
        interrupts = Interrupts()

        def play(
            ansible: runner.Ansible, wanted: runner.Play, on_result: runner.OnResult, cancelled: Callable[[], bool]
        ) -> str:
            name = Path(wanted.variables["patch_software_journal"]).stem
            self.played.append(name)
            batch = Batch(wanted, on_result, interrupts)
            return plays.get(name, lambda batch: batch.patch())(batch) or ""

        self.monkeypatch.setattr(runner.Ansible, "play", play)
        made = [
            Wave(name, tuple(self.node(f"{name[5:]}{index + 1}", name) for index in range(count)))
            for name, count in self.waves.items()
        ]
        plan = Plan("urgent", {"just": DEFINITION}, self.transport, *self.budgets, tuple(made))
        wanted = RolloutFile(
            path=self.folder / "r.yml",
            name="urgent",
            inventory=self.folder / "i.yml",
            software=plan.software,
            waves=list(self.waves),
            transport=self.transport,
            bucket="bucket",
            max_in_flight=0,
            error_budget=0,
            unreachable_budget=2,
            override={},
            vars={},
            all_in_waves=True,
        )
        wanted = RolloutFile(**{**vars(wanted), **self.changes})
        self.played.clear()
        code = rollout._run(
            wanted, plan, self.inventory, self.folder, runner.Ansible(self.folder, 0), Screen(), interrupts
        )
        return code, json.loads((self.folder / "report.json").read_text())

    @staticmethod
    def node(host: str, wave: str) -> Node:
        return Node(host, host, host, "1", "r", "web", wave)


@pytest.fixture
def rollouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rollouts:
    return Rollouts(tmp_path, monkeypatch)
