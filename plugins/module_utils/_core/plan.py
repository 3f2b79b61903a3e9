# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The plan of a rollout: which node is patched in which wave, to what. Immutable, and known by its hash."""

from __future__ import annotations

import hashlib
import json
from collections import namedtuple

#: A managed node as a plan and a report know it; every field is a str, host is its name in the inventory.
Node = namedtuple("Node", "host id name account region patch_group wave")

#: name (str): the inventory group; nodes (tuple of Node), sorted by host.
Wave = namedtuple("Wave", "name nodes")

#: What a rollout does. rollout, software (str), definition (dict), error_budget and unreachable_budget (int, nodes),
#: transport (str), waves (tuple of Wave).
Plan = namedtuple("Plan", "rollout software definition transport error_budget unreachable_budget waves")


class EmptyWave(ValueError):
    """A wave that no node in scope is in; args are its index, its name and the group names that would do."""


def make_waves(names, groups, hostvars):
    """Put every node in the first of the named waves that it is in.

    Args:
        names (list of str): inventory groups, in the order in which they are patched.
        groups (dict of str to list of str): inventory group to host names.
        hostvars (dict of str to dict): host name to its variables.

    Returns:
        tuple of Wave.

    Raises:
        EmptyWave: no node is in the group, or each one is in an earlier wave.
    """
    waves, taken = [], set()
    for index, name in enumerate(names):
        hosts = sorted(set(groups.get(name, ())) - taken)
        if not hosts:
            raise EmptyWave(index, name, sorted(group for group in groups if group.startswith("wave_")))
        taken.update(hosts)
        waves.append(Wave(name, tuple(_node(host, hostvars.get(host, {}), name) for host in hosts)))
    return tuple(waves)


def _node(host, variables, wave):
    def text(key, default=""):
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


def plan_hash(plan):
    """Return the SHA-256 of the plan as 64 hex digits: same nodes, waves, budgets and definition, same hash."""
    content = plan._asdict()
    content["waves"] = [[wave.name, [list(node) for node in wave.nodes]] for wave in plan.waves]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()
