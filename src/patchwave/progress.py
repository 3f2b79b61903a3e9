"""What a person sees while a rollout runs: the plan, a bar for each wave, the closing table."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Plan, plan_hash
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import target_version
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from patchwave.scope import Scope

#: Without a terminal, seconds between two lines on a running wave.
_LINE_EVERY = 30.0
#: So many of a kind are named.
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


class _Output:
    """Standard output, which may go away while a rollout runs: a closed terminal, a pipe that nobody reads."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        with self._gone():
            sys.stdout.write(text)
        return len(text)

    def flush(self) -> None:
        with self._gone():
            sys.stdout.flush()

    def isatty(self) -> bool:
        return bool(sys.stdout and sys.stdout.isatty())

    def fileno(self) -> int:
        return sys.stdout.fileno()

    @contextmanager
    def _gone(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, AttributeError):
            with contextlib.suppress(Exception):  # or Python tries again when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass
class State:
    """A wave so far: how nodes ended, those of earlier runs too, what is under way, and what cannot be read."""

    total: int
    counts: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    in_flight: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    stopping: bool = False

    def line(self) -> str:
        """Return it as a line."""
        ended = sum(self.counts.values())
        ends = ", ".join(f"{self.counts[word]} {word}" for word in outcomes.OUTCOMES if self.counts[word])
        told = [f"{ended} of {self.total} ended{f' ({ends})' if ends else ''}", f"{self.in_flight} in flight"]
        if self.unreadable:
            told.append(f"NOT READABLE: {_named(sorted(self.unreadable))}")
        return ", ".join([*told, *(["stopping"] if self.stopping else [])])


class WaveView:
    """A running wave on the screen."""

    def __init__(self, console: Console, name: str, progress: Progress, task: TaskID) -> None:
        self._console, self._name, self._progress, self._task = console, name, progress, task
        self._told = time.monotonic()
        self._said_stopping = False
        self._unreadable: set[str] = set()

    def update(self, state: State) -> None:
        """Show how the wave stands."""
        if state.stopping and not self._said_stopping:
            self._said_stopping = True
            self._say("Stopping: nothing more is sent, what runs is waited for. Once more to leave it alone.")
        for where in sorted(state.unreadable.keys() - self._unreadable):
            self._say(f"{self._name}: cannot read {where}: {state.unreadable[where]}; trying again")
        for where in sorted(self._unreadable - state.unreadable.keys()):
            self._say(f"{self._name}: {where} can be read again")
        self._unreadable = set(state.unreadable)
        told = [f"[{STYLES[name]}]{name} {count}[/]" for name, count in sorted(state.counts.items())]
        if state.sent:
            told.append(f"sent {state.sent}, in flight {state.in_flight}")
        if state.unreadable:
            told.append(f"[bold red]not readable: {escape(_named(sorted(state.unreadable)))}[/]")
        self._progress.update(self._task, completed=sum(state.counts.values()), counts="  ".join(told))
        if not self._console.is_terminal and time.monotonic() - self._told >= _LINE_EVERY:
            self._told = time.monotonic()
            self._say(f"{self._name}: {state.line()}")

    def _say(self, text: str) -> None:
        self._progress.console.print(_shown(text), soft_wrap=True)


class Screen:
    """The terminal. What comes from machines is escaped before it is drawn."""

    def __init__(self) -> None:
        self._console = Console(file=cast("IO[str]", _Output()), highlight=False, emoji=False)
        if not self._console.is_terminal:  # a log file or CI: no terminal's width to keep to
            self._console.width = 120

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(_shown(text), soft_wrap=True)

    def plan(self, plan: Plan, done: set[str], held: set[str], slots: int, limits: Mapping[str, int]) -> None:
        """Show what is about to happen, what is done already, and what is left alone.

        Args:
            plan: the plan.
            done: hosts that are done.
            held: hosts that a tag holds.
            slots: the maximum number of nodes at once (0: no limit).
            limits: how many nodes of each wave may fail.
        """
        nodes = sum(len(wave.nodes) for wave in plan.waves)
        software = ", ".join(f"{name} to {target_version(wanted)}" for name, wanted in plan.software.items())
        self.say(f"Rollout {plan.rollout}: {software} on {nodes} nodes")
        self.say(f"Plan {plan_hash(plan)[:12]}, transport {plan.transport}")
        for wave in plan.waves:
            groups = Counter(node.patch_group for node in wave.nodes)
            of_groups = ", ".join(f"{group} {count}" for group, count in sorted(groups.items()))
            self.say(f"  {wave.name}: {len(wave.nodes)} nodes ({of_groups}), {limits[wave.name]} of them may fail")
        largest = max(len(wave.nodes) for wave in plan.waves)
        flying = min(largest, slots or largest)
        worst = min(nodes, plan.error_budget + flying)
        self.say(
            f"Error budget {min(nodes, plan.error_budget)}, unreachable budget {min(nodes, plan.unreachable_budget)}; "
            f"worst case {worst} bad nodes (the budget and {flying} in flight)"
        )
        if done:
            self.say(f"Resumed: {len(done)} of {nodes} nodes are done, {nodes - len(done)} still to do")
        if held:
            names = sorted(node.name for wave in plan.waves for node in wave.nodes if node.host in held)
            self.say(f"Held by a tag and left alone: {_named(names)}")

    def scope(self, scope: Scope) -> None:
        """Say what the inventory knows and the rollout does not patch."""
        for one in scope.unread:
            self.say(f"NOT READ: account {one['account']}, region {one['region']}: {one['error']}")
        for line in _some([f"LEFT OUT: {_place(one)}: {one['why']}" for one in scope.left_out]):
            self.say(line)
        for line in _some([f"Warning: {warning}" for warning in scope.inventory_warnings]):
            self.say(line)
        if scope.not_in_a_wave:
            names = _named([node["name"] for node in scope.not_in_a_wave])
            self.say(f"In scope and in no wave of this rollout: {len(scope.not_in_a_wave)} nodes: {names}")
        if scope.out_of_scope:
            count = sum(one["nodes"] for one in scope.out_of_scope)
            places = _named(
                [f"{one['nodes']} in account {one['account']}, {one['region']}" for one in scope.out_of_scope]
            )
            self.say(f"Out of scope, without a patch-group tag: {count} nodes: {places}")

    @contextmanager
    def wave(self, name: str, total: int) -> Iterator[WaveView]:
        """Show a wave of so many nodes until the block ends."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[counts]}"),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(_shown(name), total=total, counts="")
            yield WaveView(self._console, name, progress, task)

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
        self.scope(Scope.of_report(content["rollout"]))
        for one in content["rollout"]["leftovers"]:
            what = "delete it, for it holds the module's arguments"
            self.say(f"LEFT IN S3: s3://{one['bucket']}/{one['key']}: {one['error']}; {what}")
        if content["rollout"]["stopped"]:
            self.say(f"STOPPED: {content['rollout']['stopped']}")
        self.say(f"Report: {folder / 'report.html'} and {folder / 'report.json'}")


def _named(names: list[str]) -> str:
    """Return some of the names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _some(lines: list[str]) -> Iterable[str]:
    """Return as many lines as a screen has room for, and how many more there are."""
    more = [f"and {len(lines) - _NAMED} more of these; all are in the report"] if len(lines) > _NAMED else []
    return [*lines[:_NAMED], *more]


def _place(one: dict[str, Any]) -> str:
    return f"{one['node_id']} in account {one['account']}, {one['region']}"


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
