#!/usr/bin/python

# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_result
short_description: Make a node's result from run_module an ordinary Ansible result
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - With C(run_once), M(patchwave.aws.run_module) and M(patchwave.aws.run_command) return the results of all hosts.
    This task gives each node its own result back, so that the
    play recap, C(rescue), handlers and AWX see every node for itself.
  - Facts that have the name of a variable of the inventory, or of one of Patchwave's, are left out.
  - It runs on the controller and connects to nothing.
attributes:
  check_mode:
    description: The same in check mode.
    support: full
  diff_mode:
    description: A diff in the result is shown.
    support: full
options:
  result:
    description: The node's result, C(results[inventory_hostname]) of M(patchwave.aws.run_module).
    type: dict
    required: true
seealso:
  - module: patchwave.aws.run_module
"""

EXAMPLES = r"""
- name: Take the node's own result
  patchwave.aws.node_result:
    result: "{{ batch.results[inventory_hostname] }}"
"""

RETURN = r"""
outcome:
  description: How the node ended, one of Patchwave's words such as C(patched) or C(unreachable), where there is one.
  returned: when the module is one of this collection or the node gave no result
  type: str
  sample: patched
"""
