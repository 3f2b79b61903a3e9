"""What gates said of waves: the windows and freezes that were in force, and who overrode them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_KEYS = ("hosts", "windows", "freezes")


def lines(wave: str, calendars: Iterable[dict[str, Any]]) -> list[str]:
    """Return a line for each calendar of a wave."""
    return [
        f"{wave}: {one.get('hosts')} nodes: windows: {one.get('windows')}; freezes: {one.get('freezes') or '-'}"
        for one in calendars
    ]


def calendars(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the calendars of each wave as its gate told last, of all events of a ledger."""
    last = {line["wave"]: line for line in events if line["event"] == "gate"}
    return [
        {"wave": wave, "time": line["time"], **{key: one.get(key) for key in _KEYS}}
        for wave, line in last.items()
        for one in line.get("calendars", ())
    ]


def overrides(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return who overrode which gates: those that were closed, and those that might have closed during the run."""
    told = [line for line in events if line["event"] == "gate" and line["override"]]
    return [{"time": line["time"], "wave": line["wave"], "closed": line["closed"], **line["override"]} for line in told]
