# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""How a host's node is reached: by the variables of the inventory, its files included, and by nothing else."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.inventory.helpers import get_group_vars, sort_groups
from ansible.vars.plugins import get_vars_from_inventory_sources

from ._hosts import template_engine

#: The variables that decide where a command goes and who sends it.
_DECIDING = (
    *("node_id", "region", "account", "platform"),
    *("assume_role_arn", "assume_role_external_id", "assume_role_session_name", "assume_role_profile"),
)


def routing(variables: t.Mapping[str, t.Any]) -> t.Callable[[str], dict[str, t.Any]]:
    """Return what gives the variables of a host that the inventory has set, in Ansible's order.

    Facts, registered results, extra variables and those of plays and roles are none of them: a node or a rollout file
    must not say where commands are sent, or by which role.
    """
    manager = variables["hostvars"]._variable_manager
    inventory, loader = manager._inventory, manager._loader
    files: dict[tuple[str, ...], dict[str, t.Any]] = {}

    def of_files(entities: list[t.Any]) -> dict[str, t.Any]:
        return dict(get_vars_from_inventory_sources(loader, inventory._sources, entities, "task"))

    def known(name: str) -> dict[str, t.Any]:
        host = inventory.get_host(name)
        if host is None:
            return {}
        groups = sort_groups(host.get_groups())
        names = tuple(group.name for group in groups)
        if names not in files:
            files[names] = {**get_group_vars(groups), **of_files(groups)}
        found = {**files[names], **host.get_vars(), **of_files([host])}
        return {**found, **_templated(name, found, loader)}

    return known


def _templated(host: str, known: dict[str, t.Any], loader: t.Any) -> dict[str, t.Any]:
    """Evaluate what decides; its templates see the host's variables of the inventory only."""
    found = {name: known[name] for name in _DECIDING if isinstance(known.get(name), str) and "{{" in known[name]}
    try:
        return {name: template_engine(loader, known).template(value) for name, value in found.items()}
    except AnsibleError as error:
        what = f"{', '.join(found)}: cannot be evaluated from variables of the inventory: {error}"
        raise ValueError(f"host {host}: {what}") from None
