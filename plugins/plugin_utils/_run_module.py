# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Ship one module's payload to every node of a batch and give each node its own result."""

from __future__ import annotations

import hashlib
import os
import re
import typing as t
import uuid

from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.budget import allowed
from ansible_collections.patchwave.aws.plugins.module_utils._service import payload as payload_service
from ansible_collections.patchwave.aws.plugins.module_utils._service import run_command
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control

from . import _wire
from ._journal import Journal

#: Ids of managed nodes, EC2 and hybrid (botocore's model, ssm 2014-11-06).
NODE_ID = re.compile(r"(i-(\w{8}|\w{17})|mi-\w{17})")

#: Room between the end of the delivery time and the end of the payload's URL, in seconds.
_URL_MARGIN = 300
#: Seconds that the launcher has beyond the module's own time.
_NODE_MARGIN = 60
#: SendCommand's comment takes 100 characters (botocore's model, ssm 2014-11-06); the rest tells sendings apart.
_TOKEN_LENGTH = 80

#: How Ansible is told of an outcome that is not success.
_FLAGS = {outcomes.UNREACHABLE: "unreachable"}


class Settings(t.NamedTuple):
    """The action's options that concern the sending; see the documentation of run_module."""

    bucket: str
    prefix: str
    delivery_timeout: int
    execution_timeout: int
    max_in_flight: int
    max_errors: str
    idempotent: bool
    token: str | None
    journal: str | None
    stop_file: str | None


def targets(
    hosts: t.Iterable[str], variables: t.Callable[[str], t.Mapping[str, t.Any]]
) -> tuple[list[run_command.Target], dict[str, dict[str, t.Any]]]:
    """Find out how each host is reached from the variables that the inventory gave it.

    Returns:
        The targets, and a result for each host that Run Command cannot reach or that cannot run Python modules.
    """
    reachable, refused = [], {}
    for host in hosts:
        known = variables(host)
        node, region = str(known.get("node_id") or host), known.get("region")
        if not NODE_ID.fullmatch(node) or not region:
            msg = "not a managed node: the host needs the variables node_id and region (inventory patch_groups)"
            refused[host] = _ended(outcomes.UNREACHABLE, "not_managed", msg)
        elif str(known.get("platform", "")) == "windows":
            refused[host] = _ended(outcomes.UNSUPPORTED, "platform", "a Python module does not run on Windows")
        else:
            access = Account(
                role_arn=known.get("assume_role_arn") or None,
                external_id=known.get("assume_role_external_id") or None,
                profile=known.get("assume_role_profile") or None,
            )
            reachable.append(run_command.Target(host, node, str(known.get("account", "")), access, str(region)))
    return reachable, refused


def ship(
    sessions: Sessions, payload: bytes, nodes: list[run_command.Target], settings: Settings
) -> dict[str, dict[str, t.Any]]:
    """Run the payload on every node and return each host's result.

    The payload lies in the bucket only while the command runs.

    Raises:
        AwsError: the payload could not be stored; nothing was sent.
        JournalError: the journal cannot be had; nothing was sent.
        ValueError: max_errors is no budget.
    """
    token = f"patchwave {settings.token or uuid.uuid4().hex}"[:_TOKEN_LENGTH]
    digest = hashlib.sha256(payload).hexdigest()
    key, seconds = f"{settings.prefix}{digest}", settings.delivery_timeout + _URL_MARGIN
    control = Control(settings.max_in_flight, allowed(settings.max_errors, len(nodes)), _asked(settings.stop_file))
    journal = Journal(settings.journal, token)
    try:
        journal.write("started", {"token": token, "bucket": settings.bucket, "key": key})
        with payload_service.stored(sessions, settings.bucket, key, payload, seconds) as url:
            command = run_command.Command(
                document="AWS-RunShellScript",
                # A node that waits long for its place gets a URL as fresh as the first one's.
                parameters=lambda: {
                    "commands": _wire.script(url(), digest, settings.execution_timeout).splitlines(),
                    "executionTimeout": [str(settings.execution_timeout + _NODE_MARGIN)],
                },
                token=token,
                delivery_timeout=settings.delivery_timeout,
                execution_timeout=settings.execution_timeout + _NODE_MARGIN,
                charged=_charged,
                idempotent=settings.idempotent,
            )
            replies = run_command.fan_out(sessions, nodes, command, control, journal.write, journal.earlier)
        payload_service.delete(sessions, journal.leftovers)
        journal.write("finished", {})
    finally:
        journal.close()
    return {host: result(reply) for host, reply in replies.items()}


def _asked(stop_file: str | None) -> t.Callable[[], bool]:
    return lambda: bool(stop_file) and os.path.exists(str(stop_file))


def _charged(reply: run_command.Reply) -> bool:
    """Say whether a node's end uses up the error budget; any module that fails does."""
    found = result(reply)
    return found["outcome"] in outcomes.CHARGED if "outcome" in found else bool(found.get("failed"))


def result(reply: run_command.Reply) -> dict[str, t.Any]:
    """Turn a node's reply into an ordinary module result."""
    found = _ended(reply.outcome, reply.reason, reply.msg) if reply.outcome else _wire.decode(reply.output)
    if reply.command_id:
        found["command_id"] = reply.command_id
    return found


def _ended(outcome: str, reason: str, msg: str) -> dict[str, t.Any]:
    return {_FLAGS.get(outcome, "failed"): True, "outcome": outcome, "reason": reason, "msg": msg}
