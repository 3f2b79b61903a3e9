"""Run a rollout: plan, waves one after the other, ledger, report."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ansible_collections.patchwave.aws.plugins.module_utils._core import budget, outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import EmptyWave, Plan, make_waves, plan_hash
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult

from patchwave import ledger as ledgers
from patchwave import locks, names, report, runner
from patchwave.errors import PatchwaveError, Stopped, of_file
from patchwave.folders import check_files, private_folder
from patchwave.interrupts import Interrupts
from patchwave.inventory import Inventory, read_inventory
from patchwave.journal import Journal
from patchwave.ledger import Ledger
from patchwave.progress import Screen
from patchwave.rollout_file import RolloutFile, read_rollout
from patchwave.scope import Scope
from patchwave.wave import Run, Verdict, WaveRun

EXIT_RIGHT, EXIT_MISTAKE, EXIT_ATTENTION, EXIT_STOPPED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
INTERRUPTED = "interrupted"
#: Seconds that what is left of a killed driver has to end.
_PATIENCE = 60.0


def apply_rollout(path: Path, output: Path | None, interrupts: Interrupts) -> int:
    """Run or resume the rollout in a file.

    Args:
        path: the rollout file.
        output: folder for ledger, logs and reports; by default `NAME` beside the file.
        interrupts: tells of signals.

    Returns:
        0 when every node is patched or current, 2 when some are not, 3 when a budget, a closed gate or a wave of which
        too little is known stopped the rollout, 130 when a signal did.

    Raises:
        PatchwaveError: a mistake, no inventory, or a wave that could not begin; its exit code says what was changed.
        Stopped: a signal came before the first wave.
    """
    wanted = read_rollout(path)
    folder = output or path.resolve().parent / wanted.name
    _check_folder(folder)
    screen = Screen()
    screen.say(f"Reading the inventory {wanted.inventory.name} ...")
    try:
        with private_folder() as private:
            ansible = runner.Ansible(private, wanted.max_in_flight)
            try:
                others = wanted.folders
                inventory = read_inventory(wanted.inventory, private, interrupts.asked, ansible.prepare, others)
                plan = _plan(wanted, inventory)
                if interrupts.asked():
                    raise Stopped
                return _run(wanted, plan, inventory, folder, ansible, screen, interrupts)
            finally:
                ansible.close()
    except (PatchwaveError, Stopped):
        raise
    except Exception as error:
        raise _unexpected(error, folder, EXIT_MISTAKE) from error


def _check_folder(folder: Path) -> None:
    """Find out before anything begins whether the output folder can be written.

    Raises:
        PatchwaveError: it cannot.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise PatchwaveError(f"{folder}: the output folder cannot be made: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PatchwaveError(f"{folder}: the output folder cannot be written; see the rights of {there}")
    check_files(folder)


def _unexpected(error: Exception, folder: Path, exit_code: int) -> PatchwaveError:
    """Return in a line what nobody thought of; the rest goes into a file that its user alone can read."""
    if isinstance(error, OSError) and error.filename:
        told = of_file(error.filename, error)
        told.exit_code = exit_code
        return told
    file = folder / "internal-error.log"
    where = f"; see {file}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as log:
            log.write("".join(traceback.format_exception(error)))
    except OSError:
        where = ""
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)  # empty, or a part
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return PatchwaveError(f"internal error: {said}; the ledger has what is known{where}", exit_code)


def _plan(wanted: RolloutFile, inventory: Inventory) -> Plan:
    try:
        waves = make_waves(wanted.waves, inventory.groups, inventory.hostvars)
    except EmptyWave as error:
        index, name, known = error.args
        why = f"no node in scope is in '{name}'; "
        why += f"waves with nodes: {', '.join(known)}" if known else "the inventory has no wave_* group"
        if inventory.groups.get(name):
            why = f"every node of '{name}' is in an earlier wave"
        raise PatchwaveError(f"{wanted.path}: waves[{index}]: {why}") from error
    for node in (node for wave in waves for node in wave.nodes):
        problem = names.limit_problem(node.host, inventory.groups)
        if problem:
            why = f"host {node.host!r} {problem}, so a play cannot be limited to it; give it another name"
            raise PatchwaveError(f"{wanted.inventory}: {why}")
    nodes = sum(len(wave.nodes) for wave in waves)
    budgets = []
    for key in ("error_budget", "unreachable_budget", "wave_error_budget"):
        try:
            budgets.append(budget.allowed(getattr(wanted, key), nodes))
        except ValueError as error:
            raise PatchwaveError(f"{wanted.path}: {key}: {error}") from error
    return Plan(wanted.name, wanted.software, wanted.transport, budgets[0], budgets[1], waves)


