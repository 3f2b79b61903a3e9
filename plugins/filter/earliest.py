# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.patchwave.aws.plugins.plugin_utils import _catalog

DOCUMENTATION = r"""
name: earliest
short_description: The earliest of several times
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Returns the earliest of several times by which work must have started, so that no limit replaces another.
options:
  _input:
    description: Times, ISO 8601 with their zones; empty ones are no limit.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Nothing starts after the window or after noon
  ansible.builtin.set_fact:
    limit: "{{ [gate_verdict.latest_start, '2026-12-12T12:00:00Z'] | patchwave.aws.earliest }}"
"""

RETURN = r"""
_value:
  description: The earliest of them as it is written; empty where all are.
  type: str
"""


def earliest(limits: t.Any) -> str:
    """Return the earliest of some times."""
    if not isinstance(limits, list):
        raise AnsibleFilterError(f"earliest: must be given a list, not {limits!r}")
    try:
        return _catalog.earliest([("earliest", limit) for limit in limits])
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"earliest": earliest}
