"""Faults by name: what can be made to go wrong, where, for how long and how often."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from patchwave_lab.clock import Clock
from patchwave_lab.errors import LabError


@dataclass(frozen=True)
class Kind:
    """One kind of fault: what happens, whether it hits nodes or API calls, and its numbers with their defaults."""

    text: str
    of_nodes: bool = True
    numbers: Mapping[str, float] = field(default_factory=dict)
    #: Virtual nodes cannot have it.
    real: bool = False


KINDS = {
    "throttle": Kind("calls beyond a token bucket per operation family are refused", False, {"rate": 2, "burst": 4}),
    "region-down": Kind("every call is answered 503", False),
    "region-slow": Kind("every call waits first", False, {"seconds": 3}),
    "token-expired": Kind("every session token has expired", False),
    "clock-skew": Kind("the caller's clock seems wrong: every signature is out of its time", False, {"seconds": 900}),
    "agent-off": Kind("the agent does not answer; PingStatus finds out later"),
    "agent-restart": Kind("mid-command: ends Undeliverable although it runs", numbers={"seconds": 35}),
    "lost-reply": Kind("a command runs, its reply never arrives: DeliveryTimedOut in the end"),
    "duplicate-delivery": Kind("a command runs twice"),
    "cancel-ignored": Kind("a cancelled command ends Cancelled and runs on"),
    "stale-ping": Kind("PingStatus stays Online whatever happens; GetConnectionStatus does not"),
    "access-denied": Kind("a command ends AccessDenied on the node"),
    "wrong-clock": Kind("the clock of a real node is wrong by so much", real=True, numbers={"seconds": 3600}),
    "reboot-hangs": Kind("a node that reboots does not come back"),
    "disk-full": Kind("/opt and /var of a real node take no more data", real=True),
}


@dataclass(frozen=True)
class Place:
    """Where something happens; empty for unknown."""

    account: str = ""
    region: str = ""
    node_id: str = ""


@dataclass
class Fault:
    """One fault. Empty `nodes`, `account` and `region` mean all; `until` is in seconds since the epoch."""

    name: str
    since: float
    nodes: list[str] = field(default_factory=list)
    account: str = ""
    region: str = ""
    until: float | None = None
    left: int | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    #: Tokens left and when that was, by account, region and operation family.
    buckets: dict[tuple[str, str, str], tuple[float, float]] = field(default_factory=dict)

    def covers(self, name: str, place: Place, now: float) -> bool:
        """Does it apply there and now?"""
        return (
            self.name == name
            and (self.until is None or now < self.until)
            and self.left != 0
            and self.account in ("", place.account)
            and self.region in ("", place.region)
            and (not self.nodes or place.node_id in self.nodes)
        )


def check(request: Mapping[str, Any], accounts: Sequence[str], regions: Sequence[str], nodes: Container[str]) -> None:
    """Raise LabError for a request that fits no fault, or names what is not there; `nodes` are names and ids."""
    kind = known(request.get("name"))
    numbers = {"for": 0.0, "count": 1.0, **dict.fromkeys(kind.numbers, float("-inf"))}
    if unknown := set(request) - {"name", "nodes", "account", "region", *numbers}:
        raise LabError(f"fault {request['name']} knows no {', '.join(sorted(unknown))}")
    for key, least in numbers.items():
        value, whole = request.get(key), key == "count"
        if value is not None and not (_number(value) and value >= least and not (whole and value % 1)):
            more = "" if least == float("-inf") else f", {least:g} or more"
            raise LabError(f"{key} of fault {request['name']} must be a {'whole ' * whole}number{more}")
    for key, there in (("account", accounts), ("region", regions)):
        if request.get(key) and str(request[key]) not in there:
            raise LabError(f"no {key} {request[key]!r} in this lab; there are: {', '.join(there)}")
    wanted = request.get("nodes") or []
    if not isinstance(wanted, list):
        raise LabError("nodes must be a list")
    if wanted and not kind.of_nodes:
        raise LabError(f"fault {request['name']} hits calls, not nodes; use an account or a region")
    if missing := [str(each) for each in wanted if each not in nodes]:
        raise LabError(f"no node {', '.join(missing)}")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def known(name: object) -> Kind:
    """The kind of that name."""
    if name not in KINDS:
        raise LabError(f"no fault {name!r}; there are: {', '.join(KINDS)}")
    return KINDS[str(name)]


class Faults:
    """The faults of a lab. Whoever uses it holds the lab's lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: list[Fault] = []

    def add(self, request: Mapping[str, Any]) -> Fault:
        """Begin a fault that was checked: {name, nodes: [ids], account, region, for, count, and its numbers}."""
        lasts, now, numbers = request.get("for"), self._clock.now(), KINDS[request["name"]].numbers
        made = Fault(
            name=request["name"],
            since=now,
            nodes=list(request.get("nodes") or []),
            account=str(request.get("account") or ""),
            region=str(request.get("region") or ""),
            until=None if lasts is None else now + lasts,
            left=request.get("count"),
            numbers={key: float(request.get(key, default)) for key, default in numbers.items()},
        )
        self._faults.append(made)
        return made

    def find(self, name: str, place: Place) -> Fault | None:
        """The fault that applies, without using it up."""
        now = self._clock.now()
        return next((each for each in self._faults if each.covers(name, place, now)), None)

    def hit(self, name: str, place: Place) -> Fault | None:
        """The fault that applies; one of its times is used up."""
        found = self.find(name, place)
        if found and found.left is not None:
            found.left -= 1
        return found

    def throttled(self, place: Place, family: str) -> bool:
        """Take a token; True when there is none."""
        fault = self.find("throttle", place)
        if fault is None:
            return False
        key, now = (place.account, place.region, family), self._clock.now()
        tokens, before = fault.buckets.get(key, (fault.numbers["burst"], now))
        tokens = min(fault.numbers["burst"], tokens + (now - before) * fault.numbers["rate"])
        fault.buckets[key] = (tokens - (tokens >= 1), now)
        return tokens < 1

    def clear(self, name: str = "") -> None:
        """End all faults, or those of a name."""
        if name:
            known(name)
        self._faults = [each for each in self._faults if name and each.name != name]

    def list(self) -> list[dict[str, Any]]:
        """Faults that are not over."""
        now = self._clock.now()
        on = [each for each in self._faults if each.left != 0 and (each.until is None or now < each.until)]
        return [{key: value for key, value in asdict(each).items() if key != "buckets"} for each in on]
