"""DeregisterManagedInstance: hybrid nodes only."""

from typing import Any

from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation


@operation("DeregisterManagedInstance")
def deregister_managed_instance(call: Call) -> dict[str, Any]:
    """Take a hybrid node off the list; until the lab is reset it stays away."""
    node_id = call.params["InstanceId"]
    if call.world.node(call.account, call.region, node_id) is None:
        raise error("InvalidInstanceId", "")
    call.world.deregister(call.account, call.region, node_id)
    return {}
