"""Scenario files: which accounts, regions, buckets and nodes a lab has. Read strictly."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from patchwave_lab.errors import LabError
from patchwave_lab.labdir import OVERLAID

HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REGION_NAME = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
#: Where a node's own files can be: what is overlaid, or private to the node.
NODE_ROOTS = (*OVERLAID, "tmp", "run")


@dataclass(frozen=True)
class Platform:
    """A platform as DescribeInstanceInformation reports it."""

    type: str
    name: str
    version: str


PLATFORMS = {
    "Debian": Platform("Linux", "Debian GNU/Linux", "12"),
    "Ubuntu": Platform("Linux", "Ubuntu", "24.04"),
    "Amazon Linux": Platform("Linux", "Amazon Linux", "2023"),
    "Red Hat": Platform("Linux", "Red Hat Enterprise Linux", "9.4"),
}


@dataclass(frozen=True)
class Settings:
    """Numbers that AWS does not publish or that a test wants other; all durations in seconds."""

    #: ListCommandInvocations stays empty this long after SendCommand (seen in the wild: up to a few seconds).
    consistency_seconds: float = 0.3
    #: Delivery of a ramp's step is acknowledged after this long; AWS publishes no number.
    acknowledge_seconds: float = 0.05
    #: A node whose agent is off ends Undeliverable after this long; null: never, it waits for the delivery timeout.
    undeliverable_seconds: float | None = 4.0
    #: How long ago an agent that is off was last heard of.
    silence_seconds: float = 1800.0
    #: Lifetime of assumed-role credentials; null: as asked for.
    role_session_seconds: float | None = None
    #: At most this many commands run at once on this machine, over all nodes.
    workers: int = 16


@dataclass(frozen=True)
class NodeSpec:
    """One node of a scenario."""

    name: str
    account: str
    region: str
    hybrid: bool
    platform: Platform
    agent_on: bool
    tags: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """A whole scenario. The first account and region are the ones that the lab's credentials begin in."""

    source: str
    accounts: tuple[str, ...]
    regions: tuple[str, ...]
    buckets: tuple[str, ...]
    nodes: tuple[NodeSpec, ...]
    settings: Settings


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
    top = _mapping(source, "the file", raw)
    _known(source, "", top, {"accounts", "regions", "buckets", "nodes", "settings"})
    accounts = _strings(source, "accounts", top.get("accounts"), re.compile(r"\d{12}"), "12 digits, quoted")
    regions = _strings(source, "regions", top.get("regions"), REGION_NAME, "a region such as eu-central-1")
    buckets = _strings(source, "buckets", top.get("buckets", []), BUCKET_NAME, "a bucket name", empty=True)
    entries = top.get("nodes", [])
    if not isinstance(entries, list):
        raise LabError(f"{source}: nodes: must be a list")
    nodes = [spec for place, entry in enumerate(entries) for spec in _node(source, place, entry, accounts, regions)]
    _unique(source, nodes)
    settings = _settings(source, _mapping(source, "settings", top.get("settings", {})))
    return Scenario(source, accounts, regions, buckets, tuple(nodes), settings)


