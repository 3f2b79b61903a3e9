"""What `ansible-inventory --list` printed, as plain data."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """Take off the marks of values that must not be templated."""
    if isinstance(value, dict):
        return value.get("__ansible_unsafe", {key: plain(inner) for key, inner in value.items()})
    return [plain(item) for item in value] if isinstance(value, list) else value
