# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What the results of a batch come to: how many of which outcome, and whether that is within its budgets."""

from __future__ import annotations

import hashlib
import json
import typing as t

from . import outcomes
from .budget import allowed
from .results import NodeResult

Result = t.Mapping[str, t.Any]
#: Characters of a host's message in a verdict.
_MSG = 300


def word(result: Result, speaks: bool = False) -> str:
    """Return the outcome of a host's result; of none at all it is C(skipped).

    Args:
        result: of a task, whatever module gave it.
        speaks: whether the module always says an outcome, so that a failure without one came before it began.
    """
    silent = "outcome" not in result
    before = speaks and silent and not result.get("unreachable") and "module_stdout" not in result
    if not result or before or (silent and result.get("skipped")):
        return outcomes.SKIPPED
    if result.get("unreachable"):
        return outcomes.UNREACHABLE
    return NodeResult.said(result, strict=speaks).outcome


class Budgets(t.NamedTuple):
    """How many hosts may fail, and how many may be unreachable."""

    errors: int
    unreachable: int

    @classmethod
    def of(cls, max_errors: t.Any, max_unreachable: t.Any, hosts: int) -> "Budgets":
        """Read budgets as users write them.

        Raises:
            ValueError: one of them is neither a number nor a percentage; one line that names it.
        """
        found = []
        for name, value in (("max_errors", max_errors), ("max_unreachable", max_unreachable)):
            try:
                found.append(allowed(value, hosts))
            except ValueError as error:
                raise ValueError("{0}: {1}".format(name, error)) from None
        return cls(*found)

    def holds(self, words: t.Sequence[str]) -> bool:
        """Say whether the outcomes of all hosts are within both."""
        charged = sum(1 for one in words if one in outcomes.CHARGED)
        return charged <= self.errors and words.count(outcomes.UNREACHABLE) <= self.unreachable


#: What no budget is needed for, and what one allows.
_ALLOWED = (*outcomes.RIGHT, outcomes.REBOOT_PENDING, *outcomes.CHARGED, outcomes.UNREACHABLE)


def verdict(results: t.Mapping[str, Result], budgets: Budgets, what: t.Any, speaks: bool = False) -> t.Dict[str, t.Any]:
    """Return what the results of all hosts come to.

    Args:
        results: by host; an empty one of a host to which nothing was done.
        budgets: of the whole batch.
        what: is done, as JSON can hold it; a part of the plan.
        speaks: see word().

    Returns:
        C(hosts) (int), C(totals) (dict of every outcome to int), C(within_budget) (bool: both budgets hold, and nothing
        else is wrong), C(error_budget) and C(unreachable_budget) (int), C(not_right) (dict of host to a list of its
        outcome, reason and message, of all hosts that are neither patched nor current) and C(plan) (str, SHA-256 of
        hosts and what is done).
    """
    words = {host: word(result, speaks) for host, result in results.items()}
    plan = json.dumps([sorted(results), what], sort_keys=True, default=str)
    wrong = {host: results[host] for host in sorted(results) if words[host] not in outcomes.RIGHT}
    said = {host: NodeResult.said(one, strict=False) for host, one in wrong.items()}
    return {
        "hosts": len(results),
        "totals": outcomes.totals(words.values()),
        "within_budget": budgets.holds(list(words.values())) and set(words.values()).issubset(_ALLOWED),
        "error_budget": budgets.errors,
        "unreachable_budget": budgets.unreachable,
        "not_right": {host: [words[host], one.reason, one.msg[:_MSG]] for host, one in said.items()},
        "plan": hashlib.sha256(plan.encode("utf-8")).hexdigest(),
    }
