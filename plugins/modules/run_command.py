#!/usr/bin/python

# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_command
short_description: Send a Systems Manager document to every node of the batch
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Sends a command document, AWS's or one's own, to every node of the batch by C(ceil(N/50)) SendCommand calls for each
    account and region, and reads the results in bulk. It has slots, one error budget, a journal and the same
    ends as M(patchwave.aws.run_module).
  - The batch is exactly the hosts for which Ansible runs the task, each with its own document and parameters, as with
    M(patchwave.aws.run_module), which says more. Each host ends the task with its own result; with C(run_once=true)
    C(results) holds all of them.
  - C(environment) and the keywords that M(patchwave.aws.run_module) refuses are refused.
  - Before anything is sent, each account and region is asked for the document and its nodes. Parameters that do not
    fit stop the task. A node of another platform ends C(unsupported), one whose agent is away C(unreachable), and a
    document that is missing in one region costs the nodes of that region only.
  - A document may do anything, so a node on which it has begun is C(changed), whether it failed or not. Only
    C(AWS-RunPatchBaseline) with C(Operation=Scan) is known to change nothing. Where you know better, say so with
    C(changed_when).
  - Parameters are kept by Systems Manager for 30 days and shown to whoever may list commands, so no secret belongs
    there.
  - Documents for Windows have never been run for real, only answered by the lab's virtual nodes.
extends_documentation_fragment:
  - patchwave.aws.batch
  - amazon.aws.boto3
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    description:
      - Nothing is sent. The document, its parameters and the nodes are checked, and each node's result says what
        would be sent, or why not.
      - C(AWS-RunPatchBaseline) with C(Operation=Install) is not turned into a Scan either, since a Scan overwrites the
        node's patch compliance. Where that is wanted, run it with C(Operation=Scan).
      - Allowed values are judged where the document's text may be read; patterns by AWS when it is sent.
    support: full
  diff_mode:
    description: Nobody knows what a document changes.
    support: none
options:
  bucket:
    description:
      - The S3 bucket where M(patchwave.aws.stop) leaves its mark. Without one the batch hears of no stop from outside,
        which then only cancels what no agent has begun.
    type: str
  bucket_owner:
    description: The account, 12 digits, that O(bucket) must belong to.
    type: str
  prefix:
    description: What the mark's key starts with.
    type: str
    default: patchwave/
  document:
    description: The document's name, or the ARN of one that another account shares. It must be a command document.
    type: str
    required: true
  document_version:
    description: The document's version, a number, V($LATEST) or V($DEFAULT).
    type: str
  document_hash:
    description: The SHA-256 that the document must have. AWS refuses another.
    type: str
  parameters:
    description:
      - The document's parameters by name, each a text or a list of texts. Other values are written as JSON.
      - A reference to Parameter Store is in Ansible's own brackets, so mark it C(!unsafe).
    type: dict
    default: {}
  output_bucket:
    description:
      - An S3 bucket to which the nodes write their whole output, with their own rights. Systems Manager itself keeps
        24,000 characters of output and 8,000 of errors, of which one call for each node reads what is beyond 2,500.
    type: str
  output_prefix:
    description: What keys in O(output_bucket) start with.
    type: str
  execution_timeout:
    description:
      - Seconds in which the work must end on the node, 5 to 172,740. It is the document's parameter C(executionTimeout)
        where the document has one and O(parameters) does not give it.
seealso:
  - module: patchwave.aws.node_result
  - module: patchwave.aws.run_module
"""

EXAMPLES = r"""
- name: Run a script, at most fifty nodes at once, until five percent have failed
  patchwave.aws.run_command:
    document: AWS-RunShellScript
    parameters:
      commands:
        - set -e
        - uname -r
    max_in_flight: 50
    max_errors: 5%
  changed_when: false

- name: Find missing patches
  patchwave.aws.run_command:
    document: AWS-RunPatchBaseline
    parameters:
      Operation: Scan
    idempotent: true

- name: Install an agent
  patchwave.aws.run_command:
    document: AWS-ConfigureAWSPackage
    parameters:
      action: Install
      name: AmazonCloudWatchAgent
"""

RETURN = r"""
api_calls:
  description: AWS API calls made for the whole batch, each retry counted, without those that assume roles.
  returned: always
  type: int
  sample: 29
rc:
  description: The exit code, of several steps the first that is not 0. C(stdout), C(stderr) and C(steps) are beside it.
  returned: when the node answered
  type: int
  sample: 0
status:
  description: Systems Manager's StatusDetails.
  returned: when something was sent
  type: str
  sample: Success
command_id:
  description: The Run Command command.
  returned: when one was sent
  type: str
  sample: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
results:
  description:
    - Each host's own result, by host. A node that answered has C(rc), C(stdout), C(stderr), C(status), which is Systems
      Manager's StatusDetails, and C(command_id). Of several steps C(rc) is the first that is not 0, and C(steps) has
      each one's C(name), C(status), C(code) and C(output).
    - Where a node gave no answer, C(outcome), C(reason) and C(msg) say why.
  returned: with C(run_once), but not with O(owner_lock), whose holder reads the O(journal)
  type: dict
  sample:
    i-0123456789abcdef0:
      changed: true
      command_id: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
      rc: 0
      status: Success
      stderr: ""
      stdout: "6.1.0-32-cloud-amd64\n"
    i-0123456789abcdef1:
      changed: false
      failed: true
      outcome: unsupported
      reason: platform
      msg: "account 123456789012, region eu-central-1: AWS-RunShellScript is for Linux, MacOS, and the node runs
        Windows; nothing was sent"
"""
