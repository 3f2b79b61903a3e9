"""Command documents made with CreateDocument: schema 2.2, read from moto's store."""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from moto.core.exceptions import ServiceException
from moto.ssm.models import ssm_backends

from patchwave_lab.ssm.documents import DEFAULT_TIMEOUT, Document, Parameter, Step
from patchwave_lab.ssm.errors import error


def read(account: str, region: str, name: str, version: str) -> Document:
    """An own document; InvalidDocument when there is none, or the lab cannot run it."""
    backend = ssm_backends[account][region]
    wanted = None if version == "$DEFAULT" else version
    try:
        text = backend.get_document(name, wanted, None, "JSON")["Content"]
    except ServiceException:
        raise error("InvalidDocument", f"Document with name {name} does not exist.") from None
    try:
        content = yaml.safe_load(text)
        if str(content.get("schemaVersion")) not in ("2.0", "2.2"):
            raise error("InvalidDocument", f"The lab runs documents of schema 2.2 only; {name} is another.")
        parameters = {key: _parameter(value) for key, value in (content.get("parameters") or {}).items()}
        return Document(name, [_step(each) for each in content["mainSteps"]], parameters)
    except (AttributeError, KeyError, TypeError, re.error, yaml.YAMLError) as wrong:
        raise error("InvalidDocument", f"Document {name} cannot be read: {wrong!r}") from None


def _parameter(raw: Mapping[str, Any]) -> Parameter:
    default = raw.get("default")
    if default is not None:
        default = [str(each) for each in (default if isinstance(default, list) else [default])]
    allowed = "|".join(f"({each})" for each in raw.get("allowedValues", []))
    pattern = str(raw.get("allowedPattern", "")) or allowed
    re.compile(pattern)
    return Parameter(default, pattern, str(raw.get("type", "String")))


def _step(raw: Mapping[str, Any]) -> Step:
    inputs = raw.get("inputs") or {}
    lines = inputs.get("runCommand") or []
    condition = (raw.get("precondition") or {}).get("StringEquals") or []
    return Step(
        name=raw["name"],
        action=raw["action"],
        folder=f"{raw['action'].replace(':', '')}/{raw['name']}",
        lines=[str(each) for each in (lines if isinstance(lines, list) else [lines])],
        directory=str(inputs.get("workingDirectory", "")),
        timeout=str(inputs.get("timeoutSeconds", DEFAULT_TIMEOUT)),
        platform=next((str(each) for each in condition if each != "platformType"), ""),
        on_failure=str(inputs.get("onFailure", "")),
        on_success=str(inputs.get("onSuccess", "")),
        finally_step=str(inputs.get("finallyStep", "")).lower() == "true",
    )
