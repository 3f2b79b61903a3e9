# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""The managed nodes of one account and region: EC2 and hybrid, with tags and the state of their agents."""

from __future__ import annotations

import concurrent.futures
import datetime
import ipaddress
import sys
import typing as t

from .._aws import ec2 as ec2_api
from .._aws import ssm as ssm_api
from .._aws.errors import AwsError
from .._core.results import shown, text
from .._core.tag_names import resemblance

#: AWS's two spellings of the patch-group tag. With both on a node, which one Patch Manager takes is not documented;
#: here the one without the space wins, because it is the only one allowed when instance metadata shows tags.
PATCH_GROUP_TAGS = ("PatchGroup", "Patch Group")

#: What may be patched; it chooses how a node is reached, and so with which credentials.
PLATFORMS = ("linux", "windows", "macos")
#: What means the machine that asks, and services of AWS's own that every instance has beside it, such as its metadata.
_NO_NODES = (ipaddress.ip_network("0.0.0.0/8"), ipaddress.ip_network("fd00:ec2::/32"))

#: What the short form keeps of Systems Manager's record of a node.
_AGENT_KEYS = ("PingStatus", "LastPingDateTime", "AgentVersion", "ComputerName", "PlatformName", "PlatformVersion")
#: Characters that are kept of each of an agent's own words in the short form, and in the long one.
_SAID, _SAID_FULL = 200, 1000


class ManagedNode(t.NamedTuple):
    """A node in scope, made of text only so that it can be cached; all of it may go to any file and terminal.

    `name` is the tag `Name` or the id: the name that an agent gives is the node's own word, and in `agent` to look at.
    `agent` is what Systems Manager knows of the agent and its platform (_AGENT_KEYS, times in ISO 8601 and UTC), empty
    when no agent is registered; PingStatus may be minutes old. `state` is EC2's, the empty string for a hybrid node.
    `platform` is one of PLATFORMS, or the empty string where it is none of them or EC2 and the agent differ. `address`
    is the private IP address or the empty string. `details` is all that EC2 and Systems Manager gave, in the long form
    only. `odd_address` is what was said to be the node's address and is none that a node may have; the empty string
    where there is no such thing.
    """

    id: str
    name: str
    account: str
    region: str
    patch_group: str
    tags: dict[str, str]
    platform: str
    address: str
    state: str
    agent: dict[str, str]
    details: dict[str, t.Any] | None
    odd_address: str = ""


class Stray(t.NamedTuple):
    """A node out of scope with those of its tags whose keys are almost, or without a value, a patch-group tag."""

    id: str
    account: str
    region: str
    tags: dict[str, str]


class Region(t.NamedTuple):
    """What was read of an account and region: nodes, how many nodes have no patch group, and the odd ones of those."""

    nodes: list[ManagedNode]
    out_of_scope: int
    strays: list[Stray]


def patch_group(tags: dict[str, str]) -> str:
    """Return the patch group that a node's tags put it in, or the empty string."""
    return next((tags[key] for key in PATCH_GROUP_TAGS if tags.get(key, "").strip()), "")


def registered_agents(ssm: t.Any) -> dict[str, dict[str, t.Any]]:
    """Return Systems Manager's record of every managed node by id, in the fewest calls.

    DescribeInstanceProperties gives 1,000 a page but is documented for the console only, so where it is refused
    DescribeInstanceInformation (50 a page) takes its place.
    """
    try:
        records = ssm_api.describe_instance_properties(ssm)
    except AwsError as error:
        if error.code not in ("AccessDeniedException", "UnknownOperationException", "InvalidAction"):
            raise
        records = ssm_api.describe_instance_information(ssm)
    return {record["InstanceId"]: record for record in records}


class Clients(t.NamedTuple):
    """Clients of one account and region; that of the tagging API is made only where there are hybrid nodes."""

    ec2: t.Any
    ssm: t.Any
    tagging: t.Callable[[], t.Any]


class _Scope:
    """Tells nodes in scope from the others of an account and region, which it counts."""

    def __init__(self, account: str, region: str, everything: bool) -> None:
        self._place, self._everything = (account, region), everything
        self.outside = 0
        self.strays: list[Stray] = []

    def takes(self, node: str, tags: dict[str, str]) -> bool:
        """Say whether a node is to be returned."""
        if patch_group(tags):
            return True
        self.outside += 1
        odd = {key: value for key, value in tags.items() if key in PATCH_GROUP_TAGS or like_patch_group(key)}
        if odd:
            self.strays.append(Stray(node, *self._place, odd))
        return self._everything


def like_patch_group(key: str) -> bool:
    """Say whether a tag's key is neither of PATCH_GROUP_TAGS but almost one."""
    return key not in PATCH_GROUP_TAGS and any(resemblance(key, wanted) for wanted in PATCH_GROUP_TAGS)


