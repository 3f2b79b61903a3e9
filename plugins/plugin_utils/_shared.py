# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""One process does the work of a task for all its hosts; the other hosts' processes take their results from it.

The first process to come does the work and writes a file for each host into Ansible's own temporary folder, which is
private and goes with the run. Processes of the same task that come meanwhile wait for a lock, and so for the results.
A host that the first process did not foresee, or that comes again, finds no file and does the work for itself alone,
one such host after the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import pathlib
import typing as t

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes

Result = dict[str, t.Any]
#: Why a host ended with the whole batch.
_REASON = "batch_failed"


def failure(msg: str, outcome: str) -> AnsibleActionFail:
    """Return the failure of a whole batch, with the outcome that it means for each of its hosts."""
    return AnsibleActionFail(msg, result={"failed": True, "outcome": outcome, "reason": _REASON, "msg": msg})


class Done(t.NamedTuple):
    """What work brought: a result for each host, and how many of them use up the error budget."""

    results: dict[str, Result]
    charged: int


class Works(t.Protocol):
    """Does the work, for all hosts or for the own one alone; `spent` is what the others have used of the budget."""

    def __call__(self, alone: bool, spent: int) -> Done: ...


def own_result(execution: t.Any, host: str, work: Works, again: bool = False) -> Result:
    """Return the host's result; whoever comes first does the work for everybody.

    Args:
        execution: what tells this execution of a task from every other one.
        host: the host's name.
        work: does the work.
        again: whether this process has had a result already, as with `until`. Then its host works alone.

    Raises:
        AnsibleActionFail: the work failed as a whole, or whoever did it died.
    """
    name = hashlib.sha256(json.dumps(execution).encode()).hexdigest()
    shared = _Shared(pathlib.Path(constants.DEFAULT_LOCAL_TMP) / f"patchwave-{name}", host)
    with shared.lock():
        if not again:
            shared.lead(work)
            result = shared.taken()
            if result is not None:
                return result
        done = work(alone=True, spent=0 if again else shared.spent())
        if not again:
            shared.spend(done.charged)
        return done.results[host]


class _Shared:
    """What the processes of one execution of a task share."""

    def __init__(self, folder: pathlib.Path, host: str) -> None:
        self._folder = folder
        self._own = folder / f"host-{_digest(host)}"
        self._told = folder / f"told-{_digest(host)}"

    @contextlib.contextmanager
    def lock(self) -> t.Iterator[None]:
        """Hold the folder alone until the block ends."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with (self._folder / "lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def lead(self, work: Works) -> None:
        """Do the work for all hosts, unless somebody has begun it."""
        if (self._folder / "begun").exists():
            return
        (self._folder / "begun").touch()
        try:
            done = work(alone=False, spent=0)
        except Exception as error:
            said = getattr(error, "result", None) or {}
            told = {"msg": str(said.get("msg") or error), "outcome": str(said.get("outcome") or outcomes.UNKNOWN)}
            (self._folder / "failed").write_text(json.dumps(told), encoding="utf-8")
            return
        for host, result in done.results.items():
            (self._folder / f"host-{_digest(host)}").write_text(json.dumps(result), encoding="utf-8")
        self.spend(done.charged)
        (self._folder / "done").touch()

    def taken(self) -> Result | None:
        """Take the host's result; None where nobody has foreseen the host, or it has had one."""
        if (self._folder / "failed").exists():
            if self._told.exists():
                return None  # a person at the debugger says that it is mended
            self._told.touch()
            raise failure(**json.loads((self._folder / "failed").read_text(encoding="utf-8")))
        if not (self._folder / "done").exists():
            msg = "the process that worked for all hosts died; what it has sent to nodes may still run"
            raise failure(msg, outcomes.UNKNOWN)
        with contextlib.suppress(FileNotFoundError):
            result = dict(json.loads(self._own.read_text(encoding="utf-8")))
            self._own.unlink()
            return result
        return None

    def spent(self) -> int:
        """Return how much of the error budget has been used."""
        file = self._folder / "spent"
        return int(file.read_text(encoding="utf-8")) if file.exists() else 0

    def spend(self, charged: int) -> None:
        """Use some of the error budget."""
        (self._folder / "spent").write_text(str(self.spent() + charged), encoding="utf-8")


def _digest(host: str) -> str:
    return hashlib.sha256(host.encode()).hexdigest()
