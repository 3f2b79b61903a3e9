# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""One command in one account and region: send, look, read, stop."""

from __future__ import annotations

import datetime
import random
import re
import time
import typing as t
import uuid

from .._aws import ssm as ssm_api
from .._aws.errors import AwsError
from .._core import outcomes
from .control import Control
from .managed_nodes import registered_agents
from .run_command_types import Command, Listener, Reply, Sent, Step, Target

#: SendCommand takes at most 50 ids (botocore's model, ssm 2014-11-06).
IDS_PER_COMMAND = 50
#: Where ListCommandInvocations cut the output, it says so.
_CUT = "---Output truncated---"
#: Seconds between two looks: at first, at most, and how it grows while nothing moves.
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 1.0, 5.0, 1.3
#: Looks in a row that may fail before what is still running is given up as unknown.
_FAILED_LOOKS = 5
#: Looks for a sending whose answer was lost, two seconds apart, before it counts as not sent.
_LOST_LOOKS = 3
#: Nothing is looked for longer than Systems Manager keeps it (30 days) less a margin; clocks may differ by minutes.
_SKEW = datetime.timedelta(minutes=5)
_TERMINAL = ("Success", "Failed", "TimedOut", "Cancelled")
_WAITING = ("Pending", "Delayed")
_THROTTLED = ("ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException")

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
#: Ends after which an idempotent command is sent once more: only a fresh run can tell what became of the node.
_ASK_AGAIN = ("undeliverable", "delivery_timed_out")

_STOPPED = {
    "asked_to_stop": "not sent: the run was asked to stop",
    "max_errors_reached": "not sent: too many other nodes failed",
}


def _step(plugin: dict[str, t.Any], output: str) -> Step:
    return Step(plugin.get("Name", ""), plugin.get("StatusDetails", ""), plugin.get("ResponseCode", -1), output)


class Clients(t.NamedTuple):
    """Systems Manager of the account and region: for reading, with retries, and for sending, without any."""

    read: t.Any
    send: t.Any


