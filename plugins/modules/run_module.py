#!/usr/bin/python

# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_module
short_description: Run any Python module on every node of the batch by one Run Command
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Ships the very payload that Ansible would copy to one node over ssh to every node of the batch, by Systems Manager
    Run Command, C(ceil(N/50)) SendCommand calls for each account and region, and reads the results in bulk.
  - The task runs once for the whole batch, so give it C(run_once=true) and take each node's own result with
    M(patchwave.aws.node_result). The arguments are the same for every node; they are templated for the first host.
  - The payload is stored in an S3 bucket while the command runs. Nodes read it by a presigned URL, so they need no
    rights of their own. The URL is in the parameters of the command, which Systems Manager keeps for 30 days, and is
    worthless soon after the delivery timeout.
  - Nodes whose agent is known to be away are not sent anything and end C(unreachable). C(Undeliverable) and
    C(DeliveryTimedOut) prove nothing, so such nodes end C(unknown).
extends_documentation_fragment:
  - amazon.aws.boto3
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    description: Nothing but the module's own check mode runs on the nodes. The command itself is sent.
    support: full
  diff_mode:
    description: A diff is what the module returns for each node.
    support: full
  bypass_host_loop:
    description: Runs once for the batch.
    support: full
options:
  module:
    description: The module to run, by its fully qualified name. It must be a Python module.
    type: str
    required: true
  args:
    description: The module's arguments.
    type: dict
    default: {}
  bucket:
    description: The S3 bucket for the payload. The caller may put, read and delete objects in it.
    type: str
    required: true
  prefix:
    description: What the payload's key starts with.
    type: str
    default: patchwave/
  delivery_timeout:
    description:
      - Seconds in which a node's agent must have taken the command, 30 to 2,592,000 (limits of SendCommand).
    type: int
    default: 600
  execution_timeout:
    description: Seconds in which the module must end on the node.
    type: int
    default: 3600
  max_in_flight:
    description:
      - At most so many nodes at once over all accounts and regions, refilled as each ends. V(0) sends to all at once.
    type: int
    default: 0
  max_errors:
    description:
      - So many nodes of the batch may fail, a number or a percentage that is rounded down, over all accounts and
        regions. When more have failed, nothing more is sent, what no agent has begun is cancelled, and the rest is
        waited for.
    type: str
    default: "0"
  idempotent:
    description:
      - Whether the module may run twice. Then a node whose command ended C(Undeliverable) or C(DeliveryTimedOut), which
        proves nothing, is asked once more, and ends as that second run says.
    type: bool
    default: false
  token:
    description:
      - Names the work, at most 70 characters. While O(journal) holds sendings of this very work, the next run takes
        them up. It finds their commands again, reads their results, and sends the work to no node twice.
    type: str
  journal:
    description:
      - A file on the controller to which each intent, each sending and each node's end are appended as JSON lines,
        before anything is sent. Remove it once the results have been taken, and keep it after a crash.
    type: path
  stop_file:
    description:
      - While this file is there on the controller, nothing more is sent, what no agent has begun is cancelled, and what
        runs is waited for.
    type: path
seealso:
  - module: patchwave.aws.node_result
  - module: patchwave.aws.software_patch
"""

EXAMPLES = r"""
- name: Upgrade openssl on every node of the batch
  patchwave.aws.run_module:
    module: ansible.builtin.apt
    args:
      name: openssl=3.0.17-1~deb12u3
    bucket: example-patchwave
  register: batch
  run_once: true

- name: Take the node's own result
  patchwave.aws.node_result:
    result: "{{ batch.results[inventory_hostname] }}"
"""

RETURN = r"""
results:
  description:
    - Each host's own module result. Where a node gave none, C(outcome), C(reason) and C(msg) say why.
    - C(command_id) is that of the Run Command command.
  returned: always
  type: dict
  sample:
    i-0123456789abcdef0:
      changed: true
      command_id: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
    i-0123456789abcdef1:
      unreachable: true
      outcome: unreachable
      reason: agent_offline
      msg: "account 123456789012, region eu-central-1: the agent is not connected; nothing was sent"
"""
