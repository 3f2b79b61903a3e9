"""What gates said of waves: the windows and freezes that were in force, and who overrode them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_KEYS = ("hosts", "windows", "freezes")


def event(wave: str, result: dict[str, Any]) -> dict[str, Any]:
    """Return what a ledger keeps of a gate's result."""
    calendars = [one for one in result.get("calendars") or [] if isinstance(one, dict)]
    not_read = [str(name) for name in result.get("not_read") or []]
    override = result.get("override") or {}
    return {
        "wave": wave,
        "closed": result["closed"],
        "override": override,
        "calendars": calendars,
        "not_read": not_read,
    }


def lines(event: dict[str, Any]) -> list[str]:
    """Return a line for each calendar of a wave, and one for what was not read."""
    wave = event["wave"]
    found = [
        f"{wave}: {one.get('hosts')} nodes: windows: {one.get('windows')}; freezes: {one.get('freezes') or '-'}"
        for one in event["calendars"]
    ]
    return [*found, *(f"Warning: {line}" for line in warnings([{"event": "gate", **event}]))]


def warnings(events: Iterable[dict[str, Any]]) -> list[str]:
    """Return a line for each wave with variables that may be meant as windows or freezes."""
    last = {line["wave"]: line.get("not_read") for line in events if line["event"] == "gate"}
    what = "did you mean patch_windows or patch_freezes_NAME?"
    return [f"{wave}: the gate does not read {', '.join(names)}; {what}" for wave, names in last.items() if names]


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