class RegionRun:
    """The command in one account and region."""

    def __init__(
        self,
        clients: Clients,
        targets: list[Target],
        command: Command,
        control: Control,
        tell: Listener,
        earlier: t.Sequence[Sent],
    ) -> None:
        """Take what fan_out() was given; targets are those of this account and region."""
        self._clients, self._command, self._control, self._tell, self._earlier = (
            clients,
            command,
            control,
            tell,
            earlier,
        )
        self._targets = {target.id: target for target in targets}
        self._where = f"account {targets[0].account}, region {targets[0].region}"
        self._replies: dict[str, Reply] = {}
        self._waiting: list[str] = []
        self._running: dict[str, set[str]] = {}  # command id: nodes that have not ended
        self._seen: dict[str, int] = {}  # command id: invocations seen to have ended
        self._since = datetime.datetime.now(datetime.timezone.utc) - _SKEW
        self._cancelled = False
        self._overdrawn = 0  # adopted nodes for which there was no place

    def run(self) -> dict[str, Reply]:
        """Return a reply for each host."""
        self._waiting = self._reachable()
        self._adopt()
        self._work()
        again = [node for node, reply in self._replies.items() if reply.reason in _ASK_AGAIN]
        if again and self._command.idempotent and not self._control.stop_reason():
            first = {node: self._replies.pop(node) for node in again}
            self._waiting = self._reachable(again)
            self._work()
            # A node that is gone by now is still one that the first command may have reached.
            self._replies.update({node: first[node] for node in again if not self._answered(node)})
        for reply in self._replies.values():
            if self._asked_again(reply) and self._command.charged(reply):
                self._control.charge()
        return {self._targets[node].host: reply for node, reply in self._replies.items()}

    def _answered(self, node: str) -> bool:
        return self._replies[node].outcome is None

    def _asked_again(self, reply: Reply) -> bool:
        return self._command.idempotent and reply.reason in _ASK_AGAIN

    def _end(self, node: str, reply: Reply) -> None:
        self._replies[node] = reply
        for nodes in self._running.values():
            if node in nodes:
                nodes.discard(node)
                self._give_back()
        if not self._asked_again(reply) and self._command.charged(reply):
            self._control.charge()
        self._tell("ended", {"node": self._targets[node].host, "outcome": reply.outcome, "reason": reply.reason})

    def _give_back(self) -> None:
        if self._overdrawn:
            self._overdrawn -= 1
        else:
            self._control.give(1)

    def _end_all(self, nodes: t.Iterable[str], outcome: str, reason: str, msg: str) -> None:
        for node in sorted(nodes):
            self._end(node, Reply(outcome, reason, f"{self._where}: {msg}"))

    def _reachable(self, nodes: t.Iterable[str] | None = None) -> list[str]:
        """End the nodes whose agent is known to be away, for one unknown id makes AWS refuse a whole call."""
        wanted = set(self._targets if nodes is None else nodes)
        try:
            agents = registered_agents(self._clients.read)
        except AwsError as error:
            self._end_all(wanted, outcomes.UNREACHABLE, "api_error", str(error))
            return []
        missing = wanted - set(agents)
        self._end_all(missing, outcomes.UNREACHABLE, "not_managed", "no agent is registered with Systems Manager")
        lost = {node for node in wanted - missing if agents[node].get("PingStatus") != "Online"}
        self._end_all(lost, outcomes.UNREACHABLE, "agent_offline", "the agent is not connected; nothing was sent")
        return sorted(wanted - missing - lost)

    def _work(self) -> None:
        """Send, look and read until every node has ended."""
        pause, failed = _FIRST_PAUSE, 0
        limit = self._command.delivery_timeout + self._command.execution_timeout + 60
        deadline = time.monotonic() + limit
        while self._send_and_wait(pause * random.uniform(0.8, 1.2)):
            try:
                moved, failed = self._look(), 0
            except AwsError as error:
                moved, failed = False, failed + 1
                if failed == _FAILED_LOOKS:
                    return self._give_up("api_error", f"the answer could not be read: {error}")
            now = time.monotonic()
            # Without a command of its own the region waits for places that others hold, and no time runs out.
            deadline = now + limit if moved or not any(self._running.values()) else deadline
            pause = _FIRST_PAUSE if moved else min(_LONGEST_PAUSE, pause * _GROWTH)
            if now > deadline:
                return self._give_up("no_answer", "no answer in time")
        return None

    def _send_and_wait(self, seconds: float) -> bool:
        """Send as places come free, until it is time for the next look; return False when every node has ended."""
        until = time.monotonic() + seconds
        while True:
            throttled = not self._refill()
            if not self._waiting and not any(self._running.values()):
                return False
            left = until - time.monotonic()
            if left <= 0:
                return True
            if self._waiting and not throttled:
                self._control.wait(min(left, _FIRST_PAUSE))  # the word to stop is to be heard soon
            else:
                time.sleep(min(left, _FIRST_PAUSE))

    def _give_up(self, reason: str, msg: str) -> None:
        self._end_all(set().union(*self._running.values()), outcomes.UNKNOWN, reason, msg)
        self._end_all([*self._waiting], outcomes.SKIPPED, reason, f"nothing was sent: {msg}")
        self._waiting = []

    def _refill(self) -> bool:
        """Send to as many waiting nodes as there are places; on the word to stop, end what has not begun.

        Returns:
            False when AWS throttles and it is time for a rest.
        """
        reason = self._control.stop_reason()
        if reason:
            self._end_all([*self._waiting], outcomes.SKIPPED, reason, _STOPPED[reason])
            self._waiting = []
            self._cancel()
        while self._waiting:
            places = self._control.take(min(IDS_PER_COMMAND, len(self._waiting)))
            if not places:
                break
            nodes, self._waiting = self._waiting[:places], self._waiting[places:]
            if not self._send(nodes, f"{self._command.token} {uuid.uuid4().hex[:12]}"):
                return False
        return True

    def _send(self, nodes: list[str], comment: str, again: bool = True) -> bool:
        """Send to these nodes, for which places are taken; return whether to go on sending."""
        hosts = [self._targets[node].host for node in nodes]
        self._tell("intent", {"comment": comment, "where": self._where, "nodes": hosts})
        try:
            command_id = ssm_api.send_command(
                self._clients.send,
                InstanceIds=nodes,
                DocumentName=self._command.document,
                Parameters=self._command.parameters(),
                Comment=comment,
                TimeoutSeconds=self._command.delivery_timeout,
                MaxConcurrency=str(len(nodes)),
                MaxErrors=str(self._control.errors_left()),
                **self._command.request,
            )
        except AwsError as error:
            return self._not_sent(error, nodes, comment, again)
        self._sent(command_id, nodes)
        return True

    def _sent(self, command_id: str, nodes: t.Iterable[str]) -> None:
        self._running[command_id] = set(nodes)
        hosts = sorted(self._targets[node].host for node in nodes)
        self._tell("sent", {"command_id": command_id, "where": self._where, "nodes": hosts})

    def _not_sent(self, error: AwsError, nodes: list[str], comment: str, again: bool) -> bool:
        """Decide what an error of SendCommand means for the nodes of the call."""
        if error.code in _THROTTLED:
            self._control.give(len(nodes))
            self._waiting = nodes + self._waiting
            return False
        refused = set(re.findall(r"\bm?i-\w+", str(error))) & set(nodes)
        if error.code == "InvalidInstanceId" and refused:
            self._control.give(len(nodes))
            self._end_all(refused, outcomes.UNREACHABLE, "not_managed", "not in a state that takes commands")
            self._waiting = [node for node in nodes if node not in refused] + self._waiting
            return True
        if not error.code:  # no answer: the request may have got through
            command_id = self._find(comment)
            if command_id:
                self._sent(command_id, nodes)
                return True
            if again:
                return self._send(nodes, comment, again=False)
        self._control.give(len(nodes))
        outcome = outcomes.UNREACHABLE if error.code else outcomes.UNKNOWN
        self._end_all(nodes, outcome, "api_error", str(error))
        return True

    def _commands(self) -> list[dict[str, t.Any]]:
        commands: list[dict[str, t.Any]] = ssm_api.list_commands(
            self._clients.read, self._since.strftime("%Y-%m-%dT%H:%M:%SZ")
        )
        return commands

    def _find(self, comment: str) -> str:
        """Look for the command with this comment; SendCommand has no idempotency token of its own."""
        for attempt in range(_LOST_LOOKS):
            time.sleep(2.0 if attempt else 0.5)
            try:
                found = [command["CommandId"] for command in self._commands() if command.get("Comment") == comment]
            except AwsError:
                continue
            if found:
                return str(found[0])
        return ""

    def _adopt(self) -> None:
        """Take over the commands of a run that did not get to its end."""
        hosts = {target.host: node for node, target in self._targets.items()}
        mine = [sent for sent in self._earlier if any(host in hosts for host in sent.hosts)]
        if not mine:
            return
        oldest = datetime.datetime.fromtimestamp(min(sent.time for sent in mine), datetime.timezone.utc)
        self._since = min(self._since, oldest - _SKEW)
        try:
            commands = {command.get("Comment"): command["CommandId"] for command in self._commands()}
        except AwsError as error:
            return self._end_all([*self._waiting], outcomes.UNKNOWN, "api_error", f"what ran cannot be read: {error}")
        for sent in mine:
            nodes = {hosts[host] for host in sent.hosts if host in hosts}
            if sent.comment in commands and nodes:
                self._replies = {node: reply for node, reply in self._replies.items() if node not in nodes}
                self._waiting = [node for node in self._waiting if node not in nodes]
                self._overdrawn += len(nodes) - self._control.take(len(nodes))
                self._sent(commands[sent.comment], nodes)
        return None

    def _look(self) -> bool:
        """Read the commands in which something moved; return whether anything has."""
        moved = False
        if not any(self._running.values()):
            return moved
        for command in self._commands():
            command_id, completed = command["CommandId"], command["CompletedCount"]
            if not self._running.get(command_id) or completed == self._seen.get(command_id, 0):
                continue
            moved = True
            invocations = ssm_api.list_command_invocations(self._clients.read, command_id)
            ended = [invocation for invocation in invocations if invocation["Status"] in _TERMINAL]
            for invocation in ended:
                if invocation["InstanceId"] in self._running[command_id]:
                    self._end(invocation["InstanceId"], self._reply(command_id, invocation))
            self._seen[command_id] = len(ended)
        return moved

    def _reply(self, command_id: str, invocation: dict[str, t.Any]) -> Reply:
        details, plugins = invocation["StatusDetails"], invocation.get("CommandPlugins", ())
        if details in _ENDS:
            outcome, reason, msg = _ENDS[details]
            steps = tuple(_step(plugin, plugin.get("Output", "")) for plugin in plugins)
            return Reply(outcome, reason, f"{self._where}: {msg}", command_id, "", details, steps)
        steps = tuple(
            _step(plugin, self._output(command_id, invocation["InstanceId"], plugin, len(plugins) > 1))
            for plugin in plugins
        )
        return Reply(None, "", "", command_id, "".join(step.output for step in steps), details, steps)

    def _output(self, command_id: str, node: str, plugin: dict[str, t.Any], several: bool) -> str:
        """Return what a step printed; what ListCommandInvocations has cut is asked for."""
        output = str(plugin.get("Output", ""))
        if _CUT not in output:
            return output
        name = plugin["Name"] if several else ""
        whole = ssm_api.get_command_invocation(self._clients.read, command_id, node, name)
        return "".join(filter(None, (whole["StandardOutputContent"], whole.get("StandardErrorContent"))))

    def _cancel(self) -> None:
        """Cancel, once, what waits for its agent; what an agent has begun is waited for."""
        if self._cancelled:
            return
        self._cancelled = True
        for command_id, nodes in self._running.items():
            try:
                invocations = ssm_api.list_command_invocations(self._clients.read, command_id) if nodes else []
                waiting = {one["InstanceId"] for one in invocations if one["Status"] in _WAITING} & nodes
                if waiting:
                    ssm_api.cancel_command(self._clients.send, command_id, sorted(waiting))
            except AwsError:
                continue  # cancelling is best effort at AWS too; the nodes are waited for
