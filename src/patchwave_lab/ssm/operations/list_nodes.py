"""ListNodes (aws.md 3): managed and unmanaged instances, 50 a page; with SyncName of all accounts and regions."""

from dataclasses import replace
from typing import Any

from moto.ec2.models import ec2_backends

from patchwave_lab.clock import Clock
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation, paged
from patchwave_lab.ssm.operations._nodes import describe

#: Made by the unified console, with which it is switched on; it covers the organization.
SYNC = "AWS-QuickSetup-ManagedNode"
#: Filter keys and the member of NodeType.Instance that each looks at.
KEYS = {
    "AgentVersion": "AgentVersion",
    "ComputerName": "ComputerName",
    "InstanceId": "Id",
    "InstanceStatus": "InstanceStatus",
    "IpAddress": "IpAddress",
    "ManagedStatus": "ManagedStatus",
    "PlatformName": "PlatformName",
    "PlatformType": "PlatformType",
    "PlatformVersion": "PlatformVersion",
    "ResourceType": "ResourceType",
}


@operation("ListNodes")
def list_nodes(call: Call) -> dict[str, Any]:
    """Nodes of this account and region."""
    places = [call]
    if call.params.get("SyncName"):
        if call.world.settings.unified_console == "absent" or call.params["SyncName"] != SYNC:
            raise error("ResourceDataSyncNotFoundException", "The specified sync name wasn't found.")
        scenario = call.world.scenario
        places = [replace(call, account=a, region=r) for a in scenario.accounts for r in scenario.regions]
    found = [node for place in places for node in _of(place)]
    for each in call.params.get("Filters", []):
        if each["Key"] not in KEYS:
            raise error("InvalidFilter", f"The lab has no filter {each['Key']}.")
        wanted = each.get("Type", "Equal") != "NotEqual"
        found = [node for node in found if (_shown(node).get(KEYS[each["Key"]], "") in each["Values"]) == wanted]
    return paged("Nodes", found, call.params, 50)


def _of(call: Call) -> list[dict[str, Any]]:
    return [_managed(call, node_id) for node_id in call.nodes] + _unmanaged(call)


def _shown(node: dict[str, Any]) -> dict[str, Any]:
    return {"Id": node["Id"], **node["NodeType"]["Instance"]}


def _managed(call: Call, node_id: str) -> dict[str, Any]:
    shown = describe(call, call.nodes[node_id])
    copied = ("AgentVersion", "ComputerName", "PlatformType", "PlatformName", "PlatformVersion", "ResourceType")
    instance = {key: shown[key] for key in copied}
    instance |= {
        "AgentType": "amazon-ssm-agent",
        "InstanceStatus": shown["PingStatus"],
        "IpAddress": shown["IPAddress"],
        "ManagedStatus": "Managed",
    }
    return _node(call, node_id, instance)


def _unmanaged(call: Call) -> list[dict[str, Any]]:
    """Running instances that never registered."""
    instances = ec2_backends[call.account][call.region].all_running_instances()
    unknown = [each for each in instances if each.id not in call.nodes]
    return [_node(call, each.id, {"ManagedStatus": "Unmanaged", "ResourceType": "EC2Instance"}) for each in unknown]


def _node(call: Call, node_id: str, instance: dict[str, Any]) -> dict[str, Any]:
    return {
        "CaptureTime": Clock.moment(call.world.clock.now()),
        "Id": node_id,
        "Owner": {"AccountId": call.account},
        "Region": call.region,
        "NodeType": {"Instance": instance},
    }
