"""DescribeInstanceProperties (aws.md 3): up to 1,000 nodes a page, stopped instances among them; no tags."""

from typing import Any

from patchwave_lab.clock import Clock
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation, paged
from patchwave_lab.ssm.operations._nodes import check, describe
from patchwave_lab.world import ManagedNode


@operation("DescribeInstanceProperties")
def describe_instance_properties(call: Call) -> dict[str, Any]:
    """Managed nodes of this account and region, with what EC2 knows of them."""
    if call.world.settings.instance_properties == "withdrawn":
        raise error("UnknownOperationException", "")
    tests = []
    for each in call.params.get("FiltersWithOperator", []):
        if each.get("Operator", "Equal") not in ("Equal", "NotEqual"):
            raise error("InvalidInstancePropertyFilterValue", f"The lab has no operator {each['Operator']}.")
        tests.append((check(call, each["Key"], each["Values"]), each.get("Operator", "Equal") == "Equal"))
    for each in call.params.get("InstancePropertyFilterList", []):
        tests.append((check(call, each["key"], each["valueSet"]), True))
    found = [node for node in call.nodes.values() if all(test(node) == wanted for test, wanted in tests)]
    page = paged("InstanceProperties", found, call.params, 1000)
    shown = [{**describe(call, node), **_instance(node)} for node in page["InstanceProperties"]]
    return {**page, "InstanceProperties": shown}


def _instance(node: ManagedNode) -> dict[str, Any]:
    instance = node.instance
    if instance is None:
        return {}
    return {
        "Name": next((tag["value"] for tag in instance.get_tags() if tag["key"] == "Name"), ""),
        "InstanceType": instance.instance_type,
        "InstanceState": node.state,
        "Architecture": instance.architecture,
        "LaunchTime": Clock.moment(node.registered),
        "AvailabilityZone": instance.availability_zone,
    }
