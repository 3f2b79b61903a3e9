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
  - The batch is exactly the hosts for which Ansible runs the task, with its blocks, includes and conditions. Each host
    has its own arguments, as Ansible evaluates them for it. Hosts with the same arguments share a payload, and all of
    them share the limits of the batch.
  - The process of the first host sends the work of all, and each host then ends the task with its own result, which
    C(register), C(rescue), C(failed_when) and the recap see. A host that this process could not foresee, or that
    C(until) repeats, is a batch of its own.
  - With C(run_once=true), Ansible decides by the first host whether the task runs at all. Then C(results) holds each
    host's result, for M(patchwave.aws.node_result) or for a program. It spares Ansible a process for each host.
  - C(environment) reaches the module, in the payload. C(become_user) must be C(root), as which the agent runs it;
    C(ansible_python_interpreter) is the Python that runs it. C(delegate_to), C(async), C(timeout), C(loop), conditions
    that change by themselves and strategies that are not made from C(linear) are refused. C(throttle) bounds
    O(max_in_flight).
  - The payload is stored in an S3 bucket while the command runs. Nodes read it by a presigned URL, so they need no
    rights of their own. The URL is in the parameters of the command, which Systems Manager keeps for 30 days, and is
    worthless soon after the delivery timeout.
  - One module with one set of arguments is one payload, the same in every play and stage.
  - A module whose action plugin does a part of the work on the controller, such as M(ansible.builtin.copy) with C(src)
    or C(content), runs without that part.
  - Nodes whose agent is known to be away are not sent anything and end C(unreachable). C(Undeliverable) and
    C(DeliveryTimedOut) prove nothing, so such nodes end C(unknown). So do those that went down while the module ran, or
    that killed it.
