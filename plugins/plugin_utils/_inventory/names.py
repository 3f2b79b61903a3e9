# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""What nodes and groups are called. Ansible takes some names for more than names; no tag can give such a one."""

from __future__ import annotations

import re
import socket
import typing as t
from collections import Counter

from ansible import constants

from . import hosts
from .notes import Notes, cut, shown

#: A name of a host, and of a file host_vars/NAME; not a pattern of hosts, an address with a port or a path.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_NODE_ID = re.compile(r"m?i-[0-9a-f]{8,17}", re.IGNORECASE)
#: What means the controller itself, with and without a domain.
_LOCAL = re.compile(
    r"(.+\.)?localhost[46]?(\.localdomain[46]?)?|(ip6-)?loopback|ip6-localhost|broadcasthost", re.IGNORECASE
)
#: Groups that are there or may come; see hosts.groups().
_GROUPS = ("patch_group_", "wave_", "platform_", "not_patchable_", "unread_", "managed_nodes", "out_of_scope")


def is_host_name(text: str) -> bool:
    """Say whether a text is a name of a host, of some other machine than this, and nothing besides."""
    if not _NAME.fullmatch(text) or ".." in text or text.lower().endswith((".", *constants.YAML_FILENAME_EXTENSIONS)):
        return False
    return not (_LOCAL.fullmatch(text) or _is_address(text))


def _is_address(text: str) -> bool:
    """Say whether the system takes a text for an IPv4 address, of which it knows many forms; IPv6's have colons."""
    try:
        socket.inet_aton(text)
    except OSError:
        return False
    return True


def host_names(
    known: list[dict[str, t.Any]],
    expression: hosts.Expression | None,
    notes: Notes,
    groups: t.Collection[str] = (),
    there: t.Mapping[str, t.Any] | None = None,
) -> list[str]:
    """Name each host; a name that is none, or somebody else's, gives way to the node id.

    Args:
        known: the variables of each host.
        expression: names a host; without it the node id does.
        notes: gets what was refused.
        groups: names of groups that are there or will be, besides those of hosts.groups().
        there: node ids of hosts that are there already, by name.
    """
    ids = [str(one["node_id"]) for one in known]
    if not expression:
        return ids
    values = [expression.value(one) for one in known]
    texts = [value if isinstance(value, str) else "" for value in values]
    taken, seen, found = set(ids), Counter(texts), []
    for one, node, text in zip(known, ids, texts, strict=True):
        why = ""
        if not is_host_name(text):
            why = "is no host name"
        elif text in groups or text.startswith(_GROUPS):
            why = "is a group's"
        elif text != node and (seen[text] > 1 or text in taken or _NODE_ID.fullmatch(text)):
            why = "is also another node's"
        elif there and there.get(text, node) != node:
            why = "is another host's"
        if why:
            refuse(notes, one, text, why)
        found.append(node if why else text)
    return found


def refuse(notes: Notes, known: dict[str, t.Any], name: str, why: str) -> None:
    """Say that a host with these variables is not called so."""
    notes.add(known["account"], known["region"], known["node_id"], f"name {shown(name)} {why}; named by its id")


class GroupNames:
    """Turns group names into what Ansible allows; of several that would become one, the one of most nodes has it."""

    def __init__(self, known: list[dict[str, t.Any]], sanitize: t.Callable[[str], str]) -> None:
        """Look at the variables of all hosts."""
        count = Counter(raw for one in known for raw in hosts.groups(one))
        self._names = {raw: sanitize(raw) for raw in count}
        self._owners: dict[str, str] = {}
        for raw in sorted(count, key=lambda raw: (-count[raw], raw != self._names[raw], raw)):
            self._owners.setdefault(self._names[raw], raw)

    def of(self, known: dict[str, t.Any]) -> list[str]:
        """Return the names of the groups of a host with these variables."""
        return [self._names[raw] for raw in hosts.groups(known)]

    def clash(self, known: dict[str, t.Any]) -> str:
        """Say why a host cannot be in its groups: one of them is another one's; the empty string where it can."""
        for raw in hosts.groups(known):
            owner = self._owners[self._names[raw]]
            if raw != owner:
                name = self._names[raw]
                return f"its group {shown(raw)} would be {cut(name)}, which is that of {shown(owner)}"
        return ""
