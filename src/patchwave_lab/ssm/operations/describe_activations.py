"""DescribeActivations: by id, role or default name; 50 a page."""

from typing import Any

from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._activations import activations
from patchwave_lab.ssm.operations._call import Call, operation, paged

KEYS = {"ActivationIds": "ActivationId", "DefaultInstanceName": "DefaultInstanceName", "IamRole": "IamRole"}


@operation("DescribeActivations")
def describe_activations(call: Call) -> dict[str, Any]:
    """Activations of this account and region."""
    found = [each.describe(call.world.clock.now()) for each in activations(call).values()]
    for each in call.params.get("Filters", []):
        if "FilterKey" not in each:
            raise error("InvalidFilter", "A filter has no FilterKey.")
        found = [shown for shown in found if shown[KEYS[each["FilterKey"]]] in each.get("FilterValues", [])]
    return paged("ActivationList", found, call.params, 50)
