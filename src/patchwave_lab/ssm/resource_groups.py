"""Targets by resource group (aws.md 1.1): one group by name, and which of its types."""

import json
from typing import Any

from moto.resourcegroups.models import resourcegroups_backends

from patchwave_lab.ssm.errors import error
from patchwave_lab.world import ManagedNode, World

TYPES = {"AWS::EC2::Instance": False, "AWS::SSM::ManagedInstance": True}
#: Most types that one command may name.
MAX_TYPES = 5


def by_name(world: World, account: str, region: str, names: list[str]) -> list[ManagedNode]:
    """Nodes of a tag-based group; InvalidTarget when there is none of that name."""
    if len(names) != 1:
        raise error("InvalidTarget", "Only one resource group can be specified.")
    groups = resourcegroups_backends[account][region].groups.by_name
    if names[0] not in groups:
        raise error("InvalidTarget", f"Resource group {names[0]} does not exist.")
    query: dict[str, Any] = json.loads(groups[names[0]].resource_query["Query"])
    kinds = {TYPES.get(each) for each in query.get("ResourceTypeFilters", [])}
    everything = "AWS::AllSupported" in query.get("ResourceTypeFilters", [])
    return [
        node
        for node in world.nodes(account, region).values()
        if (everything or node.hybrid in kinds) and _tagged(world.tags(node), query.get("TagFilters", []))
    ]


def by_type(world: World, account: str, region: str, types: list[str]) -> list[ManagedNode]:
    """Nodes of the given CloudFormation types."""
    if len(types) > MAX_TYPES:
        raise error("InvalidTarget", f"At most {MAX_TYPES} resource types can be specified.")
    kinds = {TYPES.get(each) for each in types}
    return [node for node in world.nodes(account, region).values() if node.hybrid in kinds]


def _tagged(tags: dict[str, str], filters: list[dict[str, Any]]) -> bool:
    return all(
        each["Key"] in tags and (not each.get("Values") or tags[each["Key"]] in each["Values"]) for each in filters
    )
