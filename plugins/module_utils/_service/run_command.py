# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Run Command: send one command to many nodes of many accounts and regions, and read what they answer in bulk.

One thread for each account and region; ceil(N/50) SendCommand calls; ListCommands to see that something moved, and
ListCommandInvocations (50 a page) only then. No call is made for a single node unless its output was cut.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import random
import re
import threading
import time
import typing as t

from .._aws import ssm as ssm_api
from .._aws.errors import AwsError
from .._aws.sessions import Account, Sessions
from .._core import outcomes
from .managed_nodes import registered_agents

#: SendCommand takes at most 50 ids (botocore's model, ssm 2014-11-06).
IDS_PER_COMMAND = 50
#: Where ListCommandInvocations cut the output, it says so.
_CUT = "---Output truncated---"
#: Seconds between two looks at a running command: at first, at most, and how it grows.
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 1.0, 5.0, 1.3
#: Looks in a row that may fail before what is still running is given up as unknown.
_FAILED_LOOKS = 5
_TERMINAL = ("Success", "Failed", "TimedOut", "Cancelled")

#: What an invocation's end says of a node that gave no result, by StatusDetails: outcome, reason, what it means.
#: Undeliverable and DeliveryTimedOut prove nothing: commands that ran have been seen to end so.
_ENDS = {
    "Undeliverable": (outcomes.UNKNOWN, "undeliverable", "the agent gave no sign; the command may have run"),
    "DeliveryTimedOut": (outcomes.UNKNOWN, "delivery_timed_out", "no answer in time; the command may have run"),
    "ExecutionTimedOut": (outcomes.UNKNOWN, "execution_timed_out", "the agent stopped the command at its time limit"),
    "Cancelled": (outcomes.UNKNOWN, "cancelled", "cancelled; the command may have run"),
    "Terminated": (outcomes.SKIPPED, "max_errors_reached", "not started: too many other nodes failed"),
    "InvalidPlatform": (outcomes.UNSUPPORTED, "invalid_platform", "the document is for another platform"),
    "AccessDenied": (outcomes.UNREACHABLE, "access_denied", "the caller may not send commands to this node"),
}


class Target(t.NamedTuple):
    """A node to reach: its inventory name, node id, account (12 digits), how to get in there, and region."""

    host: str
    id: str
    account: str
    access: Account
    region: str


class Command(t.NamedTuple):
    """What to send. `parameters` are the document's; timeouts in seconds; the two maxima as SendCommand takes them."""

    document: str
    parameters: dict[str, list[str]]
    comment: str
    delivery_timeout: int
    execution_timeout: int
    max_concurrency: str
    max_errors: str


class Reply(t.NamedTuple):
    """How one node ended. `outcome` is None when it answered, and then `output` is what it printed."""

    outcome: str | None
    reason: str
    msg: str
    command_id: str = ""
    output: str = ""


#: Called from several threads, one call at a time: the kind of event and what belongs to it.
Listener = t.Callable[[str, t.Dict[str, t.Any]], None]


def fan_out(sessions: Sessions, targets: list[Target], command: Command, listener: Listener) -> dict[str, Reply]:
    """Send the command to every target and wait until each has ended.

    Args:
        sessions: makes the clients.
        targets: the nodes; no two with one host.
        command: what to send.
        listener: told C(sent) with C(command_id), C(account), C(region) and C(nodes), and C(ended) with C(node).

    Returns:
        A reply for each host. An account or region that cannot be reached costs its own nodes only.
    """
    lock = threading.Lock()

    def tell(kind: str, event: dict[str, t.Any]) -> None:
        with lock:
            listener(kind, event)

    groups: dict[tuple[Account, str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault((target.access, target.account, target.region), []).append(target)
    replies: dict[str, Reply] = {}
    runs = []
    for (access, account, region), members in groups.items():
        try:
            runs.append(_RegionRun(sessions.client("ssm", access, region), members, command, tell))
        except AwsError as error:
            reply = Reply(outcomes.UNREACHABLE, "api_error", f"account {account}, region {region}: {error}")
            replies.update({target.host: reply for target in members})
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(runs))) as pool:
        for result in pool.map(_RegionRun.run, runs):
            replies.update(result)
    return replies


