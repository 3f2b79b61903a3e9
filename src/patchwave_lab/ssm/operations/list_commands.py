"""ListCommands: a command's state and live counts."""

from typing import Any

from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation, paged
from patchwave_lab.ssm.operations._history import chosen, statuses


@operation("ListCommands")
def list_commands(call: Call) -> dict[str, Any]:
    """Commands of this account and region, newest first."""
    wanted, node_id = statuses(call), call.params.get("InstanceId")
    if node_id and "Pending" in wanted:
        raise error("InvalidFilterKey", "InstanceId and Status = Pending cannot be specified together.")
    commands = [each for each in chosen(call) if not node_id or node_id in each.invocations]
    commands = [each for each in commands if all(word in each.status() for word in wanted)]
    found = paged("Commands", commands, call.params, 50)
    return {**found, "Commands": [each.describe() for each in found["Commands"]]}
