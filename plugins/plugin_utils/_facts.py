# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""What a node's result may tell Ansible: facts about itself, and nothing that decides over it or over others."""

from __future__ import annotations

import re
import typing as t

#: Variables by which Patchwave decides who is patched, when, with what and how a host is reached. Connection variables,
#: such as ansible_host, are kept out of facts by Ansible itself.
_DECIDING = re.compile(
    r"(patch|gate|not_patchable|assume_role|node_|inventory_)\w*|platform|region|account|unread|left_out|out_of_scope|ssm"
)
#: What Ansible takes from a result for the play as a whole, such as the statistics that set_stats leaves.
_FOR_THE_PLAY = ("ansible_stats", "add_host", "add_group")


def harmless(result: t.Mapping[str, t.Any], known: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a node's result without what would change how this or another host is treated.

    Args:
        result: the result of a module on the node.
        known: the host's variables of the inventory, none of which a fact replaces.
    """
    found = {key: value for key, value in result.items() if key not in _FOR_THE_PLAY and not key.startswith("_ansible")}
    facts = found.get("ansible_facts")
    if "ansible_facts" in found:
        names = facts if isinstance(facts, dict) else {}
        found["ansible_facts"] = {
            name: value for name, value in names.items() if name not in known and not _DECIDING.fullmatch(str(name))
        }
    return found
