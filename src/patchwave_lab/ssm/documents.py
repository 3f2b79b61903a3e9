"""The command documents that the lab's nodes can run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patchwave_lab.nodes.agent import DEFAULT_WORKING_DIRECTORY, Task
from patchwave_lab.ssm.errors import error

#: Pattern of executionTimeout in AWS's own script documents: 1 to 172800 seconds.
EXECUTION_TIMEOUT = r"([1-9][0-9]{0,4})|(1[0-6][0-9]{4})|(17[0-1][0-9]{3})|(172[0-7][0-9]{2})|(172800)"
DEFAULT_TIMEOUT = 3600


@dataclass(frozen=True)
class Parameter:
    """A document's parameter: a default makes it optional, a pattern restricts each value."""

    default: Sequence[str] | None = None
    pattern: str = ""


@dataclass(frozen=True)
class Document:
    """A document with one step. `folder` is the step's part of an S3 key."""

    name: str
    platforms: Sequence[str]
    action: str
    folder: str
    parameters: Mapping[str, Parameter]

    def values(self, given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
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

    def task(self, command_id: str, values: Mapping[str, Sequence[str]]) -> Task:
        """What the agent is to run."""
        directory = "".join(values["workingDirectory"]) or DEFAULT_WORKING_DIRECTORY
        timeout = agent_timeout("".join(values["executionTimeout"]))
        return Task(command_id, "\n".join(values["commands"]) + "\n", directory, timeout)


def agent_timeout(text: str) -> int:
    """The step timeout that the agent uses, in seconds: below 5 or above 172800 it silently takes 3600.

    Source: amazon-ssm-agent pluginutil.go.
    """
    value = int(text) if text.isdigit() else DEFAULT_TIMEOUT
    return value if 5 <= value <= 172_800 else DEFAULT_TIMEOUT


SCRIPT_PARAMETERS = {
    "commands": Parameter(),
    "workingDirectory": Parameter([""]),
    "executionTimeout": Parameter([str(DEFAULT_TIMEOUT)], EXECUTION_TIMEOUT),
}
DOCUMENTS = {
    document.name: document
    for document in (
        Document(
            "AWS-RunShellScript",
            ("Linux", "MacOS"),
            "aws:runShellScript",
            "awsrunShellScript/0.awsrunShellScript",
            SCRIPT_PARAMETERS,
        ),
        Document(
            "AWS-RunPowerShellScript",
            ("Windows",),
            "aws:runPowerShellScript",
            "awsrunPowerShellScript/0.awsrunPowerShellScript",
            SCRIPT_PARAMETERS,
        ),
    )
}


def find(name: str, version: str = "$DEFAULT") -> Document:
    """A document by name; InvalidDocument when the lab's nodes cannot run it."""
    document = DOCUMENTS.get(name)
    if document is None:
        raise error("InvalidDocument", f"Document with name {name} does not exist.")
    if version not in ("$DEFAULT", "$LATEST", "1"):
        raise error("InvalidDocumentVersion", f"Document {name} has no version {version}.")
    return document