extends_documentation_fragment:
  - patchwave.aws.batch
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
options:
  module:
    description: The module to run, by its fully qualified name. It must be a Python module.
    type: str
    required: true
  args:
    description: The module's arguments.
    type: dict
    default: {}
  transport:
    description:
      - V(run_command) sends one Run Command to all hosts of the batch.
      - V(connection) runs the module over the host's own Ansible connection, each host for itself. Of the options of
        the batch only O(stop_file), O(owner_lock), O(stop_at), O(journal) and, with a O(bucket), O(rollout) apply.
    type: str
    choices: [run_command, connection]
    default: run_command
  bucket:
    description:
      - The S3 bucket for the payload, required with O(transport=run_command). The caller may put, read and delete
        objects in it. The playbook C(patchwave.aws.bucket) makes one.
      - There is no way without one. A command has room for 64 KB, and the least that Ansible makes of any Python module
        is larger, however well it is packed.
      - It may be in any region, which is found out. The ARN of an access point does as well.
    type: str
  bucket_owner:
    description:
      - The account, 12 digits, that O(bucket) must belong to. S3 then refuses to store, hand out or delete the payload
        in a bucket of anybody else.
    type: str
  prefix:
    description: What the payload's key starts with.
    type: str
    default: patchwave/
  refuse:
    description:
      - Why nothing may be done, such as what a closed gate says. Then nothing is sent, and every host ends failed with
        this line, C(skipped) and C(refused). Empty where nothing speaks against it.
    type: str
  refuse_outside_check:
    description: The same, except for tasks in check mode, such as what a gate says that is open for check mode alone.
    type: str
  keep_payload:
    description:
      - Whether the payload stays in the bucket, under its SHA-256, so that the next play or stage with the same payload
        need not store it. It is stored anew when it is older than 12 hours. A few bytes are stored for each play all
        the same, without which no node begins.
      - Its arguments are in it. Keep none that holds a secret, and let a lifecycle rule of one day clear C(kept/) below
        O(prefix).
      - By default each play stores the payload under a key of its own and deletes it in the end. A node whose agent
        takes the command up after that, or after a M(patchwave.aws.stop), begins nothing and ends C(unreachable) with
        the reason C(withdrawn), or C(payload_failed) where the caller may not list the whole bucket and S3 answers 403.
    type: bool
    default: false
  presign:
    description:
      - Whether each text in O(args) that is an C(s3://BUCKET/KEY) URL is presigned, anew for each sending, so that a
        node that waits long for its place can still read the object. The bucket's own region is found out.
      - The URLs travel in the command, not in the payload. The module finds them by the s3 URL in the JSON file that
        the environment variable E(PATCHWAVE_S3_URLS) names, as M(patchwave.aws.software_patch) does.
      - They are good for O(delivery_timeout) and O(execution_timeout) together, at most 7 days, and no longer than the
        caller's credentials.
    type: bool
    default: false
  url_expiry:
    description: Seconds for which presigned URLs are good with O(transport=connection).
    type: int
    default: 7200
  latest_start:
    description:
      - A moment such as V(2026-11-22T04:00:00Z), with its zone, after which no module starts and no node reboots. The
        node judges by the clock of S3, as it fetches the payload. A node that gets the command later ends C(skipped)
        with the reason C(too_late). One whose own clock is wrong by more than 5 minutes begins nothing, and ends
        C(unreachable) with the reason C(clock_wrong).
      - It is checked just before the module starts. A module that then waits for a lock can begin later, so bound its
        wait, as C(lock_timeout) of M(ansible.builtin.apt) does; M(patchwave.aws.software_patch) has a C(latest_start)
        of its own that is checked behind its locks.
    type: str
  reboot:
    description:
      - V(if_required) reboots a node once when its module did not fail and returned C(reboot_required=true). The agent
        reboots it, a minute later, and runs the script again, which returns the module's kept result with C(rebooted).
        The module does not run a second time.
      - A node whose boot id is still the same ends C(failed) with the reason C(not_rebooted).
      - Nothing reboots in check mode.
    type: str
    choices: [never, if_required]
    default: never
  reboot_timeout:
    description: Seconds that a reboot may take, beyond the minute of grace, before the node counts as C(unknown).
    type: int
    default: 600
seealso:
  - module: patchwave.aws.node_result
  - module: patchwave.aws.run_command
  - module: patchwave.aws.software_patch
  - module: patchwave.aws.stop
"""

EXAMPLES = r"""
- name: Upgrade openssl on the web servers of the play
  patchwave.aws.run_module:
    module: ansible.builtin.apt
    args:
      name: openssl={{ openssl_version }}
    bucket: example-patchwave
  when: patch_group == 'web'

- name: Switch SELinux on, with a reboot where it needs one, in the window only, at most fifty nodes at once
  patchwave.aws.run_module:
    module: ansible.posix.selinux
    args:
      policy: targeted
      state: enforcing
    reboot: if_required
    latest_start: "2026-11-22T04:00:00Z"
    max_in_flight: 50
    max_errors: 5%
    bucket: example-patchwave

- name: Ask all nodes for their uptime in one task result
  patchwave.aws.run_module:
    module: ansible.builtin.command
    args:
      argv: [uptime]
    bucket: example-patchwave
  register: batch
  run_once: true
"""

RETURN = r"""
api_calls:
  description: AWS API calls made for the whole batch, each retry counted, without those that assume roles.
  returned: with O(transport=run_command)
  type: int
  sample: 29
outcome:
  description:
    - How the host ended, such as C(unreachable), where the module is one of this collection or gave no result. Then
      C(reason) and C(msg) say why.
    - All else is the module's own result. Facts that have the name of a variable of the inventory, or of one of
      Patchwave's, are left out.
  returned: when the node gave no result, or the module returns it
  type: str
  sample: unreachable
command_id:
  description: The Run Command command.
  returned: when one was sent
  type: str
  sample: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
results:
  description:
    - Each host's own result, by host.
    - Systems Manager keeps 24,000 characters of a node's answer. A result that does not fit in even when packed comes
      without its largest values, whose names are in C(truncated).
    - With O(reboot=if_required) and a reboot, C(rebooted), C(boot_id), C(boot_id_before) and C(uptime), the seconds
      since the node was up again. A node that needs a reboot and may not begin it ends C(reboot_pending) with the
      reason C(too_late), C(no_boot_id) or C(state_not_written).
  returned: with C(run_once), but not with O(owner_lock), whose holder reads the O(journal)
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
