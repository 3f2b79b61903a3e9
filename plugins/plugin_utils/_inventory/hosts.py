# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""What a node is called in an inventory, what is known of it there, and which groups it is in."""

from __future__ import annotations

import hashlib
import typing as t

try:
    import jmespath
except ImportError:
    jmespath = None

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.dict_transformations import camel_dict_to_snake_dict

from .errors import OptionError
from .read import Found

#: Why a node cannot be patched now, in the order in which reasons are looked for.
REASONS = ("held", "stopped", "no_agent", "agent_offline", "unsupported_platform")
_PLATFORMS = ("linux", "windows", "macos")
_NO = ("", "0", "false", "no", "off")


class Tags(t.NamedTuple):
    """Keys of the tags that are looked at besides the patch group."""

    wave: str
    hold: str


def not_patchable(item: Found, hold_tag: str) -> str:
    """Return the first word of REASONS that keeps the node from being patched now, or the empty string."""
    node = item.node
    held = node.tags.get(hold_tag, "").strip().lower() not in _NO
    stopped = node.state in ("stopping", "stopped")
    offline = node.agent.get("PingStatus") != "Online"
    tests = (held, stopped, not node.agent, offline, node.platform not in _PLATFORMS)
    return next((reason for reason, applies in zip(REASONS, tests, strict=True) if applies), "")


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
    reason = not_patchable(item, tags.hold)
    if reason:
        known["not_patchable"] = reason
    if access.role_arn:
        known["assume_role_arn"] = access.role_arn
    if access.external_id:
        known["assume_role_external_id"] = access.external_id
    if access.session_name:
        known["assume_role_session_name"] = access.session_name
    if access.profile:
        known["assume_role_profile"] = access.profile
    if node.details:
        known["instance"] = camel_dict_to_snake_dict(node.details["instance"], ignore_list=["Tags"])
        known["ssm"] = camel_dict_to_snake_dict(node.details["ssm"])
    known.update(_connection(node.id, node.address, node.region, connections.get(node.platform, "")))
    return known


_SNAKE = {
    "PingStatus": "ping_status",
    "LastPingDateTime": "last_ping",
    "AgentVersion": "agent_version",
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


def groups(known: dict[str, t.Any]) -> list[str]:
    """Return the names of the groups of a node with these host variables, before Ansible tidies them."""
    reason = known.get("not_patchable", "")
    pairs = (
        ("patch_group", known["patch_group"]),
        ("wave", known["patch_wave"]),
        ("platform", known["platform"]),
        ("not_patchable", reason),
    )
    return ["managed_nodes", *(f"{prefix}_{value}" for prefix, value in pairs if value)]


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

    def value(self, known: dict[str, t.Any]) -> t.Any:
        """Return what it says of these variables."""
        try:
            return self._compiled.search(known)
        except jmespath.exceptions.JMESPathError as error:
            where = f"{self._option}: node {known['node_id']}"
            raise OptionError(f"{where}: {' '.join(str(error).split())}") from error


def names(
    known: list[dict[str, t.Any]], expression: Expression | None, reserved: t.Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Name each host; a name that two nodes would share, or that is no name, gives way to the node id.

    Args:
        known: the variables of each host.
        expression: names a host; without it the node id does.
        reserved: names of groups that are there or will be, besides those of groups().

    Returns:
        The names in order, and a line for each name that was refused.
    """
    if not expression:
        return [one["node_id"] for one in known], []
    wanted = [expression.value(one) for one in known]
    texts = [value if isinstance(value, str) else "" for value in wanted]
    seen: dict[str, int] = {}
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
    found, refused = [], []
    for one, text in zip(known, texts, strict=True):
        good = text and text.strip() == text and text.isprintable()
        good = good and text not in reserved and not text.startswith(_GROUPS)
        if good and seen[text] == 1:
            found.append(text)
            continue
        found.append(one["node_id"])
        why = "is also another node's" if good else "is no host name or clashes with a group"
        refused.append(f"account {one['account']}, region {one['region']}: {one['node_id']}: name {text!r} {why}")
    return found, refused


_GROUPS = ("patch_group_", "wave_", "platform_", "not_patchable_", "managed_nodes", "unread_")


class GroupNames:
    """Turns group names into what Ansible allows, and keeps two different ones apart."""

    def __init__(self, sanitize: t.Callable[[str], str]) -> None:
        self._sanitize = sanitize
        self._names: dict[str, str] = {}
        self._taken: dict[str, str] = {}
        self.clashes: list[str] = []

    def name(self, raw: str, known: dict[str, t.Any]) -> str:
        """Return the name of a group that a host with these variables is in.

        Where it is taken by another raw name, six hex digits of a hash set it apart.
        """
        if raw not in self._names:
            name = self._sanitize(raw)
            if self._taken.setdefault(name, raw) != raw:
                where = f"account {known['account']}, region {known['region']}: {known['node_id']}"
                self.clashes.append(f"{where}: groups {raw!r} and {self._taken[name]!r} would both be {name!r}")
                name = f"{name}_{hashlib.sha256(raw.encode()).hexdigest()[:6]}"
            self._names[raw] = name
        return self._names[raw]
