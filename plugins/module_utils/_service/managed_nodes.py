# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The managed nodes of one account and region: EC2 and hybrid, with tags and the state of their agents."""

from __future__ import annotations

import typing as t

from .._aws import ec2 as ec2_api
from .._aws import ssm as ssm_api
from .._aws.errors import AwsError
from .._aws.sessions import Account, Sessions, caller_account

#: AWS's two spellings of the patch-group tag. With both on a node, which one Patch Manager takes is not documented;
#: here the one without the space wins, because it is the only one allowed when instance metadata shows tags.
PATCH_GROUP_TAGS = ("PatchGroup", "Patch Group")

_AGENT_KEYS = ("InstanceId", "PingStatus", "PlatformType", "PlatformName", "PlatformVersion", "AgentVersion")


class ManagedNode(t.NamedTuple):
    """A node in scope.

    `agent` is what Systems Manager knows of it, snake_cased, empty when no agent is registered; `ping_status` there may
    be minutes old. `address` is its private IPv4 address or the empty string. `platform` is `linux`, `windows`, `macos`
    or the empty string.
    """

    id: str
    name: str
    account: str
    region: str
    patch_group: str
    tags: dict[str, str]
    platform: str
    address: str
    agent: dict[str, str]


def account_id(sessions: Sessions, access: Account, region: str) -> str:
    """Return the 12-digit id of an account that is entered this way; the first call that shows bad credentials."""
    return str(caller_account(sessions.client("sts", access, region)))


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


def managed_nodes(
    ec2: t.Any, ssm: t.Any, tagging: t.Any, account: str, region: str, filters: dict[str, list[str]]
) -> list[ManagedNode]:
    """Read the nodes of an account and region that have a patch-group tag, sorted by id.

    Args:
        ec2, ssm, tagging: clients of that account and region.
        account: its 12-digit id.
        region: the region's name.
        filters: EC2 filters (DescribeInstances) that narrow the EC2 nodes.

    Raises:
        AwsError: a call failed.
    """
    wanted = {"instance-state-name": ["pending", "running", "stopping", "stopped"], **filters}
    wanted.setdefault("tag-key", list(PATCH_GROUP_TAGS))
    agents = registered_agents(ssm)
    found = []
    for instance in ec2_api.describe_instances(ec2, wanted):
        tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}
        record = {**agents.get(instance["InstanceId"], {}), "IPAddress": instance.get("PrivateIpAddress", "")}
        platform = instance.get("Platform") or "linux"
        found.append(_node(instance["InstanceId"], tags, record, account, region, platform))
    hybrid = {node: record for node, record in agents.items() if node.startswith("mi-")}
    tags_of_hybrid = ssm_api.managed_instance_tags(tagging) if hybrid else {}
    for node, record in hybrid.items():
        found.append(_node(node, tags_of_hybrid.get(node, {}), record, account, region, ""))
    return sorted((node for node in found if node.patch_group), key=lambda node: node.id)


def _node(
    node: str, tags: dict[str, str], record: dict[str, t.Any], account: str, region: str, platform: str
) -> ManagedNode:
    return ManagedNode(
        id=node,
        name=tags.get("Name") or record.get("ComputerName") or node,
        account=account,
        region=region,
        patch_group=patch_group(tags),
        tags=tags,
        platform=str(record.get("PlatformType") or platform).lower(),
        address=record.get("IPAddress") or "",
        agent={_snake(key): str(record[key]) for key in _AGENT_KEYS[1:] if record.get(key)},
    )


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key).lstrip("_")
