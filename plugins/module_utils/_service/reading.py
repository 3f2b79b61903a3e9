# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""Reading what became of commands, in the fewest calls."""

from __future__ import annotations

import datetime
import math
import typing as t

from .._aws import ssm as ssm_api
from .._core import outcomes
from .run_command_types import Reply, Step
from .sending import Sending

#: Invocations that ListCommandInvocations gives in one page (botocore's model, ssm 2014-11-06).
_PAGE = 50
#: A listing of so many pages is read without asking first whether anything has moved.
_CHEAP_PAGES = 2
#: The filter InvokedAfter knows seconds.
_SECOND = datetime.timedelta(seconds=1)
#: Seconds after which a command without any invocation is looked at: AWS may have taken it and dropped it.
_SHOWS_AFTER = 10.0
#: Where ListCommandInvocations cut the output or the errors, it says so.
_CUT = ("---Output truncated---", "---Error truncated----")
#: What stands there between a step's output and its errors.
ERROR_TITLE = "\n----------ERROR-------\n"
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

#: What the agent says of a command that was running as the node, or the agent's own worker, went down. It does not run
#: it again. (Measured with amazon-ssm-agent 3.3: Failed, code 1, a minute after the agent is back.)
_WENT_DOWN = "document process failed unexpectedly"
#: The code by which the agent says TimedOut of what was killed, whoever killed it.
_KILLED = 137
#: The part of its time limit before which a command was not killed for that.
_LONG_BEFORE = 0.9

Invocation = t.Dict[str, t.Any]


class Reader:
    """Reads the commands under way in one account and region."""

    def __init__(self, ssm: t.Any, document: str, where: str) -> None:
        """Take a client, the document that all commands have, if any, and the name of the account and region."""
        self._ssm, self._where, self._document = ssm, where, document
        self._sent: list[Sending] = []
        self._others = False  # the last listing had other people's commands in it

    def follow(self, sending: Sending) -> None:
        """Take note of a command that was sent."""
        self._sent.append(sending)

    def ended(self, due: t.Callable[[Sending], bool] = lambda sending: True) -> list[tuple[Sending, Invocation]]:
        """Return invocations of nodes that have ended since the last call, of commands that are due or of all."""
        open_ = [sending for sending in self._sent if sending.nodes]
        if not open_:
            return []
        # What ended just before is in a listing of the others too.
        oldest = min(sending.requested for sending in open_) - 2 * _SECOND
        self._sent = [sending for sending in self._sent if sending.requested >= oldest]
        wanted = [sending for sending in open_ if due(sending)] or open_
        oldest = min(sending.requested for sending in wanted)
        pages = self._pages(oldest)
        if min(pages, len(wanted)) > _CHEAP_PAGES or self._others:
            wanted = self._moved(wanted, oldest)
            if not wanted:
                return []
            oldest = min(sending.requested for sending in wanted)
            pages = self._pages(oldest)
        if pages < len(wanted) and not self._others:
            listed = ssm_api.list_command_invocations_after(self._ssm, oldest - _SECOND, self._document)
            self._others = len(listed) > pages * _PAGE
            wanted = [sending for sending in open_ if sending.requested >= oldest]
        else:
            listed = [each for one in wanted for each in ssm_api.list_command_invocations(self._ssm, one.command_id)]
        return self._new(wanted, listed)

    def dropped(self, now: float) -> list[Sending]:
        """Return commands that AWS took and then ran on no node, because too many were pending (RateExceeded)."""
        silent = [
            one for one in self._sent if one.nodes and not one.shown and now > max(one.sent, one.asked) + _SHOWS_AFTER
        ]
        for one in silent:
            one.asked = now
        return [
            one
            for one in silent
            if ssm_api.list_command(self._ssm, one.command_id).get("StatusDetails") in ("RateExceeded", "LimitExceeded")
        ]

    def reply(self, command_id: str, invocation: Invocation, limit: float = math.inf) -> Reply:
        """Return what an invocation that ended says of its node.

        Args:
            command_id: the command's.
            invocation: as ListCommandInvocations has it.
            limit: seconds that the command may run.

        Raises:
            AwsError: the answer is there and can be read later.
        """
        details, plugins = invocation["StatusDetails"], invocation.get("CommandPlugins", ())
        end = _unclear(invocation, limit) or _ENDS.get(details)
        if end:
            outcome, reason, msg = end
            steps = tuple(_step(plugin, plugin.get("Output", "")) for plugin in plugins)
            return Reply(outcome, reason, f"{self._where}: {msg}", command_id, "", details, steps)
        steps = tuple(
            _step(plugin, self._output(command_id, invocation["InstanceId"], plugin, len(plugins) > 1))
            for plugin in plugins
        )
        return Reply(None, "", "", command_id, "".join(step.output for step in steps), details, steps)

    def _pages(self, since: datetime.datetime) -> int:
        """Return how many pages a listing of our own invocations since then has."""
        return math.ceil(sum(sending.size for sending in self._sent if sending.requested >= since - _SECOND) / _PAGE)

    def _moved(self, open_: list[Sending], since: datetime.datetime) -> list[Sending]:
        """Return the commands in which nodes have ended that were not read yet; one that is not listed has ended."""
        listed = ssm_api.list_commands(self._ssm, since - _SECOND, executing=True)
        counts = {command["CommandId"]: command["CompletedCount"] for command in listed}
        for sending in open_:
            sending.shown = sending.shown or sending.command_id in counts
        return [sending for sending in open_ if counts.get(sending.command_id, -1) != sending.completed]

    def _new(self, open_: list[Sending], listed: list[Invocation]) -> list[tuple[Sending, Invocation]]:
        by_id = {sending.command_id: sending for sending in open_}
        found = []
        for sending in open_:
            sending.completed = 0
        for invocation in listed:
            one = by_id.get(invocation["CommandId"])
            if one:
                one.shown = True
                ended = invocation["Status"] in _TERMINAL
                one.completed += ended
                if ended and invocation["InstanceId"] in one.nodes:
                    found.append((one, invocation))
        return found

    def _output(self, command_id: str, node: str, plugin: dict[str, t.Any], several: bool) -> str:
        """Return what a step printed; what ListCommandInvocations has cut is asked for."""
        output = str(plugin.get("Output", ""))
        if not any(mark in output for mark in _CUT):
            return output
        name = plugin["Name"] if several else ""
        whole = ssm_api.get_command_invocation(self._ssm, command_id, node, name)
        stdout, stderr = whole["StandardOutputContent"], whole.get("StandardErrorContent", "")
        return f"{stdout}{ERROR_TITLE}{stderr}" if stderr else str(stdout)


