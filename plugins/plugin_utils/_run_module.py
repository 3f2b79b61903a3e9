# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Ship one module's payload to every node of a batch and give each node its own result."""

from __future__ import annotations

import hashlib
import types
import typing as t
import uuid

from ansible_collections.patchwave.aws.plugins.module_utils._core import moments, outcomes, run_names
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult
from ansible_collections.patchwave.aws.plugins.module_utils._service import payload as payload_service
from ansible_collections.patchwave.aws.plugins.module_utils._service import run_command, stop_marks
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
#: The module that always says an outcome.
SPEAKS = "patchwave.aws.software_patch"
#: What a batch stores beside a payload that others use as well.
_PERMIT = b"patchwave\n"
#: What a script may have: a document and its parameters 64 KB (MaxDocumentSizeExceeded), less what is not the script.
_LARGEST_SCRIPT = 60_000


class Settings(t.NamedTuple):
    """The options that each work has of its own; see the documentation of run_module."""

    bucket: str
    bucket_owner: str | None
    prefix: str
    keep_payload: bool
    reboot: str
    reboot_timeout: int
    latest_start: str | None
    delivery_timeout: int
    execution_timeout: int
    idempotent: bool
    stop_at: str | None

    @classmethod
    def of(cls, options: t.Mapping[str, t.Any]) -> Settings:
        """Take the settings out of a task's options.

        Raises:
            ValueError: one of them cannot be; one line that names it.
        """
        _batch.Settings.of(options)
        settings = cls(**{name: options[name] for name in cls._fields})
        if not _batch.place(options):
            raise ValueError(f"bucket: must be the name of a bucket, not '{settings.bucket}'")
        if settings.latest_start is not None and not moments.is_moment(settings.latest_start):
            wanted = "a moment with its zone, such as 2026-11-22T04:00:00Z"
            raise ValueError(f"latest_start: must be {wanted}, not '{settings.latest_start}'")
        if settings.reboot_timeout < 1:
            raise ValueError(f"reboot_timeout: must be 1 second or more, not {settings.reboot_timeout}")
        if settings.seconds > _LONGEST_WORK:
            most = f"with reboot_timeout at most {_LONGEST_WORK:,} seconds"
            raise ValueError(f"execution_timeout: {most}, not {settings.seconds:,}")
        return settings

    @property
    def seconds(self) -> int:
        """Seconds in which the script must end on the node."""
        reboot = _REBOOT_GRACE + self.reboot_timeout if self.may_reboot else 0
        return self.execution_timeout + _NODE_MARGIN + reboot

    @property
    def may_reboot(self) -> bool:
        """Whether a node may reboot."""
        return self.reboot == "if_required"


class Module(t.NamedTuple):
    """What is shipped: the module's name, the program with its arguments, and the S3 objects that it reads, by URL."""

    name: str
    payload: bytes
    objects: dict[str, tuple[str, str]]


class Work(t.NamedTuple):
    """A module, the nodes on which it runs, and how.

    `interpreter` is the Python that runs it; empty: the node's own. `environment` has the module's variables by name.
    They may be secrets, so they travel in the payload.
    """

    module: Module
    nodes: list[run_command.Target]
    settings: Settings
    interpreter: str = ""
    environment: t.Mapping[str, str] = types.MappingProxyType({})


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
    sessions: Sessions,
    works: t.Sequence[Work],
    limits: _batch.Limits,
    refused: t.Mapping[str, t.Mapping[str, t.Any]] = types.MappingProxyType({}),
) -> _batch.Done:
    """Run each work's module on its nodes, in one pass under one set of limits.

    Args:
        sessions: makes the clients.
        works: what is run where; no host and no node is in two of them.
        limits: those of the whole batch.
        refused: results of hosts that are not sent to at all, as targets() returns them.

    Raises:
        AwsError: a payload could not be stored; nothing was sent.
        JournalError: the journal cannot be had; nothing was sent.
        OwnerGone: who started it is gone; what was sent goes on.
        ValueError: no command can be so large, or an interpreter or environment cannot be; nothing was sent.
    """
    shipments = [_Shipment.of(work, limits.name) for work in works]
    payloads = {shipment.identity: shipment for shipment in shipments}
    objects = list(dict.fromkeys(one for each in payloads.values() for one in (each.payload, each.permit)))
    passing = [one[:2] for one in objects if not one.keep]
    name = ", ".join(sorted({work.module.name for work in works}))
    marks = stop_marks.Watch(sessions, [one.place for one in shipments], limits.name)
    with _batch.begun(limits, sum(len(work.nodes) for work in works), name, refused, marks) as begun:
        sign = payload_service.signer(sessions)
        scripts = [_script(sign, payloads[one.identity]._replace(work=one.work), begun.token) for one in shipments]
        journal, results = begun.journal, begun.start(passing)
        marks.stored = [(one.bucket, one.key, one.owner) for one in objects if not one.keep]
        commands = [
            _command(shipment.work, script, begun.mark, results, marks.doubt)
            for shipment, script in zip(shipments, scripts, strict=True)
        ]
        sendings = [(command, work.nodes) for command, work in zip(commands, works, strict=True)]
        with payload_service.stored(sessions, objects, marks.begin) as ready:
            run_command.fan_out(sessions, sendings, begun.control, journal.write, journal.earlier, ready)
            marks.stopped()
        warnings = _batch.clean_up(sessions, journal, passing, payload_service.owners(objects))
    return _batch.Done(results.all, warnings)


