# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Systems Manager: one function per call."""

from __future__ import annotations

import datetime
import typing as t

from .errors import handled


@handled("describe instance properties")
def describe_instance_properties(ssm: t.Any) -> list[dict[str, t.Any]]:
    """Return every managed node, EC2 and hybrid, without tags (1,000 a page)."""
    return _all(ssm, "describe_instance_properties", "InstanceProperties", 1000)


@handled("describe instance information")
def describe_instance_information(ssm: t.Any) -> list[dict[str, t.Any]]:
    """Return every managed node that is not stopped, EC2 and hybrid, without tags (50 a page)."""
    return _all(ssm, "describe_instance_information", "InstanceInformationList", 50)


@handled("get the tags of managed instances")
def managed_instance_tags(tagging: t.Any) -> dict[str, dict[str, str]]:
    """Return the tags of hybrid nodes by node id (100 a page); nodes that never had a tag are absent."""
    pages = tagging.get_paginator("get_resources").paginate(
        ResourceTypeFilters=["ssm:managed-instance"], PaginationConfig={"PageSize": 100}
    )
    return {
        item["ResourceARN"].rpartition("/")[2]: {tag["Key"]: tag["Value"] for tag in item["Tags"]}
        for page in pages
        for item in page["ResourceTagMappingList"]
    }


@handled("send a command")
def send_command(ssm: t.Any, **request: t.Any) -> dict[str, t.Any]:
    """Send a command and return it. There is no idempotency token: calling again may run it twice."""
    return dict(ssm.send_command(**request)["Command"])


@handled("cancel a command")
def cancel_command(ssm: t.Any, command_id: str, nodes: list[str]) -> None:
    """Ask that the command not begin on these at most 50 nodes; AWS promises nothing."""
    ssm.cancel_command(CommandId=command_id, InstanceIds=nodes)


@handled("list commands")
def list_commands(ssm: t.Any, since: datetime.datetime, executing: bool = False) -> list[dict[str, t.Any]]:
    """Return the commands sent after a time, with their live counts (50 a page); executing: not the complete ones."""
    filters = [_invoked_after(since)]
    if executing:
        filters.append({"key": "ExecutionStage", "value": "Executing"})
    return _all(ssm, "list_commands", "Commands", 50, Filters=filters)


@handled("list a command")
def list_command(ssm: t.Any, command_id: str) -> dict[str, t.Any]:
    """Return one command, or an empty mapping where it is not listed yet."""
    return dict(next(iter(ssm.list_commands(CommandId=command_id)["Commands"]), {}))


@handled("list command invocations")
def list_command_invocations(ssm: t.Any, command_id: str) -> list[dict[str, t.Any]]:
    """Return every invocation of a command with its output, cut at 2,500 characters (50 a page)."""
    return _all(ssm, "list_command_invocations", "CommandInvocations", 50, CommandId=command_id, Details=True)


@handled("list command invocations")
def list_command_invocations_after(ssm: t.Any, since: datetime.datetime, document: str) -> list[dict[str, t.Any]]:
    """Return every invocation of every command sent after a time, of one document unless that is empty."""
    filters = [_invoked_after(since)] + ([{"key": "DocumentName", "value": document}] if document else [])
    return _all(ssm, "list_command_invocations", "CommandInvocations", 50, Filters=filters, Details=True)


def _invoked_after(since: datetime.datetime) -> dict[str, str]:
    return {"key": "InvokedAfter", "value": since.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _all(client: t.Any, operation: str, key: str, page_size: int, **request: t.Any) -> list[dict[str, t.Any]]:
    pages = client.get_paginator(operation).paginate(**request, PaginationConfig={"PageSize": page_size})
    return [item for page in pages for item in page[key]]


@handled("get a command invocation")
def get_command_invocation(ssm: t.Any, command_id: str, node: str, step: str = "") -> dict[str, t.Any]:
    """Return one node's invocation with up to 24,000 characters of output: one call a node, for cut output only.

    `step` is required where the document has several.
    """
    named = {"PluginName": step} if step else {}
    return dict(ssm.get_command_invocation(CommandId=command_id, InstanceId=node, **named))


@handled("read the document")
def document_content(ssm: t.Any, name: str, version: str = "") -> str:
    """Return a document's text as JSON."""
    versioned = {"DocumentVersion": version} if version else {}
    return str(ssm.get_document(Name=name, DocumentFormat="JSON", **versioned)["Content"])


@handled("describe the document")
def describe_document(ssm: t.Any, name: str, version: str = "") -> dict[str, t.Any]:
    """Return what Systems Manager knows of a document: Status, PlatformTypes, Parameters."""
    versioned = {"DocumentVersion": version} if version else {}
    return dict(ssm.describe_document(Name=name, **versioned)["Document"])