class _RegionRun:
    """The command in one account and region."""

    def __init__(self, ssm: t.Any, targets: list[Target], command: Command, tell: Listener) -> None:
        self._ssm = ssm
        self._targets = {target.id: target for target in targets}
        self._where = f"account {targets[0].account}, region {targets[0].region}"
        self._command = command
        self._tell = tell
        self._replies: dict[str, Reply] = {}
        self._running: dict[str, set[str]] = {}  # command id: nodes that have not ended
        self._seen: dict[str, int] = {}  # command id: invocations seen to have ended

    def run(self) -> dict[str, Reply]:
        started = time.monotonic()
        since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)
        self._send(self._reachable())
        deadline = started + self._command.delivery_timeout + self._command.execution_timeout + 60
        self._watch(since.strftime("%Y-%m-%dT%H:%M:%SZ"), deadline)
        return {self._targets[node].host: reply for node, reply in self._replies.items()}

    def _end(self, node: str, reply: Reply) -> None:
        self._replies[node] = reply
        for nodes in self._running.values():
            nodes.discard(node)
        self._tell("ended", {"node": self._targets[node].host, "outcome": reply.outcome, "reason": reply.reason})

    def _end_all(self, nodes: t.Iterable[str], outcome: str, reason: str, msg: str) -> None:
        for node in sorted(nodes):
            self._end(node, Reply(outcome, reason, f"{self._where}: {msg}"))

    def _reachable(self) -> list[str]:
        """End the nodes whose agent is known to be away, for one unknown id makes AWS refuse a whole call."""
        try:
            agents = registered_agents(self._ssm)
        except AwsError as error:
            self._end_all(self._targets, outcomes.UNREACHABLE, "api_error", str(error))
            return []
        missing = [node for node in self._targets if node not in agents]
        self._end_all(missing, outcomes.UNREACHABLE, "not_managed", "no agent is registered with Systems Manager")
        lost = [node for node in self._targets if node in agents and agents[node].get("PingStatus") != "Online"]
        self._end_all(lost, outcomes.UNREACHABLE, "agent_offline", "the agent is not connected; nothing was sent")
        return sorted(set(self._targets) - set(missing) - set(lost))

    def _send(self, nodes: list[str]) -> None:
        for start in range(0, len(nodes), IDS_PER_COMMAND):
            self._send_chunk(nodes[start : start + IDS_PER_COMMAND])

    def _send_chunk(self, nodes: list[str]) -> None:
        try:
            command_id = ssm_api.send_command(
                self._ssm,
                InstanceIds=nodes,
                DocumentName=self._command.document,
                Parameters=self._command.parameters,
                Comment=self._command.comment,
                TimeoutSeconds=self._command.delivery_timeout,
                MaxConcurrency=self._command.max_concurrency,
                MaxErrors=self._command.max_errors,
            )
        except AwsError as error:
            refused = set(re.findall(r"\bm?i-\w+", str(error))) & set(nodes)
            if refused and error.code == "InvalidInstanceId":
                self._end_all(refused, outcomes.UNREACHABLE, "not_managed", "not in a state that takes commands")
                rest = [node for node in nodes if node not in refused]
                return self._send_chunk(rest) if rest else None
            # With a code AWS has answered, and refused; without one the request may have got through.
            outcome = outcomes.UNREACHABLE if error.code else outcomes.UNKNOWN
            return self._end_all(nodes, outcome, "api_error", str(error))
        self._running[command_id] = set(nodes)
        hosts = [self._targets[node].host for node in nodes]
        return self._tell("sent", {"command_id": command_id, "where": self._where, "nodes": hosts})

    def _watch(self, since: str, deadline: float) -> None:
        pause, failed = _FIRST_PAUSE, 0
        while any(self._running.values()):
            time.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(_LONGEST_PAUSE, pause * _GROWTH)
            try:
                self._look(since)
                failed = 0
            except AwsError as error:
                failed += 1
                if failed == _FAILED_LOOKS:
                    msg = f"the answer could not be read: {error}"
                    return self._end_all(self._unended(), outcomes.UNKNOWN, "api_error", msg)
            if time.monotonic() > deadline:
                return self._end_all(self._unended(), outcomes.UNKNOWN, "no_answer", "no answer in time")
        return None

    def _unended(self) -> set[str]:
        return set().union(*self._running.values())

    def _look(self, since: str) -> None:
        for command in ssm_api.list_commands(self._ssm, since):
            command_id, completed = command["CommandId"], command["CompletedCount"]
            if not self._running.get(command_id) or completed == self._seen.get(command_id, 0):
                continue
            invocations = ssm_api.list_command_invocations(self._ssm, command_id)
            ended = [invocation for invocation in invocations if invocation["Status"] in _TERMINAL]
            for invocation in ended:
                if invocation["InstanceId"] in self._running[command_id]:
                    self._end(invocation["InstanceId"], self._reply(command_id, invocation))
            self._seen[command_id] = len(ended)

    def _reply(self, command_id: str, invocation: dict[str, t.Any]) -> Reply:
        details = invocation["StatusDetails"]
        if details in _ENDS:
            outcome, reason, msg = _ENDS[details]
            return Reply(outcome, reason, f"{self._where}: {msg}", command_id)
        output = "".join(plugin.get("Output", "") for plugin in invocation.get("CommandPlugins", ()))
        if _CUT in output:
            output = ssm_api.get_command_invocation(self._ssm, command_id, invocation["InstanceId"])[
                "StandardOutputContent"
            ]
        return Reply(None, "", "", command_id, output)
