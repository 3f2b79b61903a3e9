"""A command and its invocations: what was asked, and how far each node has come."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from patchwave_lab.clock import Clock
from patchwave_lab.ssm import control_flow, output
from patchwave_lab.ssm.documents import Document, Step
from patchwave_lab.world import ManagedNode

#: StatusDetails of an invocation that will not change any more, and the coarse Status of each.
#: The coarse status of Terminated, InvalidPlatform and AccessDenied is not documented.
TERMINAL = {
    "Success": "Success",
    "Failed": "Failed",
    "ExecutionTimedOut": "TimedOut",
    "DeliveryTimedOut": "TimedOut",
    "Undeliverable": "Failed",
    "InvalidPlatform": "Failed",
    "AccessDenied": "Failed",
    "Cancelled": "Cancelled",
    "Terminated": "Cancelled",
}
#: What an invocation can be on the way, but a plugin cannot.
PASSING = {"Cancelling", "Delayed"}
#: What counts against MaxErrors and into ErrorCount (SendCommand status reference).
ERRORS = {"Failed", "ExecutionTimedOut"}
#: What ends without the node's doing; it never counts against MaxErrors.
NEVER_RAN = {"Undeliverable", "InvalidPlatform", "AccessDenied"}


@dataclass
class Result:
    """One step on one node. Times are in seconds since the epoch, 0 for not yet."""

    step: Step
    #: Empty while it has not ended.
    details: str = ""
    started: float = 0.0
    ended: float = 0.0
    response_code: int = -1
    stdout: str = ""
    stderr: str = ""
    #: Both as GetCommandInvocation shows them, where that differs.
    shown: tuple[str, str] | None = None
    urls: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Invocation:
    """One command on one node. Times are in seconds since the epoch, 0 for not yet."""

    node: ManagedNode
    instance_name: str
    results: list[Result]
    #: StatusDetails of the end and the coarse Status of each.
    coarse: Mapping[str, str] = field(default_factory=lambda: TERMINAL)
    details: str = "Pending"
    sent: bool = False
    delivered: bool = False
    #: How often its agent has resumed it after a reboot.
    resumes: int = 0
    #: Its agent will not report any more.
    deaf: bool = False
    ended: float = 0.0

    @property
    def over(self) -> bool:
        """In a terminal state."""
        return self.details in TERMINAL

    @property
    def status(self) -> str:
        """The coarse status."""
        return self.coarse.get(self.details, self.details)

    @property
    def current(self) -> Result | None:
        """The first step that has not ended."""
        return next((each for each in self.results if not each.details), None)

    def why_skipped(self, result: Result) -> str:
        """What the agent says if it skips a step, empty if it runs it."""
        place = self.results.index(result)
        earlier = [(each.step, each.details, each.response_code) for each in self.results[:place]]
        last = place == len(self.results) - 1
        return control_flow.why_skipped(result.step, earlier, self.node.platform.type, last=last)

    def urls(self) -> Mapping[str, str]:
        """Where the output is, if there is exactly one step."""
        return self.results[0].urls if len(self.results) == 1 else {}


@dataclass
class Command:
    """One SendCommand. Times are in seconds since the epoch."""

    command_id: str
    account: str
    region: str
    request: Mapping[str, Any]
    document: Document
    values: Mapping[str, Sequence[str]]
    requested: float
    invocations: dict[str, Invocation]
    cap: int
    allowed_errors: int
    #: While ramping: how many invocations may have been sent so far.
    quota: float = 1
    sent: int = 0
    #: Sent and not ended.
    flying: int = 0
    #: Ended in a way that counts against MaxErrors.
    errors: int = 0
    stopped: bool = False
    cancelling: bool = False
    #: More nodes than the account may have pending: none of them was sent to.
    rate_exceeded: bool = False
    #: CloudWatch alarms that stopped it, as TriggeredAlarms shows them.
    triggered: list[dict[str, str]] = field(default_factory=list)
    #: Invocations that have not ended.
    open: int = 0
    waiting: deque[Invocation] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.waiting.extend(self.invocations.values())
        self.open = len(self.invocations)

    @property
    def timeout(self) -> float:
        """The delivery timeout in seconds; the API's default is 3600."""
        return float(self.request.get("TimeoutSeconds") or 3600)

    @property
    def expires(self) -> float:
        """When the total timeout ends: TimeoutSeconds plus executionTimeout after the request."""
        return self.requested + self.timeout + self.document.execution_timeout(self.values)

    @property
    def over(self) -> bool:
        """Every invocation is in a terminal state."""
        return self.open == 0

    def status(self) -> tuple[str, str]:
        """The command's Status and StatusDetails, rolled up from its invocations."""
        if self.rate_exceeded:
            return "Failed", "RateExceeded"
        if not self.invocations:
            return "Success", "NoInstancesInTag"
        if not self.over:
            if self.cancelling:
                return "Cancelling", "Cancelling"
            word = "InProgress" if self.sent else "Pending"
            return word, word
        return self._final_status()

    def _final_status(self) -> tuple[str, str]:
        details = [each.details for each in self.invocations.values()]
        if self.cancelling and "Cancelled" in details:
            return "Cancelled", "Cancelled"
        # "The value of MaxErrors or more" (StatusDetails of Command, service model), though one more stops the command.
        enough = max(1, self.allowed_errors)
        if self.errors >= enough:
            only_timeouts = "Failed" not in details
            return ("TimedOut", "ExecutionTimedOut") if only_timeouts else ("Failed", "Failed")
        if details.count("DeliveryTimedOut") >= enough:
            return "TimedOut", "DeliveryTimedOut"
        if all(each in NEVER_RAN for each in details):
            return "Failed", "Failed"
        if any(each not in {"Success", *NEVER_RAN} for each in details):
            return "Failed", "Incomplete"
        return "Success", "Success"

    def describe(self, *, counts: bool = True) -> dict[str, Any]:
        """The command as ListCommands shows it; SendCommand shows it without counts."""
        status, details = self.status() if counts else ("Pending", "Pending")
        ended = [each.details for each in self.invocations.values() if each.over] if counts else []
        request = self.request
        return {
            **{key: request.get(key, "") for key in ("Comment", "OutputS3BucketName", "OutputS3KeyPrefix")},
            "CommandId": self.command_id,
            "DocumentName": self.document.name,
            "DocumentVersion": request.get("DocumentVersion", "$DEFAULT"),
            "ExpiresAfter": Clock.moment(self.expires),
            "Parameters": request.get("Parameters", {}),
            "InstanceIds": request.get("InstanceIds", []),
            "Targets": request.get("Targets", []),
            "RequestedDateTime": Clock.moment(self.requested),
            "Status": status,
            "StatusDetails": details,
            "MaxConcurrency": request.get("MaxConcurrency", "50"),
            "MaxErrors": request.get("MaxErrors", "0"),
            "TargetCount": len(self.invocations) if counts else 0,
            "CompletedCount": len(ended),
            "ErrorCount": sum(each in ERRORS for each in ended),
            "DeliveryTimedOutCount": ended.count("DeliveryTimedOut"),
            "ServiceRole": request.get("ServiceRoleArn", ""),
            "TimeoutSeconds": int(self.timeout),
            **({"AlarmConfiguration": request["AlarmConfiguration"]} if "AlarmConfiguration" in request else {}),
            **({"TriggeredAlarms": self.triggered} if self.triggered else {}),
            "CloudWatchOutputConfig": request.get(
                "CloudWatchOutputConfig", {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False}
            ),
        }

    def describe_invocation(self, invocation: Invocation, *, details: bool) -> dict[str, Any]:
        """One invocation as ListCommandInvocations shows it."""
        request = self.request
        return {
            "CommandId": self.command_id,
            "InstanceId": invocation.node.node_id,
            "InstanceName": invocation.instance_name,
            "Comment": request.get("Comment", ""),
            "DocumentName": self.document.name,
            "DocumentVersion": request.get("DocumentVersion", "$DEFAULT"),
            "RequestedDateTime": Clock.moment(self.requested),
            "Status": invocation.status,
            "StatusDetails": invocation.details,
            "StandardOutputUrl": invocation.urls().get("stdout", ""),
            "StandardErrorUrl": invocation.urls().get("stderr", ""),
            "CommandPlugins": [self._describe_plugin(invocation, each) for each in invocation.results if details],
            "ServiceRole": request.get("ServiceRoleArn", ""),
        }

    def _describe_plugin(self, invocation: Invocation, result: Result) -> dict[str, Any]:
        # A step that never began fares like its invocation. A plugin has neither Delayed nor Cancelling.
        details = result.details or invocation.details
        status = invocation.coarse.get(details, details)
        times = {"ResponseStartDateTime": result.started, "ResponseFinishDateTime": result.ended or invocation.ended}
        return {
            "Name": result.step.name,
            "Status": status if status not in PASSING else "InProgress",
            "StatusDetails": details if details not in PASSING else "InProgress",
            "ResponseCode": result.response_code,
            **{key: Clock.moment(at) for key, at in times.items() if at},
            "Output": output.combine(
                output.cut(result.stdout, output.STDOUT_LIMIT), output.cut(result.stderr, output.STDERR_LIMIT)
            ),
            "StandardOutputUrl": result.urls.get("stdout", ""),
            "StandardErrorUrl": result.urls.get("stderr", ""),
            "OutputS3Region": self.region if self.request.get("OutputS3BucketName") else "",
            "OutputS3BucketName": self.request.get("OutputS3BucketName", ""),
            "OutputS3KeyPrefix": self.request.get("OutputS3KeyPrefix", ""),
        }
