"""DescribeActivations: by id, role or default name; 50 a page."""

from typing import Any

from patchwave_lab.ssm.operations._activations import activations
from patchwave_lab.ssm.operations._call import Call, operation, paged

KEYS = {"ActivationIds": "ActivationId", "DefaultInstanceName": "DefaultInstanceName", "IamRole": "IamRole"}


@operation("DescribeActivations")
def describe_activations(call: Call) -> dict[str, Any]:
    """Activations of this account and region."""
    found = [each.describe(call.world.clock.now()) for each in activations(call).values()]
    for each in call.params.get("Filters", []):
        found = [shown for shown in found if shown.get(KEYS[each["FilterKey"]]) in each["FilterValues"]]
    return paged("ActivationList", found, call.params, 50)
