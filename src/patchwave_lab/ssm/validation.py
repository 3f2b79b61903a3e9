"""Checks a request against the service model as the service does: length, range, pattern, enum, required.

botocore checks types, required members and minima only; the rest it leaves to the service.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from moto.core.utils import get_service_model

from patchwave_lab.ssm.errors import error

#: Java's Unicode classes, near enough: any letter, separator, digit.
CLASSES = {r"\p{L}": "a-zA-Z\u00aa-\uffdc", r"\p{Z}": r"\s", r"\p{N}": r"\d", r"\p{P}": "!-/:-@\\[-`{-~", r"\p{M}": ""}


def check(service: str, operation: str, params: dict[str, Any]) -> None:
    """Raise ValidationException with the service's wording when the request breaks the model."""
    if text := broken(service, operation, params):
        raise error("ValidationException", text)


def broken(service: str, operation: str, params: dict[str, Any]) -> str:
    """How a request breaks the model, in the service's wording; empty when it does not."""
    shape = get_service_model(service).operation_model(operation).input_shape
    found = list(_violations(shape, params, "")) if shape is not None else []
    plural = "s" if len(found) > 1 else ""
    return f"{len(found)} validation error{plural} detected: {'; '.join(found)}" if found else ""


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    constraints = list(_constraints(shape, value))
    for constraint in constraints:
        shown = "***" if shape.metadata.get("sensitive") else _java(value, shape)
        yield f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _violations(member, value[name], _join(path, name))
    elif isinstance(shape, ListShape) and isinstance(value, list):
        yield from _members(shape, value, path)


def _members(shape: ListShape, value: list[Any], path: str) -> Iterator[str]:
    if isinstance(shape.member, StructureShape | ListShape):
        for place, each in enumerate(value, 1):
            yield from _violations(shape.member, each, f"{path}.{place}.member")
        return
    broken = {constraint for each in value for constraint in _constraints(shape.member, each)}
    if broken:
        inner = ", ".join(sorted(broken))
        constraint = f"Member must satisfy constraint: [{inner}]"
        yield f"Value '{_java(value, shape)}' at '{path}' failed to satisfy constraint: {constraint}"


def _constraints(shape: Shape, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _text_constraints(shape, value)
    kind = "value" if isinstance(value, int | float) and not isinstance(value, bool) else "length"
    size = value if kind == "value" else len(value) if isinstance(value, str | list | dict) else None
    if size is None:
        return
    if "max" in shape.metadata and size > shape.metadata["max"]:
        yield f"Member must have {kind} less than or equal to {shape.metadata['max']}"
    if "min" in shape.metadata and size < shape.metadata["min"]:
        yield f"Member must have {kind} greater than or equal to {shape.metadata['min']}"


def _text_constraints(shape: Shape, value: str) -> Iterator[str]:
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {pattern}"
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        yield f"Member must satisfy enum value set: [{', '.join(allowed)}]"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern)
    except re.error:
        return re.compile(".*", re.DOTALL)


def _java(value: Any, shape: Shape) -> str:
    """A value as the service prints it."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        inner = (f"{_lower(name)}={_java(value[name], shape.members[name])}" for name in value if name in shape.members)
        return f"{shape.name}({', '.join(inner)})"
    if isinstance(shape, ListShape) and isinstance(value, list):
        return f"[{', '.join(_java(each, shape.member) for each in value)}]"
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return f"{{{', '.join(f'{key}={_java(each, shape.value)}' for key, each in value.items())}}}"
    return str(value)


def _join(path: str, name: str) -> str:
    return f"{path}.{_lower(name)}" if path else _lower(name)


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
