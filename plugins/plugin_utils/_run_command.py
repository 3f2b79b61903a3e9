# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Send a document to every node of a batch and give each node its own result."""

from __future__ import annotations

import hashlib
import json
import types
import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult, whole
from ansible_collections.patchwave.aws.plugins.module_utils._service import documents, run_command, stop_marks
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Sessions

from . import _batch
from ._batch import ended

#: What AWS's documents are known to leave as it is: a parameter and its value.
_READS_ONLY = {"AWS-RunPatchBaseline": ("Operation", "Scan")}
#: Ends after which the document has certainly begun.
_BEGUN = ("Success", "Failed", "ExecutionTimedOut")
#: Characters of a failed node's output that its message shows.
_TAIL = 300


class Document(t.NamedTuple):
    """What is sent; see the documentation of run_command. `request` is what else SendCommand takes."""

    name: str
    version: str
    parameters: dict[str, list[str]]
    request: dict[str, str]

    @classmethod
    def of(cls, options: t.Mapping[str, t.Any]) -> Document:
        """Take the document out of a task's options.

        Raises:
            ValueError: one of them cannot be; one line that names it.
        """
        named = {
            "DocumentVersion": options["document_version"],
            "DocumentHash": options["document_hash"],
            "DocumentHashType": "Sha256" if options["document_hash"] else None,
            "OutputS3BucketName": options["output_bucket"],
            "OutputS3KeyPrefix": options["output_prefix"],
        }
        request = {name: str(value) for name, value in named.items() if value}
        version, parameters = options["document_version"] or "", documents.texts(options["parameters"])
        if not "".join(parameters.get("executionTimeout", ["0"])).isdigit():
            raise ValueError("parameters: executionTimeout must be a number of seconds")
        return cls(options["document"], version, parameters, request)

    @property
    def work(self) -> str:
        """What it does, in a word that says nothing of the parameters."""
        parameters = json.dumps(self.parameters, sort_keys=True).encode()
        return f"{self.name} with parameters {hashlib.sha256(parameters).hexdigest()[:8]}"

    @property
    def changes(self) -> bool:
        """Whether it may change something: nobody knows what a document does, but for a few."""
        name, value = _READS_ONLY.get(self.name.rpartition("/")[2], ("", ""))
        return self.parameters.get(name) != [value]


class Work(t.NamedTuple):
    """A document, the nodes to which it is sent, and how."""

    document: Document
    nodes: list[run_command.Target]
    settings: _batch.Settings


def send(
    sessions: Sessions,
    works: t.Sequence[Work],
    limits: _batch.Limits,
    check_mode: bool,
    places: t.Sequence[stop_marks.Place] = (),
    refused: t.Mapping[str, t.Mapping[str, t.Any]] = types.MappingProxyType({}),
) -> _batch.Done:
    """Send each work's document to its nodes, in one pass; in check mode say what would be sent.

    Args:
        sessions: makes the clients.
        works: what is sent where; no host and no node is in two of them.
        limits: those of the whole batch.
        check_mode: whether nothing is sent.
        places: where a mark may lie that stops the rollout from outside.
        refused: results of hosts that are not sent to at all, as targets() returns them.

    Raises:
        AwsError: there is no such document; nothing was sent.
        JournalError: the journal cannot be had; nothing was sent.
        OwnerGone: who started it is gone; what was sent goes on.
        ValueError: the parameters do not fit the document; nothing was sent.
    """
    wanted = [
        documents.Wanted(work.nodes, work.document.name, work.document.version, work.document.parameters)
        for work in works
    ]
    looks = documents.look(sessions, wanted, thoroughly=check_mode)
    if check_mode:
        return _batch.Done({**{host: dict(one) for host, one in refused.items()}, **_would(works, looks)}, [])
    name = ", ".join(sorted({work.document.work for work in works}))
    marks = stop_marks.Watch(sessions, places, limits.name, stop_marks.FRESH_WITHOUT_PAYLOAD)
    with _batch.begun(limits, sum(len(work.nodes) for work in works), name, refused, marks) as begun:
        journal, results = begun.journal, begun.start()
        # What an earlier run has sent is taken up, wherever the node is now.
        sent = {host for sending in journal.earlier for host in sending.hosts}
        sendings = []
        for work, found in zip(works, looks, strict=True):
            command = _command(work, found, begun.mark, results)
            impossible = {host: reply for host, reply in found.refused.items() if host not in sent}
            for host, reply in impossible.items():
                command.ended(host, reply)
            sendings.append((command, [node for node in work.nodes if node.host not in impossible]))
        run_command.fan_out(sessions, sendings, begun.control, journal.write, journal.earlier, marks.begin)
        warnings = _batch.clean_up(sessions, journal)
    return _batch.Done(results.all, warnings)


def _would(works: t.Sequence[Work], looks: list[documents.Found]) -> dict[str, dict[str, t.Any]]:
    """Return what each host's result would be made of: that it would get its document, or why not."""
    results: dict[str, dict[str, t.Any]] = {}
    for work, found in zip(works, looks, strict=True):
        results.update({host: result(reply, work.document) for host, reply in found.refused.items()})
        would = {"changed": work.document.changes, "msg": f"would send {work.document.name}"}
        results.update({node.host: dict(would) for node in found.ready})
    return results


def _command(work: Work, found: documents.Found, mark: str, results: _batch.Results) -> run_command.Command:
    parameters, seconds = dict(work.document.parameters), work.settings.execution_timeout
    if "executionTimeout" in found.parameters:
        seconds = int("".join(parameters.setdefault("executionTimeout", [str(seconds)])))

    def ended(host: str, reply: run_command.Reply) -> bool:
        made = result(reply, work.document)
        if reply.outcome:
            known = NodeResult.concluded(reply.outcome, reply.reason, reply.msg, reply.command_id)
        else:
            known = NodeResult.said(made, reply.command_id, strict=False)
        return results.take(host, made, known)

    return run_command.Command(
        document=work.document.name,
        parameters=lambda: parameters,
        token=mark,
        delivery_timeout=work.settings.delivery_timeout,
        execution_timeout=seconds,
        ended=ended,
        idempotent=work.settings.idempotent,
        request=work.document.request,
        stop_at=_batch.stop_time(work.settings.stop_at),
    )


def result(reply: run_command.Reply, document: Document) -> dict[str, t.Any]:
    """Turn a node's reply into a result."""
    found: dict[str, t.Any] = {"changed": reply.status in _BEGUN and document.changes}
    if reply.outcome:
        found.update(ended(reply.outcome, reply.reason, reply.msg, reply.command_id))
    else:
        found.update(command_id=reply.command_id)
    if reply.status:
        found["status"] = reply.status
    if reply.steps:
        outputs = [whole(step.output).partition(run_command.ERROR_TITLE) for step in reply.steps]
        found["rc"] = next((step.code for step in reply.steps if step.code), 0)
        found["stdout"] = "".join(stdout for stdout, dummy, dummy in outputs)
        found["stderr"] = "".join(stderr for dummy, dummy, stderr in outputs)
    if len(reply.steps) > 1:
        found["steps"] = [{**step._asdict(), "output": whole(step.output)} for step in reply.steps]
    if not reply.outcome and reply.status != "Success":
        tail = " ".join((found.get("stderr") or found.get("stdout") or "").split())[-_TAIL:]
        found.update(failed=True, msg=f"{document.name} ended {reply.status}, exit code {found.get('rc', -1)}: {tail}")
    return found
