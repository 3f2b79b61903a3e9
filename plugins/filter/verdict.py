# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.patchwave.aws.plugins.module_utils._core.verdict import Budgets
from ansible_collections.patchwave.aws.plugins.module_utils._core.verdict import verdict as judged

DOCUMENTATION = r"""
name: verdict
short_description: What the results of all hosts of a batch come to
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Counts the hosts of a batch by outcome, says whether that is within its budgets, and names the hosts that are not
    right. The playbook C(patchwave.aws.patch_software) sets it as the statistic C(patchwave_verdict), which AWX shows
    as an artifact of the job.
  - A host to which nothing was done is C(skipped). It counts in no budget.
positional: _input, max_errors, max_unreachable, what, speaks
options:
  _input:
    description: Each host's result by its name, such as one of M(patchwave.aws.run_module).
    type: dict
    required: true
  max_errors:
    description: So many hosts may fail, a number or a percentage that is rounded down.
    type: str
    default: "0"
  max_unreachable:
    description: So many hosts may be unreachable, a number or a percentage that is rounded down.
    type: str
    default: "0"
  what:
    description: What is done. It is part of the hash of the plan.
    type: raw
  speaks:
    description:
      - Whether the module always says an outcome, as M(patchwave.aws.software_patch) does. Then a host that failed
        without one failed before anything was done to it, and is C(skipped).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Say what became of it
  ansible.builtin.set_stats:
    data:
      verdict: "{{ batch.results | patchwave.aws.verdict('5%') }}"
  run_once: true
"""

RETURN = r"""
_value:
  description:
    - C(hosts), their number; C(totals), a number for each outcome; C(within_budget), whether both budgets hold and
      nothing else is wrong; C(error_budget) and C(unreachable_budget), numbers of hosts.
    - C(not_right), for each host that is neither patched nor current its outcome, reason and message.
    - C(plan), the SHA-256 of the hosts and of what is done.
  type: dict
"""


def verdict(
    results: t.Any,
    max_errors: t.Any = "0",
    max_unreachable: t.Any = "0",
    what: t.Any = None,
    speaks: bool = False,
) -> dict[str, t.Any]:
    """Return what the results come to."""
    if not isinstance(results, dict):
        raise AnsibleFilterError("verdict: needs the results of hosts by their names")
    given = {str(host): one if isinstance(one, dict) else {} for host, one in results.items()}
    try:
        # An empty text, as of a survey, is the default.
        budgets = Budgets.of(str(max_errors).strip() or "0", str(max_unreachable).strip() or "0", len(given))
        return judged(given, budgets, what, speaks)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"verdict": verdict}
