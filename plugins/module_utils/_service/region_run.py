# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""Commands in one account and region: who can be reached, who has a slot, who has ended."""

from __future__ import annotations

import itertools
import time
import typing as t

from .._aws import ssm as ssm_api
from .._aws.errors import AwsError
from .._core import outcomes
from .control import Control
from .managed_nodes import registered_agents
from .pace import Pace, Runs
from .readable import Readable, final, read
from .reading import Invocation, Reader, is_cut, run_seconds
from .run_command_types import Listener, Reply, Sent, Work
from .sending import IDS_PER_COMMAND, LISTED_AFTER, SKEW, THROTTLED, Clients, Sender, Sending, utc

#: Seconds between two questions whether to stop and whether others have left slots.
_SLICE = 1.0
#: The same while slots are free, but it is waited for more.
_MOMENT = 0.1
#: Free slots wait for those that are due while these are more than such a part of them.
_WORTH_IT = 0.5
#: Seconds beyond the total timeout, at which AWS itself ends an invocation, before no answer is waited for.
_MARGIN = 60
#: Seconds after an intent in which its request may still have left a controller: a call waits 60 s for its answer.
_LATEST_REQUEST = 90
#: The least seconds for which it is tried to read what an earlier run sent, however long ago that was.
_RECALL = 60
#: Seconds for which the output of a node that has ended is asked for, where it was cut, and between two such tries.
_ANSWER, _ANSWER_AGAIN = 60, 5
_WAITING = ("Pending", "Delayed")
#: Seconds until it is looked again what can be cancelled: InProgress may turn out to be Delayed.
_CANCEL_AGAIN = 30
#: Ends after which an idempotent command is sent once more: only a fresh run can tell what became of the node. And
#: seconds until it is tried again to find out whether it can.
_ASK_LATER = 10
_ASK_AGAIN = ("undeliverable", "delivery_timed_out", "interrupted", "killed")

#: What is said of nodes of an earlier run that cannot be asked.
UNREAD_EARLIER = "what an earlier run sent cannot be read"