class _Shipment(t.NamedTuple):
    """A work with its payload; works of one identity share it."""

    work: Work
    payload: payload_service.Payload
    permit: payload_service.Payload
    digest: str

    @classmethod
    def of(cls, work: Work, rollout: str) -> _Shipment:
        if work.interpreter and not (work.interpreter.isprintable() and work.interpreter.strip("-. ")):
            raise ValueError(f"interpreter: must be the path or name of a Python, not {work.interpreter!r}")
        content = work.module.payload + _wire.environment(work.environment)
        digest = hashlib.sha256(content).hexdigest()
        settings = work.settings
        # What this batch alone needs, and what goes when it ends or is stopped: no node begins without it. Mostly it is
        # the payload itself. One that is kept is there for other batches as well.
        own = f"{run_names.folder(settings.prefix, rollout)}{digest}-{uuid.uuid4().hex[:8]}"
        bucket, owner, keep = settings.bucket, settings.bucket_owner, settings.keep_payload
        key = f"{run_names.kept(settings.prefix)}{digest}" if keep else own
        stored = payload_service.Payload(bucket, key, content, keep, owner)
        permit = payload_service.Payload(bucket, own, _PERMIT, False, owner) if keep else stored
        return cls(work, stored, permit, digest)

    @property
    def place(self) -> stop_marks.Place:
        """Where the rollout's objects lie."""
        settings = self.work.settings
        return stop_marks.Place(settings.bucket, settings.prefix, settings.bucket_owner)

    @property
    def identity(self) -> tuple[str | bool | None, ...]:
        settings = self.work.settings
        return settings.bucket, settings.bucket_owner, settings.prefix, settings.keep_payload, self.digest


def _script(sign: payload_service.Sign, shipment: _Shipment, token: str) -> t.Callable[[], str]:
    """Return what makes the script of each sending: a node that waits long for its slot gets URLs as fresh as any.

    Raises:
        ValueError: it is too long for a command.
    """
    work, payload, permit = shipment.work, shipment.payload, shipment.permit
    settings = work.settings
    late = moments.seconds(settings.latest_start) if settings.latest_start else None
    config: dict[str, t.Any] = {
        "sha256": shipment.digest,
        "size": len(payload.content),
        "owner": payload.owner,
        "timeout": settings.execution_timeout,
        "latest_start": late,
        "environment": bool(work.environment),
    }
    if settings.may_reboot:
        # The same work finds its state on the node again, also when it was sent a second time.
        config["reboot"] = hashlib.sha256(f"{token} {shipment.digest}".encode()).hexdigest()

    def script() -> str:
        life = min(settings.delivery_timeout + settings.execution_timeout, _LONGEST_URL)
        objects = {url: sign(*where, life) for url, where in work.module.objects.items()}
        soon = min(settings.delivery_timeout + _URL_MARGIN, _LONGEST_URL)
        urls = {"url": sign(*payload[:2], soon, payload.owner)}
        if permit is not payload:
            urls["permit"] = sign(*permit[:2], soon, permit.owner)
        return _wire.script({**config, **urls, "objects": objects}, work.interpreter)

    if len(script()) > _LARGEST_SCRIPT:
        count = len(work.module.objects)
        raise ValueError(f"presign: {count} URLs are too long for one command; use fewer objects")
    return script


def _command(
    work: Work, script: t.Callable[[], str], mark: str, results: _batch.Results, doubt: t.Callable[[], None]
) -> run_command.Command:
    settings = work.settings

    def ended(host: str, reply: run_command.Reply) -> bool:
        found, known = result(reply, strict=work.module.name == SPEAKS)
        if known.reason in _wire.NO_PAYLOAD:
            doubt()
        return results.take(host, found, known)

    return run_command.Command(
        document="AWS-RunShellScript",
        parameters=lambda: {"commands": script().splitlines(), "executionTimeout": [str(settings.seconds)]},
        token=mark,
        delivery_timeout=settings.delivery_timeout,
        execution_timeout=settings.seconds,
        ended=ended,
        idempotent=settings.idempotent,
        stop_at=_batch.stop_time(settings.stop_at),
    )


def result(reply: run_command.Reply, strict: bool = True) -> tuple[dict[str, t.Any], NodeResult]:
    """Turn a node's reply into an ordinary module result, and into what is known of it everywhere else."""
    if reply.outcome:
        known = NodeResult.concluded(reply.outcome, reply.reason, reply.msg, reply.command_id)
        return ended(reply.outcome, reply.reason, reply.msg, reply.command_id), known
    found = _unstarted(reply) or _wire.decode(reply.output)
    if found.get("unreachable"):  # only the launcher says that, of its module
        known = NodeResult.not_begun(found, reply.command_id)
    else:
        known = NodeResult.said(found, reply.command_id, strict)
        found = spoken(found, known) if strict else found
    if reply.command_id:
        found["command_id"] = reply.command_id
    return found, known


def spoken(result: dict[str, t.Any], known: NodeResult) -> dict[str, t.Any]:
    """Return the result of a module that always says an outcome: a failure unless the node is right by that word."""
    failed = known.outcome not in (*outcomes.RIGHT, outcomes.REBOOT_PENDING)
    rest = {key: value for key, value in result.items() if key != "skipped"}
    return {**rest, "outcome": known.outcome, "failed": failed}


def _unstarted(reply: run_command.Reply) -> dict[str, t.Any] | None:
    """Return the result of a node whose agent could not start the script, which itself always says something."""
    if reply.status != "Failed" or len(reply.steps) != 1:
        return None
    code, output = reply.steps[0].code, reply.output.strip()
    if code == 1 and not output:
        return _wire.not_begun("script_not_started", "the agent could not start the script; is /var full on the node?")
    if code == 126 and "_script.sh" in output and "Permission denied" in output:
        msg = "the agent may not run scripts; /var/lib/amazon/ssm is mounted noexec on the node"
        return _wire.not_begun("script_not_started", msg)
    return None