def _unclear(invocation: Invocation, limit: float) -> tuple[str, str, str] | None:
    """Return outcome, reason and message of a node that went down, or whose command was killed before its limit."""
    details, plugins = invocation["StatusDetails"], invocation.get("CommandPlugins", ())
    codes = {plugin.get("ResponseCode") for plugin in plugins}
    if details == "Failed" and any(str(one.get("Output", "")).lstrip().startswith(_WENT_DOWN) for one in plugins):
        msg = "the node, or its agent, went down while the command ran; it may have done a part of its work"
        return outcomes.UNKNOWN, "interrupted", msg
    spent = _spent(invocation)
    if details == "ExecutionTimedOut" and _KILLED in codes and spent is not None and spent < limit * _LONG_BEFORE:
        msg = f"killed ({_KILLED}) after {spent:.0f} s, long before its time limit of {limit:.0f} s; out of memory?"
        return outcomes.UNKNOWN, "killed", msg
    return None


def is_cut(invocation: Invocation) -> bool:
    """Say whether it takes a call of its own to read what a node printed."""
    outputs = [str(plugin.get("Output", "")) for plugin in invocation.get("CommandPlugins", ())]
    return invocation["StatusDetails"] not in _ENDS and any(mark in output for output in outputs for mark in _CUT)


def run_seconds(invocation: Invocation) -> float | None:
    """Return how long the node took by its own clock to do its work, or None where the invocation does not say."""
    return _spent(invocation) if invocation["StatusDetails"] in ("Success", "Failed") else None


def _spent(invocation: Invocation) -> float | None:
    plugins = invocation.get("CommandPlugins", ())
    starts = [plugin["ResponseStartDateTime"] for plugin in plugins if plugin.get("ResponseStartDateTime")]
    ends = [plugin["ResponseFinishDateTime"] for plugin in plugins if plugin.get("ResponseFinishDateTime")]
    return max(0.0, float((max(ends) - min(starts)).total_seconds())) if starts and ends else None


def _step(plugin: dict[str, t.Any], output: str) -> Step:
    return Step(plugin.get("Name", ""), plugin.get("StatusDetails", ""), plugin.get("ResponseCode", -1), output)
