"""GetInventory (aws.md 3): AWS:InstanceInformation of all nodes; 50 a page, at most 5 filters of at most 40 values."""

from typing import Any

from patchwave_lab.clock import Clock
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation, paged
from patchwave_lab.ssm.operations._nodes import describe
from patchwave_lab.world import ManagedNode

TYPE = "AWS:InstanceInformation"


@operation("GetInventory")
def get_inventory(call: Call) -> dict[str, Any]:
    """What is known of each node; stopped instances are among them."""
    for each in call.params.get("ResultAttributes", []):
        if each["TypeName"] != TYPE:
            raise error("InvalidTypeNameException", f"The lab has no inventory of the type {each['TypeName']}.")
    found = [_entity(call, node) for node in call.nodes.values()]
    for each in call.params.get("Filters", []):
        attribute = each["Key"].removeprefix(f"{TYPE}.")
        wanted = each.get("Type", "Equal") != "NotEqual"
        found = [
            entity
            for entity in found
            if (entity["Data"][TYPE]["Content"][0].get(attribute) in each["Values"]) == wanted
        ]
    return paged("Entities", found, call.params, 50)


def _entity(call: Call, node: ManagedNode) -> dict[str, Any]:
    shown = describe(call, node)
    status = {"stopped": "Stopped"}.get(node.state, "Active" if shown["PingStatus"] == "Online" else "ConnectionLost")
    content = {
        "AgentType": "amazon-ssm-agent",
        "AgentVersion": shown["AgentVersion"],
        "ComputerName": shown["ComputerName"],
        "InstanceId": node.node_id,
        "InstanceStatus": status,
        "IpAddress": shown["IPAddress"],
        "PlatformName": shown["PlatformName"],
        "PlatformType": shown["PlatformType"],
        "PlatformVersion": shown["PlatformVersion"],
        "ResourceType": shown["ResourceType"],
    }
    moment = Clock.moment(call.world.clock.now()).strftime("%Y-%m-%dT%H:%M:%SZ")
    item = {"TypeName": TYPE, "SchemaVersion": "1.0", "CaptureTime": moment, "Content": [content]}
    return {"Id": node.node_id, "Data": {TYPE: item}}
