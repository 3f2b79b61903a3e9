# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""Run Command: send one command to many nodes of many accounts and regions, and read what they answer in bulk.

One thread for each account and region (see region_run); explicit ids in chunks of at most 50 (see sending); results in
pages of 50 (see reading), looked for when they are due (see pace). No call is made for a single node unless its output
was cut. Places in flight and the error budget are shared by all of them (see control).
"""

from __future__ import annotations

import concurrent.futures
import threading
import typing as t

from .._aws.errors import AwsError
from .._aws.sessions import Account, Sessions
from .._core import outcomes
from .control import Control
from .reading import ERROR_TITLE
from .region_run import RegionRun
from .run_command_types import Command, Listener, Reply, Sent, Step, Target
from .sending import Clients

__all__ = ["ERROR_TITLE", "Command", "Listener", "Reply", "Sent", "Step", "Target", "fan_out"]


def fan_out(
    sessions: Sessions,
    targets: list[Target],
    command: Command,
    control: Control,
    listener: Listener,
    earlier: t.Sequence[Sent] = (),
) -> dict[str, Reply]:
    """Send the command to every target and wait until each has ended.

    Args:
        sessions: makes the clients.
        targets: the nodes; no two with one host.
        command: what to send.
        control: places in flight, error budget and the word to stop.
        listener: told C(intent) before and C(sent) after each sending, and C(ended) with C(node) for each node.
        earlier: sendings of a run that did not get to its end; their commands are adopted and not sent again.

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
            # A retry by botocore of a SendCommand whose answer was lost would run the command twice.
            clients = Clients(
                sessions.client("ssm", access, region), sessions.client("ssm", access, region, retries=False)
            )
            runs.append(RegionRun(clients, members, command, control, tell, earlier))
        except AwsError as error:
            reply = Reply(outcomes.UNREACHABLE, "api_error", f"account {account}, region {region}: {error}")
            replies.update({target.host: reply for target in members})
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(runs))) as pool:
        for result in pool.map(lambda run: _run(run, control), runs):
            replies.update(result)
    return replies


def _run(run: RegionRun, control: Control) -> dict[str, Reply]:
    try:
        return run.run()
    except BaseException:
        control.break_off()
        raise
