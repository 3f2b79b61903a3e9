# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""Sending a command: what AWS took, what it refused, and what became of a sending whose answer was lost."""

from __future__ import annotations

import dataclasses
import datetime
import re
import time
import typing as t
import uuid

from .._aws import ssm as ssm_api
from .._aws.errors import AwsError
from .._core import outcomes
from .readable import read
from .run_command_types import Command, Listener, Reply

#: SendCommand takes at most 50 ids (botocore's model, ssm 2014-11-06).
IDS_PER_COMMAND = 50
#: What AWS says when it wants to be left alone.
THROTTLED = ("ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyRequestsException")
#: Clocks may differ by minutes.
SKEW = datetime.timedelta(minutes=5)
#: Seconds after which a command that is not listed counts as not sent. AWS gives no bound, so this is an assumption.
LISTED_AFTER = 8.0
#: Looks for a sending whose answer was lost, and seconds between them; the last ones come after LISTED_AFTER.
_LOST_LOOKS, _LOST_PAUSE = 6, 2.0
#: Errors of a whole call that concern some of its nodes, and what becomes of those.
_REFUSALS = {
    "InvalidInstanceId": (outcomes.UNREACHABLE, "not_managed", "not in a state that takes commands"),
    "AccessDeniedException": (outcomes.UNREACHABLE, "access_denied", "the caller may not send commands to this node"),
    "UnsupportedPlatformType": (outcomes.UNSUPPORTED, "invalid_platform", "the document is for another platform"),
}


class Clients(t.NamedTuple):
    """Systems Manager of the account and region: for reading, with retries, and for sending, without any."""

    read: t.Any
    send: t.Any


@dataclasses.dataclass
class Sending:
    """A command under way.

    `nodes` are those that have not ended, `size` counts all; `requested` is the time by Systems Manager's clock, `sent`
    by time.monotonic(); `completed` is how many have been read, `shown` whether any invocation has been seen at all,
    and `asked` when it was last asked why not.
    Without a `command_id` nobody can tell yet whether AWS took it: `problem` says why, and its `comment` would tell.
    """

    command_id: str
    nodes: set[str]
    requested: datetime.datetime
    sent: float
    size: int = 0
    completed: int = 0
    shown: bool = False
    asked: float = 0.0
    comment: str = ""
    problem: str = ""

    def __post_init__(self) -> None:
        self.size = self.size or len(self.nodes)


class Attempt(t.NamedTuple):
    """What became of an attempt to send: a command under way, nodes that are refused, and groups to send to again."""

    sending: Sending | None = None
    refused: t.Mapping[str, Reply] = {}
    again: t.Sequence[list[str]] = ()
    throttled: bool = False