class RegionRun:
    """The commands in one account and region. A work is known by its number."""

    def __init__(
        self,
        clients: Clients,
        works: t.Sequence[Work],
        control: Control,
        tell: Listener,
        earlier: t.Sequence[Sent],
        ready: t.Callable[[], None] = lambda: None,
        runs: Runs | None = None,
    ) -> None:
        """Take what fan_out() was given; targets are those of this account and region."""
        self._clients, self._control, self._tell, self._ready = clients, control, tell, ready
        first = works[0][1][0]
        self._where = f"account {first.account}, region {first.region}"
        self._hosts = {target.id: target.host for dummy, targets in works for target in targets}
        self._work = {target.id: number for number, (dummy, targets) in enumerate(works) for target in targets}
        self._commands = [command for command, dummy in works]
        self._senders = [
            Sender(clients, command, self._where, self._hosts, tell, control.check) for command in self._commands
        ]
        hosts = set(self._hosts.values())
        self._earlier = [sent for sent in earlier if hosts.intersection(sent.hosts)]
        self._reader = Reader(clients.read, _common({command.document for command in self._commands}), self._where)
        self._pace = Pace(runs or Runs())
        self._readable = Readable(self._where, tell)
        self._problem: AwsError | None = None  # of the latest poll
        self._platforms: dict[str, str] = {}
        self._waiting: list[str] = []
        self._running: list[Sending] = []
        self._first: dict[str, Reply] = {}  # what the first sending brought, of nodes that are asked again
        self._again: dict[str, float] = {}  # of those, the ones that are still to be asked, and until when
        self._repeated: set[str] = set()  # nodes with a sending that was lost
        self._unanswered: dict[str, float] = {}  # nodes whose output was asked for in vain, and since when
        self._answer_at = 0.0
        self._resume_at = 0.0
        self._cancelled: dict[str, float] = {}  # when that was, by command
        # Before any region sends: what an earlier run has sent may be in flight still, and has its slot.
        self._claimed = len(hosts.intersection(host for sent in self._earlier for host in sent.hosts))
        control.claim(self._claimed)
        self._freed = 0  # slots of ours that are free now
        self._free_since = 0.0

    def run(self) -> None:
        """Send, and wait until every node has ended."""
        self._control.check()
        commands = self._recall()
        self._waiting, refused = self._reachable(commands)
        self._ready()
        self._adopt(commands, refused)
        for node, reply in refused.items():
            self._end(node, reply)
        while self._refill():
            now = time.monotonic()
            ages = [now - sending.sent for sending in self._running]
            unread = self._readable.error
            self._rest(self._readable.pause() if unread else self._pace.pause(ages, self._is_last()))
            self._poll()
            self._expire()

    def _is_last(self) -> bool:
        """Say whether nobody waits for the slots of nodes that end."""
        return not self._waiting and self._control.free != 0

    def _recall(self) -> dict[str, dict[str, t.Any]] | None:
        """Return the commands of a run that did not get to its end, by comment; None where they cannot be read."""
        if not self._earlier:
            return {}
        now = time.time()
        nodes = {host: node for node, host in self._hosts.items()}
        ends = [
            min(sent.time, now) + self._limit(nodes[host])
            for sent in self._earlier
            for host in sent.hosts
            if host in nodes
        ]
        try:
            return self._listed(time.monotonic() + max(_RECALL, max(ends) - now))
        except AwsError as error:
            self._problem = error
            return None

    def _listed(self, until: float) -> dict[str, dict[str, t.Any]]:
        """Return commands by comment, since the earlier run; one that it sent just now may take a while to show."""
        since = utc(min(time.time(), *(sent.time for sent in self._earlier))) - SKEW
        began = time.monotonic()
        recent = {sent.comment for sent in self._earlier if time.time() - sent.time < _LATEST_REQUEST}
        while True:
            late = time.monotonic() - began >= LISTED_AFTER
            listed = self._patiently(lambda: ssm_api.list_commands(self._clients.read, since), until)
            commands = {command.get("Comment", ""): command for command in listed}
            if late or recent <= commands.keys():
                return commands
            self._sleep(_SLICE)

    def _patiently(self, call: t.Callable[[], t.Any], until: float) -> t.Any:
        """Read what must be known before anything can be sent; throttling is waited out, other errors until a time."""
        while True:
            try:
                answer = read(call)
            except AwsError as error:
                throttled = error.code in THROTTLED
                if not throttled:
                    self._readable.failed(error)
                in_time = time.monotonic() < until or (throttled and not self._control.stop_reason())
                if self._readable.over or not in_time:
                    raise
                self._sleep(self._pace.rest() if throttled else self._readable.pause())
            else:
                self._readable.well()
                return answer

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            self._control.check()
            left = min(_SLICE, until - time.monotonic())
            if left <= 0:
                return
            time.sleep(left)

    def _reachable(self, commands: dict[str, t.Any] | None) -> tuple[list[str], dict[str, Reply]]:
        """Tell nodes that can be sent to, one work and platform after the other, from all others: a reply for each."""
        try:
            if commands is not None:
                return self._sorted(self._hosts, self._patiently(lambda: registered_agents(self._clients.read), 0))
        except AwsError as error:
            self._problem = error
        unread = self._reply(outcomes.UNREACHABLE, "api_error", f"nothing was sent: {self._problem}")
        return [], dict.fromkeys(self._hosts, unread)

    def _sorted(
        self, nodes: t.Iterable[str], agents: dict[str, dict[str, t.Any]]
    ) -> tuple[list[str], dict[str, Reply]]:
        """Tell nodes from those whose agent is known to be away, for one unknown id makes AWS refuse a whole call."""
        missing = self._reply(outcomes.UNREACHABLE, "not_managed", "no agent is registered with Systems Manager")
        lost = self._reply(outcomes.UNREACHABLE, "agent_offline", "the agent is not connected; nothing was sent")
        refused = {node: missing for node in nodes if node not in agents}
        refused.update({node: lost for node in nodes if node in agents and agents[node].get("PingStatus") != "Online"})
        self._platforms = {node: str(agent.get("PlatformType", "")) for node, agent in agents.items()}
        ready = [node for node in nodes if node not in refused]
        return sorted(ready, key=lambda node: (self._kind(node), node)), refused

    def _adopt(self, commands: dict[str, dict[str, t.Any]] | None, refused: dict[str, Reply]) -> None:
        """Take over the commands of an earlier run; their nodes are not refused any more."""
        nodes = {host: node for node, host in self._hosts.items()}
        if commands is None:
            unread = self._reply(outcomes.UNKNOWN, "api_error", f"{UNREAD_EARLIER}: {self._problem}")
            refused.update({nodes[host]: unread for sent in self._earlier for host in sent.hosts if host in nodes})
            if self._readable.over:
                self._control.lose(self._claimed)
            else:
                self._free(self._claimed)  # their own time is over
            return
        latest: dict[str, str] = {}
        for sent in self._earlier:
            for node in (nodes[host] for host in sent.hosts if host in nodes and sent.comment in commands):
                if node in latest:  # asked again already
                    self._first[node] = self._reply(outcomes.UNKNOWN, "undeliverable", "the agent gave no sign")
                latest[node] = sent.comment
        groups: dict[tuple[str, int], list[str]] = {}
        for node, comment in latest.items():
            groups.setdefault((comment, self._work[node]), []).append(node)
        for (comment, work), mine in groups.items():
            sending = self._senders[work].under_way(commands[comment], mine)
            sending.size = max(len(mine), commands[comment].get("TargetCount", 0))
            sending.sent -= max(0.0, time.time() - sending.requested.timestamp())
            self._follow(sending)
        self._waiting = [node for node in self._waiting if node not in latest]
        self._free(self._claimed - len(latest))
        for node in latest:
            refused.pop(node, None)

    def _refill(self) -> bool:
        """Send to as many waiting nodes as there are slots; on the word to stop, end what has not begun.

        Returns:
            False when every node has ended.
        """
        self._stop()
        if self._again and not self._waiting:
            self._ask_again()
        if not self._gathers():
            self._fill()
        self._running = [sending for sending in self._running if sending.nodes]
        return bool(self._running or self._waiting or self._again)

    def _fill(self) -> None:
        rested = time.monotonic() >= self._resume_at
        while True:
            chunk = self._chunk() if rested else []
            freed, self._freed = self._freed, 0
            taken = self._control.exchange(freed, len(chunk))
            if not taken:
                return
            self._waiting = self._waiting[taken:]
            rested = self._send(chunk[:taken])

    def _gathers(self) -> bool:
        """Say whether free slots wait for others that will be free in a moment, to be filled by one command."""
        now, free = time.monotonic(), self._control.free
        others = not self._freed and free is not None and 0 < free < len(self._chunk())
        if not self._waiting or not (self._freed or others):
            self._free_since = now
            return False
        if others:
            return now - self._free_since < self._pace.gather()
        due = [sending for sending in self._running if now - self._free_since < self._pace.gather(now - sending.sent)]
        return sum(len(sending.nodes) for sending in due) > self._freed * _WORTH_IT

    def _kind(self, node: str) -> tuple[int, str]:
        """Return what nodes of one SendCommand have in common: the work and the platform."""
        return self._work[node], self._platforms.get(node, "")

    def _chunk(self) -> list[str]:
        """Return the waiting nodes that the next command may go to; none while their answers could not be read."""
        chunk = self._waiting[:IDS_PER_COMMAND]
        if not chunk or self._readable.error or self._stop_reason(self._work[chunk[0]]):
            return []
        return list(itertools.takewhile(lambda node: self._kind(node) == self._kind(chunk[0]), chunk))

    def _send(self, nodes: list[str]) -> bool:
        """Send to these nodes, for which slots are taken; return whether to go on sending."""
        attempt = self._senders[self._work[nodes[0]]].send(nodes, self._control.errors_left())
        if attempt.sending:
            self._follow(attempt.sending)
        self._free(len(attempt.refused))
        for node, reply in attempt.refused.items():
            self._end(node, reply)
        if attempt.throttled:
            self._put_back(nodes)
            self._resume_at = time.monotonic() + self._pace.rest()
            return False
        for group in attempt.again:
            if time.monotonic() < self._resume_at:
                self._put_back(group)
            else:
                self._send(group)
        return time.monotonic() >= self._resume_at

    def _put_back(self, nodes: list[str]) -> None:
        """Let nodes wait again, for which slots were taken."""
        self._free(len(nodes))
        self._waiting = nodes + self._waiting

    def _follow(self, sending: Sending) -> None:
        self._running.append(sending)
        if sending.command_id:
            self._reader.follow(sending)

    def _rest(self, seconds: float) -> None:
        """Wait, and send meanwhile as others leave slots; but one's own slots are filled right after a poll."""
        until = time.monotonic() + seconds
        while True:
            left = min(_SLICE, until - time.monotonic())
            if left <= 0 or not self._refill():
                return
            if self._running or time.monotonic() < self._resume_at:
                time.sleep(left)
            elif self._control.free:  # but too few yet
                time.sleep(min(left, _MOMENT))
            else:
                self._control.wait(left)

    def _poll(self) -> None:
        """Read who has ended; what cannot be read has not."""
        if not self._running:
            return
        try:
            self._find_lost()
            self._read_ends()
        except AwsError as error:
            self._problem = error
            if error.code in THROTTLED:
                self._rest(self._pace.rest())
                return
            self._readable.failed(error)
            if self._readable.over:
                self._abandon(error)
        else:
            self._problem = None
            self._readable.well()

    def _find_lost(self) -> None:
        """Look for the commands of sendings whose answer was lost while nothing could be read."""
        lost = [sending for sending in self._running if not sending.command_id]
        if not lost:
            return
        since = min(sending.requested for sending in lost) - SKEW
        listed = read(lambda: ssm_api.list_commands(self._clients.read, since))
        commands = {command.get("Comment", ""): command for command in listed}
        for sending in lost:
            if sending.comment in commands:
                any_node = next(iter(sending.nodes))
                self._senders[self._work[any_node]].take_up(sending, commands[sending.comment])
                self._reader.follow(sending)
            elif time.monotonic() - sending.sent > LISTED_AFTER:
                self._never_arrived(sending)

    def _never_arrived(self, sending: Sending) -> None:
        """Let nodes wait again whose command is not listed; a second time that is nothing to rely on."""
        nodes = sorted(sending.nodes)
        again = [node for node in nodes if node not in self._repeated]
        self._repeated.update(again)
        self._put_back(again)
        sending.nodes.difference_update(again)
        for node in sorted(sending.nodes):
            self._take(sending, node, self._reply(outcomes.UNKNOWN, "api_error", sending.problem))

    def _read_ends(self) -> None:
        now = time.monotonic()
        ended = read(lambda: self._reader.ended(lambda sending: self._pace.due(now - sending.sent)))
        for sending, invocation in ended:
            try:
                reply = self._answer(sending, invocation)
            except AwsError:
                for left, dummy in ended:
                    left.completed = 0  # the next poll reads what this one leaves
                raise
            if not reply:
                continue
            seconds = run_seconds(invocation)
            if seconds is not None:
                self._pace.ran(seconds)
            self._take(sending, invocation["InstanceId"], reply)
        self._pace.polled(bool(ended))
        for sending in read(lambda: self._reader.dropped(time.monotonic())):
            self._put_back(sorted(sending.nodes))
            sending.nodes.clear()
            self._resume_at = time.monotonic() + self._pace.rest()

    def _answer(self, sending: Sending, invocation: Invocation) -> Reply | None:
        """Return what a node that has ended says; None while what was cut cannot be read."""
        node, now = invocation["InstanceId"], time.monotonic()
        if not is_cut(invocation) or now >= self._answer_at:
            limit = self._commands[self._work[node]].execution_timeout
            try:
                return read(lambda: self._reader.reply(sending.command_id, invocation, limit))
            except AwsError as error:
                if error.code in THROTTLED:
                    raise
                if now - self._unanswered.get(node, now) >= _ANSWER:
                    msg = f"{self._where}: the node answered, but its answer could not be read: {error}"
                    details = invocation["StatusDetails"]
                    return Reply(outcomes.UNKNOWN, "api_error", msg, sending.command_id, "", details)
                self._answer_at = now + _ANSWER_AGAIN
        self._unanswered.setdefault(node, now)
        sending.completed = 0  # read it again
        return None

    def _take(self, sending: Sending, node: str, reply: Reply) -> None:
        """Take a node's answer, or that it gave none; its slot is free."""
        sending.nodes.discard(node)
        self._free(1)
        if self._commands[self._work[node]].idempotent and reply.reason in _ASK_AGAIN and node not in self._first:
            self._first[node] = reply
            self._again[node] = sending.sent + self._limit(node)
        else:
            self._end(node, reply)

    def _free(self, slots: int) -> None:
        self._freed += slots

    def _end(self, node: str, reply: Reply) -> None:
        if reply.outcome and node in self._first:
            # A node that is gone by now is still one that the first command may have reached.
            reply = self._first[node]
        if self._commands[self._work[node]].ended(self._hosts[node], reply):
            self._control.charge()

    def _reply(self, outcome: str, reason: str, msg: str) -> Reply:
        return Reply(outcome, reason, f"{self._where}: {msg}")

    def _ask_again(self) -> None:
        """Let nodes wait again that ended without an answer, as far as their agents are there now."""
        if time.monotonic() < self._resume_at:
            return
        try:
            agents = read(lambda: registered_agents(self._clients.read))
        except AwsError as error:
            now = time.monotonic()
            self._resume_at = now + (self._pace.rest() if error.code in THROTTLED else _ASK_LATER)
            refused = {node: self._first[node] for node, end in self._again.items() if final(error) or now > end}
        else:
            self._waiting, refused = self._sorted(self._again, agents)
            self._again = {}
        for node, reply in refused.items():
            self._again.pop(node, None)
            self._end(node, reply)

    def _limit(self, node: str) -> float:
        """Return the seconds after its sending in which a node has ended for certain."""
        command = self._commands[self._work[node]]
        return command.delivery_timeout + command.execution_timeout + _MARGIN

    def _expire(self) -> None:
        """End nodes that have ended for certain, answered or not; each one's time runs from its own sending."""
        for sending in self._running:
            age = time.monotonic() - sending.sent
            for node in sorted(node for node in sending.nodes if age > self._limit(node)):
                self._take(sending, node, self._no_answer(sending))
        self._running = [sending for sending in self._running if sending.nodes]
        if self._readable.error and not self._running and not self._again:
            self._skip("api_error", f"nothing was sent: {self._readable.error}")

    def _no_answer(self, sending: Sending) -> Reply:
        if self._problem:
            msg = f"the answer could not be read: {self._problem}"
        elif not sending.command_id:
            msg = sending.problem
        else:
            return self._reply(outcomes.UNKNOWN, "no_answer", "no answer in time")
        return self._reply(outcomes.UNKNOWN, "api_error", msg)

    def _abandon(self, error: AwsError) -> None:
        """End all nodes, since nothing more can be read in this run; the slots of those that may work are lost."""
        working = [node for sending in self._running for node in sorted(sending.nodes)]
        self._running = []
        self._control.lose(len(working))
        for node in working:
            self._end(node, self._reply(outcomes.UNKNOWN, "api_error", f"the answer could not be read: {error}"))
        self._skip("api_error", f"nothing was sent: {error}")

    def _skip(self, reason: str, msg: str, works: t.Container[int] | None = None) -> None:
        """End what waits for a slot, of some works or of all."""
        nodes = [node for node in [*self._waiting, *self._again] if works is None or self._work[node] in works]
        gone = set(nodes)
        self._waiting = [node for node in self._waiting if node not in gone]
        self._again = {node: end for node, end in self._again.items() if node not in gone}
        for node in nodes:
            self._end(node, self._reply(outcomes.SKIPPED, reason, msg))

    def _stop_reason(self, work: int) -> str:
        """Return why nothing more of a work may be sent, or the empty string."""
        return self._control.stop_reason() or self._late(work)

    def _late(self, work: int) -> str:
        end = self._commands[work].stop_at
        return "asked_to_stop" if end is not None and time.time() >= end else ""

    def _stop(self) -> None:
        """On the word to stop, send nothing more and cancel what waits; what an agent has begun is waited for."""
        all_ = self._control.stop_reason()
        stopped = {number: all_ or self._late(number) for number in range(len(self._commands))}
        if not any(stopped.values()):
            return
        for reason in set(filter(None, stopped.values())):
            self._skip(reason, self._control.said(reason), {number for number, why in stopped.items() if why == reason})
        for sending in self._running:
            due = time.monotonic() >= self._cancelled.get(sending.command_id, float("-inf")) + _CANCEL_AGAIN
            if not due or not sending.command_id or not any(stopped[self._work[node]] for node in sending.nodes):
                continue
            try:
                self._cancel(sending)
            except AwsError as error:
                if error.code in THROTTLED:
                    return  # the next call of this goes on here
            # Cancelling is best effort at AWS too; the nodes are waited for.
            self._cancelled[sending.command_id] = time.monotonic()

    def _cancel(self, sending: Sending) -> None:
        invocations = read(lambda: ssm_api.list_command_invocations(self._clients.read, sending.command_id))
        waiting = {one["InstanceId"] for one in invocations if one["Status"] in _WAITING} & sending.nodes
        self._control.check()
        if waiting:
            ssm_api.cancel_command(self._clients.send, sending.command_id, sorted(waiting))


def _common(documents: set[str]) -> str:
    """Return the document by which a listing can be narrowed, or nothing where they differ."""
    name = documents.pop()
    # A shared document is sent by its ARN and listed by its name.
    return "" if documents or ":" in name else name
