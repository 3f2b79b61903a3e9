# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""What run_module and run_command share: their options, who is reached how, and the frame of one batch."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import re
import types
import typing as t
import uuid

from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes, run_names
from ansible_collections.patchwave.aws.plugins.module_utils._core.budget import allowed
from ansible_collections.patchwave.aws.plugins.module_utils._core.calendar import moment
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import ENGINE, NodeResult
from ansible_collections.patchwave.aws.plugins.module_utils._service import payload, run_command, stop_marks
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control

from ._journal import TOKEN, Journal
from ._progress import Progress

#: Ids of managed nodes, EC2 and hybrid (botocore's model, ssm 2014-11-06).
NODE_ID = re.compile(r"(i-(\w{8}|\w{17})|mi-\w{17})")
#: The least and the most that SendCommand takes and the agent (172,800) less our own minute, in seconds.
_TIMEOUTS = {"delivery_timeout": (30, 2_592_000), "execution_timeout": (5, 172_740)}
#: Characters of a token.
_TOKEN_LENGTH = 70

#: How Ansible is told of an outcome that is not success.
_FLAGS = {outcomes.UNREACHABLE: "unreachable"}

#: The options that both doors have.
ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "delivery_timeout": {"type": "int", "default": 600},
    "execution_timeout": {"type": "int", "default": 3600},
    "max_in_flight": {"type": "int", "default": 0},
    "max_errors": {"type": "str", "default": "0"},
    "idempotent": {"type": "bool", "default": False},
    "rollout": {"type": "str"},
    "token": {"type": "str"},
    "journal": {"type": "path"},
    "stop_file": {"type": "path"},
    "stop_at": {"type": "str"},
    "owner_lock": {"type": "path"},
    "max_unreachable": {"type": "str", "default": "0"},
    "ignore_within_budget": {"type": "bool", "default": False},
}
#: Those that say what its results come to, the same for a whole batch.
VERDICT = ("max_unreachable", "ignore_within_budget")


class Limits(t.NamedTuple):
    """Options of ARGUMENT_SPEC that hold for a whole batch, whatever works it has; see the documentation."""

    max_in_flight: int
    max_errors: str
    rollout: str | None
    token: str
    journal: str | None
    stop_file: str | None
    owner_lock: str | None

    @classmethod
    def of(cls, options: t.Mapping[str, t.Any]) -> Limits:
        """Take the limits out of a task's options.

        Raises:
            ValueError: one of them cannot be; one line that names it.
        """
        own = {"token": options["token"] or uuid.uuid4().hex}
        limits = cls(**{**{name: options[name] for name in cls._fields}, **own})
        if limits.max_in_flight < 0:
            raise ValueError(f"max_in_flight: must be 0 (all at once) or more, not {limits.max_in_flight}")
        if len(limits.token) > _TOKEN_LENGTH:
            raise ValueError(f"token: must have at most {_TOKEN_LENGTH} characters")
        if run_names.ALL in (limits.rollout, limits.token):
            raise ValueError(f"{'rollout' if limits.rollout else 'token'}: {run_names.ALL!r} stands for every rollout")
        try:
            allowed(limits.max_errors, 1)
        except ValueError as error:
            raise ValueError(f"max_errors: {error}") from error
        return limits

    @property
    def name(self) -> str:
        """The rollout's name, by which a stop from outside finds the batch."""
        return run_names.run_name(self.rollout or self.token)


#: Names of the options that are the same for a whole batch.
LIMITS = Limits._fields


class Settings(t.NamedTuple):
    """Options of ARGUMENT_SPEC that each work of a batch has of its own; see the documentation."""

    delivery_timeout: int
    execution_timeout: int
    idempotent: bool
    stop_at: str | None

    @classmethod
    def of(cls, options: t.Mapping[str, t.Any]) -> Settings:
        """Take the settings out of a task's options.

        Raises:
            ValueError: one of them cannot be; one line that names it.
        """
        for name, (least, most) in _TIMEOUTS.items():
            if not least <= options[name] <= most:
                raise ValueError(f"{name}: must be {least} to {most} seconds, not {options[name]}")
        settings = cls(**{name: options[name] for name in cls._fields})
        stop_time(settings.stop_at)
        return settings


