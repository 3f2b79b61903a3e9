#!/usr/bin/python

# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stop
short_description: Stop a rollout from outside, wherever it runs
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Stops a rollout with nothing of it on disk, also one whose job was killed. First it leaves a mark in the bucket,
    for which every run of the rollout looks before each sending. Then it takes the rollout's payloads away, without
    which no node begins. Then it cancels the rollout's commands for the nodes whose agents have not begun, in each
    account and region of the hosts of the task and of the inventory P(patchwave.aws.patch_groups#inventory), also where
    that has no host now. AWS promises nothing of a cancellation; without its payload, a node
    whose agent takes the command up later begins nothing all the same.
  - What a node has begun goes on to its end, which is the old version or the new one.
  - The mark stays until O(state=absent). No run with this name
    sends anything meanwhile. It ends its nodes C(skipped) with the reason C(stopped) and says who stopped it.
  - Commands of M(patchwave.aws.run_command) carry no payload. A node whose agent has taken one up runs it.
  - Runs on the controller and connects to no host. Use it with C(run_once), as the playbook C(patchwave.aws.stop) does.
extends_documentation_fragment:
  - amazon.aws.boto3
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    description: Nothing is changed. The result says what would be.
    support: full
  diff_mode:
    description: The result says it all.
    support: none
options:
  rollout:
    description:
      - The rollout's name, as the option C(rollout) of M(patchwave.aws.run_module) has it, or its C(token) where it has
        none. The driver takes the name in the rollout file. V(all) is every rollout that uses O(bucket).
    type: str
    required: true
  state:
    description: V(absent) takes the mark away, so that the rollout may go on.
    type: str
    choices: [present, absent]
    default: present
  by:
    description: Who stops it. It is shown to whoever runs the rollout.
    type: str
  reason:
    description: Why. It is shown to whoever runs the rollout.
    type: str
  bucket:
    description:
      - The bucket of the rollout's payloads. Without it commands are cancelled, but a live run goes on sending, and
        nodes that have taken a command up begin.
    type: str
  bucket_owner:
    description: The account, 12 digits, that O(bucket) must belong to.
    type: str
  prefix:
    description: What the keys of the rollout's objects start with, as C(prefix) of M(patchwave.aws.run_module).
    type: str
    default: patchwave/
seealso:
  - module: patchwave.aws.run_command
  - module: patchwave.aws.run_module
"""

EXAMPLES = r"""
- name: Stop a rollout
  patchwave.aws.stop:
    rollout: CVE-2026-0001
    bucket: example-patchwave
    by: Ada Lovelace
    reason: the fixed version does not start
  run_once: true

- name: Stop whatever runs
  patchwave.aws.stop:
    rollout: all
    bucket: example-patchwave
  run_once: true

- name: Let it go on
  patchwave.aws.stop:
    rollout: CVE-2026-0001
    bucket: example-patchwave
    state: absent
  run_once: true
"""

RETURN = r"""
rollout:
  description: The name as it is in comments and keys. One with other characters than letters, digits, C(.), C(_) and
    C(-), or a long one, ends in its hash.
  returned: success
  type: str
  sample: CVE-2026-0001
marked:
  description: Whether a mark is there now that stops it. When one is lifted, whether that of all rollouts still does.
  returned: success
  type: bool
  sample: true
regions:
  description: Where commands were looked for, each an account and a region.
  returned: with O(state=present)
  type: list
  elements: str
  sample: [123456789012 eu-central-1]
payloads:
  description: The number of objects taken away.
  returned: with O(state=present)
  type: int
  sample: 1
commands:
  description: The commands that were under way. C(cancelled) and C(running) have the ids of nodes.
  returned: with O(state=present)
  type: list
  elements: dict
  sample:
    - account: "123456789012"
      region: eu-central-1
      command_id: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
      comment: patchwave CVE-2026-0001 8ba2ad06f9c1
      cancelled: [i-0123456789abcdef0]
      running: [i-0123456789abcdef1]
problems:
  description: A line for what could not be done, such as an account that cannot be asked. With any the task fails.
  returned: with O(state=present)
  type: list
  elements: str
  sample: []
"""
