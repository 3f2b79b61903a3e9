# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.patchwave.aws.plugins.plugin_utils import _catalog

DOCUMENTATION = r"""
name: software_args
short_description: Arguments of software_patch for programs of a catalog
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Returns the arguments with which M(patchwave.aws.software_patch) patches one program of a catalog, or several one
    after the other. The role P(patchwave.aws.patch_software#role) uses it.
  - Takes texts as surveys and C(-e) give them, such as a catalog as JSON.
positional: _input, name, latest_start
options:
  _input:
    description: The catalog, the options of each program by its name; also as JSON or YAML text.
    type: dict
    required: true
  name:
    description: The program, or a list of several in the order in which they are patched; also as text with commas.
    type: list
    elements: str
    required: true
  latest_start:
    description:
      - When work may no longer start on a node, or a list of several such times, ISO 8601 with their zones; an empty
        one is no limit. Of these and of the C(latest_start) of a program the earliest counts for it.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Patch two programs over Run Command
  patchwave.aws.run_module:
    module: patchwave.aws.software_patch
    args: "{{ catalog | patchwave.aws.software_args(['openjdk', 'tomcat'], gate_verdict.latest_start) }}"
    bucket: example-patchwave
"""

RETURN = r"""
_value:
  description: The arguments, those of the program itself or C(definitions) with those of several.
  type: dict
"""


def software_args(catalog: t.Any, name: t.Any, latest_start: t.Any = "") -> dict[str, t.Any]:
    """Return the arguments of software_patch."""
    try:
        return _catalog.arguments(catalog, name, latest_start)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"software_args": software_args}
