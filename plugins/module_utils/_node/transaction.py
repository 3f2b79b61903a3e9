# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""One patch of one program on this node as one transaction, whatever kind of patch it is.

lock, recover, probe, decide, check, [steps of the kind], stop, switch, start, health, verify, processes, commit. A
failure before the stop leaves the node as it was; one after it rolls back and proves the old version. The journal is
written before each phase. What a kill leaves is finished or undone by the next one.
"""

from __future__ import annotations

import abc
import contextlib
import os
import typing as t

from .._core.outcomes import CURRENT, FAILED, PATCHED, ROLLED_BACK, SKIPPED, UNSUPPORTED
from . import errors, processes
from .disk import existing_ancestor
from .errors import PatchError
from .folders import is_guarded
from .journal import SCHEMA, Entry, Journal
from .lock import node_lock
from .preconditions import Preconditions
from .proof import Proof
from .result import Report
from .services import Service, Services

#: The phase from which a transaction is finished, not undone.
COMMIT = "commit"
#: The phase from which services may be stopped and the new version may be the one that runs.
SWITCH = "switch"
#: Outcomes of nodes that are left alone without fault, by reason.
LEFT_ALONE = {
    "too_late": SKIPPED,
    "unsafe_process": SKIPPED,
    "unsupported_node": UNSUPPORTED,
    "installed_elsewhere": UNSUPPORTED,
}

Undo = t.Dict[str, t.Any]


class Remark(t.NamedTuple):
    """What a kind did not do or could not judge: a reason, a text for the message and keys of the result.

    Without a reason it is only told.
    """

    reason: str = ""
    text: str = ""
    data: t.Mapping[str, t.Any] = {}


class Kind(abc.ABC):
    """How one kind of patch gets a version onto a node. A new kind is a new class, entered where Patch is built."""

    #: Names the kind in the journal.
    kind = ""
    #: Whether a process that only has an old file open runs the old version, as Java does.
    files_too = False
    #: The family of the package database that it works on, if any.
    family = ""

    @property
    def sought(self) -> str:
        """What a node without the program lacks, for messages where the definition has no probe."""
        return self.kind

    def probe(self) -> t.Optional[str]:
        """Return the version on the node, or None; asked where the definition has no probe."""
        raise PatchError("bad_definition", "probe: is required with {0}".format(self.kind))

    @abc.abstractmethod
    def broken(self) -> bool:
        """Tell whether the program is there in part, though its probe is missing."""

    def unfinished(self) -> str:
        """Return what is not whole about the version that is there, in a word or two, or nothing."""
        return ""

    @abc.abstractmethod
    def check(self) -> None:
        """Raise PatchError when the patch cannot work here; change nothing."""

    @abc.abstractmethod
    def plan(self) -> Undo:
        """Return, as JSON data, all that undo() and finish() need, before anything is changed."""

    @abc.abstractmethod
    def steps(self, undo: Undo) -> t.List[t.Tuple[str, t.Callable[[], None]]]:
        """Return the named steps up to the switch; the running program must not notice them."""

    @abc.abstractmethod
    def switch(self, undo: Undo) -> None:
        """Make the new version the one that runs."""

    @abc.abstractmethod
    def undo(self, undo: Undo, phase: str) -> None:
        """Put the node back from any state a crash in C(phase) can leave, also from an interrupted undo()."""

    def remark(self) -> Remark:
        """Return what the version that probe() returned leaves open."""
        return Remark()

    def is_old(self, undo: Undo, path: str, deleted: bool) -> bool:
        """Tell whether a file that a process uses belongs to the version that was replaced."""
        return False

    @abc.abstractmethod
    def finish(self, undo: Undo) -> None:
        """Tidy up behind a proven version; may be repeated."""


class Settings(t.NamedTuple):
    """What a transaction wants, whatever its kind."""

    name: str
    fixed_in: str
    target: str
    #: Compares the node's version with one of the definition; raises PatchError where they have no order.
    compare: t.Callable[[str, str], int]
    #: What to look for on the node, for messages.
    sought: str
    #: What belongs to this program alone, and no other may be patched in meanwhile: a path or a package.
    place: t.Optional[str]
    #: Where else on the node a program of that name is, if anywhere.
    elsewhere: t.Callable[[], t.Optional[str]]
    allow_downgrade: bool
    install_missing: bool
    state_dir: str
    lock_timeout: float
    check_mode: bool


class Patch:
    """Run one transaction.

    Args:
        settings: what is wanted.
        kinds: makes a kind by its name, to recover what an earlier run began.
        kind: the kind of this patch.
        proof: how to learn and prove a version.
        services: those of the program.
        preconditions: what must hold before the switch.
        new_mark: gives what marks all that commands start from then on. Recovery and patch have marks of their own: the
            services that the one has started are not to be killed for the other.
        tidy: removes what only a killed run leaves for the next one.
        journal: where to record phases.
        report: where to say how it went.
    """

    def __init__(
        self,
        settings: Settings,
        kinds: t.Mapping[str, t.Callable[[], Kind]],
        kind: Kind,
        proof: Proof,
        services: Services,
        preconditions: Preconditions,
        new_mark: t.Callable[[], str],
        tidy: t.Callable[[], None],
        journal: Journal,
        report: Report,
    ) -> None:
        self._want = settings
        self._kinds = kinds
        self._kind = kind
        self._proof = proof
        self._services = services
        self._preconditions = preconditions
        self._new_mark = new_mark
        self._tidy = tidy
        self._journal = journal
        self._report = report
        self._pending = None  # type: t.Optional[Entry]
        self._interrupted = []  # type: t.List[Service]
        self._unstarted = None  # type: t.Optional[PatchError]

    def run(self) -> None:
        """Do it all and leave the answer in the report; bad input never raises."""
        try:
            if not self._want.check_mode:
                os.makedirs(self._want.state_dir, 0o700, exist_ok=True)
            state_dir = os.path.realpath(existing_ancestor(self._want.state_dir))
            if os.geteuid() == 0 and not is_guarded(state_dir):
                message = (
                    "another user could change {0}, where the journal is; mend its owner and mode, or set state_dir"
                )
                raise PatchError("unsafe_folder", message.format(state_dir))
            with contextlib.ExitStack() as stack:
                with self._report.step("lock"):
                    path = os.path.join(self._want.state_dir, "lock")
                    stack.enter_context(node_lock(path, self._want.lock_timeout, not self._want.check_mode))
                if not self._want.check_mode:
                    stack.callback(self._tidy)
                self._locked()
        except errors.ALL as error:
            problem = errors.patch_error(error, self._want.state_dir)
            self._report.end(LEFT_ALONE.get(problem.reason, FAILED), problem.reason, self._name(problem.message))

    def _done(self, outcome: str, reason: str, message: str) -> None:
        """End well, unless the kind had to leave something that keeps the node from being called so."""
        remark = self._kind.remark()
        if remark.reason == "copies_left" or (remark.reason and outcome == CURRENT):
            outcome, reason = FAILED, remark.reason
        if remark.reason:
            self._report.extra.update(remark.data)
            self._report.log.event(remark.reason, message=remark.text)
        if remark.text:
            message += "; " + remark.text
        self._report.end(outcome, reason, message)

    def _name(self, message: str) -> str:
        return "{0}: {1}".format(self._want.name, message)

    def _refuse_others(self) -> None:
        """Refuse a place where a run for another program did not end: to undo it later would undo this one, too."""
        for entry in self._journal.others():
            if entry.get("place") is not None and entry["place"] == self._want.place:
                message = "an interrupted patch of {0} is not finished in {1}; run that definition again first"
                raise PatchError("dest_conflict", message.format(entry["name"], self._want.place))

    def _locked(self) -> None:
        self._refuse_others()
        finished = self._recover()
        before = self._report.before = self._report.after = self._probe()
        verdict = self._verdict(before)
        if verdict is not None and finished is not None and before is not None:
            self._report.before = finished["before"]
            done = "would finish" if self._want.check_mode else "finished"
            self._done(PATCHED, "recovered", self._name("{0} an interrupted patch to {1}".format(done, before)))
        elif verdict is not None and self._unstarted is not None:
            raise self._unstarted
        elif verdict is not None:
            self._done(CURRENT, *verdict)
        else:
            self._apply(before)

    # -- recover -------------------------------------------------------------------------------------------------

    def _recover(self) -> t.Optional[Entry]:
        """Finish or undo an interrupted transaction; return its entry when it was finished."""
        entry = self._journal.load()
        if self._want.check_mode:
            self._pending = entry if entry is not None and entry["phase"] != COMMIT else None
            self._report.changed = entry is not None
            return entry if self._pending is None else None
        self._journal.sweep()
        if entry is None:
            return None
        with self._report.step("recover"):
            kind = self._kind if entry["kind"] == self._kind.kind else self._kinds.get(entry["kind"], lambda: None)()
            if kind is None:
                raise PatchError(
                    "journal_invalid", "{0} is of a newer patchwave; use that one".format(self._journal.path)
                )
            self._report.changed = True
            self._interrupted = entry.get("services", []) if entry["phase"] == SWITCH else []
            self._services.halt(self._interrupted)  # in good order; the next line knows only SIGKILL
            if entry["phase"] != COMMIT:  # else it is the new version that runs: services, or what an installer began
                processes.kill_marked(entry.get("run") or "none")
            with contextlib.suppress(OSError):  # a full disk, which what follows may empty
                # What is started from here on is to be found by the next run, if this one is killed too.
                self._journal.write(dict(entry, run=self._new_mark()))
            problem = self._settle(entry, kind)
            if problem is not None:
                message = "cannot recover an interrupted patch: {0}".format(problem.message)
                raise PatchError("rollback_failed", message)
            self._journal.remove()
        self._report.log.event("recovered", phase=entry["phase"], target=entry["target"])
        return entry if entry["phase"] == COMMIT else None

    def _settle(self, entry: Entry, kind: Kind) -> t.Optional[PatchError]:
        """Finish or undo what an entry says; services that do not start again are left to the patch that follows."""
        if entry["phase"] == COMMIT:
            return _attempt(lambda: kind.finish(entry["undo"]))
        problem = self._put_back(entry, kind, self._interrupted)
        if self._unstarted is not None:
            self._report.log.event("not_started", message=self._unstarted.message)
        return problem

    def _put_back(self, entry: Entry, kind: Kind, services: t.Sequence[Service]) -> t.Optional[PatchError]:
        """Undo what an entry says and return what was wrong; services that ran run again whatever else fails."""
        self._services.halt(services)
        problem = _attempt(lambda: kind.undo(entry["undo"], entry["phase"]))
        self._unstarted = _attempt(lambda: self._services.restore(services))
        return problem

    # -- decide --------------------------------------------------------------------------------------------------

    def _probe(self) -> t.Optional[str]:
        if self._pending is not None:  # check mode: what the probe will say once the real run has recovered
            before = self._pending["before"]
            return before if before is None else str(before)
        with self._report.step("probe"):
            version = self._proof.version()
        self._report.log.event("probed", version=version)
        return version

    def _verdict(self, before: t.Optional[str]) -> t.Optional[t.Tuple[str, str]]:
        """Return (reason, message) when there is nothing to do."""
        want = self._want
        if before is None:
            if want.install_missing:
                return None
            if self._pending is None and self._kind.broken():
                message = "{0} is missing, though the program is there in part; repair it or set install_missing"
                raise PatchError("probe_failed", message.format(want.sought))
            other = want.elsewhere()
            if other is not None:
                message = "{0} is missing, but {1} is on this node; have the probe run that, or remove it"
                raise PatchError("installed_elsewhere", message.format(want.sought, other))
            return "not_installed", self._name("not on this node ({0} is missing)".format(want.sought))
        fixed = want.compare(before, want.fixed_in) >= 0
        too_new = want.allow_downgrade and want.compare(before, want.target) > 0
        if not fixed or too_new:
            return None
        state = self._kind.unfinished() if self._pending is None else ""
        if state and want.compare(before, want.target) == 0:  # it is installed once more
            return None
        if state:
            message = "{0} {1} is {2}; have the package manager finish it (dpkg --configure -a) and run again"
            raise PatchError("unfinished", message.format(want.sought, before, state))
        return "already_fixed", self._name("{0} is not vulnerable (fixed in {1})".format(before, want.fixed_in))

    def _check(self, before: t.Optional[str]) -> None:
        want = self._want
        if before is not None and want.compare(before, want.target) > 0 and not want.allow_downgrade:
            message = "{0} is lower than the node's {1}; set allow_downgrade if that is meant".format(
                want.target, before
            )
            raise PatchError("downgrade_refused", message)
        self._preconditions.check(first=before is None)
        if self._pending is None:
            self._kind.check()

    # -- apply ---------------------------------------------------------------------------------------------------

    def _apply(self, before: t.Optional[str]) -> None:
        self._check(before)
        down = before is not None and self._want.compare(before, self._want.target) > 0
        done = ("downgraded" if down else "upgraded", "{0} -> {1}".format(before or "not installed", self._want.target))
        if self._want.check_mode:
            self._report.after, self._report.changed = self._want.target, True
            self._done(PATCHED, done[0], self._name("would be {0}, {1}".format(*done)))
            return
        entry = self._prepare(before)
        try:
            self._switch(entry)
            self._phase(entry, COMMIT)
        except errors.ALL as error:
            self._roll_back(entry, errors.patch_error(error, "dest or state_dir"))
        else:
            self._commit(entry, done)

    def _phase(self, entry: Entry, phase: str) -> None:
        self._journal.write(dict(entry, phase=phase))
        entry["phase"] = phase

    def _switch(self, entry: Entry) -> None:
        """Put the new version in place of the old one and prove it; the time without service is a step of its own."""
        ran, files_too = entry["services"], self._kind.files_too
        with self._report.step("outage") if ran else contextlib.nullcontext():
            if ran:
                with self._report.step("stop"):
                    self._services.stop([service for service in ran if service["restart"] == "around"])
            with self._report.step("switch"):
                self._kind.switch(entry["undo"])
            since = processes.now()
            if ran:
                with self._report.step("start"):
                    self._services.start(ran)
            self._proof.healthy()
        self._proof.is_new(entry["target"])
        self._proof.none_is_old(lambda *file: self._kind.is_old(entry["undo"], *file), since, files_too)
        self._services.still_run(ran)

    def _services_now(self) -> t.List[Service]:
        """Return the services that run, and those that ran before an interrupted patch."""
        running = self._services.running()
        names = {service["name"] for service in running}
        return running + [service for service in self._interrupted if service["name"] not in names]

    def _prepare(self, before: t.Optional[str]) -> Entry:
        """Do everything the running program does not notice; undo it all when that fails."""
        entry = {"schema": SCHEMA, "kind": self._kind.kind, "name": self._want.name, "phase": ""}  # type: Entry
        entry.update(place=self._want.place, before=before, target=self._want.target, undo=self._kind.plan())
        entry.update(run=self._new_mark(), services=self._services_now())
        try:
            for name, step in self._kind.steps(entry["undo"]):
                self._phase(entry, name)
                with self._report.step(name):
                    step()
            self._preconditions.check_now()
            self._phase(entry, SWITCH)
        except errors.ALL as error:
            raise self._clear(entry, errors.patch_error(error, "dest or state_dir")) from None
        return entry

    def _clear(self, entry: Entry, cause: PatchError) -> PatchError:
        """Undo the steps before the switch and return what to raise."""
        problem = _attempt(lambda: self._kind.undo(entry["undo"], entry["phase"])) or _attempt(self._journal.remove)
        if problem is None:
            return cause
        message = "{0}; leftovers stay until the next run ({1})"
        return PatchError(cause.reason, message.format(cause.message, problem.message))

    def _commit(self, entry: Entry, done: t.Tuple[str, str]) -> None:
        with self._report.step("commit"):
            problem = _attempt(lambda: self._kind.finish(entry["undo"])) or _attempt(self._journal.remove)
        note = "; tidying up is left to the next run ({0})".format(problem.message) if problem else ""
        self._report.after, self._report.changed = self._want.target, True
        self._done(PATCHED, done[0], self._name("{0}{1}".format(" ".join(done), note)))

    # -- roll back -----------------------------------------------------------------------------------------------

    def _roll_back(self, entry: Entry, cause: PatchError) -> None:
        before = entry["before"]
        self._report.log.event("rolling_back", reason=cause.reason, message=cause.message)
        with self._report.step("rollback"):
            self._report.after = None
            problem = self._put_back(entry, self._kind, entry["services"]) or self._unstarted
            problem = problem or _attempt(self._journal.remove) or _attempt(lambda: self._proof.is_back(before))
        if problem is not None:
            also = self._unstarted.message if self._unstarted not in (None, problem) else ""
            self._report.changed = True
            message = "{0}; then rolling back to {1} failed: {2}; look at this node now".format(
                cause.message, before or "not installed", "; ".join(filter(None, (problem.message, also)))
            )
            self._report.end(FAILED, "rollback_failed", self._name(message))
            return
        self._report.after = before
        back = "{0} is back and proven".format(before) if before else "removed again"
        self._report.end(ROLLED_BACK, cause.reason, self._name("{0}; {1}".format(cause.message, back)))


def _attempt(action: t.Callable[[], None]) -> t.Optional[PatchError]:
    """Do something and return what was wrong with it."""
    try:
        action()
    except errors.ALL as error:
        return errors.patch_error(error, "dest")
    return None
