"""Run one wave: start its play, take every node's result as it comes, and say whether the next wave may begin."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.patchwave.aws.plugins.module_utils._core import budget, moments, outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Node, Plan, Wave, plan_hash
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import ENGINE, NodeResult

from patchwave import gates, locks, names, runner
from patchwave.errors import PatchwaveError
from patchwave.interrupts import Interrupts
from patchwave.journal import Journal
from patchwave.ledger import Ledger
from patchwave.progress import Screen, State, WaveView
from patchwave.rollout_file import RolloutFile

PLAYBOOK = "patchwave.aws.patch_software"
#: The action that decides whether a wave may start.
_GATE = "patchwave.aws.gate"
#: Reasons of nodes that had not begun when their time was up.
_LATE = ("asked_to_stop", "too_late")
#: Reasons with which a node is skipped without the wave being incomplete.
_LEFT_ALONE = ("duplicate", "held")
#: Outcomes of nodes on which the work was done.
_WORKED = outcomes.RIGHT | {outcomes.REBOOT_PENDING}
#: What the engine says of nodes of which it knows nothing, by outcome: the next wave must not begin.
_NOT_KNOWN = {outcomes.UNKNOWN: ("api_error", "no_result"), outcomes.UNREACHABLE: ("api_error",)}
#: What it says of unreachable nodes that the caller may not reach.
_DENIED = ("access_denied", "api_error", "wrong_account")
#: Seconds between two polls of the journal, and those that an action has to end after its play.
_POLL, _GRACE = 0.5, 15.0


@dataclass(frozen=True)
class Run:
    """What all waves of one run of the driver share.

    Attributes:
        folder: gets ledger, journals, logs and reports.
        owner: the file that this driver holds for as long as it lives.
        stop_file: held while waves run; once it is not, nothing more is sent.
    """

    wanted: RolloutFile
    plan: Plan
    ledger: Ledger
    folder: Path
    ansible: runner.Ansible
    owner: Path
    stop_file: Path
    screen: Screen
    interrupts: Interrupts
    budget: budget.Budget

    def journal(self, wave: str) -> Path:
        """Return where the action of a wave keeps its journal."""
        return self.folder / f"{names.short(wave)}.journal"

    def token(self, wave: str) -> str:
        """Return the name of a wave's work."""
        return f"{plan_hash(self.plan)[:16]} {names.short(wave)}"

    def wave_limit(self, wave: Wave) -> int:
        """Return how many nodes of a wave may fail, whatever the budget over all waves says; no more than it has."""
        return min(len(wave.nodes), budget.allowed_in_wave(self.wanted.wave_error_budget, len(wave.nodes)))

    def idle_limits(self) -> list[str]:
        """Return lines on limits that are so large that they stop nothing."""
        wanted, plan = self.wanted, self.plan
        nodes = sum(len(wave.nodes) for wave in plan.waves)
        lines = []
        waves = [wave for wave in plan.waves if self.wave_limit(wave) == len(wave.nodes)]
        if waves and not _rounded_up(wanted.wave_error_budget):
            of_waves = [f"{wave.name} ({len(wave.nodes)} nodes)" for wave in waves]
            lines.append(_idle("wave_error_budget", wanted.wave_error_budget, ", ".join(of_waves)))
        if plan.error_budget >= nodes:
            lines.append(_idle("error_budget", wanted.error_budget, f"the rollout ({nodes} nodes)"))
        if plan.unreachable_budget >= nodes and not _is_share(wanted.unreachable_budget):  # 100% is its default
            lines.append(_idle("unreachable_budget", wanted.unreachable_budget, f"the rollout ({nodes} nodes)"))
        return lines

    def failures(self, wave: Wave) -> Verdict | None:
        """Say why no wave may follow one of which so many nodes failed, in this run or an earlier one, or None."""
        known, size = self.ledger.results, len(wave.nodes)
        ends = [known[node.host].outcome for node in wave.nodes if node.host in known]
        failed, limit = sum(end in outcomes.CHARGED for end in ends), self.wave_limit(wave)
        if failed > limit:
            return Verdict(f"{wave.name}: {failed} of {size} nodes failed, {limit} allowed in this wave")
        if failed and not any(end in _WORKED for end in ends):
            return Verdict(
                f"{wave.name}: every node that was reached failed ({failed} of {size})", only_before_another=True
            )
        return None

    def errors_left(self, wave: Wave, to_do: set[str]) -> int:
        """Return how many nodes of those to do may fail, by the budget over all waves and by that of the wave."""
        known = self.ledger.results
        others = [node.host for node in wave.nodes if node.host not in to_do and node.host in known]
        failed = sum(known[host].outcome in outcomes.CHARGED for host in others)
        return min(self.budget.errors_left(), max(0, self.wave_limit(wave) - failed))

    def record(self, results: dict[str, NodeResult]) -> None:
        """Write down how nodes ended, and charge the budgets."""
        if results:
            self.ledger.write_results(results)
        for result in results.values():
            self.budget.charge(result.outcome)