def _run(
    wanted: RolloutFile,
    plan: Plan,
    inventory: Inventory,
    folder: Path,
    ansible: runner.Ansible,
    screen: Screen,
    interrupts: Interrupts,
) -> int:
    """Run a plan, write its report, and return the exit code."""
    path = folder / f"ledger-{plan_hash(plan)[:12]}.jsonl"
    with _owned(folder, path) as owner, contextlib.closing(_opened(path)) as ledger:
        run = Run(
            wanted=wanted,
            plan=plan,
            ledger=ledger,
            folder=folder,
            ansible=ansible,
            owner=owner,
            stop_file=folder / "stop",
            screen=screen,
            interrupts=interrupts,
            budget=budget.Budget(plan.error_budget, plan.unreachable_budget),
        )
        verdict: Verdict | None = None
        try:
            scope, verdict = _Rollout(run, inventory).run()
            return _report(run, scope, verdict)
        except Exception as error:
            code = EXIT_STOPPED if _may_have_changed(run) else EXIT_MISTAKE
            told = error if isinstance(error, PatchwaveError) else _unexpected(error, folder, code)
            told.exit_code = EXIT_INTERRUPTED if verdict and verdict.why == INTERRUPTED else code
            _report_anyway(run, str(told))
            raise told from error


def _opened(path: Path) -> Ledger:
    """Open a ledger; an error's exit code says what it tells all the same."""
    try:
        return Ledger(path)
    except PatchwaveError as error:
        if ledgers.may_have_changed(path):
            error.exit_code = EXIT_STOPPED
        raise


@contextmanager
def _owned(folder: Path, ledger: Path) -> Iterator[Path]:
    """Hold the output folder alone, which tells every action begun from here that its driver lives.

    Raises:
        PatchwaveError: another driver has it, or what a killed one began does not end.
    """
    path = folder / "apply.lock"
    try:
        held = _take_folder(folder, path)
    except OSError as error:
        told = of_file(error.filename or path, error)
        told.exit_code = EXIT_STOPPED if ledgers.may_have_changed(ledger) else EXIT_MISTAKE
        raise told from error
    with held:
        yield path


def _take_folder(folder: Path, path: Path) -> IO[str]:
    """Return the locked file at path, once what a killed driver began has ended."""
    busy = f"{path}: another patchwave apply is running on this rollout; wait for it"
    folder.mkdir(parents=True, exist_ok=True)
    first = locks.take(path)
    if not first:
        raise PatchwaveError(busy)
    first.close()  # what a killed driver began sees in this moment that its owner is gone, and ends
    for journal in folder.glob("*.journal"):
        if not locks.wait_until_free(journal, _PATIENCE):
            raise PatchwaveError(f"{journal}: what an earlier run began is still at work; end it, or wait for it")
    held = locks.take(path)
    if not held:
        raise PatchwaveError(busy)
    return held


def _may_have_changed(run: Run) -> bool:
    """Say whether any run of this plan may have changed a node."""
    if run.ledger.may_have_changed:
        return True
    try:
        for wave in run.plan.waves:
            with contextlib.closing(Journal(run.journal(wave.name), run.token(wave.name))) as journal:
                if journal.maybe_sent():
                    return True
        return False
    except PatchwaveError:  # there is one, and nobody knows what it says; but a folder is none
        return any(run.journal(wave.name).is_file() for wave in run.plan.waves)


def _report(run: Run, scope: Scope, verdict: Verdict | None) -> int:
    """Write the report, show it, and return the exit code.

    Raises:
        PatchwaveError: it cannot be written; or a wave could not begin and nothing was changed.
    """
    content = report.content(run.plan, plan_hash(run.plan), run.ledger, verdict.why if verdict else None)
    report.write(content, run.folder)
    run.screen.table(content, run.folder)
    if not verdict:
        right = all(node["outcome"] in outcomes.RIGHT for node in content["nodes"])
        missing = scope.left_out or (run.wanted.all_in_waves and scope.not_in_a_wave)
        return EXIT_RIGHT if right and not missing else EXIT_ATTENTION
    if verdict.why == INTERRUPTED:
        return EXIT_INTERRUPTED
    if verdict.not_begun and not _may_have_changed(run):
        raise PatchwaveError(f"{run.wanted.path}: {verdict.why}")
    return EXIT_STOPPED


