"""Reads values of a scenario file strictly: what does not fit is a LabError that names file and key."""

import re
from collections.abc import Mapping
from typing import Any

from patchwave_lab.errors import LabError


def mapping(source: str, where: str, value: Any) -> Mapping[Any, Any]:
    """A mapping of keys to values."""
    if not isinstance(value, Mapping):
        raise LabError(f"{source}: {where}: must be a mapping of keys to values")
    return value


def known(source: str, prefix: str, raw: Mapping[Any, Any], allowed: set[str]) -> None:
    """Refuse a key that nobody reads."""
    for key in raw:
        if key not in allowed:
            raise LabError(f"{source}: unknown key {prefix}{key} (known: {', '.join(sorted(allowed))})")


def strings(
    source: str, where: str, value: Any, pattern: re.Pattern[str], what: str, *, empty: bool = False
) -> tuple[str, ...]:
    """A list of texts that match a pattern, none twice."""
    if not isinstance(value, list) or (not value and not empty):
        raise LabError(f"{source}: {where}: must be a list" + ("" if empty else " with at least one entry"))
    for each in value:
        if not isinstance(each, str) or not pattern.fullmatch(each):
            raise LabError(f"{source}: {where}: {each!r} is not {what}")
    if len(set(value)) != len(value):
        raise LabError(f"{source}: {where}: an entry appears twice")
    return tuple(value)


def one_of(source: str, where: str, value: Any, allowed: tuple[str, ...]) -> str:
    """One of the allowed words."""
    if value not in allowed:
        raise LabError(f"{source}: {where}: {value!r} is not one of {', '.join(allowed)}")
    return str(value)


def number(source: str, where: str, value: Any, low: float = 0.0, high: float = float("inf")) -> float:
    """A number between two bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        most = "or more" if high == float("inf") else f"to {high:g}"
        raise LabError(f"{source}: {where}: must be a number, {low:g} {most}")
    return float(value)
