"""ListCommandInvocations: how each node fared, with short output on request."""

from typing import Any

from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation, paged
from patchwave_lab.ssm.operations._history import chosen, statuses


@operation("ListCommandInvocations")
def list_command_invocations(call: Call) -> dict[str, Any]:
    """Invocations; those of a command just sent are not there yet (aws.md 2: an empty list, not an error)."""
    params, wanted = call.params, statuses(call)
    if any(each["key"] == "ExecutionStage" for each in params.get("Filters", [])):
        raise error("InvalidFilterKey", "ExecutionStage is not a filter of ListCommandInvocations.")
    visible = call.world.clock.now() - call.world.settings.consistency_seconds
    pairs = [
        (command, invocation)
        for command in chosen(call)
        if command.requested <= visible
        for node_id, invocation in command.invocations.items()
        if params.get("InstanceId") in (None, node_id)
        and all(word in (invocation.status, invocation.details) for word in wanted)
    ]
    found = paged("CommandInvocations", pairs, params, 50)
    details = bool(params.get("Details"))
    shown = [command.describe_invocation(each, details=details) for command, each in found["CommandInvocations"]]
    return {**found, "CommandInvocations": shown}