def place(options: t.Mapping[str, t.Any]) -> stop_marks.Place | None:
    """Return where a task's options C(bucket), C(prefix) and C(bucket_owner) say that a stop's mark would lie.

    Raises:
        ValueError: one of them cannot be; one line that names it.
    """
    bucket, owner = options["bucket"], options["bucket_owner"]
    if not bucket:
        return None
    if not re.fullmatch(r"[\w.-]{3,}|arn:.+", bucket, re.ASCII):
        raise ValueError(f"bucket: must be the name of a bucket, not '{bucket}'")
    if owner and not re.fullmatch(r"[0-9]{12}", owner):
        raise ValueError(f"bucket_owner: must be an account's 12 digits, in quotes, not '{owner}'")
    return stop_marks.Place(bucket, options["prefix"], owner)


def stop_time(stop_at: str | None) -> float | None:
    """Return the option C(stop_at) in seconds since the epoch.

    Raises:
        ValueError: it is no time; one line that names it.
    """
    return moment(stop_at, "stop_at").timestamp() if stop_at else None


class Done(t.NamedTuple):
    """What a batch brought: each host's result, and texts of which the user is warned."""

    results: dict[str, dict[str, t.Any]]
    warnings: list[str]


class Batch(t.NamedTuple):
    """One batch that has begun."""

    token: str
    mark: str
    work: str
    control: Control
    journal: Journal
    refused: t.Mapping[str, t.Mapping[str, t.Any]]
    told: Progress

    def start(self, payloads: t.Iterable[tuple[str, str]] = ()) -> Results:
        """Write down that it starts, with the payloads that it will store, each a bucket and a key."""
        stored = [{"bucket": bucket, "key": key} for bucket, key in payloads]
        self.journal.write("started", {"token": self.token, "work": self.work, "pid": os.getpid(), "payloads": stored})
        return Results(self.journal, self.refused, self.told)


@contextlib.contextmanager
def begun(
    limits: Limits,
    nodes: int,
    work: str,
    refused: t.Mapping[str, t.Mapping[str, t.Any]],
    marks: stop_marks.Watch,
) -> t.Iterator[Batch]:
    """Begin a batch for so many nodes; its journal is held until the end.

    Args:
        limits: the task's options.
        nodes: how many there are.
        work: what is done, in a line, by which a token given twice is found out.
        refused: results of hosts that are not sent to at all.
        marks: says whether somebody stops the rollout from outside.

    Raises:
        JournalError: the journal cannot be had.
        OwnerGone: nobody wants it any more.
        ValueError: the owner lock cannot be opened.
    """
    token = f"{TOKEN}{limits.token}"
    with contextlib.closing(Owner(limits.owner_lock)) as owner, contextlib.closing(StopFile(limits.stop_file)) as stop:

        def asked() -> bool:
            # A dead owner has let both locks go: what was sent is left to the next run then, and not cancelled.
            return stop.asked() and not owner.gone()

        control = Control(limits.max_in_flight, allowed(limits.max_errors, nodes), asked, owner.gone, marks.stopped)
        control.check()
        journal = Journal(limits.journal, token, work, control.check)
        marks.heard = lambda said: journal.write("stopped", {"said": said})
        told = Progress(nodes + len(refused), control.max_errors, limits.max_in_flight)
        try:
            with told.shown():
                yield Batch(token, run_names.comment(limits.name), work, control, journal, refused, told)
            journal.write("finished", {})
        finally:
            journal.close()


class Owner:
    """Who wants the results: the process that made this one, and who holds the owner lock."""

    def __init__(self, path: str | None) -> None:
        """Take the file that the owner holds locked for as long as it lives, if it does that.

        Raises:
            ValueError: it cannot be opened; one line.
        """
        # Ansible's worker: its parent is ansible-playbook, also if that has died already.
        parent = multiprocessing.parent_process()
        self._parent = parent.pid if parent else None
        self._path = path
        self._lock: int | None = None
        if path:
            try:
                self._lock = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise ValueError(f"owner_lock: {path}: cannot be opened: {error.strerror}") from error

    def gone(self) -> str:
        """Return how it is known that nobody is there any more, or nothing."""
        if self._parent is not None and os.getppid() != self._parent:
            return "ansible-playbook is gone"
        if self._lock is None:
            return ""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return ""
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        return f"who started this run is gone (nobody holds {self._path})"

    def close(self) -> None:
        """Let the file go."""
        if self._lock is not None:
            os.close(self._lock)


