"""SendCommand (SendCommand API reference; aws.md 1.1 to 1.6)."""

import uuid
from math import ceil
from typing import Any

from patchwave_lab.ssm import own_documents, resource_groups
from patchwave_lab.ssm.commands import TERMINAL, Command, Invocation, Result
from patchwave_lab.ssm.documents import Document, find
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation
from patchwave_lab.world import ManagedNode


@operation("SendCommand")
def send_command(call: Call) -> dict[str, Any]:
    """Take a command; it runs later. The response has no counts yet."""
    params = call.params
    name, version = params["DocumentName"].rpartition("/")[2], params.get("DocumentVersion", "$DEFAULT")
    document = find(name, version) or own_documents.read(call.account, call.region, name, version)
    values = document.values(params.get("Parameters", {}))
    document.check_size(values)
    nodes = _explicit(call, document.platforms) if params.get("InstanceIds") else _targeted(call)
    quota = call.world.settings.pending_quota
    exceeded = quota is not None and call.engine.pending(call.account, call.region) + len(nodes) > quota
    command = Command(
        rate_exceeded=exceeded,
        command_id=str(uuid.uuid4()),
        account=call.account,
        region=call.region,
        request=params,
        document=document,
        values=values,
        requested=call.world.clock.now(),
        invocations={node.node_id: _invocation(call, document, node) for node in nodes if not exceeded},
        cap=max(1, _share(call, params.get("MaxConcurrency", "50"), len(nodes))),
        allowed_errors=_share(call, params.get("MaxErrors", "0"), len(nodes)),
    )
    call.engine.submit(command)
    return {"Command": command.describe(counts=False)}


def _invocation(call: Call, document: Document, node: ManagedNode) -> Invocation:
    settings = call.world.settings
    coarse = {
        **TERMINAL,
        "Terminated": settings.terminated_status,
        "InvalidPlatform": settings.invalid_platform_status,
        "AccessDenied": settings.access_denied_status,
    }
    results = [Result(step) for step in document.steps]
    return Invocation(node, call.world.tags(node).get("Name", ""), results, coarse)


def _share(call: Call, text: str, total: int) -> int:
    """A number, or a percentage of `total`; how AWS rounds is not documented: a setting."""
    if not text.endswith("%"):
        return int(text)
    exact = int(text[:-1]) * total / 100
    return ceil(exact) if call.world.settings.percent_rounding == "up" else int(exact)


def _explicit(call: Call, platforms: Any) -> list[ManagedNode]:
    ids = call.params["InstanceIds"]
    if call.params.get("Targets"):
        raise error("ValidationException", "InstanceIds and Targets cannot be specified together.")
    if len(set(ids)) != len(ids):
        raise error("DuplicateInstanceId", "")
    nodes = _known(call, ids)
    if any(node.platform.type not in platforms for node in nodes):
        raise error("UnsupportedPlatformType", "The document does not support the platform of an instance.")
    return nodes


def _known(call: Call, ids: list[str]) -> list[ManagedNode]:
    # Looked up one by one: to list all nodes of a big fleet would cost more than the command.
    nodes = {each: call.world.node(call.account, call.region, each) for each in ids}
    refused = "stopped" if call.world.settings.stopped_nodes == "refused" else "-"
    if unknown := [each for each, node in nodes.items() if node is None or node.state == refused]:
        listed = ", ".join(unknown)
        raise error("InvalidInstanceId", f"Instances [[{listed}]] not in a valid state for account {call.account}")
    return [node for node in nodes.values() if node]


def _targeted(call: Call) -> list[ManagedNode]:
    targets = call.params.get("Targets", [])
    if not targets:
        raise error("ValidationException", "Either InstanceIds or Targets must be specified.")
    chosen = [{node.node_id: node for node in _matching(call, target)} for target in targets]
    return [node for key, node in chosen[0].items() if all(key in other for other in chosen)]


def _matching(call: Call, target: dict[str, Any]) -> list[ManagedNode]:
    """Nodes that one target names; several targets must all be met."""
    key, values = target.get("Key", ""), target.get("Values", [])
    if key.lower() == "instanceids":
        return _known(call, values)
    nodes = call.nodes.values()
    if key.startswith("tag:"):
        return [node for node in nodes if call.world.tags(node).get(key.removeprefix("tag:")) in values]
    if key == "tag-key":
        return [node for node in nodes if set(values) & set(call.world.tags(node))]
    if key == "resource-groups:Name":
        return resource_groups.by_name(call.world, call.account, call.region, values)
    if key == "resource-groups:ResourceTypeFilters":
        return resource_groups.by_type(call.world, call.account, call.region, values)
    raise error("InvalidTarget", f"The lab has no targets with the key {key}.")
