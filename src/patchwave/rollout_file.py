"""The rollout file and the catalog that it names: read, checked, and every problem told with file and key."""

from __future__ import annotations

import contextlib
import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.patchwave.aws.plugins.module_utils._core import run_names, software, spec

from patchwave import yaml_file
from patchwave.errors import PatchwaveError

#: The rollout file as an Ansible argument spec; the three budgets are numbers or percentages.
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
    "wave_error_budget": {"type": "raw"},
    "require_windows": {"type": "bool"},
    "override": {
        "type": "dict",
        "options": {"by": {"type": "str", "required": True}, "reason": {"type": "str", "required": True}},
    },
    "not_in_waves": {"type": "str", "choices": ["attention", "allowed"]},
    "vars": {"type": "dict"},
}

#: Roles whose variables `vars` may hold.
_ROLES = ("gate", "patch_software")
#: Variables of the roles that the rollout file has keys for.
_HAS_KEY = {
    "gate_override": "override",
    "gate_require_windows": "require_windows",
    "patch_software_bucket": "bucket",
    "patch_software_catalog": "catalog",
    "patch_software_max_errors": "error_budget",
    "patch_software_max_in_flight": "max_in_flight",
    "patch_software_name": "software",
    "patch_software_transport": "transport",
}
#: Those that the driver gives, or the gate.
_GIVEN = frozenset(
    f"patch_software_{name}"
    for name in ("journal", "latest_start", "node_results", "owner_lock", "rollout", "stop_file", "stop_at", "token")
)
#: How Ansible works on a node, for transport `connection`; where the node is, the inventory alone says.
_CONNECTION = (
    *("ansible_become", "ansible_become_method", "ansible_become_user"),
    *("ansible_python_interpreter", "ansible_user"),
)
#: A rollout file or a catalog is not deeper and not larger than this, counted in values.
_DEEPEST, _MOST = 40, yaml_file.MOST
#: Bytes of a rollout's name, of which a folder is made.
_LONGEST_NAME = 150


@dataclass(frozen=True)
class RolloutFile:
    """What a rollout file says, with its defaults and with paths made absolute from the file's own folder.

    Attributes:
        folders: where a user may have put variables that Ansible does not read.
    """

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
    all_in_waves: bool
    wave_error_budget: int | str = "50%"
    require_windows: bool = False
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Target:
    """What of a rollout file is needed to stop the rollout."""

    name: str
    inventory: Path
    bucket: str
    bucket_owner: str


def read_target(path: Path) -> Target:
    """Read what is needed to stop a rollout; nothing else of its file, and no catalog, needs to be right.

    Raises:
        PatchwaveError: that cannot be read.
    """
    data = _load(path)
    texts = {key: data.get(key) if isinstance(data, dict) else None for key in ("name", "inventory", "bucket")}
    for key in ("name", "inventory"):
        if not isinstance(texts[key], str) or not texts[key]:
            raise PatchwaveError(f"{path}: {key}: must be a text; it is needed to stop the rollout")
    variables = data.get("vars") if isinstance(data.get("vars"), dict) else {}
    return Target(
        name=str(texts["name"]),
        inventory=path.resolve().parent / str(texts["inventory"]),
        bucket=str(texts["bucket"] or ""),
        bucket_owner=str(variables.get("patch_software_bucket_owner") or ""),
    )


def read_rollout(path: Path) -> RolloutFile:
    """Read and check a rollout file and its catalog.

    Raises:
        PatchwaveError: the first problem, with file and key.
    """
    data = _load(path)
    _raise_first(path, spec.problems(ROLLOUT, data))
    data = {key: value for key, value in data.items() if value is not None}  # a key without a value is not given
    for key, problem in _problems(data):
        raise PatchwaveError(f"{path}: {key}: {problem}")
    folder = path.resolve().parent
    inventory = folder / data["inventory"]
    _check_source(path, inventory)
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
        all_in_waves=data.get("not_in_waves") != "allowed",
        wave_error_budget=data.get("wave_error_budget", RolloutFile.wave_error_budget),
        require_windows=data.get("require_windows", False),
        folders=(*_around(path, folder, inventory), (folder / data["catalog"]).parent),
    )


def _around(path: Path, folder: Path, inventory: Path) -> Iterator[Path]:
    """Return the folders around a rollout file and an inventory, and the current one, where there is one."""
    yield from (folder, folder.parent, path.absolute().parent)
    yield (inventory if inventory.is_dir() else inventory.parent).resolve().parent
    with contextlib.suppress(FileNotFoundError):
        yield Path.cwd()


def _check_source(path: Path, inventory: Path) -> None:
    """Find out whether there is an inventory: a file or a folder, for a pipe may be waited for."""
    try:
        kind = inventory.stat().st_mode
    except FileNotFoundError:
        raise PatchwaveError(f"{path}: inventory: no such file or folder: {inventory}") from None
    except (OSError, ValueError) as error:  # a name with a NUL, say
        why = getattr(error, "strerror", None) or error
        raise PatchwaveError(f"{path}: inventory: cannot be read: {why}: {inventory}") from error
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise PatchwaveError(f"{path}: inventory: is neither a file nor a folder: {inventory}")


