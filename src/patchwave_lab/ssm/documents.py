"""The command documents that the lab's nodes can run: AWS's two script documents, and own ones of schema 2.2."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patchwave_lab.nodes.agent import DEFAULT_WORKING_DIRECTORY, Task
from patchwave_lab.ssm.errors import error

#: Pattern of executionTimeout in AWS's own script documents: 1 to 172800 seconds.
EXECUTION_TIMEOUT = r"([1-9][0-9]{0,4})|(1[0-6][0-9]{4})|(17[0-1][0-9]{3})|(172[0-7][0-9]{2})|(172800)"
DEFAULT_TIMEOUT = 3600
#: The size limit of a document (SendCommand, MaxDocumentSizeExceeded).
MOST_BYTES = 64 * 1024
#: A parameter in a document's text.
PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
#: What the agent runs, and on which platforms.
ACTIONS = {"aws:runShellScript": ("Linux", "MacOS"), "aws:runPowerShellScript": ("Windows",)}
Values = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Parameter:
    """A document's parameter: a default makes it optional, a pattern restricts each value."""

    default: Sequence[str] | None = None
    pattern: str = ""
    type: str = "String"


@dataclass(frozen=True)
class Step:
    """One step. `folder` is its part of an S3 key; the texts may hold parameters as {{ name }}."""

    name: str
    action: str
    folder: str
    lines: Sequence[str]
    directory: str = ""
    timeout: str = str(DEFAULT_TIMEOUT)
    #: Its precondition; empty for none.
    platform: str = ""
    #: `exit` or `successAndExit`, `exit`, and whether it runs in any case where it is the last.
    on_failure: str = ""
    on_success: str = ""
    finally_step: bool = False

    def runs_on(self, platform: str) -> bool:
        """Does it run on such a node, or is it skipped?"""
        return self.platform in ("", platform) and platform in ACTIONS.get(self.action, (platform,))

    def task(self, command_id: str, values: Values) -> Task:
        """What the agent is to run."""
        if self.action not in ACTIONS:
            text = f"Plugin with name {self.action} is not supported by current version of ssm agent"
            return Task(command_id, f"echo '{text}' >&2; exit 1\n", "/", DEFAULT_TIMEOUT)
        lines = [text for line in self.lines for text in expand(line, values)]
        directory = "".join(expand(self.directory, values)) or DEFAULT_WORKING_DIRECTORY
        timeout = agent_timeout("".join(expand(self.timeout, values)))
        return Task(command_id, "\n".join(lines) + "\n", directory, timeout)

    def skipped(self) -> str:
        """What the agent says of a step that it skips (runpluginutil.go)."""
        condition = f'"StringEquals": [platformType, {self.platform or ACTIONS[self.action][0]}]'
        return f"Step execution skipped due to unsatisfied preconditions: '{condition}'. Step name: {self.name}"


@dataclass(frozen=True)
class Document:
    """A document and its steps."""

    name: str
    steps: Sequence[Step]
    parameters: Mapping[str, Parameter]

    @property
    def platforms(self) -> set[str]:
        """Where at least one step runs."""
        return {each for step in self.steps for each in ACTIONS.get(step.action, ("Linux", "Windows", "MacOS"))}

    def execution_timeout(self, values: Values) -> int:
        """Seconds that count towards the total timeout."""
        text = "".join(values.get("executionTimeout", ()))
        return int(text) if text.isdigit() else DEFAULT_TIMEOUT

    def check_size(self, values: Values) -> None:
        """MaxDocumentSizeExceeded where the scripts, with their parameters put in, are beyond 64 KB."""
        lines = (text for step in self.steps for line in step.lines for text in expand(line, values))
        if sum(len(text.encode()) + 1 for text in lines) > MOST_BYTES:
            raise error("MaxDocumentSizeExceeded", f"The size of the document exceeds {MOST_BYTES} bytes.")

    def values(self, given: Values) -> dict[str, list[str]]:
        """Parameters with defaults filled in; InvalidParameters for what is unknown, missing or ill-formed."""
        for name, values in given.items():
            if name not in self.parameters:
                raise error("InvalidParameters", f"Parameter {name} is not defined in the document {self.name}.")
            pattern = self.parameters[name].pattern
            if pattern and not all(re.fullmatch(pattern, value) for value in values):
                raise error("InvalidParameters", f"Parameter {name} does not match the pattern {pattern}.")
        for name, parameter in self.parameters.items():
            if parameter.default is None and not given.get(name):
                raise error("InvalidParameters", f"Parameter {name} is required by the document {self.name}.")
        return {name: list(given.get(name, each.default or [])) for name, each in self.parameters.items()}


def expand(text: str, values: Values) -> list[str]:
    """A text with its parameters put in; one that is nothing but a list parameter becomes several lines."""
    whole = PLACE.fullmatch(text.strip())
    if whole and whole[1] in values:
        return list(values[whole[1]])
    return [PLACE.sub(lambda match: " ".join(values.get(match[1], [match[0]])), text)]


def agent_timeout(text: str) -> int:
    """The step timeout that the agent uses, in seconds: below 5 or above 172800 it silently takes 3600.

    Source: amazon-ssm-agent pluginutil.go.
    """
    value = int(text) if text.isdigit() else DEFAULT_TIMEOUT
    return value if 5 <= value <= 172_800 else DEFAULT_TIMEOUT


SCRIPT_PARAMETERS = {
    "commands": Parameter(type="StringList"),
    "workingDirectory": Parameter([""]),
    "executionTimeout": Parameter([str(DEFAULT_TIMEOUT)], EXECUTION_TIMEOUT),
}


def _script_document(name: str, action: str) -> Document:
    plain = action.replace(":", "")
    step = Step(
        action, action, f"{plain}/0.{plain}", ["{{ commands }}"], "{{ workingDirectory }}", "{{ executionTimeout }}"
    )
    return Document(name, [step], SCRIPT_PARAMETERS)


DOCUMENTS = {
    "AWS-RunShellScript": _script_document("AWS-RunShellScript", "aws:runShellScript"),
    "AWS-RunPowerShellScript": _script_document("AWS-RunPowerShellScript", "aws:runPowerShellScript"),
}


def find(name: str, version: str = "$DEFAULT") -> Document | None:
    """One of AWS's documents by name; None when it is none of these."""
    document = DOCUMENTS.get(name)
    if document is not None and version not in ("$DEFAULT", "$LATEST", "1"):
        raise error("InvalidDocumentVersion", f"Document {name} has no version {version}.")
    return document
