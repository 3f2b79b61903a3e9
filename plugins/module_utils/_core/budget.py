# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Error budgets: how many nodes may fail before a rollout stops.

A budget counts as Run Command's C(MaxErrors) does: it says how many errors are allowed, so 0 stops after the first
and 3 stops after the fourth. Failed nodes stay charged.
"""

from __future__ import annotations

import re
import typing as t

from .outcomes import CHARGED, UNREACHABLE


def allowed(value: t.Union[int, str], nodes: int) -> int:
    """Turn a budget as users write it into a number of nodes.

    Args:
        value: a number of nodes, or a percentage such as C("5%"), which is rounded down.
        nodes: the size of what the percentage is of.

    Returns:
        How many nodes may fail.

    Raises:
        ValueError: neither a whole number from 0 nor a percentage from 0% to 100%.
    """
    match = re.fullmatch(r"(\d+)(%?)", str(value), re.ASCII)
    if not match or isinstance(value, bool) or (match.group(2) and int(match.group(1)) > 100):
        raise ValueError("must be a number of nodes or a percentage such as 5%, not '{0}'".format(value))
    number = int(match.group(1))
    return number * nodes // 100 if match.group(2) else number


def allowed_in_wave(value: t.Union[int, str], nodes: int) -> int:
    """Turn the budget of one wave into a number of nodes of so many; a percentage above 0% is at least one.

    Raises:
        ValueError: as allowed().
    """
    number = allowed(value, nodes)
    return max(1, number) if allowed(value, 100) and str(value).endswith("%") else number


class Budget:
    """The two budgets of a rollout, errors and unreachable nodes, and what has been charged to them."""

    def __init__(self, errors: int, unreachable: int) -> None:
        """Args are numbers of nodes, as returned by allowed()."""
        self.errors = errors
        self.unreachable = unreachable
        self.charged = {"errors": 0, "unreachable": 0}

    def charge(self, outcome: str) -> None:
        """Charge one node's outcome (a word of OUTCOMES) to the budget it belongs to, if any."""
        if outcome in CHARGED:
            self.charged["errors"] += 1
        elif outcome == UNREACHABLE:
            self.charged["unreachable"] += 1

    def errors_left(self) -> int:
        """Return how many more nodes may fail, 0 or more."""
        return max(0, self.errors - self.charged["errors"])

    def exceeded(self) -> t.Optional[str]:
        """Return why the rollout must stop as one line, or None while it may go on."""
        for kind, limit in (("errors", self.errors), ("unreachable", self.unreachable)):
            if self.charged[kind] > limit:
                noun = "nodes failed" if kind == "errors" else "nodes were unreachable"
                return "{0} {1}, {2} allowed".format(self.charged[kind], noun, limit)
        return None
