"""The rollout file and the catalog that it names: read, checked, and every problem told with file and key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.patchwave.aws.plugins.module_utils._core import software, spec

from patchwave.errors import PatchwaveError

#: The rollout file as an Ansible argument spec; `error_budget` and `unreachable_budget` are numbers or percentages.
ROLLOUT: dict[str, dict[str, Any]] = {
    "schema": {"type": "int", "required": True, "choices": [1]},
    "name": {"type": "str", "required": True},
    "inventory": {"type": "path", "required": True},
    "catalog": {"type": "path", "required": True},
    "software": {"type": "raw", "required": True},
    "waves": {"type": "list", "elements": "str", "required": True},
    "transport": {"type": "str", "choices": ["run_command", "connection"]},
    "bucket": {"type": "str"},
    "max_in_flight": {"type": "int"},
    "error_budget": {"type": "raw"},
    "unreachable_budget": {"type": "raw"},
    "override": {
        "type": "dict",
        "options": {"by": {"type": "str", "required": True}, "reason": {"type": "str", "required": True}},
    },
    "vars": {"type": "dict"},
}


@dataclass(frozen=True)
class RolloutFile:
    """What a rollout file says, with its defaults and with paths made absolute from the file's own folder."""

    path: Path
    name: str
    inventory: Path
    software: dict[str, dict[str, Any]]
    waves: list[str]
    transport: str
    bucket: str | None
    max_in_flight: int
    error_budget: int | str
    unreachable_budget: int | str
    override: dict[str, str]
    vars: dict[str, Any]


def read_rollout(path: Path) -> RolloutFile:
    """Read and check a rollout file and its catalog.

    Raises:
        PatchwaveError: the first problem, with file and key.
    """
    data = _load(path)
    _raise_first(path, spec.problems(ROLLOUT, data))
    data = {key: value for key, value in data.items() if value is not None}  # a key without a value is not given
    if data.get("transport", "run_command") == "run_command" and not data.get("bucket"):
        raise PatchwaveError(f"{path}: bucket: is required with transport run_command, to carry payloads to the nodes")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", data["name"]):
        raise PatchwaveError(f"{path}: name: must be letters, digits, ., _ and -, for it names a folder")
    for key, text in data.get("override", {}).items():
        if not text.strip():
            raise PatchwaveError(f"{path}: override.{key}: must not be empty")
    if data.get("max_in_flight", 0) < 0:
        raise PatchwaveError(f"{path}: max_in_flight: must be 0 (all of a wave at once) or more")
    if not data["waves"]:
        raise PatchwaveError(f"{path}: waves: names no wave; list the inventory groups in order")
    folder = path.resolve().parent
    inventory = folder / data["inventory"]
    if not inventory.exists():
        raise PatchwaveError(f"{path}: inventory: no such file or folder: {inventory}")
    return RolloutFile(
        path=path,
        name=data["name"],
        inventory=inventory,
        software=_software(path, folder / data["catalog"], data["software"]),
        waves=data["waves"],
        transport=data.get("transport", "run_command"),
        bucket=data.get("bucket"),
        max_in_flight=data.get("max_in_flight", 0),
        error_budget=data.get("error_budget", 0),
        unreachable_budget=data.get("unreachable_budget", "100%"),
        override=data.get("override", {}),
        vars=data.get("vars", {}),
    )


def _software(path: Path, catalog: Path, wanted: Any) -> dict[str, dict[str, Any]]:
    """Return the definitions of one program or of a list of several, by name and in their order."""
    names = wanted if isinstance(wanted, list) else [wanted]
    if not names or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise PatchwaveError(f"{path}: software: must be a program of the catalog, or a list of several")
    programs = _load(catalog)
    return {name: _definition(path, catalog, programs, name) for name in names}


def _definition(path: Path, catalog: Path, programs: Any, name: str) -> dict[str, Any]:
    if not isinstance(programs, dict) or name not in programs:
        known = ", ".join(sorted(map(str, programs))) if isinstance(programs, dict) and programs else "none"
        raise PatchwaveError(f"{path}: software: '{name}' is not in {catalog}; known programs: {known}")
    definition = programs[name]
    _raise_first(catalog, spec.problems(software.DEFINITION, definition, name))
    _raise_first(catalog, [f"{name}.{key}: {text}" for key, text in software.check_definition(name, definition)])
    return dict(definition)


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PatchwaveError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PatchwaveError(f"{path}: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise PatchwaveError(f"{path}{where}: is not YAML: {getattr(error, 'problem', error)}") from error


def _raise_first(path: Path, problems: list[str]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise PatchwaveError(f"{path}: {problems[0]}{more}")
