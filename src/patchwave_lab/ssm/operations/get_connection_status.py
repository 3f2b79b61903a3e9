"""GetConnectionStatus: the live signal, where PingStatus is up to five minutes old."""

from typing import Any

from patchwave_lab.ssm.operations._call import Call, operation


@operation("GetConnectionStatus")
def get_connection_status(call: Call) -> dict[str, Any]:
    """`connected` or `notconnected`; a target that does not exist is not connected."""
    target = call.params["Target"]
    node = call.world.node(call.account, call.region, target)
    return {"Target": target, "Status": "connected" if node and call.world.connected(node) else "notconnected"}
