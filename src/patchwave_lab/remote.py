"""What the command line and tests may tell a running lab, below /_lab/: verbs that take and give JSON objects."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from patchwave_lab.registration import register
from patchwave_lab.world import World

Verb = Callable[[World, dict[str, Any]], dict[str, Any]]


def _ping(_world: World, _body: dict[str, Any]) -> dict[str, Any]:
    return {}


def _reset(world: World, _body: dict[str, Any]) -> dict[str, Any]:
    world.reset()
    return {}


def _advance(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """{seconds} more on the clock; {now} in seconds since the epoch."""
    world.timeline.advance(float(body.get("seconds", 0)))
    return {"now": world.clock.now()}


def _fault(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """{add: {name, ...}}, {clear: name or ""} or nothing; {faults: [...]} that are on."""
    with world.lock:
        if "add" in body:
            world.begin_fault(body["add"])
        if "clear" in body:
            world.end_faults(body["clear"])
        return {"faults": world.faults.list()}


def _switch(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """{read_only: bool}, {check_only: bool} and {iam: bool}; all as they are now; {written: [lines]} on nodes."""
    with world.lock:
        world.read_only = bool(body.get("read_only", world.read_only))
        world.enforce_iam = bool(body.get("iam", world.enforce_iam))
        written = world.written()
        world.set_check_only(on=bool(body.get("check_only", world.check_only)))
        switches = {"read_only": world.read_only, "check_only": world.check_only, "iam": world.enforce_iam}
        return {**switches, "written": written}


def _settings(world: World, _body: dict[str, Any]) -> dict[str, Any]:
    return asdict(world.settings)


VERBS: dict[str, Verb] = {
    "ping": _ping,
    "reset": _reset,
    "advance": _advance,
    "fault": _fault,
    "switch": _switch,
    "settings": _settings,
    "register": register,
}