def _report_anyway(run: Run, why: str) -> None:
    """Write the report of a rollout that could not be ended as it should; that may be what is impossible."""
    if run.ledger.lines and run.ledger.lines[-1]["event"] != "finished":
        with contextlib.suppress(Exception):
            report.write(report.content(run.plan, plan_hash(run.plan), run.ledger, why), run.folder)


class _Rollout:
    """One run of a plan, new or resumed."""

    def __init__(self, run: Run, inventory: Inventory) -> None:
        self._run, self._inventory = run, inventory
        self._verdict: Verdict | None = None

    def run(self) -> tuple[Scope, Verdict | None]:
        """Run every wave; return what the plan leaves out, and why the rollout was stopped, or None."""
        run, plan, ledger = self._run, self._run.plan, self._run.ledger
        scope = Scope.of(self._inventory, plan)
        all_nodes = {node.host for wave in plan.waves for node in wave.nodes}
        done = {host for host in all_nodes & ledger.results.keys() if ledger.results[host].outcome in outcomes.RIGHT}
        held = all_nodes & self._inventory.held() - done
        limits = {wave.name: min(run.wave_limit(wave), plan.error_budget) for wave in plan.waves}
        run.screen.plan(plan, done, held, run.wanted.max_in_flight, limits)
        for line in run.idle_limits():
            run.screen.say(line)
        run.screen.scope(scope)
        to_do = len(all_nodes) - len(done) - len(held)
        ledger.write("started", plan=plan_hash(plan), to_do=to_do, wave_error_budgets=limits, **scope.as_dict())
        self._skip(held, "held", "a tag holds it from patching")
        with _stop_file(run) as stop:
            for wave in plan.waves:
                nodes = [node for node in wave.nodes if node.host not in done | held]
                stopped = self._must_stop(before_another=True) if nodes else None
                if stopped:
                    self._skip([node.host for node in nodes], "not_started", f"not started: {stopped.why}")
                elif nodes:
                    stop.check()
                    self._verdict = WaveRun(run, wave, nodes).run()
                self._verdict = _also_by_its_failures(self._verdict, None if stopped else run.failures(wave))
        stopped = self._must_stop(before_another=False)
        ledger.write("finished", stopped=stopped.why if stopped else None)
        return scope, stopped

    def _must_stop(self, before_another: bool) -> Verdict | None:
        """Return why no more may be done; a reason that counts only before another wave counts from then on."""
        if self._run.interrupts.asked():
            return Verdict(INTERRUPTED)
        verdict, spent = self._verdict, self._run.budget.exceeded()
        if verdict and verdict.only_before_another:
            if before_another:
                self._verdict = verdict = Verdict(verdict.why)
            else:
                verdict = None
        if spent and not (verdict and verdict.of_the_window):
            return Verdict(spent)
        return verdict

    def _skip(self, hosts: Iterable[str], reason: str, msg: str) -> None:
        """Write down nodes that are left alone; what an earlier run found out of one says more."""
        known = self._run.ledger.results
        new = [host for host in sorted(hosts) if host not in known or known[host].outcome == outcomes.SKIPPED]
        self._run.record(dict.fromkeys(new, NodeResult.concluded(outcomes.SKIPPED, reason, msg)))


def _also_by_its_failures(verdict: Verdict | None, failures: Verdict | None) -> Verdict | None:
    """Return why no wave may follow: that too many nodes failed says more than what nobody knows of the others then."""
    if not failures or (verdict and (verdict.of_the_window or verdict.not_begun or failures.only_before_another)):
        return verdict
    return failures


@contextmanager
def _stop_file(run: Run) -> Iterator[locks.StopFile]:
    """Let signals stop the actions until the block ends. Nobody is left then who must obey."""
    stop = locks.StopFile(run.stop_file)
    run.interrupts.name_stop_file(stop)
    try:
        yield stop
    except BaseException:
        # An action that cannot be ended must go on finding it.
        stop.say()
        run.interrupts.name_stop_file(None)
        stop.close()
        raise
    run.interrupts.name_stop_file(None)
    stop.withdraw()
