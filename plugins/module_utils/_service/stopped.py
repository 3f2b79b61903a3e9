# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Instances that went down after the inventory was read and before anything was sent to them.

Systems Manager takes commands for a stopped instance, whose agent it may call online for minutes, and ends them without
proof that they did not run. EC2 knows since when the instance has been down.
"""

from __future__ import annotations

import datetime
import re
import time
import typing as t

from .._aws import ec2 as ec2_api
from .._aws.errors import AwsError
from .._core import outcomes
from .run_command_types import Reply

#: Ends by which nobody can tell whether a command ran.
_UNCLEAR = ("undeliverable", "delivery_timed_out", "no_answer")
#: Seconds for which EC2's answer is taken for the truth.
_FRESH = 30.0
_MOMENT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


class Stopped:
    """Knows the instances of an account and region that are down."""

    def __init__(self, client: t.Callable[[], t.Any], where: str, sent: t.Mapping[str, float]) -> None:
        """Take what makes a client of EC2, the place's name, and when each host was first sent to (changes)."""
        self._client, self._where, self._sent = client, where, sent
        self._known: dict[str, str] = {}  # why each is down, by id
        self._skew = 0.0  # by how much AWS's clock is ahead
        self._asked_at = float("-inf")

    def judge(self, host: str, node: str, reply: Reply) -> Reply:
        """Return what is known of a node: that it was down before anything was sent to it, or the reply itself."""
        if reply.reason not in _UNCLEAR or not node.startswith("i-") or host not in self._sent:
            return reply
        why = self._down().get(node, "")
        moment = _MOMENT.search(why)
        if not moment:
            return reply
        since = datetime.datetime.strptime(moment[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc)
        if since.timestamp() >= self._sent[host] + self._skew:
            return reply  # it may have begun
        msg = f"{self._where}: the instance was down before anything was sent: {why}; start it and run again"
        return Reply(outcomes.UNREACHABLE, "stopped", msg, reply.command_id, "", reply.status, reply.steps)

    def _down(self) -> dict[str, str]:
        if time.monotonic() - self._asked_at >= _FRESH:
            self._asked_at = time.monotonic()
            try:
                self._known, now = ec2_api.stopped_instances(self._client())
            except AwsError:
                self._known = {}  # whoever may not know it knows no more than before
            else:
                self._skew = now - time.time() if now else 0.0
        return self._known
