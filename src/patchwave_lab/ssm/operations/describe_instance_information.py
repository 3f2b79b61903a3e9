"""DescribeInstanceInformation (aws.md 3): 5 to 50 nodes a page, 10 unless told; no tags; no stopped instances."""

from typing import Any

from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation, paged
from patchwave_lab.ssm.operations._nodes import check, describe


@operation("DescribeInstanceInformation")
def describe_instance_information(call: Call) -> dict[str, Any]:
    """Managed nodes of this account and region."""
    filters = _filters(call.params)
    checks = [check(call, key, values) for key, values in filters]
    running = [node for node in call.nodes.values() if node.state == "running"]
    found = [node for node in running if all(test(node) for test in checks)]
    page = paged("InstanceInformationList", found, call.params, 10)
    shown = [{**describe(call, node), "IsLatestVersion": True} for node in page["InstanceInformationList"]]
    return {**page, "InstanceInformationList": shown}


def _filters(params: dict[str, Any]) -> list[tuple[str, list[str]]]:
    new = [(each["Key"], each["Values"]) for each in params.get("Filters", [])]
    old = [(each["key"], each["valueSet"]) for each in params.get("InstanceInformationFilterList", [])]
    if new and old:
        raise error(
            "ValidationException", "InstanceInformationFilterList and Filters cannot be used in the same request."
        )
    by_tag = [key for key, _ in new if key.startswith("tag")]
    if by_tag and len(by_tag) != len(new):
        raise error("InvalidFilterKey", "Tag filters cannot be combined with other filters.")
    return new + old