def _problems(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Find what the spec cannot say, as key and message."""
    if data.get("transport", "run_command") == "run_command" and not data.get("bucket"):
        yield "bucket", "is required with transport run_command, to carry payloads to the nodes"
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", data["name"]):
        yield "name", "must be letters, digits, ., _ and -, for it names a folder"
    if data["name"] == run_names.ALL:
        yield "name", f"must not be {run_names.ALL!r}, which stands for every rollout where one is stopped"
    if len(data["name"].encode()) > _LONGEST_NAME:
        yield "name", f"must have at most {_LONGEST_NAME} bytes, for it names a folder"
    empty = [key for key, text in data.get("override", {}).items() if not any(map(str.isalnum, text))]
    yield from ((f"override.{key}", "must not be empty") for key in empty)
    if data.get("max_in_flight", 0) < 0:
        yield "max_in_flight", "must be 0 (all of a wave at once) or more"
    if not data["waves"]:
        yield "waves", "names no wave; list the inventory groups in order"
    for index in (index for index, wave in enumerate(data["waves"]) if wave in data["waves"][:index]):
        yield f"waves[{index}]", f"'{data['waves'][index]}' is there twice"
    yield from _variable_problems(data.get("vars", {}))


def _variable_problems(variables: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    """Find variables that would override what the driver, the gate or the inventory says."""
    for name in variables:
        if name in _HAS_KEY:
            yield f"vars.{name}", f"has a key of its own in this file: {_HAS_KEY[name]}"
        elif name in _GIVEN:
            yield f"vars.{name}", "is given by the driver and cannot be set"
        elif isinstance(name, str) and re.match(r"ansible_|patchwave_|gate_verdict", name) and name not in _CONNECTION:
            yield f"vars.{name}", f"cannot be set here; of this kind only {', '.join(_CONNECTION)} can"
    if not variables:
        return
    known: spec.Spec = {name: {"type": "raw"} for name in [*_settable(), *_CONNECTION]}
    for problem in spec.problems(known, variables, "vars"):
        key, dummy, text = problem.partition(": ")
        yield key, text


def _collection() -> Path:
    """Return the folder of the collection."""
    found = find_spec("ansible_collections.patchwave.aws")
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    return next(folder for folder in folders if (folder / "roles").is_dir())


def role_variables() -> set[str]:
    """Return the names of the variables of the roles."""
    names: set[str] = set()
    for role in _ROLES:
        text = (_collection() / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
        names.update(yaml.safe_load(text)["argument_specs"]["main"]["options"])
    return names


def playbook_variables() -> set[str]:
    """Return the names of the variables of the playbooks."""
    texts = [file.read_text(encoding="utf-8") for file in (_collection() / "playbooks").glob("*.yml")]
    return {name for text in texts for name in re.findall(r"\b(?:patchwave|patch_software|gate)_\w+", text)}


def _settable() -> list[str]:
    """Return the names of the variables of the roles that a rollout file may set."""
    return sorted(role_variables() - _GIVEN - _HAS_KEY.keys())


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
        found = yaml_file.load(yaml_file.read(path))
    except (OSError, ValueError) as error:  # a name with a NUL, say
        raise PatchwaveError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml_file.Problem as error:
        raise PatchwaveError(f"{path}{error.where}: {error}") from error
    for where, problem in _odd_values(found):
        raise PatchwaveError(f"{path}: {where or 'the file'}: {problem}")
    return found


def _odd_values(data: Any) -> Iterator[tuple[str, str]]:
    """Find values that JSON cannot carry to Ansible, or too many, as their places and messages."""
    waiting: list[tuple[str, int, Any]] = [("", 0, data)]
    for dummy in range(_MOST):
        if not waiting:
            return
        where, depth, value = waiting.pop()
        if depth > _DEEPEST:
            yield where[:200], "is nested too deeply"
        elif isinstance(value, list):
            waiting.extend((f"{where}[{index}]", depth + 1, item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            waiting.extend((f"{where}.{key}".lstrip("."), depth + 1, item) for key, item in value.items())
            for key in value:
                if not isinstance(key, str) or key.startswith("__ansible_"):
                    yield f"{where}.{key}".lstrip("."), "is no name for a key; put it in quotes if it is one"
        elif isinstance(value, float) and not math.isfinite(value):
            yield where, "must be a finite number"
        elif value is not None and not isinstance(value, (bool, int, float, str)):
            yield where, f"is a {type(value).__name__} to YAML; put it in quotes if it is meant as text"
    yield "", f"has more than {_MOST} values"


def _raise_first(path: Path, problems: list[str]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise PatchwaveError(f"{path}: {problems[0]}{more}")