class Sender:
    """Sends one command in one account and region."""

    def __init__(
        self,
        clients: Clients,
        command: Command,
        where: str,
        hosts: t.Mapping[str, str],
        tell: Listener,
        check: t.Callable[[], None],
    ) -> None:
        """Take what to send, the name of the account and region, each node's host, who is told, and who may forbid."""
        self._clients, self._command, self._where, self._hosts, self._tell = clients, command, where, hosts, tell
        self._check = check

    def send(self, nodes: list[str], max_errors: int) -> Attempt:
        """Send to at most 50 nodes; the intent is told before, the command or that AWS refused it after."""
        self._check()
        comment = f"{self._command.token} {uuid.uuid4().hex[:12]}"
        self._tell("intent", {"comment": comment, "where": self._where, "nodes": self._named(nodes)})
        sent: dict[str, t.Any] | None
        began = time.time()
        lost, problem = False, ""  # whether a request may have arrived
        for dummy in range(2):
            self._check()
            try:
                sent = read(lambda: self._request(nodes, comment, max_errors))
            except AwsError as error:
                if _refused(error):
                    if not lost:
                        self._tell("refused", {"comment": comment})
                    return self._not_sent(error, nodes)
                lost = lost or not error.not_sent
                problem = str(error)
                sent = self._lost(error, comment)
            if sent:
                return Attempt(self.under_way(sent, nodes))
            if sent is None:
                unclear = Sending("", set(nodes), utc(began), time.monotonic(), comment=comment, problem=problem)
                return Attempt(unclear)
        if not lost:
            self._tell("refused", {"comment": comment})
        outcome = outcomes.UNKNOWN if lost else outcomes.UNREACHABLE
        return Attempt(refused=self._end(nodes, outcome, "api_error", problem))

    def under_way(self, command: dict[str, t.Any], nodes: t.Iterable[str]) -> Sending:
        """Take up a command as SendCommand or ListCommands shows it, for these of its nodes."""
        sending = Sending("", set(nodes), utc(time.time()), time.monotonic())
        self.take_up(sending, command)
        return sending

    def take_up(self, sending: Sending, command: dict[str, t.Any]) -> None:
        """Take note of the command that a sending became."""
        sending.command_id = command["CommandId"]
        sending.requested = command.get("RequestedDateTime") or sending.requested
        hosts = self._named(sending.nodes)
        self._tell("sent", {"command_id": sending.command_id, "where": self._where, "nodes": hosts})

    def _lost(self, error: AwsError, comment: str) -> dict[str, t.Any] | None:
        """Say what became of a request that got no answer, as _find() does."""
        if error.not_sent:
            time.sleep(_LOST_PAUSE)
            return {}
        return self._find(comment)

    def _find(self, comment: str) -> dict[str, t.Any] | None:
        """Look for the command with this comment; SendCommand has no idempotency token of its own.

        Returns:
            The command; an empty mapping where it was certainly not sent; None where nobody can tell.
        """
        since, began = utc(time.time()) - SKEW, time.monotonic()
        for look in range(_LOST_LOOKS):
            time.sleep(_LOST_PAUSE if look else 0.5)
            self._check()
            late = time.monotonic() - began >= LISTED_AFTER
            try:
                commands = read(lambda: ssm_api.list_commands(self._clients.read, since))
            except AwsError:
                continue
            found = dict(next((command for command in commands if command.get("Comment") == comment), {}))
            if found or late:
                return found
        return None

    def _request(self, nodes: list[str], comment: str, max_errors: int) -> dict[str, t.Any]:
        return dict(
            ssm_api.send_command(
                self._clients.send,
                InstanceIds=nodes,
                DocumentName=self._command.document,
                Parameters=self._command.parameters(),
                Comment=comment,
                TimeoutSeconds=self._command.delivery_timeout,
                MaxConcurrency=str(len(nodes)),
                MaxErrors=str(min(max_errors, len(nodes))),  # of more than 7 digits, it is refused
                **self._command.request,
            )
        )

    def _not_sent(self, error: AwsError, nodes: list[str]) -> Attempt:
        """Decide what a refusal of the whole call means for each of its nodes."""
        if error.code in THROTTLED:
            return Attempt(again=[nodes], throttled=True)
        if error.code not in _REFUSALS:
            return Attempt(refused=self._end(nodes, outcomes.UNREACHABLE, "api_error", str(error)))
        named = [node for node in re.findall(r"\bm?i-\w+", str(error)) if node in nodes]
        if named:
            rest = [node for node in nodes if node not in named]
            return Attempt(refused=self._end(named, *_REFUSALS[error.code]), again=[rest] if rest else [])
        if len(nodes) > 1 and error.code != "AccessDeniedException":
            # AWS does not say which: half of them at a time, until only bad ones are left.
            return Attempt(again=[nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]])
        outcome, reason, dummy = _REFUSALS[error.code]
        return Attempt(refused=self._end(nodes, outcome, reason, str(error)))

    def _end(self, nodes: t.Iterable[str], outcome: str, reason: str, msg: str) -> dict[str, Reply]:
        return {node: Reply(outcome, reason, f"{self._where}: {msg}") for node in nodes}

    def _named(self, nodes: t.Iterable[str]) -> list[str]:
        return sorted(self._hosts[node] for node in nodes)


def _refused(error: AwsError) -> bool:
    """Say whether AWS refused the call for certain, and did not fail on the way."""
    response = getattr(error.exception, "response", None) or {}
    return bool(error.code) and response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400) < 500


def utc(seconds: float) -> datetime.datetime:
    """Return the time that is so many seconds after the epoch."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
