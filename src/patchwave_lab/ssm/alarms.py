"""CloudWatch alarms of a command: one that is in ALARM, or that cannot be read, keeps what waits from being sent."""

from typing import Any

from patchwave_lab.ssm.commands import Command


def triggered(command: Command) -> list[dict[str, str]]:
    """The alarms that stop a command, as TriggeredAlarms shows them."""
    config: dict[str, Any] = command.request.get("AlarmConfiguration") or {}
    if not config.get("Alarms"):
        return []
    from moto.cloudwatch.models import cloudwatch_backends

    known = cloudwatch_backends[command.account][command.region].alarms
    found = []
    for each in config.get("Alarms", []):
        alarm = known.get(each["Name"])
        if alarm is None and not config.get("IgnorePollAlarmFailure"):
            found.append({"Name": each["Name"], "State": "UNKNOWN"})
        elif alarm is not None and alarm.state_value == "ALARM":
            found.append({"Name": each["Name"], "State": "ALARM"})
    return found
