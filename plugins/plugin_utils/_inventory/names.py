# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""What nodes and groups are called. Ansible takes some names for more than names; no tag can give such a one."""

from __future__ import annotations

import re
import socket
import typing as t
import weakref
from collections import Counter

from ansible import constants
from ansible.errors import AnsibleError

from . import hosts
from .notes import LeftOut, Notes, cut, shown


class Named(t.NamedTuple):
    """A host to be: its name and its variables."""

    name: str
    known: dict[str, t.Any]


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


def wanted_names(
    known: list[dict[str, t.Any]], expression: hosts.Expression | None, notes: Notes, left_out: LeftOut
) -> list[Named]:
    """Return the name of each host, which may be another one's as well; see leave_out_rivals().

    Only what is no name for any host, whatever others there are, gives way to the node id. No variables, limits or
    freezes can hang on such a name.

    Args:
        known: the variables of each host.
        expression: names a host; without it the node id does.
        notes: gets what was refused.
        left_out: gets the hosts that the expression fails for.
    """
    if not expression:
        return [Named(one["node_id"], one) for one in known]
    found = []
    for one, value in expression.of_all(known, left_out):
        name = value if isinstance(value, str) else ""
        why = _unfit(name, one["node_id"])
        if why:
            text = f"name {shown(name)} {why}; named by its id"
            notes.add(one["account"], one["region"], one["node_id"], text)
        found.append(Named(one["node_id"] if why else name, one))
    return found


def _unfit(name: str, node: str) -> str:
    """Say why a name is none for a node, whatever others there are; the empty string where it is one."""
    if not is_host_name(name):
        return "is no host name"
    if name.startswith(_GROUPS) or name in ("all", "ungrouped"):
        return "is a group's"
    return "is a node's id" if name != node and _NODE_ID.fullmatch(name) else ""


#: Which nodes wanted which name (in lower case), by the inventory that they are for. Nodes of several sources that want
#: one name are rivals too, also when the first ones are left out already.
_CLAIMS: weakref.WeakKeyDictionary[t.Any, dict[str, set[str]]] = weakref.WeakKeyDictionary()


def leave_out_rivals(inventory: t.Any, named: list[Named], groups: t.Collection[str], left_out: LeftOut) -> None:
    """Leave out hosts whose name is not theirs alone, but for case: host variables, limits and freezes go by it.

    None is renamed. Whoever sets a tag could take a name, and all that hangs on it, away from another node.

    Args:
        inventory: Ansible's, with what earlier sources gave.
        named: the hosts to be.
        groups: names of groups that will be, besides those of hosts.groups().
        left_out: gets them, with rivals that are in the inventory already.
    """
    claims = _CLAIMS.setdefault(inventory, {})
    tagged = [(name, known) for name, known in named if name != known["node_id"]]
    ids = {known["node_id"].lower() for dummy, known in named} if tagged else set()
    for name, known in tagged:
        claims.setdefault(name.lower(), set()).add(known["node_id"])
    there: dict[str, set[t.Any]] = {}
    for name, host in inventory.hosts.items() if tagged else ():
        node = host.vars.get("node_id")
        there.setdefault(name.lower(), set()).add(node)
        if node in (nodes := claims.get(name.lower(), set())) and len(nodes) > 1:
            left_out.add(host.vars, f"its name {shown(name)} is also another node's")
    for name, known in tagged:
        if len(claims[name.lower()]) > 1 or name.lower() in ids:
            left_out.add(known, f"its name {shown(name)} is also another node's")
        elif there.get(name.lower(), set()) - {known["node_id"]}:
            left_out.add(known, f"its name {shown(name)} is also another host's")
        elif name in groups or name in inventory.groups:
            left_out.add(known, f"its name {shown(name)} is also a group's")


class KeyedGroups:
    """Stands for the inventory while a host's groups are keyed, and takes down which those are."""

    def __init__(self, host: t.Any) -> None:
        """Take the host of the inventory."""
        self._host = host
        self.groups: dict[str, None] = {}
        self.parents: dict[tuple[str, str], None] = {}

    def get_host(self, dummy: str) -> KeyedGroups:
        """Return what has the host's variables."""
        return self

    def get_vars(self) -> dict[str, t.Any]:
        """Return the host's variables, with the groups that it has so far."""
        known = dict(self._host.get_vars())
        return {**known, "group_names": sorted({*known["group_names"], *self.groups})}

    def add_group(self, name: str) -> str:
        """Return the name; the group is made when a host or another group is put into it."""
        if not name:
            raise AnsibleError("a group would have no name")
        return name

    def add_host(self, dummy: str, group: str) -> None:
        """Note that the host is in the group."""
        self.groups[group] = None

    def add_child(self, parent: str, group: str) -> None:
        """Note that the group is in another one."""
        self.parents[parent, group] = None

    def made(self) -> set[str]:
        """Return the names of all groups that there are because of the host."""
        return {*self.groups, *(parent for parent, dummy in self.parents)}


