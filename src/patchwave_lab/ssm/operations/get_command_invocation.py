"""GetCommandInvocation: one command on one node, with its output."""

from datetime import UTC, datetime
from typing import Any

from patchwave_lab.ssm import output
from patchwave_lab.ssm.commands import Invocation
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation


@operation("GetCommandInvocation")
def get_command_invocation(call: Call) -> dict[str, Any]:
    """The invocation; InvocationDoesNotExist is normal shortly after SendCommand."""
    params, now = call.params, call.world.clock.now()
    command = call.engine.commands(call.account, call.region).get(params["CommandId"])
    invocation = command.invocations.get(params["InstanceId"]) if command else None
    if command is None or invocation is None or command.requested + call.world.settings.consistency_seconds > now:
        raise error("InvocationDoesNotExist", "")
    plugin = command.document.action
    if params.get("PluginName") not in (None, plugin):
        raise error("InvalidPluginName", "")
    stdout, stderr = (invocation.stdout, invocation.stderr) if invocation.over else ("", "")
    return {
        **command.describe_invocation(invocation, details=False),
        "PluginName": plugin,
        "ResponseCode": invocation.response_code,
        **_times(invocation),
        "StandardOutputContent": output.cut(stdout, output.STDOUT_LIMIT),
        "StandardErrorContent": output.cut(stderr, output.STDERR_LIMIT),
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
    }


def _times(invocation: Invocation) -> dict[str, str]:
    """Start, end and duration as texts, empty where the node has not said."""
    if not invocation.started:
        return dict.fromkeys(("ExecutionStartDateTime", "ExecutionElapsedTime", "ExecutionEndDateTime"), "")
    times = {"ExecutionStartDateTime": _text(invocation.started)}
    if not invocation.ended:
        return {**times, "ExecutionElapsedTime": "", "ExecutionEndDateTime": ""}
    elapsed = f"PT{max(0.001, invocation.ended - invocation.started):.3f}S"
    return {**times, "ExecutionElapsedTime": elapsed, "ExecutionEndDateTime": _text(invocation.ended)}


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
