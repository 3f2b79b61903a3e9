# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Read accounts and regions side by side, and say what each node is called and grouped by in an inventory."""

from __future__ import annotations

import concurrent.futures
import itertools
import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import (
    ManagedNode,
    account_id,
    managed_nodes,
)

#: Accounts and regions that are read at one time.
_WORKERS = 8


class Unread(t.NamedTuple):
    """An account and region whose nodes are missing from the inventory, and why in one line."""

    where: str
    error: str


class Found(t.NamedTuple):
    """A node and how its account was entered."""

    node: ManagedNode
    access: Account


def read(
    sessions: Sessions, accounts: list[Account], regions: list[str], filters: dict[str, list[str]]
) -> tuple[list[Found], list[Unread]]:
    """Read every account in every region; one that cannot be read costs only its own nodes."""
    found: list[Found] = []
    unread: list[Unread] = []
    entered: list[tuple[Account, str]] = []
    for access in accounts:
        try:
            entered.append((access, account_id(sessions, access, regions[0])))
        except AwsError as error:
            unread.append(Unread(f"account of {access.role_arn or 'the credentials'}, region {regions[0]}", str(error)))

    def one(job: tuple[tuple[Account, str], str]) -> tuple[list[Found], list[Unread]]:
        (access, account), region = job
        try:
            ec2, ssm = sessions.client("ec2", access, region), sessions.client("ssm", access, region)
            tagging = sessions.client("resourcegroupstaggingapi", access, region)
            nodes = managed_nodes(ec2, ssm, tagging, account, region, filters)
        except AwsError as error:
            return [], [Unread(f"account {account}, region {region}", str(error))]
        return [Found(node, access) for node in nodes], []

    with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
        for nodes, errors in pool.map(one, itertools.product(entered, regions)):
            found.extend(nodes)
            unread.extend(errors)
    return sorted(found, key=lambda item: item.node.id), unread


def variables(item: Found, wave_tag: str) -> dict[str, t.Any]:
    """Return a node's host variables; every value is data from AWS and must not be templated."""
    node = item.node
    known: dict[str, t.Any] = {
        "node_id": node.id,
        "node_name": node.name,
        "account": node.account,
        "region": node.region,
        "patch_group": node.patch_group,
        "patch_wave": node.tags.get(wave_tag, ""),
        "platform": node.platform,
        "ssm": node.agent,
        "node_tags": node.tags,
    }
    if node.address:
        known["ansible_host"] = node.address
    if item.access.role_arn:
        known["assume_role_arn"] = item.access.role_arn
    if item.access.external_id:
        known["assume_role_external_id"] = item.access.external_id
    return known


def groups(known: dict[str, t.Any]) -> list[str]:
    """Return the names of the groups that a node with these host variables is in, before Ansible tidies them."""
    names = ["managed_nodes", f"patch_group_{known['patch_group']}"]
    names.extend(f"{prefix}_{known[key]}" for prefix, key in _OPTIONAL_GROUPS if known[key])
    return names


_OPTIONAL_GROUPS = (("wave", "patch_wave"), ("platform", "platform"))
