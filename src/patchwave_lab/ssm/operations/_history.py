"""Looking up commands: by id, and by the filters that ListCommands and ListCommandInvocations share."""

from collections.abc import Callable, Iterable
from typing import Any

from dateutil.parser import isoparse

from patchwave_lab.ssm.commands import Command
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call


def find(call: Call) -> Command:
    """The command that the request names; InvalidCommandId when there is none in this account and region."""
    command = call.engine.commands(call.account, call.region).get(call.params["CommandId"])
    if command is None:
        raise error("InvalidCommandId", "")
    return command


def chosen(call: Call) -> list[Command]:
    """Commands that the request names by id or, newest first, all; with the filters on the command itself applied."""
    commands = call.engine.commands(call.account, call.region)
    found: Iterable[Command] = [find(call)] if call.params.get("CommandId") else reversed(list(commands.values()))
    checks = [_check(each["key"], each["value"]) for each in call.params.get("Filters", [])]
    return [command for command in found if all(check(command) for check in checks)]


def statuses(call: Call) -> list[str]:
    """Values of the Status filters."""
    return [each["value"] for each in call.params.get("Filters", []) if each["key"] == "Status"]


def _check(key: str, value: str) -> Callable[[Command], bool]:
    if key in ("InvokedAfter", "InvokedBefore"):
        moment = _moment(value)
        return (
            (lambda each: each.requested > moment) if key == "InvokedAfter" else (lambda each: each.requested < moment)
        )
    if key == "DocumentName":
        return lambda each: each.document.name == value
    if key == "ExecutionStage":
        if value not in ("Executing", "Complete"):
            raise error("InvalidFilterKey", "ExecutionStage is Executing or Complete.")
        return lambda each: each.over == (value == "Complete")
    return lambda each: True


def _moment(value: str) -> float:
    try:
        parsed: Any = isoparse(value)
    except ValueError:
        raise error("InvalidFilterKey", f"{value} is not a time.") from None
    return float(parsed.timestamp())