@dataclass(frozen=True)
class Verdict:
    """Why no wave may follow.

    Attributes:
        why: a line.
        not_begun: whether that is because the wave could not begin: nothing was sent to any of its nodes.
        only_before_another: whether it matters only where another wave would follow.
        of_the_window: whether the gate or the end of a window is the reason, which says more than a spent budget.
    """

    why: str
    not_begun: bool = False
    only_before_another: bool = False
    of_the_window: bool = False


def _is_share(value: int | str) -> bool:
    return str(value).endswith("%")


def _rounded_up(value: int | str) -> bool:
    """Say whether a budget is as large as its wave only where that has one node, which it is rounded up to."""
    return _is_share(value) and budget.allowed(value, 100) < 100


def _idle(key: str, value: int | str, what: str) -> str:
    """Say that a limit is as large as what it is of."""
    meant = "" if _is_share(value) else f"; it is a number of nodes, {value}% would be a share"
    return f"Warning: {key}: {value} is as large as {what}, so it stops nothing there{meant}"


class WaveRun:
    """One wave of one run."""

    def __init__(self, run: Run, wave: Wave, nodes: list[Node]) -> None:
        """Take the nodes of the wave that are still to do."""
        self._run, self._wave = run, wave
        self._hosts = {node.host for node in nodes}
        self._waiting = set(self._hosts)
        self._path = run.journal(wave.name)
        self._log = run.folder / f"{names.short(wave.name)}.log"
        self._journal = Journal(self._path, run.token(wave.name))
        self._sent_before = self._journal.maybe_sent()
        self._lock = threading.Lock()
        self._failures: list[str] = []
        self._closed = ""
        self._latest_start = ""
        self._error: BaseException | None = None
        done = [node.host for node in wave.nodes if node.host not in self._hosts]
        known = (run.ledger.results[host].outcome for host in done if host in run.ledger.results)
        self._state = State(len(wave.nodes), Counter(known))

    def run(self) -> Verdict | None:
        """Run it; return why no wave may follow, or None."""
        with contextlib.closing(self._journal):
            return self._watched()

    def _watched(self) -> Verdict | None:
        run = self._run
        run.ledger.write("wave_started", wave=self._wave.name, nodes=len(self._hosts))
        with run.screen.wave(self._wave.name, len(self._wave.nodes)) as view:
            said = self._play(view)
            self._guarded(lambda: self._take(view))
            # Nothing is concluded, and no stop withdrawn, before everything that may send has ended.
            grace = 0.0 if run.interrupts.left_alone() else _GRACE
            gone = locks.end_holder(self._path, self._journal.pid, grace)
            self._guarded(lambda: self._take(view))
        why = self._why(said)
        self._guarded(lambda: self._conclude(why))
        if self._error:
            raise self._error
        run.ledger.write("wave_ended", wave=self._wave.name)
        if not gone:
            raise PatchwaveError(
                f"{self._path}: process {self._journal.pid} still works on this wave and cannot be ended; end it, "
                "then run the same command again"
            )
        self._forget()
        return self._verdict(why)

    def _play(self, view: WaveView) -> str:
        """Run the play, and follow its journal meanwhile; return what Ansible said that went wrong."""
        run, over = self._run, threading.Event()

        def follow() -> None:
            while not over.wait(_POLL):
                self._guarded(lambda: self._take(view))

        thread = threading.Thread(target=follow, daemon=True)
        wanted = runner.Play(
            playbook=PLAYBOOK,
            inventory=run.wanted.inventory,
            hosts=sorted(self._hosts),
            variables=self._variables(),
            log=self._log,
        )

        def on_result(*event: Any) -> None:
            self._guarded(lambda: self._event(*event))

        said: list[str] = []
        thread.start()
        try:
            # If it fails, what was sent is still taken, and whoever may send is still ended.
            self._guarded(lambda: said.append(run.ansible.play(wanted, on_result, run.interrupts.left_alone)))
        finally:
            over.set()
            thread.join()
        return said[0] if said else str(self._error)

    def _guarded(self, act: Any) -> None:
        """Do something while the play runs; if it fails, nothing more is sent, and it is told when the play is over."""
        try:
            act()
        except Exception as error:  # told later, by run()
            self._error = self._error or error
            self._run.interrupts.stop_sending()

    def _take(self, view: WaveView) -> None:
        """Write down the results that are new, and show how the wave stands."""
        with self._lock:
            new = {host: result for host, result in self._journal.read() if host in self._waiting}
            self._waiting -= new.keys()
        self._run.record(new)
        if self._journal.stopped and not self._state.stopping:
            self._run.screen.say(f"{self._wave.name}: {self._journal.stopped}: nothing more is sent")
        self._state.counts.update(result.outcome for result in new.values())
        sent = (self._journal.sent | self._journal.begun) & self._hosts
        self._state.sent, self._state.in_flight = len(sent), len(sent & self._waiting)
        self._state.unreadable = dict(self._journal.unreadable)
        self._state.stopping = self._run.interrupts.asked() or bool(self._journal.stopped)
        view.update(self._state)

    def _event(self, how: str, host: str, action: str, result: dict[str, Any]) -> None:
        """Take what Ansible tells of one task on one host."""
        if action == _GATE:
            self._gate(how, result)
        if how != "ok":
            self._failures.append(_failure(result))

    def _gate(self, how: str, result: dict[str, Any]) -> None:
        """Note by what the gate judged, until when work may start, who overrides it, and a gate that is closed."""
        self._latest_start = str(result.get("latest_start") or "")
        if not isinstance(result.get("closed"), list):
            return
        event = gates.event(self._wave.name, result)
        for line in gates.lines(event):
            self._run.screen.say(line)
        said = f"{self._wave.name}: {' '.join(str(result.get('msg', '')).split())}"
        if event["closed"] or event["override"]:
            self._run.screen.say(said)
        self._run.ledger.write("gate", **event)
        if event["closed"] and how == "failed":
            self._closed = said

    def _variables(self) -> dict[str, Any]:
        wanted, run = self._run.wanted, self._run
        own = {
            "patchwave_hosts": "all",
            "patchwave_transport": run.plan.transport,
            "patch_software_node_results": False,
            "patch_software_name": list(run.plan.software),
            "patch_software_catalog": run.plan.software,
            "patch_software_max_errors": str(run.errors_left(self._wave, self._hosts)),
            "patch_software_max_in_flight": wanted.max_in_flight,
            "patch_software_journal": str(self._path.resolve()),
            "patch_software_stop_file": str(run.stop_file.resolve()),
            "patch_software_owner_lock": str(run.owner.resolve()),
            "patchwave_rollout": wanted.name,
            "patch_software_token": run.token(self._wave.name),
        }
        if wanted.require_windows:
            own["gate_require_windows"] = True
        if wanted.override:
            own["gate_override"] = wanted.override
        if wanted.bucket:
            own["patch_software_bucket"] = wanted.bucket
        return {**wanted.vars, **own}

    def _why(self, said: str) -> str:
        """Return in a line why nodes have no result."""
        if self._run.interrupts.asked():
            return "interrupted"
        told = next(filter(None, self._failures), "") or said
        return f"{told}; see {self._log.name}" if told else f"Ansible ended without a word; see {self._log.name}"

    def _sent_now(self) -> set[str]:
        """Return the hosts to which this run may have sent something."""
        return self._journal.maybe_sent_now()

    def _conclude(self, why: str) -> None:
        """Write down what became of the nodes that gave no result."""
        known, interrupted = self._run.ledger.results, self._run.interrupts.asked()
        if self._waiting and not interrupted and not self._closed:
            self._run.screen.say(f"{self._wave.name}: {len(self._waiting)} nodes without a result: {why}")
        now, found = self._sent_now(), {}
        for host in sorted(self._waiting):
            new = host not in known or known[host].outcome == outcomes.SKIPPED
            if host in now:
                msg = f"a command may have been sent, then: {why}"
                found[host] = NodeResult.concluded(outcomes.UNKNOWN, "no_result", msg)
            elif host in self._sent_before and new:
                msg = f"an earlier run may have sent a command; this one did not ask for it: {why}"
                found[host] = self._journal.earlier.get(host) or NodeResult.concluded(
                    outcomes.UNKNOWN, "no_result", msg
                )
            elif new:
                found[host] = NodeResult.concluded(outcomes.SKIPPED, "not_started", f"nothing was sent: {why}")
        self._run.record(found)

    def _forget(self) -> None:
        """Remove the journal once every result is in the ledger; without them the next run takes it up."""
        known = self._run.ledger.results
        unread = [host for host in self._hosts if host in known and _is_unknown(known[host])]
        for (bucket, key), error in self._journal.leftovers.items():
            self._run.ledger.write("leftover", wave=self._wave.name, bucket=bucket, key=key, error=error[:500])
        if not self._waiting and not unread:
            self._journal.forget()

    def _verdict(self, why: str) -> Verdict | None:
        """Say why no wave may follow: only complete knowledge of this one lets the next begin."""
        name, known = self._wave.name, self._run.ledger.results
        if self._closed:
            return Verdict(self._closed, of_the_window=True)
        results = {host: known[host] for host in self._hosts if host in known}
        if self._journal.stopped:
            all_ = " --all" if self._journal.stopped.startswith("stopped with all rollouts") else ""
            said = f"the rollout was {self._journal.stopped}; `patchwave stop{all_} --lift` lets it go on"
            return Verdict(f"{name}: {said}", of_the_window=True)
        late = self._late(results)
        if late:
            ended = len(self._hosts) - len(self._waiting)
            return Verdict(f"{name}: its window closed before {late} of {ended} nodes had begun", of_the_window=True)
        not_sent = not self._sent_now() and all(map(_was_not_sent, results.values()))
        if self._waiting or not_sent:
            told = why if self._waiting else next((one.msg for one in results.values()), why)
            if not_sent:
                return Verdict(f"{name}: nothing was sent to its {len(self._hosts)} nodes: {told}", not_begun=True)
            return Verdict(f"{name}: {len(self._waiting)} of {len(self._hosts)} nodes have no result: {told}")
        unclear = [one for one in results.values() if _is_unknown(one)]
        if unclear:
            return Verdict(f"{name}: nothing is known of {len(unclear)} of {len(results)} nodes: {unclear[0].msg}")
        return self._nobody_was_reached()

    def _late(self, results: dict[str, NodeResult]) -> int:
        """Count the nodes that had not begun when the window closed; the engine says so, or this machine's clock."""
        if self._run.interrupts.asked():
            return 0
        over = _is_past(self._latest_start)
        late = (one for one in results.values() if one.outcome == outcomes.SKIPPED and one.reason in _LATE)
        return sum(1 for one in late if one.source == ENGINE or over)

    def _nobody_was_reached(self) -> Verdict | None:
        """Say so when no node of the whole wave has ever given an answer: such a wave proves nothing."""
        known = self._run.ledger.results
        results = [known[node.host] for node in self._wave.nodes if node.host in known]
        if any(one.outcome not in (outcomes.UNREACHABLE, outcomes.SKIPPED, outcomes.UNKNOWN) for one in results):
            return None
        told = next((one.msg for one in results if one.outcome == outcomes.UNREACHABLE), "no node gave an answer")
        why = f"{self._wave.name}: none of its {len(results)} nodes was reached: {told}"
        return Verdict(why, only_before_another=True)


def _is_unknown(result: NodeResult) -> bool:
    """Say whether a node may still work without anybody knowing, or was left out without a reason of its own."""
    if result.source != ENGINE:
        return False
    if result.outcome == outcomes.SKIPPED:
        return result.reason not in _LEFT_ALONE
    return result.reason in _NOT_KNOWN.get(result.outcome, ())


def _was_not_sent(result: NodeResult) -> bool:
    """Say whether a node was not sent anything for a reason that is not the node's own."""
    denied = result.outcome == outcomes.UNREACHABLE and result.reason in _DENIED
    return result.source == ENGINE and (denied or (result.outcome == outcomes.SKIPPED and _is_unknown(result)))


def _is_past(moment: str) -> bool:
    return moments.is_moment(moment) and time.time() >= moments.seconds(moment)


def _failure(result: dict[str, Any]) -> str:
    """Return a failed task's message as a line."""
    if result.get("censored"):
        return "Ansible hides why a task failed (no_log)"
    return " ".join(str(result.get("msg", "")).split())[:500]
