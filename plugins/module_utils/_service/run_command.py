# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""Run Command: send commands to many nodes of many accounts and regions, and read what they answer in bulk.

One thread for each account and region (see region_run); explicit ids in chunks of at most 50 (see sending); results in
pages of 50 (see reading), polled when they are due (see pace). No call is made for a single node unless its output was
cut. Slots and the error budget are shared by all of them (see control).
"""

from __future__ import annotations

import functools
import threading
import time
import typing as t

from .._aws.errors import AwsError
from .._aws.sessions import Account, Sessions
from .._core import outcomes
from . import identity
from .control import Control
from .pace import Runs
from .reading import ERROR_TITLE
from .region_run import UNREAD_EARLIER, RegionRun
from .run_command_types import Command, Listener, Reply, Sent, Step, Target, Work
from .sending import Clients
from .stopped import Stopped

#: Seconds between two questions whether who started it is there.
_CHECK = 0.5
#: Seconds in which all must have noticed that they may not go on, but for calls under way.
_GRACE = 5.0

__all__ = ["ERROR_TITLE", "Command", "Listener", "Reply", "Sent", "Step", "Target", "Work", "fan_out"]


def fan_out(
    sessions: Sessions,
    works: t.Sequence[Work],
    control: Control,
    listener: Listener,
    earlier: t.Sequence[Sent] = (),
    ready: t.Callable[[], None] = lambda: None,
) -> None:
    """Send each command to its targets and wait until every node has ended, which its command is told.

    An account or region that cannot be reached costs its own nodes only, and so do credentials of another account.

    Args:
        sessions: makes the clients.
        works: commands and their targets; no host and no node is in two of them.
        control: slots, error budget and the word to stop, for all of them together.
        listener: told C(intent) before each sending, C(sent) or C(refused) after it.
        earlier: sendings of a run that did not get to its end; their commands are adopted and not sent again.
        ready: waits for what must be there before anything is sent, while it is looked up who can be reached; what it
            raises ends all, and nothing was sent.
    """
    lock = threading.Lock()
    sent: dict[str, float] = {}  # when each host was sent to first
    for one in earlier:
        for host in one.hosts:
            sent[host] = min(one.time, sent.get(host, one.time))

    def tell(kind: str, event: dict[str, t.Any]) -> None:
        with lock:
            if kind == "intent":
                for host in event["nodes"]:
                    sent.setdefault(host, time.time())
            listener(kind, event)

    runs, known = [], Runs()
    for (access, account, region), members in _places(works).items():
        try:
            identity.check(sessions, access, account, region)
            # A retry by botocore of a SendCommand whose answer was lost would run the command twice.
            clients = Clients(
                sessions.client("ssm", access, region), sessions.client("ssm", access, region, retries=False)
            )
            where = f"account {account}, region {region}"
            stopped = Stopped(functools.partial(sessions.client, "ec2", access, region), where, sent)
            members = [(_judged(command, nodes, stopped), nodes) for command, nodes in members]
            runs.append(RegionRun(clients, members, control, tell, earlier, ready, known))
        except AwsError as error:
            _not_reached(members, f"account {account}, region {region}", error, control, earlier)
    _side_by_side(runs, control)


def _judged(command: Command, nodes: t.Sequence[Target], stopped: Stopped) -> Command:
    """Return a command that is not told of a stopped instance that it may have run."""
    ids = {node.host: node.id for node in nodes}
    return command._replace(ended=lambda host, reply: command.ended(host, stopped.judge(host, ids[host], reply)))


def _not_reached(works: list[Work], where: str, error: AwsError, control: Control, earlier: t.Sequence[Sent]) -> None:
    """End the nodes of an account and region for which there is no client; those of an earlier run may still work."""
    known = {host for sent in earlier for host in sent.hosts}
    for command, targets in works:
        for target in targets:
            if target.host in known:
                control.claim(1)
                control.lose(1)
                reply = Reply(outcomes.UNKNOWN, "api_error", f"{where}: {UNREAD_EARLIER}: {error}")
            else:
                reason = error.code if isinstance(error, identity.WrongAccount) else "api_error"
                reply = Reply(outcomes.UNREACHABLE, reason, f"{where}: {error}")
            command.ended(target.host, reply)


def _places(works: t.Sequence[Work]) -> dict[tuple[Account, str, str], list[Work]]:
    """Return what there is to do in each account and region."""
    found: dict[tuple[Account, str, str], list[Work]] = {}
    for command, targets in works:
        groups: dict[tuple[Account, str, str], list[Target]] = {}
        for target in targets:
            groups.setdefault((target.access, target.account, target.region), []).append(target)
        for place, members in groups.items():
            found.setdefault(place, []).append((command, members))
    return found


def _side_by_side(runs: list[RegionRun], control: Control) -> None:
    """Run accounts and regions side by side until all have ended; what one of them raises is raised then.

    When who started it is gone, calls that only read are not waited for, which may take minutes.
    """
    failures: list[BaseException] = []

    def work(run: RegionRun) -> None:
        try:
            run.run()
        except BaseException as error:
            failures.append(error)
            control.break_off()

    threads = [threading.Thread(target=work, args=(run,), daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            control.check()
            _join(threads, _CHECK)
    except BaseException:
        control.leave("the batch was broken off")
        _join(threads, _GRACE)
        raise
    if failures:
        raise failures[0]


def _join(threads: list[threading.Thread], seconds: float) -> None:
    """Wait until all have ended, but no longer than so many seconds."""
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
