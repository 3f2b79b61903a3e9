# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Outcomes: the one word with which a node ends, and what each word means for the rest of a rollout."""

from __future__ import annotations

import typing as t
from collections import Counter

PATCHED = "patched"
CURRENT = "current"
REBOOT_PENDING = "reboot_pending"
FAILED = "failed"
ROLLED_BACK = "rolled_back"
RESTORED = "restored"
UNREACHABLE = "unreachable"
UNKNOWN = "unknown"
SKIPPED = "skipped"
UNSUPPORTED = "unsupported"

#: Every outcome, in the order in which reports show them.
OUTCOMES = (
    PATCHED,
    CURRENT,
    REBOOT_PENDING,
    FAILED,
    ROLLED_BACK,
    RESTORED,
    UNREACHABLE,
    UNKNOWN,
    SKIPPED,
    UNSUPPORTED,
)

#: Outcomes that use up the error budget. C(unreachable) has a budget of its own.
CHARGED = frozenset((FAILED, ROLLED_BACK, RESTORED, UNKNOWN))

#: Outcomes of nodes that are right: a resumed rollout leaves them alone.
RIGHT = frozenset((PATCHED, CURRENT))


def totals(outcomes: t.Iterable[str]) -> t.Dict[str, int]:
    """Count nodes by outcome.

    Args:
        outcomes: one word per node.

    Returns:
        Every word of OUTCOMES with its count, zeros included, in report order.
    """
    counts = Counter(outcomes)
    return {word: counts[word] for word in OUTCOMES}
