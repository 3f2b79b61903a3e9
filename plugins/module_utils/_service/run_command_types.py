# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""The values that Run Command's rooms hand to each other."""

from __future__ import annotations

import types
import typing as t

from .._aws.sessions import Account


class Target(t.NamedTuple):
    """A node to reach: its inventory name, node id, account (12 digits), how to get in there, and region."""

    host: str
    id: str
    account: str
    access: Account
    region: str


class Step(t.NamedTuple):
    """One step of a document on one node: StatusDetails, the exit code, and what it printed, errors last."""

    name: str
    status: str
    code: int
    output: str


class Reply(t.NamedTuple):
    """How one node ended. `outcome` is None when it answered, and then `output` is what it printed.

    `status` is the invocation's StatusDetails, empty where nothing was sent.
    """

    outcome: t.Optional[str]
    reason: str
    msg: str
    command_id: str = ""
    output: str = ""
    status: str = ""
    steps: t.Tuple[Step, ...] = ()


class Command(t.NamedTuple):
    """What to send to some of the nodes.

    `parameters` makes the document's, anew for each sending; timeouts in seconds. `token` marks the work in the comment
    of every command, by which a sending whose answer was lost is found again. `ended` is told each host's reply, once,
    and says whether it uses up the error budget; it is called from several threads. `idempotent` allows a second
    sending to nodes whose first one ended without an answer. `request` is what else SendCommand takes, such as
    DocumentVersion. After `stop_at` (seconds since the epoch) nothing of it is sent, and what has not begun is
    cancelled.
    """

    document: str
    parameters: t.Callable[[], t.Dict[str, t.List[str]]]
    token: str
    delivery_timeout: int
    execution_timeout: int
    ended: t.Callable[[str, Reply], bool]
    idempotent: bool
    request: t.Mapping[str, str] = types.MappingProxyType({})
    stop_at: t.Optional[float] = None


#: A command and the nodes that get it.
Work = t.Tuple[Command, t.List[Target]]


class Sent(t.NamedTuple):
    """A sending as a journal knows it: the comment it carries, its hosts, and when (seconds since the epoch)."""

    comment: str
    hosts: t.Tuple[str, ...]
    time: float


#: Called from several threads, one call at a time: the kind of event and what belongs to it.
Listener = t.Callable[[str, t.Dict[str, t.Any]], None]
