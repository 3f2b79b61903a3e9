# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Ship one module's payload to every node of a batch and give each node its own result."""

from __future__ import annotations

import hashlib
import re
import typing as t
import uuid

from ansible_collections.patchwave.aws.plugins.module_utils._core import moments, outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._service import payload as payload_service
from ansible_collections.patchwave.aws.plugins.module_utils._service import run_command
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Sessions

from . import _batch, _wire
from ._batch import ended

#: Room between the end of the delivery time and the end of the payload's URL, in seconds.
_URL_MARGIN = 300
#: The longest life of a presigned URL, in seconds (Signature Version 4).
_LONGEST_URL = 604_800
#: Seconds that the launcher has beyond the module's own time.
_NODE_MARGIN = 60
#: The agent's limit for a script, in seconds (amazon-ssm-agent, pluginutil.go).
_LONGEST_WORK = 172_800
#: Seconds between exit code 194 and the reboot (amazon-ssm-agent, rebooter_unix.go: shutdown -r +1).
_REBOOT_GRACE = 60
#: What a script may have: a document and its parameters 64 KB (MaxDocumentSizeExceeded), less what is not the script.
_LARGEST_SCRIPT = 60_000


class Settings(t.NamedTuple):
    """The action's options that are not those of every batch; see the documentation of run_module."""

    bucket: str
    prefix: str
    keep_payload: bool
    reboot: str
    reboot_timeout: int
    latest_start: str | None

    @classmethod
    def of(cls, options: t.Mapping[str, t.Any]) -> Settings:
        """Take the settings out of a task's options.

        Raises:
            ValueError: one of them cannot be; one line that names it.
        """
        settings = cls(**{name: options[name] for name in cls._fields})
        if not re.fullmatch(r"[\w.-]{3,}|arn:.+", settings.bucket, re.ASCII):
            raise ValueError(f"bucket: must be the name of a bucket, not '{settings.bucket}'")
        if settings.latest_start is not None and not moments.is_moment(settings.latest_start):
            wanted = "a moment with its zone, such as 2026-11-22T04:00:00Z"
            raise ValueError(f"latest_start: must be {wanted}, not '{settings.latest_start}'")
        if settings.reboot_timeout < 1:
            raise ValueError(f"reboot_timeout: must be 1 second or more, not {settings.reboot_timeout}")
        return settings

    @property
    def may_reboot(self) -> bool:
        """Whether a node may reboot."""
        return self.reboot == "if_required"


class Module(t.NamedTuple):
    """What is shipped: the module's name, the program with its arguments, and the S3 objects that it reads, by URL."""

    name: str
    payload: bytes
    objects: dict[str, tuple[str, str]]


def targets(
    hosts: t.Iterable[str], variables: t.Callable[[str], t.Mapping[str, t.Any]]
) -> tuple[list[run_command.Target], dict[str, dict[str, t.Any]]]:
    """Find out how each host is reached; return the targets, and a result for each host that cannot be sent to."""
    platforms: dict[str, str] = {}

    def known(host: str) -> t.Mapping[str, t.Any]:
        found = variables(host)  # half a millisecond, so once for each host
        platforms[host] = str(found.get("platform", ""))
        return found

    nodes, refused = _batch.targets(hosts, known)
    windows = {node.host for node in nodes if platforms[node.host] == "windows"}
    msg = "a Python module does not run on Windows"
    refused.update({host: ended(outcomes.UNSUPPORTED, "platform", msg) for host in windows})
    return [node for node in nodes if node.host not in windows], refused


def ship(
    sessions: Sessions, module: Module, nodes: list[run_command.Target], batch: _batch.Settings, settings: Settings
) -> dict[str, dict[str, t.Any]]:
    """Run the module on every node and return each host's result.

    Raises:
        AwsError: the payload could not be stored; nothing was sent.
        JournalError: the journal cannot be had; nothing was sent.
        ValueError: no command can be so large or take so long; nothing was sent.
    """
    digest = hashlib.sha256(module.payload).hexdigest()
    # A payload that is deleted at the end has a key of its own, or it would be gone while another batch needs it.
    key = f"{settings.prefix}{digest}" + ("" if settings.keep_payload else f"-{uuid.uuid4().hex[:8]}")
    place = (settings.bucket, key)
    seconds = batch.execution_timeout + _NODE_MARGIN
    if settings.may_reboot:
        seconds += _REBOOT_GRACE + settings.reboot_timeout
    if seconds > _LONGEST_WORK:
        raise ValueError(f"execution_timeout: with reboot_timeout at most {_LONGEST_WORK:,} seconds, not {seconds:,}")
    with _batch.begun(batch, len(nodes), module.name) as begun:
        script = _scripts(sessions, module, place, digest, begun.token, batch, settings)
        if len(script()) > _LARGEST_SCRIPT:
            raise ValueError(f"presign: {len(module.objects)} URLs are too long for one command; use fewer objects")
        left = {} if settings.keep_payload else {"bucket": settings.bucket, "key": key}
        begun.journal.write("started", {"token": begun.token, "work": module.name, **left})
        with payload_service.stored(sessions, place, module.payload, settings.keep_payload) as ready:
            command = run_command.Command(
                document="AWS-RunShellScript",
                parameters=lambda: {"commands": script().splitlines(), "executionTimeout": [str(seconds)]},
                token=begun.token,
                delivery_timeout=batch.delivery_timeout,
                execution_timeout=seconds,
                charged=lambda reply: _batch.charged(result(reply)),
                idempotent=batch.idempotent,
                ready=ready,
            )
            journal = begun.journal
            replies = run_command.fan_out(sessions, nodes, command, begun.control, journal.write, journal.earlier)
        payload_service.delete(sessions, begun.journal.leftovers)
    return {host: result(reply) for host, reply in replies.items()}


def _scripts(
    sessions: Sessions,
    module: Module,
    place: tuple[str, str],
    digest: str,
    token: str,
    batch: _batch.Settings,
    settings: Settings,
) -> t.Callable[[], str]:
    """Return what makes the script of each sending: a node that waits long for its place gets URLs as fresh as any."""
    sign = payload_service.signer(sessions)
    late = moments.seconds(settings.latest_start) if settings.latest_start else None
    config: dict[str, t.Any] = {"sha256": digest, "timeout": batch.execution_timeout, "latest_start": late}
    if settings.may_reboot:
        # The same work finds its state on the node again, also when it was sent a second time.
        config["reboot"] = hashlib.sha256(f"{token} {digest}".encode()).hexdigest()

    def script() -> str:
        life = min(batch.delivery_timeout + batch.execution_timeout, _LONGEST_URL)
        objects = {url: sign(*where, life) for url, where in module.objects.items()}
        url = sign(*place, min(batch.delivery_timeout + _URL_MARGIN, _LONGEST_URL))
        return _wire.script({**config, "url": url, "objects": objects})

    return script


def result(reply: run_command.Reply) -> dict[str, t.Any]:
    """Turn a node's reply into an ordinary module result."""
    if reply.outcome:
        return ended(reply.outcome, reply.reason, reply.msg, reply.command_id)
    found = _wire.decode(reply.output)
    if reply.command_id:
        found["command_id"] = reply.command_id
    return found
