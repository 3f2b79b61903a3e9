# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What run_module and run_command have in common."""

    DOCUMENTATION = r"""
options:
  delivery_timeout:
    description:
      - Seconds in which a node's agent must have taken the command, 30 to 2,592,000 (limits of SendCommand).
    type: int
    default: 600
  execution_timeout:
    description: Seconds in which the work must end on the node, 5 to 172,740 (the agent's limits, less a minute).
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
      - Whether the work may run twice. Then a node whose command ended C(Undeliverable) or C(DeliveryTimedOut), which
        proves nothing, is asked once more, and ends as that second run says. So is one that went down while the command
        ran (V(interrupted)), and one whose command was killed long before its time limit (V(killed)).
    type: bool
    default: false
  rollout:
    description:
      - The rollout's name, by which M(patchwave.aws.stop) finds the batch, whoever runs it. It is in the comment of
        each command, and in the keys of what is stored in O(bucket). O(token) unless given; V(all) is no name.
      - Once the payload lies in O(bucket), and again before each sending, the batch looks for a mark there that stops
        the rollout. Then it is as with O(stop_file), and the hosts that were not sent to end C(skipped) with the reason
        C(stopped).
    type: str
  token:
    description:
      - Names the work, at most 70 characters, and no other in O(journal). While that holds sendings of this very work,
        the next run takes them up. It finds their commands again, reads their results, and sends the work to no node
        twice. Without a token, and in check mode, nothing is taken up.
    type: str
  journal:
    description:
      - A file on the controller to which each intent, each sending and each node's result are appended as JSON lines,
        an intent before anything is sent. Remove it once the results have been taken, and keep it after a crash, and
        where it has a C(leftover), a payload that the next run with it deletes.
    type: path
  stop_file:
    description:
      - While this file is there on the controller, nothing more is sent, what no agent has begun is cancelled, and what
        runs is waited for. It is the way to stop a batch; Ctrl-C at C(ansible-playbook) leaves all that was sent to
        itself.
      - Whoever starts the run may hold the file locked (C(flock), exclusive) from before the run on. Then it is a stop
        once the lock is let go, also where the file was removed meanwhile.
    type: path
  stop_at:
    description:
      - When the window closes, a time such as V(2026-12-13T04:00+01:00). From then on it is as with O(stop_file).
      - Without an offset it is in UTC; a date is its first moment.
    type: str
  max_unreachable:
    description:
      - So many nodes of the batch may be unreachable, a number or a percentage that is rounded down. It stops nothing;
        see O(ignore_within_budget).
    type: str
    default: "0"
  ignore_within_budget:
    description:
      - Whether hosts that failed or were unreachable are ignored errors (C(ignored) in the recap), as long as both
        O(max_errors) and O(max_unreachable) hold. Their results have C(within_budget). The play goes on with these
        hosts and does not fail for them.
    type: bool
    default: false
  owner_lock:
    description:
      - A file on the controller that whoever started the run holds locked (C(flock)) for as long as it lives. Once the
        lock is free, the owner is gone. Then nothing more is sent, and what was sent is left to the next run with the
        same O(journal) and O(token).
    type: path
"""