def managed_nodes(
    clients: Clients, account: str, region: str, filters: dict[str, list[str]], everything: bool, full: bool
) -> Region:
    """Read the nodes of an account and region, sorted by id.

    Instances are asked for without regard to tags, since EC2 has no call that counts: 1,000 a page, whatever they are.

    Args:
        clients: of that account and region.
        account: its 12-digit id.
        region: the region's name.
        filters: EC2 filters (DescribeInstances) that narrow the EC2 nodes.
        everything: also return nodes without a patch-group tag, which are out of scope.
        full: fill in `details`.

    Raises:
        AwsError: a call failed.
    """
    wanted = {"instance-state-name": ["pending", "running", "stopping", "stopped"], **filters}
    scope = _Scope(account, region, everything)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(registered_agents, clients.ssm)
        instances = ec2_api.describe_instances(
            clients.ec2, wanted, short=not full, keep=lambda found: scope.takes(found["InstanceId"], _tags(found))
        )
    agents = asked.result()
    found = []
    for instance in instances:
        agent = agents.get(instance["InstanceId"], {})
        found.append(_node(instance["InstanceId"], _tags(instance), instance, agent, account, region, full))
    hybrid = {node: agent for node, agent in agents.items() if node.startswith("mi-")}
    tags_of_hybrid = ssm_api.managed_instance_tags(clients.tagging()) if hybrid else {}
    for node, agent in hybrid.items():
        tags = {_clean(key): _clean(value or "") for key, value in tags_of_hybrid.get(node, {}).items()}
        if scope.takes(node, tags):
            found.append(_node(node, tags, {}, agent, account, region, full))
    return Region(sorted(found, key=lambda node: node.id), scope.outside, scope.strays)


def _tags(instance: dict[str, t.Any]) -> dict[str, str]:
    """Return an instance's tags; a tag without a value is there all the same."""
    return {_clean(tag["Key"]): _clean(tag.get("Value") or "") for tag in instance.get("Tags", ())}


def _clean(value: str) -> str:
    """Return text that any file and terminal takes; nearly all texts are so as they come."""
    return value if value.isascii() and value.isprintable() else shown(value)


def _clean_all(value: t.Any, clean: t.Callable[[str], str]) -> t.Any:
    """Return the same structure with clean texts and keys."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {_clean(key): _clean_all(inner, clean) for key, inner in value.items()}
    return [_clean_all(inner, clean) for inner in value] if isinstance(value, list) else value


def _details(instance: dict[str, t.Any], agent: dict[str, t.Any]) -> dict[str, t.Any]:
    said = _clean_all(agent, lambda value: text(value, _SAID_FULL))
    return {"instance": _clean_all(instance, _clean), "ssm": said}


def _node(
    node: str,
    tags: dict[str, str],
    instance: dict[str, t.Any],
    agent: dict[str, t.Any],
    account: str,
    region: str,
    full: bool,
) -> ManagedNode:
    # EC2 knows the addresses of its instances. Only of hybrid servers is there nobody to ask but their agents.
    known = (instance.get("PrivateIpAddress") or instance.get("Ipv6Address")) if instance else agent.get("IPAddress")
    said = _clean(str(known or ""))
    address = usable_address(said)
    return ManagedNode(
        id=node,
        name=tags.get("Name") or node,
        account=account,
        region=region,
        patch_group=patch_group(tags),
        tags=tags,
        platform=_platform(instance, agent),
        address=address,
        state=instance.get("State", {}).get("Name", ""),
        agent={key: _text(agent[key]) for key in _AGENT_KEYS if agent.get(key)},
        details=_details(instance, agent) if full else None,
        odd_address="" if address else said,
    )


def _platform(instance: dict[str, t.Any], agent: dict[str, t.Any]) -> str:
    """Return one of PLATFORMS, or the empty string.

    EC2 knows of its instances whether they are Windows. An agent that says otherwise would be given the credentials of
    the other kind.
    """
    said = str(agent.get("PlatformType") or "").lower()
    if not instance:
        return said if said in PLATFORMS else ""
    if str(instance.get("Platform") or "").lower() == "windows":
        return "windows" if said in ("windows", "") else ""
    said = said or "linux"
    return said if said in PLATFORMS and said != "windows" else ""


def usable_address(text: str) -> str:
    """Return an IP address that a node may be reached at, in its usual form, or the empty string.

    A hybrid node's agent says it, and Ansible hands it to ssh: it must be no option, and nothing that is the controller
    itself or beside it.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    refused = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    refused = refused or address.is_reserved or any(address in network for network in _NO_NODES)
    if refused or getattr(address, "scope_id", None):  # anything may stand behind the % of a scope
        return ""
    return str(address)


def _text(value: t.Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = str(value)
    plain = len(said) <= _SAID and said.isascii() and said.isprintable()
    return sys.intern(said if plain else text(said, _SAID))  # a fleet has few versions and platforms
