"""SendCommand (SendCommand API reference; aws.md 1.1 to 1.6)."""

import uuid
from typing import Any

from patchwave_lab.ssm.commands import Command, Invocation
from patchwave_lab.ssm.documents import find
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation
from patchwave_lab.world import ManagedNode


@operation("SendCommand")
def send_command(call: Call) -> dict[str, Any]:
    """Take a command; it runs later. The response has no counts yet."""
    params = call.params
    document = find(params["DocumentName"].rpartition("/")[2], params.get("DocumentVersion", "$DEFAULT"))
    values = document.values(params.get("Parameters", {}))
    nodes = _explicit(call, document.platforms) if params.get("InstanceIds") else _targeted(call)
    command = Command(
        command_id=str(uuid.uuid4()),
        account=call.account,
        region=call.region,
        request=params,
        document=document,
        values=values,
        requested=call.world.clock.now(),
        invocations={node.node_id: Invocation(node, call.world.tags(node).get("Name", "")) for node in nodes},
        cap=max(1, _share(params.get("MaxConcurrency", "50"), len(nodes))),
        allowed_errors=_share(params.get("MaxErrors", "0"), len(nodes)),
    )
    call.engine.submit(command)
    return {"Command": command.describe(counts=False)}


def _share(text: str, total: int) -> int:
    """A number, or a percentage of `total`; how AWS rounds is not documented, the lab rounds down."""
    return int(text[:-1]) * total // 100 if text.endswith("%") else int(text)


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
    if unknown := [each for each, node in nodes.items() if node is None]:
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
    raise error("InvalidTarget", f"The lab has no targets with the key {key}.")
