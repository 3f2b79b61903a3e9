"""What `ansible-inventory --list` printed, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def plain(value: Any) -> Any:
    """Take off the marks of values that must not be templated."""
    if isinstance(value, dict):
        return value.get("__ansible_unsafe", {key: plain(inner) for key, inner in value.items()})
    return [plain(item) for item in value] if isinstance(value, list) else value


def marked(value: Any) -> Iterator[str]:
    """Return the texts that have such a mark."""
    if isinstance(value, dict) and "__ansible_unsafe" in value:
        yield value["__ansible_unsafe"]
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from marked(inner)


def texts(value: Any) -> Iterator[str]:
    """Return the texts that have no mark."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)) and "__ansible_unsafe" not in value:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)
