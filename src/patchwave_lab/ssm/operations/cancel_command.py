"""CancelCommand: a best effort, answered with nothing."""

from typing import Any

from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation
from patchwave_lab.ssm.operations._history import find


@operation("CancelCommand")
def cancel_command(call: Call) -> dict[str, Any]:
    """Cancel a command, on all its nodes or on those named."""
    command, ids = find(call), call.params.get("InstanceIds", [])
    if len(set(ids)) != len(ids):
        raise error("DuplicateInstanceId", "")
    if unknown := [each for each in ids if each not in command.invocations]:
        listed = ", ".join(unknown)
        raise error("InvalidInstanceId", f"Instances [[{listed}]] not in a valid state for account {call.account}")
    call.engine.cancel(command, ids)
    return {}
