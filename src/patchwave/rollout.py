"""Run a rollout: plan, waves one after the other, ledger, report."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.patchwave.aws.plugins.module_utils._core import budget, outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import (
    EmptyWave,
    Node,
    Plan,
    Wave,
    make_waves,
    plan_hash,
)

from patchwave import progress, report, runner
from patchwave.errors import PatchwaveError
from patchwave.ledger import Ledger
from patchwave.progress import Screen
from patchwave.rollout_file import RolloutFile, read_rollout

PLAYBOOK = "patchwave.aws.patch_software"
#: The action whose result has every node's own, and the one whose result is a node's own.
_BATCH_ACTION, _NODE_ACTION = "patchwave.aws.run_module", "patchwave.aws.software_patch"
#: The action that decides whether a wave may start.
_GATE = "patchwave.aws.gate"
#: What the ledger keeps of a node's result.
_KEPT = ("outcome", "reason", "msg", "version_before", "version_after", "seconds", "command_id")
#: Reasons of nodes that had not begun when their time was up.
_LATE = ("asked_to_stop", "too_late")
#: Characters of each that are kept.
_LONGEST = 2000

EXIT_RIGHT, EXIT_ATTENTION, EXIT_STOPPED, EXIT_INTERRUPTED = 0, 2, 3, 130
INTERRUPTED = "interrupted"


def apply_rollout(path: Path, output: Path | None) -> int:
    """Run or resume the rollout in a file.

    Args:
        path: the rollout file.
        output: folder for ledger, logs and reports; by default `NAME` beside the file.

    Returns:
        0 when every node is patched or current, 2 when some are not, 3 when a budget or a closed gate stopped the
        rollout, 130 when SIGINT or SIGTERM did.

    Raises:
        PatchwaveError: a mistake in the file, or no inventory; nothing was changed.
    """
    wanted = read_rollout(path)
    folder = output or path.resolve().parent / wanted.name
    screen = Screen()
    screen.say(f"Reading the inventory {wanted.inventory.name} ...")
    with runner.private_folder() as cache:
        inventory = runner.read_inventory(wanted.inventory, cache)
        return _run(wanted, _plan(wanted, inventory), inventory, folder, cache, screen)


def _run(
    wanted: RolloutFile, plan: Plan, inventory: runner.Inventory, folder: Path, cache: Path, screen: Screen
) -> int:
    """Run a plan, write its report, and return the exit code."""
    ledger = Ledger(folder / f"ledger-{plan_hash(plan)[:12]}.jsonl")
    try:
        with _interruptible(folder / "stop", screen) as interrupts:
            rollout = _Rollout(wanted, plan, ledger, folder, cache, screen, interrupts)
            stopped = rollout.run(inventory.held(), inventory.unread())
        content = report.content(plan, plan_hash(plan), ledger, stopped)
        report.write(content, folder)
        screen.table(content, folder)
    finally:
        ledger.close()
    if stopped:
        return EXIT_INTERRUPTED if stopped == INTERRUPTED else EXIT_STOPPED
    return EXIT_RIGHT if all(node["outcome"] in outcomes.RIGHT for node in content["nodes"]) else EXIT_ATTENTION


def _plan(wanted: RolloutFile, inventory: runner.Inventory) -> Plan:
    try:
        waves = make_waves(wanted.waves, inventory.groups, inventory.hostvars)
    except EmptyWave as error:
        index, name, known = error.args
        why = f"no node in scope is in '{name}'; "
        why += f"waves with nodes: {', '.join(known)}" if known else "the inventory has no wave_* group"
        if inventory.groups.get(name):
            why = f"every node of '{name}' is in an earlier wave"
        raise PatchwaveError(f"{wanted.path}: waves[{index}]: {why}") from error
    nodes = sum(len(wave.nodes) for wave in waves)
    budgets = []
    for key in ("error_budget", "unreachable_budget"):
        try:
            budgets.append(budget.allowed(getattr(wanted, key), nodes))
        except ValueError as error:
            raise PatchwaveError(f"{wanted.path}: {key}: {error}") from error
    return Plan(wanted.name, wanted.software, wanted.transport, budgets[0], budgets[1], waves)


class _Interrupts:
    """Counts SIGINT and SIGTERM: the first asks the running wave to stop, the second leaves it."""

    def __init__(self, stop_file: Path, screen: Screen) -> None:
        self.count = 0
        self._stop_file, self._screen = stop_file, screen

    def handle(self, *dummy: object) -> None:
        """Be a signal handler."""
        self.count += 1
        self._screen.stopping = True
        self._stop_file.touch()


@contextmanager
def _interruptible(stop_file: Path, screen: Screen) -> Iterator[_Interrupts]:
    """Handle signals so that what was done until then is still written down."""
    interrupts = _Interrupts(stop_file, screen)
    stop_file.unlink(missing_ok=True)
    before = {number: signal.signal(number, interrupts.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop_file.unlink(missing_ok=True)


class _Rollout:
    """One run of a plan, new or resumed."""

    def __init__(
        self,
        wanted: RolloutFile,
        plan: Plan,
        ledger: Ledger,
        folder: Path,
        cache: Path,
        screen: Screen,
        interrupts: _Interrupts,
    ) -> None:
        self._wanted, self._plan, self._ledger, self._folder, self._screen = wanted, plan, ledger, folder, screen
        self._cache, self._interrupts = cache, interrupts
        self._budget = budget.Budget(plan.error_budget, plan.unreachable_budget)
        self._closed: str | None = None

    def run(self, held: set[str], unread: list[dict[str, str]]) -> str | None:
        """Run every wave; return why the rollout was stopped, or None.

        Args:
            held: hosts that are left alone, in the plan or not.
            unread: what is missing in the inventory; only told.
        """
        known = self._ledger.results()
        done = {host for host, result in known.items() if result["outcome"] in outcomes.RIGHT}
        held = {node.host for wave in self._plan.waves for node in wave.nodes} & held - done
        self._screen.plan(self._plan, done, held, self._wanted.max_in_flight)
        self._screen.unread(unread)
        to_do = self._nodes() - len(done) - len(held)
        self._ledger.write("started", plan=plan_hash(self._plan), to_do=to_do, unread=unread)
        self._skip(held, "held", "a tag holds it from patching")
        stopped = None
        for wave in self._plan.waves:
            nodes = [node for node in wave.nodes if node.host not in done | held]
            if not nodes:
                continue
            stopped = stopped or self._must_stop()
            if stopped:
                self._skip([node.host for node in nodes], "not_started", f"not started: {stopped}")
            else:
                self._run_wave(wave, nodes)
        stopped = stopped or self._must_stop()
        self._ledger.write("finished", stopped=stopped)
        return stopped

    def _must_stop(self) -> str | None:
        return INTERRUPTED if self._interrupts.count else self._closed or self._budget.exceeded()

    def _nodes(self) -> int:
        return sum(len(wave.nodes) for wave in self._plan.waves)

    def _skip(self, hosts: Iterable[str], reason: str, msg: str) -> None:
        """Write down nodes that are left alone; what an earlier run found out of one says more."""
        known = self._ledger.results()
        new = [host for host in sorted(hosts) if known.get(host, {}).get("outcome") in (None, outcomes.SKIPPED)]
        self._record(dict.fromkeys(new, _skipped(reason, msg)))

    def _record(self, ended: dict[str, dict[str, Any]]) -> None:
        """Write down how nodes ended, by host, and charge the budgets."""
        kept = [{"host": host, **{key: _kept(one[key]) for key in _KEPT if key in one}} for host, one in ended.items()]
        self._ledger.write_all("node", kept)
        for host, one in ended.items():
            self._budget.charge(one["outcome"])
            self._screen.ended(host, one["outcome"])

    def _run_wave(self, wave: Wave, nodes: list[Node]) -> None:
        self._ledger.write("wave_started", wave=wave.name, nodes=len(nodes))
        waiting = {node.host for node in nodes}
        failures: list[str] = []

        def on_result(how: str, host: str, action: str, result: dict[str, Any]) -> None:
            ended = _results(how, host, action, result)
            self._record({node: ended[node] for node in sorted(waiting & ended.keys())})
            waiting.difference_update(ended)
            if ended:
                return
            if action == _GATE and result.get("closed"):
                self._gate_was_closed(wave, how, result)
            if how != "ok" and not result.get("censored"):
                failures.append(" ".join(str(result.get("msg", "")).split()))

        journal = self._folder / f"{wave.name}.journal"
        with self._screen.wave(wave.name, len(nodes), journal):
            variables = self._variables(wave, journal)
            log = self._folder / f"{wave.name}.log"
            source, most = self._wanted.inventory, self._wanted.max_in_flight
            hosts = sorted(waiting)
            runner.play(PLAYBOOK, source, self._cache, hosts, variables, log, most, on_result, self._left_alone)
            sent = progress.read_journal(journal).sent
            why = (
                INTERRUPTED
                if self._interrupts.count
                else next(iter(failures), f"Ansible gave no result; see {log.name}")
            )
            known = self._ledger.results()
            missing = [host for host in sorted(waiting) if host in sent or host not in known]
            if waiting and not self._interrupts.count and not self._closed:
                self._screen.say(f"{wave.name}: {len(waiting)} nodes without a result: {why}")
            self._record({host: _missing(host in sent, why) for host in missing})
        self._note_late(wave, {node.host for node in nodes} - waiting)
        self._ledger.write("wave_ended", wave=wave.name)
        if not waiting and not self._unread(nodes):
            journal.unlink(missing_ok=True)  # every result is in the ledger; without them the next run takes it up

    def _unread(self, nodes: list[Node]) -> bool:
        """Say whether the answer of some node is still with AWS, which could not be asked."""
        known = self._ledger.results()
        ends = {(known[node.host]["outcome"], known[node.host].get("reason")) for node in nodes if node.host in known}
        return (outcomes.UNKNOWN, "api_error") in ends

    def _gate_was_closed(self, wave: Wave, how: str, result: dict[str, Any]) -> None:
        """Note a gate that stops the rollout, or would have but for the override."""
        self._screen.say(f"{wave.name}: {result['msg']}")
        self._ledger.write("gate", wave=wave.name, closed=result["closed"], override=result.get("override"))
        if how == "failed":
            self._closed = f"{wave.name}: {result['msg']}"

    def _note_late(self, wave: Wave, ended: set[str]) -> None:
        """Note a window that closed before every node had begun; like a closed gate it stops the rollout."""
        known = self._ledger.results()
        late = [host for host in ended if known[host].get("reason") in _LATE]
        if late and not self._interrupts.count:
            self._closed = f"{wave.name}: its window closed before {len(late)} of {len(ended)} nodes had begun"

    def _left_alone(self) -> bool:
        return self._interrupts.count > 1

    def _variables(self, wave: Wave, journal: Path) -> dict[str, Any]:
        own = {
            "patchwave_hosts": "all",
            "patchwave_transport": self._plan.transport,
            "patch_software_node_results": False,
            "patch_software_name": list(self._plan.software),
            "patch_software_catalog": self._plan.software,
            "patch_software_max_errors": str(self._budget.errors_left()),
            "patch_software_max_in_flight": self._wanted.max_in_flight,
            "patch_software_journal": str(journal.resolve()),
            "patch_software_stop_file": str((self._folder / "stop").resolve()),
            "patch_software_token": f"{plan_hash(self._plan)[:16]} {wave.name}",
        }
        if self._wanted.override:
            own["gate_override"] = self._wanted.override
        if self._wanted.bucket:
            own["patch_software_bucket"] = self._wanted.bucket
        return {**self._wanted.vars, **own}


def _results(how: str, host: str, action: str, result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the nodes' own results, by host, that a task's result holds; empty for a task of another kind."""
    if action == _BATCH_ACTION and how == "ok":
        return {node: _final("failed", one) for node, one in result["results"].items()}
    if action == _NODE_ACTION or how == "unreachable":
        return {host: _final(how, result)}
    return {}


def _final(how: str, result: dict[str, Any]) -> dict[str, Any]:
    """Give a result that no module of ours made, such as ssh's `unreachable`, its outcome."""
    if result.get("outcome") in outcomes.OUTCOMES:
        return result
    outcome = outcomes.UNREACHABLE if how == "unreachable" else outcomes.FAILED
    return {"outcome": outcome, "reason": how, "msg": str(result.get("msg", ""))[:500]}


def _kept(value: Any) -> Any:
    """Return what a node said as a number, a short text or nothing, whatever it is."""
    return value if value is None or isinstance(value, (int, float)) else str(value)[:_LONGEST]


def _skipped(reason: str, msg: str) -> dict[str, Any]:
    return {"outcome": outcomes.SKIPPED, "reason": reason, "msg": msg}


def _missing(sent: bool, why: str) -> dict[str, Any]:
    """Say what became of a node that the play gave no result for."""
    if sent:
        return {"outcome": outcomes.UNKNOWN, "reason": "no_result", "msg": f"a command was sent, then: {why}"}
    return _skipped("not_started", f"nothing was sent: {why}")
