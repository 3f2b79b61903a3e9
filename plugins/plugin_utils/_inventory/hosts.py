# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""What is known of a node in an inventory, and which groups it is in."""

from __future__ import annotations

import typing as t
from collections import Counter

try:
    import jmespath
except ImportError:
    jmespath = None

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.dict_transformations import camel_dict_to_snake_dict
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import PLATFORMS

from .errors import OptionError
from .notes import LeftOut, Notes, one_line, shown
from .read import Found
from .tags import Tags

#: Why a node cannot be patched now, in the order in which reasons are looked for.
REASONS = ("held", "stopped", "no_agent", "agent_offline", "unsupported_platform")


def own_addresses(found: list[Found], notes: Notes) -> list[Found]:
    """Return the nodes, without addresses of others that agents of hybrid servers say are theirs.

    Whoever connects there reaches somebody else's node. EC2's word on its instances stands.
    """
    count = Counter(item.node.address for item in found)
    kept = []
    for item in found:
        node = item.node
        if node.address and not node.state and count[node.address] > 1:
            said = f"address {shown(node.address)} is also another node's; ansible_host is left out"
            notes.add(node.account, node.region, node.id, said)
            item = item._replace(node=node._replace(address=""))
        kept.append(item)
    return kept


def not_patchable(item: Found, tags: Tags) -> str:
    """Return the first word of REASONS that keeps the node from being patched now, or the empty string."""
    node = item.node
    held = tags.held(node.tags)
    stopped = node.state in ("stopping", "stopped")
    offline = node.agent.get("PingStatus") != "Online"
    tests = (held, stopped, not node.agent, offline, node.platform not in PLATFORMS)
    return next((reason for reason, applies in zip(REASONS, tests, strict=True) if applies), "")


def entry(access: Account) -> dict[str, str]:
    """Return the variables that say how an account is entered."""
    found = {
        "assume_role_arn": access.role_arn,
        "assume_role_external_id": access.external_id,
        "assume_role_session_name": access.session_name,
        "assume_role_profile": access.profile,
    }
    return {name: value for name, value in found.items() if value}


def variables(item: Found, tags: Tags, connections: dict[str, str]) -> dict[str, t.Any]:
    """Return a node's host variables; every value is data from AWS and must never be templated."""
    node, access = item.node, item.access
    known: dict[str, t.Any] = {
        "node_id": node.id,
        "node_name": node.name,
        "account": node.account,
        "region": node.region,
        "patch_group": node.patch_group,
        "patch_wave": node.tags.get(tags.wave, ""),
        "platform": node.platform,
        "node_tags": node.tags,
        "ssm": {_SNAKE[key]: value for key, value in node.agent.items()},
    }
    reason = not_patchable(item, tags)
    if reason:
        known["not_patchable"] = reason
    known.update(entry(access))
    if node.details:
        known["instance"] = camel_dict_to_snake_dict(node.details["instance"], ignore_list=["Tags"])
        known["ssm"] = camel_dict_to_snake_dict(node.details["ssm"])
    known.update(_connection(node.id, node.address, node.region, connections.get(node.platform, "")))
    return known


_SNAKE = {
    "PingStatus": "ping_status",
    "LastPingDateTime": "last_ping",
    "AgentVersion": "agent_version",
    "ComputerName": "computer_name",
    "PlatformName": "platform_name",
    "PlatformVersion": "platform_version",
}


def _connection(node: str, address: str, region: str, kind: str) -> dict[str, str]:
    """Return the variables by which Ansible connects; Run Command needs none, so that nothing else is tried."""
    if kind == "run_command":
        return {}
    if kind == "aws_ssm":
        return {"ansible_connection": "amazon.aws.aws_ssm", "ansible_host": node, "ansible_aws_ssm_region": region}
    found = {"ansible_host": address} if address else {}
    return {**found, "ansible_connection": kind} if kind else found


def groups(known: t.Mapping[str, t.Any]) -> list[str]:
    """Return the names of the groups of a node with these host variables, before Ansible tidies them.

    A node out of scope is in none by which anything is patched.
    """
    in_scope = bool(known["patch_group"])
    pairs = (
        ("patch_group", known["patch_group"]),
        ("wave", known["patch_wave"] if in_scope else ""),
        ("platform", known["platform"]),
        ("not_patchable", known.get("not_patchable", "")),
    )
    own = "managed_nodes" if in_scope else "out_of_scope"
    return [own, *(f"{prefix}_{value}" for prefix, value in pairs if value.strip())]


class Expression:
    """A JMESPath expression of the user's over a host's variables."""

    def __init__(self, option: str, text: str) -> None:
        """Compile it.

        Raises:
            OptionError: it is not JMESPath, or there is no jmespath; names the option.
        """
        self._option = option
        if not jmespath:
            raise OptionError(f"{option}: {missing_required_lib('jmespath')}")
        try:
            self._compiled = jmespath.compile(text)
        except jmespath.exceptions.JMESPathError as error:
            raise OptionError(f"{option}: is not JMESPath: {' '.join(str(error).split())}") from error

    def of_all(self, known: list[dict[str, t.Any]], left_out: LeftOut) -> list[tuple[dict[str, t.Any], t.Any]]:
        """Return the variables of each node with what it says of them, without nodes that it cannot tell of.

        What fails for some is a matter of their tags, and they are left out.

        Raises:
            OptionError: it fails for all, and so is wrong.
        """
        found: list[tuple[dict[str, t.Any], t.Any]] = []
        failed: list[tuple[dict[str, t.Any], str]] = []
        for one in known:
            try:
                found.append((one, self._compiled.search(one)))
            except Exception as error:  # JMESPath's own, and Python's where a function takes its arguments for granted
                failed.append((one, one_line(str(error))))
        if failed and not found:
            raise OptionError(f"{self._option}: node {failed[0][0]['node_id']}: {failed[0][1]}")
        for one, why in failed:
            left_out.add(one, f"{self._option} fails for it: {why}")
        return found