def _node(source: str, place: int, entry: Any, accounts: tuple[str, ...], regions: tuple[str, ...]) -> list[NodeSpec]:
    where = f"nodes[{place}]"
    raw = _mapping(source, where, entry)
    allowed = {"name", "count", "account", "region", "type", "tags", "platform", "agent", "files"}
    _known(source, f"{where}.", raw, allowed)
    name, count = raw.get("name"), raw.get("count")
    if not isinstance(name, str) or not HOST_NAME.fullmatch(name):
        raise LabError(f"{source}: {where}.name: must be a host name (letters, digits, dashes)")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 9999):
        raise LabError(f"{source}: {where}.count: must be a whole number from 1 to 9999")
    account = _one_of(source, f"{where}.account", str(raw.get("account", accounts[0])), accounts)
    region = _one_of(source, f"{where}.region", raw.get("region", regions[0]), regions)
    kind = _one_of(source, f"{where}.type", raw.get("type", "ec2"), ("ec2", "hybrid"))
    platform = _one_of(source, f"{where}.platform", raw.get("platform", "Debian"), tuple(PLATFORMS))
    # YAML 1.1 reads on and off as true and false.
    agent = {True: "on", False: "off"}.get(raw.get("agent", "on"), raw.get("agent", "on"))
    _one_of(source, f"{where}.agent", agent, ("on", "off"))
    tags, files = _tags(source, f"{where}.tags", raw.get("tags", {})), _files(source, where, raw.get("files", {}))
    names = (
        [name] if count is None else [f"{name}-{number:0{max(2, len(str(count)))}d}" for number in range(1, count + 1)]
    )
    return [
        NodeSpec(
            each, account, region, kind == "hybrid", PLATFORMS[platform], agent == "on", {"Name": each, **tags}, files
        )
        for each in names
    ]


def _tags(source: str, where: str, value: Any) -> dict[str, str]:
    tags = {}
    for key, content in _mapping(source, where, value).items():
        if not isinstance(key, str) or isinstance(content, bool) or not isinstance(content, str | int):
            raise LabError(f"{source}: {where}.{key}: a tag's value must be text or a whole number")
        tags[key] = str(content)
    return tags


def _files(source: str, where: str, value: Any) -> dict[str, str]:
    files = {}
    for path, content in _mapping(source, f"{where}.files", value).items():
        parts = str(path).split("/")
        if len(parts) < 3 or parts[0] or parts[1] not in NODE_ROOTS or {"", ".", ".."} & set(parts[1:]):
            places = ", ".join(f"/{root}" for root in NODE_ROOTS)
            raise LabError(f"{source}: {where}.files.{path}: must be an absolute path below one of {places}")
        if not isinstance(content, str):
            raise LabError(f"{source}: {where}.files.{path}: must be text")
        files[str(path)] = content
    return files


def _settings(source: str, raw: Mapping[Any, Any]) -> Settings:
    known = {each.name: each for each in fields(Settings)}
    _known(source, "settings.", raw, set(known))
    for key, value in raw.items():
        if value is None and known[key].default is not None and "None" not in str(known[key].type):
            raise LabError(f"{source}: settings.{key}: must be a number")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise LabError(f"{source}: settings.{key}: must be a number, zero or more")
    if not isinstance(raw.get("workers", 1), int) or raw.get("workers", 1) < 1:
        raise LabError(f"{source}: settings.workers: must be a whole number, 1 or more")
    return Settings(**raw)


def _mapping(source: str, where: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise LabError(f"{source}: {where}: must be a mapping of keys to values")
    return value


def _known(source: str, prefix: str, raw: Mapping[Any, Any], allowed: set[str]) -> None:
    for key in raw:
        if key not in allowed:
            raise LabError(f"{source}: unknown key {prefix}{key} (known: {', '.join(sorted(allowed))})")


def _strings(
    source: str, where: str, value: Any, pattern: re.Pattern[str], what: str, *, empty: bool = False
) -> tuple[str, ...]:
    if not isinstance(value, list) or (not value and not empty):
        raise LabError(f"{source}: {where}: must be a list" + ("" if empty else " with at least one entry"))
    for each in value:
        if not isinstance(each, str) or not pattern.fullmatch(each):
            raise LabError(f"{source}: {where}: {each!r} is not {what}")
    if len(set(value)) != len(value):
        raise LabError(f"{source}: {where}: an entry appears twice")
    return tuple(value)


def _one_of(source: str, where: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise LabError(f"{source}: {where}: {value!r} is not one of {', '.join(allowed)}")
    return str(value)


def _unique(source: str, nodes: list[NodeSpec]) -> None:
    seen: set[tuple[str, str, str]] = set()
    for node in nodes:
        key = (node.account, node.region, node.name)
        if key in seen:
            raise LabError(f"{source}: nodes: two nodes named {node.name} in {node.account} {node.region}")
        seen.add(key)
