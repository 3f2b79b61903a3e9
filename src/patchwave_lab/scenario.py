"""Scenario files: which accounts, regions, buckets and nodes a lab has. Read strictly."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from itertools import cycle, product
from pathlib import Path
from typing import Any

import yaml

from patchwave_lab import faults
from patchwave_lab.errors import LabError
from patchwave_lab.labdir import OVERLAID
from patchwave_lab.nodes import model_file
from patchwave_lab.nodes.latency import Model
from patchwave_lab.strict import known, mapping, one_of, strings

HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REGION_NAME = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
#: Keys of a node.
NODE_KEYS = {
    *("name", "count", "account", "region", "spread", "type", "platform", "architecture"),
    *("agent", "tags", "files", "virtual"),
}
#: Architectures as EC2 calls them, by what the kernel calls them.
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
#: Nodes of one entry.
MOST_NODES = 100_000
#: Where a node's own files can be: what is overlaid, or private to the node.
NODE_ROOTS = (*OVERLAID, "tmp", "run")


@dataclass(frozen=True)
class Platform:
    """A platform as DescribeInstanceInformation reports it."""

    type: str
    name: str
    version: str
    #: ID in /etc/os-release, where the node has one of its own.
    identity: str = ""

    @property
    def rpm(self) -> bool:
        """Is it of the RPM family? A real node gets a root of its own then."""
        return self.identity in ("amzn", "rhel", "rocky")


PLATFORMS = {
    "Debian": Platform("Linux", "Debian GNU/Linux", "12"),
    "Ubuntu": Platform("Linux", "Ubuntu", "24.04"),
    "Amazon Linux": Platform("Linux", "Amazon Linux", "2023", "amzn"),
    "Red Hat": Platform("Linux", "Red Hat Enterprise Linux", "9.4", "rhel"),
    "Rocky": Platform("Linux", "Rocky Linux", "9.4", "rocky"),
    "Windows": Platform("Windows", "Microsoft Windows Server 2022 Datacenter", "10.0.20348"),
}


@dataclass(frozen=True)
class Settings:
    """Numbers that AWS does not publish or that a test wants other; all durations in seconds."""

    #: ListCommandInvocations stays empty this long after SendCommand (seen in the wild: up to a few seconds).
    consistency_seconds: float = 0.3
    #: Delivery of a ramp's step is acknowledged after this long; AWS publishes no number.
    acknowledge_seconds: float = 0.05
    #: What a node whose agent is off was sent shows Delayed after this long; AWS publishes no number.
    delayed_seconds: float = 2.0
    #: A node whose agent is off ends Undeliverable after this long; null: never, it waits for the delivery timeout.
    undeliverable_seconds: float | None = 4.0
    #: How long ago an agent that is off was last heard of.
    silence_seconds: float = 1800.0
    #: PingStatus turns to ConnectionLost this long after the agent was last there; AWS does not say.
    connection_lost_seconds: float = 300.0
    #: A script's exit code 194 reboots the node after this long (shutdown -r +1 of the agent).
    reboot_grace_seconds: float = 60.0
    #: How long a reboot takes.
    reboot_seconds: float = 5.0
    #: How percentages of MaxConcurrency and MaxErrors are rounded; AWS does not say.
    percent_rounding: str = "down"
    #: The coarse Status of invocations that end Terminated, InvalidPlatform or AccessDenied; AWS does not say.
    terminated_status: str = "Cancelled"
    invalid_platform_status: str = "Failed"
    access_denied_status: str = "Failed"
    #: StatusDetails of invocations that a CloudWatch alarm kept from being sent; AWS does not say.
    alarm_details: str = "Cancelled"
    #: Is the unified console set up, so that ListNodes knows its sync of all accounts and regions? It is the
    #: organization's choice: `absent` or `present`.
    unified_console: str = "absent"
    #: Is DescribeInstanceProperties, which is documented for the console, `offered` or `withdrawn`?
    instance_properties: str = "offered"
    #: Is a stopped instance that is named by id `accepted` or `refused`? AWS lists it as valid.
    stopped_nodes: str = "accepted"
    #: Pending invocations of an account and region beyond which a command ends RateExceeded; null: no limit.
    pending_quota: float | None = None
    #: Lifetime of assumed-role credentials; null: as asked for.
    role_session_seconds: float | None = None
    #: At most this many commands run at once on this machine, over all nodes.
    workers: int = 16


#: Settings that are words, and which; the first is the default.
WORDS = {
    "percent_rounding": ("down", "up"),
    "terminated_status": ("Cancelled", "Failed"),
    "invalid_platform_status": ("Failed", "Cancelled"),
    "access_denied_status": ("Failed", "Cancelled"),
    "alarm_details": ("Cancelled", "Terminated"),
    "unified_console": ("absent", "present"),
    "instance_properties": ("offered", "withdrawn"),
    "stopped_nodes": ("accepted", "refused"),
}


@dataclass(frozen=True)
class NodeSpec:
    """One node of a scenario."""

    name: str
    account: str
    region: str
    hybrid: bool
    platform: Platform
    architecture: str
    agent_on: bool
    tags: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    #: How a virtual node answers; None for a real one.
    model: Model | None = None

    @property
    def node_id(self) -> str:
        """The same in every lab: from account, region and name."""
        kind = "mi" if self.hybrid else "i"
        seed = f"{kind}/{self.account}/{self.region}/{self.name}"
        return f"{kind}-{hashlib.sha256(seed.encode()).hexdigest()[:17]}"


@dataclass(frozen=True)
class Scenario:
    """A whole scenario. The first account and region are the ones that the lab's credentials begin in."""

    source: str
    accounts: tuple[str, ...]
    regions: tuple[str, ...]
    buckets: tuple[str, ...]
    nodes: tuple[NodeSpec, ...]
    settings: Settings
    faults: tuple[Mapping[str, Any], ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Regions that are called: the nodes', and the one where AWS's global services are."""
        return tuple(dict.fromkeys((*self.regions, "us-east-1")))


def builtin_names() -> list[str]:
    """Names of the scenarios that come with the lab."""
    folder = resources.files("patchwave_lab") / "scenarios"
    return sorted(entry.name.removesuffix(".yml") for entry in folder.iterdir() if entry.name.endswith(".yml"))


def read_text(chosen: str) -> tuple[str, str]:
    """The name for messages and the text of a scenario file or built-in scenario."""
    if chosen in builtin_names():
        return chosen, (resources.files("patchwave_lab") / "scenarios" / f"{chosen}.yml").read_text()
    try:
        return chosen, Path(chosen).read_text()
    except FileNotFoundError:
        known = ", ".join(builtin_names())
        raise LabError(f"{chosen}: no such scenario file, and no built-in scenario ({known})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{chosen}: cannot be read: {error}") from None


def parse(source: str, text: str) -> Scenario:
    """A scenario from its YAML text; the first thing wrong is a LabError that names file and key."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LabError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    top = mapping(source, "the file", raw)
    known(source, "", top, {"accounts", "regions", "buckets", "nodes", "settings", "faults"})
    accounts = strings(source, "accounts", top.get("accounts"), re.compile(r"\d{12}"), "12 digits, quoted")
    regions = strings(source, "regions", top.get("regions"), REGION_NAME, "a region such as eu-central-1")
    buckets = strings(source, "buckets", top.get("buckets", []), BUCKET_NAME, "a bucket name", empty=True)
    entries = top.get("nodes", [])
    if not isinstance(entries, list):
        raise LabError(f"{source}: nodes: must be a list")
    nodes = [spec for place, entry in enumerate(entries) for spec in _node(source, place, entry, accounts, regions)]
    _unique(source, nodes)
    settings = _settings(source, mapping(source, "settings", top.get("settings", {})))
    value = top.get("faults", [])
    if not isinstance(value, list):
        raise LabError(f"{source}: faults: must be a list")
    begun = tuple(mapping(source, f"faults[{place}]", each) for place, each in enumerate(value))
    made = Scenario(source, accounts, regions, buckets, tuple(nodes), settings, begun)
    _check_faults(made)
    return made


def _check_faults(made: Scenario) -> None:
    there = {word for node in made.nodes for word in (node.node_id, node.name)} if made.faults else set()
    for place, each in enumerate(made.faults):
        try:
            faults.check(each, made.accounts, made.places, there)
        except LabError as error:
            raise LabError(f"{made.source}: faults[{place}]: {error}") from None


def _node(source: str, place: int, entry: Any, accounts: tuple[str, ...], regions: tuple[str, ...]) -> list[NodeSpec]:
    where = f"nodes[{place}]"
    raw = mapping(source, where, entry)
    known(source, f"{where}.", raw, NODE_KEYS)
    names = _names(source, where, raw)
    account = one_of(source, f"{where}.account", str(raw.get("account", accounts[0])), accounts)
    region = one_of(source, f"{where}.region", raw.get("region", regions[0]), regions)
    kind = one_of(source, f"{where}.type", raw.get("type", "ec2"), ("ec2", "hybrid"))
    platform = one_of(source, f"{where}.platform", raw.get("platform", "Debian"), tuple(PLATFORMS))
    agent = raw.get("agent", "on")
    # YAML 1.1 reads on and off as true and false.
    agent = one_of(source, f"{where}.agent", ("off", "on")[agent] if isinstance(agent, bool) else agent, ("on", "off"))
    tags, files = _tags(source, f"{where}.tags", raw.get("tags", {})), _files(source, where, raw.get("files", {}))
    model = model_file.parse(source, f"{where}.virtual", raw.get("virtual", False))
    if model is None and platform == "Windows":
        raise LabError(f"{source}: {where}.platform: only a virtual node can be Windows")
    architecture = _architecture(source, f"{where}.architecture", raw, virtual=model is not None)
    places = list(product(accounts, regions)) if raw.get("spread") else [(account, region)]
    return [
        NodeSpec(
            each,
            *spot,
            kind == "hybrid",
            PLATFORMS[platform],
            architecture,
            agent == "on",
            {"Name": each, **tags},
            files,
            model,
        )
        for each, spot in zip(names, cycle(places), strict=False)
    ]


def _architecture(source: str, where: str, raw: Mapping[Any, Any], *, virtual: bool) -> str:
    own = ARCHITECTURES.get(os.uname().machine, "x86_64")
    chosen = one_of(source, where, raw.get("architecture", "x86_64" if virtual else own), ("x86_64", "arm64"))
    if not virtual and chosen != own:
        raise LabError(f"{source}: {where}: a real node has this machine's, {own}; only a virtual one can be {chosen}")
    return chosen


def _names(source: str, where: str, raw: Mapping[Any, Any]) -> list[str]:
    name, count = raw.get("name"), raw.get("count")
    if not isinstance(name, str) or not HOST_NAME.fullmatch(name):
        raise LabError(f"{source}: {where}.name: must be a host name (letters, digits, dashes)")
    if count is None:
        return [name]
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_NODES:
        raise LabError(f"{source}: {where}.count: must be a whole number from 1 to {MOST_NODES}")
    return [f"{name}-{number:0{max(2, len(str(count)))}d}" for number in range(1, count + 1)]


def _tags(source: str, where: str, value: Any) -> dict[str, str]:
    tags = {}
    for key, content in mapping(source, where, value).items():
        if not isinstance(key, str) or isinstance(content, bool) or not isinstance(content, str | int):
            raise LabError(f"{source}: {where}.{key}: a tag's value must be text or a whole number")
        tags[key] = str(content)
    return tags


def _files(source: str, where: str, value: Any) -> dict[str, str]:
    files = {}
    for path, content in mapping(source, f"{where}.files", value).items():
        parts = str(path).split("/")
        if len(parts) < 3 or parts[0] or parts[1] not in NODE_ROOTS or {"", ".", ".."} & set(parts[1:]):
            places = ", ".join(f"/{root}" for root in NODE_ROOTS)
            raise LabError(f"{source}: {where}.files.{path}: must be an absolute path below one of {places}")
        if not isinstance(content, str):
            raise LabError(f"{source}: {where}.files.{path}: must be text")
        files[str(path)] = content
    return files


def _settings(source: str, raw: Mapping[Any, Any]) -> Settings:
    keys = {each.name: each for each in fields(Settings)}
    known(source, "settings.", raw, set(keys))
    for key, allowed in WORDS.items():
        one_of(source, f"settings.{key}", raw.get(key, allowed[0]), allowed)
    for key, value in raw.items():
        if key in WORDS:
            continue
        if value is None and keys[key].default is not None and "None" not in str(keys[key].type):
            raise LabError(f"{source}: settings.{key}: must be a number")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise LabError(f"{source}: settings.{key}: must be a number, zero or more")
    if not isinstance(raw.get("workers", 1), int) or raw.get("workers", 1) < 1:
        raise LabError(f"{source}: settings.workers: must be a whole number, 1 or more")
    return Settings(**raw)


def _unique(source: str, nodes: list[NodeSpec]) -> None:
    seen: set[tuple[str, str, str]] = set()
    for node in nodes:
        key = (node.account, node.region, node.name)
        if key in seen:
            raise LabError(f"{source}: nodes: two nodes named {node.name} in {node.account} {node.region}")
        seen.add(key)