class StopFile:
    """The word to stop: a file that is there and that nobody holds locked.

    Who starts a run may hold the file locked from before the run until it is to stop. To let a lock go takes no disk,
    and whoever has the file open hears of it even where the file or its folder has been removed.
    """

    def __init__(self, path: str | None) -> None:
        """Open the file, and keep it open where somebody holds it now."""
        self._path = path
        self._held: int | None = None
        file = _opened(path) if path else None
        if file is not None:
            if _is_held(file):
                self._held = file
            else:
                os.close(file)

    def asked(self) -> bool:
        """Say whether the run is to stop."""
        if self._held is not None and not _is_held(self._held):
            return True
        try:
            there = os.stat(self._path) if self._path else None
        except OSError:
            return False
        if not there or not self._path or (self._held is not None and os.path.samestat(there, os.fstat(self._held))):
            return False
        file = _opened(self._path)
        if file is None:
            return os.path.exists(self._path)  # there, and nobody can say that it is held
        try:
            return not _is_held(file)
        finally:
            os.close(file)

    def close(self) -> None:
        """Let the file go."""
        if self._held is not None:
            os.close(self._held)


def _opened(path: str) -> int | None:
    """Open a file of any kind for its lock, if that is possible."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None


def _is_held(file: int) -> bool:
    """Say whether another process holds a file locked for itself alone."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no locks here, so the file's being there is what counts
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def clean_up(
    sessions: Sessions,
    journal: Journal,
    own: t.Iterable[tuple[str, str]] = (),
    owners: t.Mapping[str, str | None] = types.MappingProxyType({}),
) -> list[str]:
    """Delete payloads, and those that earlier runs left; return a warning for each that stays, which is remembered.

    `owners` says whose bucket each bucket must be.
    """
    left = payload.delete(sessions, [*own, *journal.leftovers], owners)
    for one in left:
        journal.write("leftover", one._asdict())
    return [str(one) for one in left]


def entered(known: t.Mapping[str, t.Any]) -> Account:
    """Return how an account is entered, from variables of the inventory."""
    return Account(
        role_arn=known.get("assume_role_arn") or None,
        external_id=known.get("assume_role_external_id") or None,
        session_name=known.get("assume_role_session_name") or None,
        profile=known.get("assume_role_profile") or None,
    )


def targets(
    hosts: t.Iterable[str], variables: t.Callable[[str], t.Mapping[str, t.Any]]
) -> tuple[list[run_command.Target], dict[str, dict[str, t.Any]]]:
    """Find out how each host is reached from the variables that the inventory gave it.

    Returns:
        The targets, and a result for each host that Run Command cannot reach.
    """
    reachable: dict[str, run_command.Target] = {}
    refused = {}
    for host in hosts:
        known = variables(host)
        node, region = str(known.get("node_id") or host), known.get("region")
        if not NODE_ID.fullmatch(node) or not region:
            msg = "not a managed node: the host needs the variables node_id and region (inventory patch_groups)"
            refused[host] = ended(outcomes.UNREACHABLE, "not_managed", msg)
        elif node in reachable:
            msg = f"{node} is also the host {reachable[node].host}, which has the result"
            refused[host] = ended(outcomes.SKIPPED, "duplicate", msg)
        else:
            access = entered(known)
            reachable[node] = run_command.Target(host, node, str(known.get("account", "")), access, str(region))
    return list(reachable.values()), refused


class Results:
    """Takes each host's result as it comes: into the journal for who started the batch, and kept for Ansible."""

    def __init__(
        self, journal: Journal, refused: t.Mapping[str, t.Mapping[str, t.Any]], told: Progress | None = None
    ) -> None:
        """Take results of hosts that are not sent to at all, by host, and what tells of how many there are."""
        self.all: dict[str, dict[str, t.Any]] = {}
        self._journal, self._told = journal, told
        for host, result in refused.items():
            said = NodeResult.concluded(result["outcome"], result["reason"], result["msg"])
            self.take(host, dict(result), said)

    def take(self, host: str, result: dict[str, t.Any], said: NodeResult) -> bool:
        """Take a host's final result; return whether it uses up the error budget."""
        self.all[host] = result
        if self._told:
            self._told.take(said.outcome)
        self._journal.write("result", {"host": host, **said.line()})
        return said.charged


def ended(outcome: str, reason: str, msg: str, command_id: str = "") -> dict[str, t.Any]:
    """Return the result of a node that gave none itself."""
    found: dict[str, t.Any] = {_FLAGS.get(outcome, "failed"): True, "outcome": outcome, "reason": reason, "msg": msg}
    found["source"] = ENGINE
    if command_id:
        found["command_id"] = command_id
    return found
