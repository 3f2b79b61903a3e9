# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The plan of a rollout: which node is patched in which wave, to what. Immutable, and known by its hash."""

from __future__ import annotations

import hashlib
import json
import typing as t


class Node(t.NamedTuple):
    """A managed node as a plan and a report know it; host is its name in the inventory."""

    host: str
    id: str
    name: str
    account: str
    region: str
    patch_group: str
    wave: str


class Wave(t.NamedTuple):
    """An inventory group and its nodes, sorted by host."""

    name: str
    nodes: t.Tuple[Node, ...]


class Plan(t.NamedTuple):
    """What a rollout does; budgets are numbers of nodes, software is definitions by name in the order of patching."""

    rollout: str
    software: t.Dict[str, t.Dict[str, t.Any]]
    transport: str
    error_budget: int
    unreachable_budget: int
    waves: t.Tuple[Wave, ...]


class EmptyWave(ValueError):
    """A wave that no node in scope is in; args are its index, its name and the group names that would do."""


def make_waves(
    names: t.Sequence[str], groups: t.Mapping[str, t.Iterable[str]], hostvars: t.Mapping[str, t.Mapping[str, t.Any]]
) -> t.Tuple[Wave, ...]:
    """Put every node in the first of the named waves that it is in.

    Args:
        names: inventory groups, in the order in which they are patched.
        groups: inventory group to host names.
        hostvars: host name to its variables.

    Raises:
        EmptyWave: no node is in the group, or each one is in an earlier wave.
    """
    waves = []  # type: t.List[Wave]
    taken = set()  # type: t.Set[str]
    for index, name in enumerate(names):
        hosts = sorted(set(groups.get(name, ())) - taken)
        if not hosts:
            raise EmptyWave(index, name, sorted(group for group in groups if group.startswith("wave_")))
        taken.update(hosts)
        waves.append(Wave(name, tuple(_node(host, hostvars.get(host, {}), name) for host in hosts)))
    return tuple(waves)


def _node(host: str, variables: t.Mapping[str, t.Any], wave: str) -> Node:
    def text(key: str, default: str = "") -> str:
        return str(variables.get(key) or default)

    return Node(
        host=host,
        id=text("node_id", host),
        name=text("node_name", host),
        account=text("account"),
        region=text("region"),
        patch_group=text("patch_group"),
        wave=wave,
    )


def plan_hash(plan: Plan) -> str:
    """Return the SHA-256 of the plan as 64 hex digits: same nodes, waves, budgets and definitions, same hash.

    A node's name and patch group are labels that whoever may tag it changes at any time; they are no part of it.
    """
    content = dict(plan._asdict())
    content["software"] = list(plan.software.items())
    content["waves"] = [
        [wave.name, [[node.host, node.id, node.account, node.region] for node in wave.nodes]] for wave in plan.waves
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()