def leave_out_namesakes(
    inventory: t.Any, keyed: dict[str, KeyedGroups], by_tag: t.Container[str], left_out: LeftOut
) -> None:
    """Leave out hosts with the name of a group, or the nodes that the group would come from.

    The one of fewer nodes gives way: a host to the group of several nodes. One against one, both do.

    Args:
        inventory: Ansible's, with the hosts.
        keyed: what was keyed for each host.
        by_tag: the hosts whose names an expression gave; those of others stay.
        left_out: gets them.
    """
    makers: dict[str, list[str]] = {}
    for host, groups in keyed.items():
        for name in groups.made():
            if name in inventory.hosts:
                makers.setdefault(name, []).append(host)
    for name, found in makers.items():
        if name in by_tag:
            left_out.add(inventory.hosts[name].vars, f"its name {shown(name)} is also a group's")
        others = [host for host in found if host != name]
        if name not in by_tag or len(others) == 1:
            for host in others:
                left_out.add(inventory.hosts[host].vars, f"its group {shown(name)} has a host's name")


def claimed(inventory: t.Any) -> set[str]:
    """Return the names of the hosts in the inventory that an expression named."""
    claims = _CLAIMS.get(inventory, {})
    return {name for name, host in inventory.hosts.items() if host.vars.get("node_id") in claims.get(name.lower(), ())}


def nest(inventory: t.Any, keyed: dict[str, KeyedGroups], left_out: LeftOut) -> None:
    """Put keyed groups into their parents, those of most nodes first; nodes whose groups go round are left out."""
    count = Counter(pair for groups in keyed.values() for pair in groups.parents)
    refused = set()
    for parent, group in sorted(count, key=lambda pair: (-count[pair], pair)):
        for name in (parent, group):
            inventory.add_group(name)
        try:
            if group == "all" or parent == group:
                raise AnsibleError("goes round")
            inventory.add_child(parent, group)
        except AnsibleError:
            refused.add((parent, group))
    for host, groups in keyed.items() if refused else ():
        for parent, group in groups.parents:
            if (parent, group) in refused:
                why = f"its group {cut(group)} would be in {cut(parent)}, which is in it"
                left_out.add(inventory.hosts[host].vars, why)


class GroupNames:
    """Turns group names into what Ansible allows; of several that would become one, the one of most nodes has it.

    Where as many nodes are in two, none has it: nobody can tell which of them is the impostor.
    """

    def __init__(
        self,
        known: list[dict[str, t.Any]],
        sanitize: t.Callable[[str], str],
        earlier: t.Iterable[t.Mapping[str, t.Any]] = (),
    ) -> None:
        """Look at the variables of all hosts, and of those that earlier sources of this plugin gave."""
        nodes = {one["node_id"] for one in known}
        count = Counter(raw for one in known for raw in hosts.groups(one))
        count.update(raw for one in earlier if one["node_id"] not in nodes for raw in hosts.groups(one))
        self._names = {raw: sanitize(raw) for raw in count}
        self._rivals: dict[str, list[str]] = {}
        for raw in sorted(count, key=lambda raw: (-count[raw], raw)):
            self._rivals.setdefault(self._names[raw], []).append(raw)
        self._drawn = {name for name, (one, *more) in self._rivals.items() if more and count[more[0]] == count[one]}

    def of(self, known: dict[str, t.Any]) -> list[str]:
        """Return the names of the groups of a host with these variables."""
        return [self._names[raw] for raw in hosts.groups(known)]

    def clash(self, known: t.Mapping[str, t.Any]) -> str:
        """Say why a host cannot be in its groups: one of them is another one's; the empty string where it can."""
        for raw in hosts.groups(known):
            if raw not in self._names:  # a node that an earlier source read, with other tags
                continue
            name = self._names[raw]
            first, *more = self._rivals[name]
            if name in self._drawn:
                other = more[0] if raw == first else first
                return f"its group {shown(raw)} would be {cut(name)}, and so would {shown(other)} of other nodes"
            if raw != first:
                return f"its group {shown(raw)} would be {cut(name)}, which is that of {shown(first)}"
        return ""


#: What all hosts of this plugin have.
_OURS = ("node_id", "account", "region", "patch_group", "patch_wave", "platform")


def earlier_hosts(inventory: t.Any) -> list[t.Mapping[str, t.Any]]:
    """Return the variables of the hosts that earlier sources of this plugin gave."""
    found = [host.vars for host in inventory.hosts.values()]
    return [known for known in found if all(isinstance(known.get(name), str) for name in _OURS)]
