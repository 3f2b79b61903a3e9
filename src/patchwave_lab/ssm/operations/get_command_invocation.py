"""GetCommandInvocation: one command on one node, with its output."""

from datetime import UTC, datetime
from typing import Any

from patchwave_lab.ssm import delivery, output
from patchwave_lab.ssm.commands import Invocation, Result
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
    group = delivery.log_group(command)
    result = _result(invocation, params.get("PluginName"))
    stdout, stderr = (result.shown or (result.stdout, result.stderr)) if invocation.over else ("", "")
    return {
        **command.describe_invocation(invocation, details=False),
        "PluginName": result.step.name,
        "ResponseCode": result.response_code,
        **_times(result, invocation.ended),
        "StandardOutputContent": output.cut(stdout, output.STDOUT_LIMIT),
        "StandardErrorContent": output.cut(stderr, output.STDERR_LIMIT),
        "StandardOutputUrl": result.urls.get("stdout", ""),
        "StandardErrorUrl": result.urls.get("stderr", ""),
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": group, "CloudWatchOutputEnabled": bool(group)},
    }


def _result(invocation: Invocation, name: str | None) -> Result:
    """The step by name; without one there must be one step only (boto3 issue 1811)."""
    if name is None and len(invocation.results) == 1:
        return invocation.results[0]
    for each in invocation.results:
        if each.step.name == name:
            return each
    raise error("InvalidPluginName", "")


def _times(result: Result, over: float) -> dict[str, str]:
    """Start, end and duration as texts, empty where the node has not said."""
    if not result.started:
        return dict.fromkeys(("ExecutionStartDateTime", "ExecutionElapsedTime", "ExecutionEndDateTime"), "")
    times, ended = {"ExecutionStartDateTime": _text(result.started)}, result.ended or over
    if not ended:
        return {**times, "ExecutionElapsedTime": "", "ExecutionEndDateTime": ""}
    elapsed = _duration(max(1, round(1000 * (ended - result.started))))
    return {**times, "ExecutionElapsedTime": elapsed, "ExecutionEndDateTime": _text(ended)}


def _duration(milliseconds: int) -> str:
    """As ISO 8601 has it and Java writes it: PT1H0.271S."""
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours}H" if hours else "", f"{minutes}M" if minutes else "", f"{rest / 1000:g}S" if rest else "")
    return f"PT{''.join(parts)}"


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
