"""What DescribeInstanceInformation and DescribeInstanceProperties both say of a node, and how both filter."""

from collections.abc import Callable, Sequence
from typing import Any

from patchwave_lab.clock import Clock
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call
from patchwave_lab.world import AGENT_VERSION, ManagedNode

#: The agent reports every 5 minutes, so the last ping of a healthy node is up to this old, in seconds.
HEARTBEAT = 300


def describe(call: Call, node: ManagedNode) -> dict[str, Any]:
    """The members that both operations share."""
    world, now = call.world, call.world.clock.now()
    since = world.silent_since(node)
    heard = now if since is None else since
    if heard > node.registered:
        heard -= (heard - node.registered) % HEARTBEAT
    healthy = since is None or now - since < world.settings.connection_lost_seconds
    healthy = healthy or world.faults.find("stale-ping", node.place) is not None
    return {
        "InstanceId": node.node_id,
        "PingStatus": "Online" if healthy else "ConnectionLost",
        "LastPingDateTime": Clock.moment(heard),
        "AgentVersion": AGENT_VERSION,
        "PlatformType": node.platform.type,
        "PlatformName": node.platform.name,
        "PlatformVersion": node.platform.version,
        "ResourceType": "ManagedInstance" if node.hybrid else "EC2Instance",
        "IPAddress": str(node.instance.private_ip) if node.instance is not None else _address(node.node_id),
        "ComputerName": node.name,
        "SourceId": node.node_id,
        "SourceType": "AWS::SSM::ManagedInstance" if node.hybrid else "AWS::EC2::Instance",
        **(_registration(node) if node.hybrid else {}),
    }


def _address(node_id: str) -> str:
    """An address as a hybrid server has it in its own network."""
    return f"192.168.{int(node_id[-4:-2], 16)}.{int(node_id[-2:], 16) % 254 + 1}"


def _registration(node: ManagedNode) -> dict[str, Any]:
    return {
        "ActivationId": node.activation,
        "IamRole": node.role,
        "RegistrationDate": Clock.moment(node.registered),
        "Name": node.name if node.label is None else node.label,
    }


Filter = tuple[str, Sequence[str]]
MEMBERS = {
    "InstanceIds": "InstanceId",
    "AgentVersion": "AgentVersion",
    "PingStatus": "PingStatus",
    "PlatformTypes": "PlatformType",
    "ActivationIds": "ActivationId",
    "IamRole": "IamRole",
    "ResourceType": "ResourceType",
    "SourceIds": "SourceId",
    "SourceTypes": "SourceType",
}


def check(call: Call, key: str, values: Sequence[str]) -> Callable[[ManagedNode], bool]:
    """A test for one filter; InvalidInstanceId for an unknown id, InvalidFilterKey for an unknown key."""
    if key == "InstanceIds" and (
        unknown := [each for each in values if call.world.node(call.account, call.region, each) is None]
    ):
        raise error(
            "InvalidInstanceId", f"Instances [[{', '.join(unknown)}]] not in a valid state for account {call.account}"
        )
    if key in MEMBERS:
        return lambda node: describe(call, node).get(MEMBERS[key]) in values
    if key == "tag-key":
        return lambda node: bool(set(values) & set(call.world.tags(node)))
    if key.startswith("tag:"):
        return lambda node: call.world.tags(node).get(key.removeprefix("tag:")) in values
    raise error("InvalidFilterKey", f"The lab has no filter {key}.")
