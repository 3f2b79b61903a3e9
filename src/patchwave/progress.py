"""What a person sees while a rollout runs: the plan, a bar for each wave, the closing table."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Plan, plan_hash
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import target_version
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

#: Seconds between two looks at the journal of the running wave.
_LOOK_EVERY = 0.5
#: So many held nodes are named.
_NAMED = 8
#: More nodes than this are not all listed at the end.
_ROWS = 40

STYLES = {
    "patched": "green",
    "current": "cyan",
    "reboot_pending": "yellow",
    "failed": "bold red",
    "rolled_back": "magenta",
    "restored": "magenta",
    "unreachable": "yellow",
    "unknown": "bold yellow",
    "skipped": "dim",
    "unsupported": "dim",
}


@dataclass
class Journal:
    """What the running action has told of its batch so far: hosts that a command was sent to, hosts that ended."""

    sent: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)


def read_journal(path: Path) -> Journal:
    """Read the last run in a journal of `patchwave.aws.run_module`; a file that is not there says nothing."""
    journal = Journal()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # half a line, whole at the next look
        if event["event"] == "started":
            journal = Journal()
        elif event["event"] == "sent":
            journal.sent.update(event["nodes"])
        elif event["event"] == "result":
            journal.ended.add(event["host"])
    return journal


class Screen:
    """The terminal. What comes from machines is escaped before it is drawn."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, emoji=False)
        if not self._console.is_terminal:  # a log file or CI: no terminal's width to keep to
            self._console.width = 120
        self._outcomes: Counter[str] = Counter()
        self._ended: set[str] = set()
        self.stopping = False
        self._said_stopping = False

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(_shown(text))

    def plan(self, plan: Plan, done: set[str], held: set[str], places: int) -> None:
        """Show what is about to happen with so many places (0: no limit), what is done already, what is left alone."""
        nodes = sum(len(wave.nodes) for wave in plan.waves)
        software = ", ".join(f"{name} to {target_version(wanted)}" for name, wanted in plan.software.items())
        self.say(f"Rollout {plan.rollout}: {software} on {nodes} nodes")
        self.say(f"Plan {plan_hash(plan)[:12]}, transport {plan.transport}")
        for wave in plan.waves:
            groups = Counter(node.patch_group for node in wave.nodes)
            of_groups = ", ".join(f"{group} {count}" for group, count in sorted(groups.items()))
            self.say(f"  {wave.name}: {len(wave.nodes)} nodes ({of_groups})")
        largest = max(len(wave.nodes) for wave in plan.waves)
        flying = min(largest, places or largest)
        worst = min(nodes, plan.error_budget + flying)
        self.say(
            f"Error budget {plan.error_budget}, unreachable budget {plan.unreachable_budget}; "
            f"worst case {worst} bad nodes (the budget and {flying} in flight)"
        )
        if done:
            self.say(f"Resumed: {len(done)} of {nodes} nodes are done, {nodes - len(done)} still to do")
        if held:
            names = sorted(node.name for wave in plan.waves for node in wave.nodes if node.host in held)
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            self.say(f"Held by a tag and left alone: {', '.join(names[:_NAMED])}{more}")

    def unread(self, missing: list[dict[str, str]]) -> None:
        """Say which accounts and regions the inventory goes on without."""
        for one in missing:
            self.say(f"NOT READ: account {one['account']}, region {one['region']}: {one['error']}")

    def ended(self, host: str, outcome: str) -> None:
        """Count a node that ended."""
        self._ended.add(host)
        self._outcomes[outcome] += 1

    @contextmanager
    def wave(self, name: str, nodes: int, journal: Path) -> Iterator[None]:
        """Show a wave's progress, which the running action tells in its journal, until the block ends."""
        self._outcomes, self._ended = Counter(), set()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[counts]}"),
        )
        over = threading.Event()
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(_shown(name), total=nodes, counts="")

            def follow() -> None:
                while not over.wait(_LOOK_EVERY):
                    self._refresh(progress, task, journal)

            thread = threading.Thread(target=follow, daemon=True)
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()
                self._refresh(progress, task, journal)

    def _refresh(self, progress: Progress, task: TaskID, journal: Path) -> None:
        if self.stopping and not self._said_stopping:
            self._said_stopping = True
            progress.console.print(
                "Stopping: nothing more is sent, what runs is waited for. Once more to leave it alone."
            )
        counts = "  ".join(f"[{STYLES[name]}]{name} {count}[/]" for name, count in sorted(self._outcomes.items()))
        progress.update(task, completed=len(self._ended | read_journal(journal).ended), counts=counts)

    def table(self, content: dict[str, Any], folder: Path) -> None:
        """Show how every node ended, and where the reports are."""
        table = Table(box=box.SIMPLE_HEAD)
        wide = self._console.width >= 110
        for title in ("node", *(["id"] if wide else []), "group", "wave", "before", "after", "outcome", "reason"):
            table.add_column(title, overflow="fold")
        rows, left_out = _rows(content["nodes"])
        for node in rows:
            versions = [node["version_before"] or "-", node["version_after"] or "-"]
            cells = [node["name"], *([node["id"]] if wide else []), node["patch_group"], node["wave"], *versions]
            outcome = f"[{STYLES[node['outcome']]}]{node['outcome']}[/]"
            table.add_row(*map(_shown, cells), outcome, _shown(node["reason"] or ""))
        if rows:
            self._console.print(table)
        if left_out:
            self.say(left_out)
        totals = ", ".join(f"{count} {name}" for name, count in content["totals"].items() if count)
        self.say(f"{len(content['nodes'])} nodes: {totals}")
        if content["rollout"]["stopped"]:
            self.say(f"STOPPED: {content['rollout']['stopped']}")
        self.say(f"Report: {folder / 'report.html'} and {folder / 'report.json'}")


def _shown(text: str) -> str:
    """Return text as it is drawn: no markup, and nothing that a terminal would obey."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))


def _rows(nodes: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Choose what fits a screen: all nodes of a small fleet, else those that need a person; say what is left out."""
    if len(nodes) <= _ROWS:
        return nodes, ""
    wrong = [node for node in nodes if node["outcome"] not in outcomes.RIGHT]
    told = [f"{len(nodes) - len(wrong)} nodes that are right"]
    if len(wrong) > _ROWS:
        told.append(f"{len(wrong) - _ROWS} more that are not")
    return wrong[:_ROWS], f"Not shown, but in the report: {' and '.join(told)}"
