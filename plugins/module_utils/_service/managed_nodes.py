# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""The managed nodes of one account and region: EC2 and hybrid, with tags and the state of their agents."""

from __future__ import annotations

import concurrent.futures
import datetime
import typing as t

from .._aws import ec2 as ec2_api
from .._aws import ssm as ssm_api
from .._aws.errors import AwsError

#: AWS's two spellings of the patch-group tag. With both on a node, which one Patch Manager takes is not documented;
#: here the one without the space wins, because it is the only one allowed when instance metadata shows tags.
PATCH_GROUP_TAGS = ("PatchGroup", "Patch Group")

#: What the short form keeps of Systems Manager's record of a node.
_AGENT_KEYS = ("PingStatus", "LastPingDateTime", "AgentVersion", "PlatformName", "PlatformVersion")


class ManagedNode(t.NamedTuple):
    """A node in scope, made of text only so that it can be cached.

    `agent` is what Systems Manager knows of the agent and its platform (_AGENT_KEYS, times in ISO 8601 and UTC), empty
    when no agent is registered; PingStatus may be minutes old. `state` is EC2's, the empty string for a hybrid node.
    `platform` is `linux`, `windows`, `macos` or the empty string. `address` is the private IPv4 address or the empty
    string. `details` is all that EC2 and Systems Manager gave, in the long form only.
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


def patch_group(tags: dict[str, str]) -> str:
    """Return the patch group that a node's tags put it in, or the empty string."""
    return next((tags[key] for key in PATCH_GROUP_TAGS if tags.get(key)), "")


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


def managed_nodes(
    clients: Clients, account: str, region: str, filters: dict[str, list[str]], everything: bool, full: bool
) -> list[ManagedNode]:
    """Read the nodes of an account and region, sorted by id.

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
    if not everything:
        wanted.setdefault("tag-key", list(PATCH_GROUP_TAGS))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(registered_agents, clients.ssm)
        instances = ec2_api.describe_instances(clients.ec2, wanted, short=not full)
    agents = asked.result()
    found = []
    for instance in instances:
        tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}
        agent = agents.get(instance["InstanceId"], {})
        found.append(_node(instance["InstanceId"], tags, instance, agent, account, region, full))
    hybrid = {node: agent for node, agent in agents.items() if node.startswith("mi-")}
    tags_of_hybrid = ssm_api.managed_instance_tags(clients.tagging()) if hybrid else {}
    for node, agent in hybrid.items():
        found.append(_node(node, tags_of_hybrid.get(node, {}), {}, agent, account, region, full))
    return sorted((node for node in found if everything or node.patch_group), key=lambda node: node.id)


def _node(
    node: str,
    tags: dict[str, str],
    instance: dict[str, t.Any],
    agent: dict[str, t.Any],
    account: str,
    region: str,
    full: bool,
) -> ManagedNode:
    return ManagedNode(
        id=node,
        name=tags.get("Name") or agent.get("ComputerName") or node,
        account=account,
        region=region,
        patch_group=patch_group(tags),
        tags=tags,
        platform=str(agent.get("PlatformType") or instance.get("Platform") or ("linux" if instance else "")).lower(),
        address=instance.get("PrivateIpAddress") or agent.get("IPAddress") or "",
        state=instance.get("State", {}).get("Name", ""),
        agent={key: _text(agent[key]) for key in _AGENT_KEYS if agent.get(key)},
        details={"instance": instance, "ssm": agent} if full else None,
    )


def _text(value: t.Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)
