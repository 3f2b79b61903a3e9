"""Which steps run, and what their end means for the others: exit codes 168 and 169, `onFailure`, `onSuccess`,
`finallyStep` and preconditions, as the agent has it (amazon-ssm-agent runpluginutil.go).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from patchwave_lab.nodes.agent import Reply
from patchwave_lab.ssm.documents import Step

#: Exit codes with a meaning.
REBOOT, SKIP_AS_SUCCESS, SKIP_AS_FAILURE = 194, 168, 169
EXIT, SUCCESS_AND_EXIT = "exit", "successAndExit"
SKIPPED_REST = "Further document steps will be skipped."
ENDINGS = {"timeout": "ExecutionTimedOut", "cancel": "Cancelled"}


@dataclass(frozen=True)
class Ended:
    """How a step ended: StatusDetails, ResponseCode, and what GetCommandInvocation shows behind each stream."""

    details: str
    code: int
    stdout_note: str = ""
    stderr_note: str = ""
    #: Its standard error is dropped there.
    quiet: bool = False


def ended(step: Step, reply: Reply) -> Ended:
    """What a step's reply means."""
    code = reply.exit_code
    if reply.ending:
        return Ended(ENDINGS[reply.ending], code)
    if code == SKIP_AS_SUCCESS:
        note = f"\nStep exited with code {code}. Therefore, marking step as succeeded. {SKIPPED_REST}"
        return Ended("Success", code, note, quiet=True)
    if code == SKIP_AS_FAILURE:
        note = f"\nStep exited with code {code}. Therefore, marking step as Failed. {SKIPPED_REST}"
        return Ended("Failed", code, note, note)
    if code and step.on_failure in (EXIT, SUCCESS_AND_EXIT):
        note = f"\nStep was found to have onFailure property. {SKIPPED_REST}"
        if step.on_failure == SUCCESS_AND_EXIT:
            return Ended("Success", SKIP_AS_SUCCESS, note, note)
        return Ended("Failed", code, note, note)
    return Ended("Failed" if code else "Success", code)


def why_skipped(step: Step, earlier: Sequence[tuple[Step, str, int]], platform: str, *, last: bool) -> str:
    """What the agent says of a step that it skips, empty for one that it runs; `earlier`: step, details and code."""
    if not (step.finally_step and last) and any(_exits(*each) for each in earlier):
        return f"Plugin with name {step.action} and id {step.name} skipped due to prior step with an exit condition"
    return "" if step.runs_on(platform) else step.skipped()


def _exits(step: Step, details: str, code: int) -> bool:
    return (
        code in (SKIP_AS_SUCCESS, SKIP_AS_FAILURE)
        or (details == "Failed" and step.on_failure == EXIT)
        or (details == "Success" and step.on_success == EXIT)
    )
