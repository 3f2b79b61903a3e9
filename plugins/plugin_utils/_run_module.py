# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Ship one module's payload to every node of a batch and give each node its own result."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import time
import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._service import payload as payload_service
from ansible_collections.patchwave.aws.plugins.module_utils._service import run_command
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, Sessions

from . import _wire

#: Ids of managed nodes, EC2 and hybrid (botocore's model, ssm 2014-11-06).
NODE_ID = re.compile(r"(i-(\w{8}|\w{17})|mi-\w{17})")

#: Room between the end of the delivery time and the end of the payload's URL, in seconds.
_URL_MARGIN = 300

#: How Ansible is told of an outcome that is not success.
_FLAGS = {outcomes.UNREACHABLE: "unreachable"}


class Settings(t.NamedTuple):
    """The action's options that concern the sending; see the documentation of run_module."""

    bucket: str
    prefix: str
    delivery_timeout: int
    execution_timeout: int
    max_concurrency: str
    max_errors: str
    journal: str | None


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
    """
    digest = hashlib.sha256(payload).hexdigest()
    key, seconds = f"{settings.prefix}{digest}", settings.delivery_timeout + _URL_MARGIN
    with payload_service.stored(sessions, settings.bucket, key, payload, seconds) as url:
        command = run_command.Command(
            document="AWS-RunShellScript",
            parameters={
                "commands": _wire.script(url, digest, settings.execution_timeout).splitlines(),
                "executionTimeout": [str(settings.execution_timeout + 60)],
            },
            comment=f"patchwave {digest[:16]}",
            delivery_timeout=settings.delivery_timeout,
            execution_timeout=settings.execution_timeout + 60,
            max_concurrency=settings.max_concurrency,
            max_errors=settings.max_errors,
        )
        replies = run_command.fan_out(sessions, nodes, command, _journal(settings.journal))
    return {host: result(reply) for host, reply in replies.items()}


def result(reply: run_command.Reply) -> dict[str, t.Any]:
    """Turn a node's reply into an ordinary module result."""
    found = _ended(reply.outcome, reply.reason, reply.msg) if reply.outcome else _wire.decode(reply.output)
    if reply.command_id:
        found["command_id"] = reply.command_id
    return found


def _ended(outcome: str, reason: str, msg: str) -> dict[str, t.Any]:
    return {_FLAGS.get(outcome, "failed"): True, "outcome": outcome, "reason": reason, "msg": msg}


def _journal(path: str | None) -> run_command.Listener:
    """Return a listener that appends each event to a file, a JSON object a line, whole lines at a time."""

    def write(kind: str, event: dict[str, t.Any]) -> None:
        if path:
            with pathlib.Path(path).open("a", encoding="utf-8") as handle:
                handle.write(json.dumps({"event": kind, "time": time.time(), **event}) + "\n")

    return write
