"""What others are told of a command's course: Amazon SNS as the request asks for it, and EventBridge."""

import json
import logging
from typing import Any

from moto.events.models import events_backends
from moto.sns.models import sns_backends

from patchwave_lab.clock import Clock
from patchwave_lab.ssm.commands import Command, Invocation

log = logging.getLogger(__name__)
#: Statuses that are not told (monitoring-sns-notifications).
SILENT = {"Pending", "Cancelling", "Delayed"}


def announce(command: Command, invocation: Invocation | None, now: float) -> None:
    """Tell of a new status of a command, or of one of its invocations. Failures end in the log: it is best effort."""
    status = invocation.status if invocation else command.status()[0]
    if status in SILENT:
        return
    try:
        _notify(command, invocation, status, now)
        _put_event(command, invocation, status)
    except Exception:
        log.exception("nobody was told of %s", command.command_id)


def _notify(command: Command, invocation: Invocation | None, status: str, now: float) -> None:
    config = command.request.get("NotificationConfig") or {}
    wanted = config.get("NotificationEvents") or ["All"]
    kind = config.get("NotificationType", "Command")
    if not config.get("NotificationArn") or kind != ("Invocation" if invocation else "Command"):
        return
    if not {"All", status} & set(wanted):
        return
    message: dict[str, Any] = {
        "commandId": command.command_id,
        "documentName": command.document.name,
        "requestedDateTime": _text(command.requested),
        "status": status,
        "eventTime": _text(now),
    }
    if invocation:
        message |= {"instanceId": invocation.node.node_id, "statusDetails": invocation.details}
    elif command.request.get("InstanceIds"):
        message["instanceIds"] = command.request["InstanceIds"]
    sns_backends[command.account][command.region].publish(json.dumps(message), config["NotificationArn"])


def _put_event(command: Command, invocation: Invocation | None, status: str) -> None:
    backend = events_backends[command.account][command.region]
    if not backend.describe_event_bus("default").rules:
        return
    detail = {
        "command-id": command.command_id,
        "document-name": command.document.name,
        "requested-date-time": _text(command.requested),
        "status": status,
    }
    if invocation:
        kind = "EC2 Command Invocation Status-change Notification"
        detail["instance-id"] = invocation.node.node_id
    else:
        kind = "EC2 Command Status-change Notification"
        detail |= {
            "expire-after": _text(command.expires),
            "parameters": json.dumps(command.request.get("Parameters", {})),
        }
    backend.put_events([{"Source": "aws.ssm", "DetailType": kind, "Detail": json.dumps(detail)}])


def _text(at: float) -> str:
    return Clock.moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
