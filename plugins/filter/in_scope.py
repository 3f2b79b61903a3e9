# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.patchwave.aws.plugins.plugin_utils import _scope

DOCUMENTATION = r"""
name: in_scope
short_description: Patterns of a play's hosts, which must match some host
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Returns what C(hosts) of a play is to be, and fails where one of the patterns matches no host, or where nothing is
    left of all of them, by C(--limit) or by a tag that holds all nodes. Ansible skips such a play and ends well.
  - It only counts in C(hosts) of a play; elsewhere nobody knows the limit, and the patterns are returned as they are.
options:
  _input:
    description: A pattern, or a list of several, as C(hosts) has them.
    type: list
    elements: str
    required: true
  allow_empty:
    description: Whether there may be no host.
    type: bool
    default: false
positional: _input, allow_empty
"""

EXAMPLES = r"""
- name: Patch the third wave
  hosts: "{{ ['wave_3', '!not_patchable_held'] | patchwave.aws.in_scope }}"
  gather_facts: false
  tasks: []
"""

RETURN = r"""
_value:
  description: The patterns.
  type: list
  elements: str
"""


def in_scope(patterns: t.Any, allow_empty: t.Any = False) -> list[str]:
    """Return the patterns, of which each must match a host."""
    found = [str(one) for one in _flat(patterns)]
    try:
        allowed = boolean(allow_empty)
    except TypeError:
        raise AnsibleFilterError(f"patchwave_allow_empty: must be true or false, not '{allow_empty}'") from None
    inventory = None if allowed else _scope.manager()
    problem = _scope.problem(inventory, found) if inventory else ""
    if problem:
        what = "set patchwave_allow_empty=true where that is meant"
        raise AnsibleFilterError(f"patchwave_hosts: {problem}; nothing was patched; {what}")
    return found


def _flat(value: t.Any) -> t.Iterator[t.Any]:
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _flat(one)
    else:
        yield value


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"in_scope": in_scope}
