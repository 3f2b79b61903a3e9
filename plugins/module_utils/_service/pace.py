# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""When to poll next: as seldom as slots allow that must not stay empty for long."""

from __future__ import annotations

import collections
import random
import threading
import typing as t

#: Seconds between two polls: at first, at most, and how that grows while nothing moves.
_FIRST, _LONGEST, _GROWTH = 0.5, 10.0, 1.3
#: While nothing is known of the work, an end is seen at most by this part of the command's age too late.
_LATE = 16
#: But not before so many seconds.
_SOON = 1.5
#: Where ends are due, seconds between two polls as a part of a usual run: where all runs are alike, and where they are
#: not, for then ends are spread and each poll finds only a few. And the limits of it.
_ALIKE, _SPREAD = 1 / 60, 1 / 10
_SHORTEST_STEP, _LONGEST_STEP = 0.3, 5.0
#: While no end is due, a poll comes at least after this part of a usual run, for work may end otherwise than before.
_SELDOM = 1 / 10
#: Where runs are alike, nodes of one command end one soon after the other, and a slot waits for the others for at most
#: this part of a usual run, so that they are filled by one command again.
_GATHER = 1 / 20
#: So many runs are remembered, for work may change on the way.
_REMEMBERED = 200
#: A command older than so many of the longest runs is not waited for any more, only polled now and then.
_SLOW = 1.5
#: Pauses are so much shorter once ends are due and no node waits for a slot: the end of the last is the end of all.
_LAST = 0.4
#: Seconds of rest when AWS throttles: at first and at most; each further time twice as long.
_THROTTLED, _LONGEST_REST = 2.0, 30.0


class Runs:
    """How long nodes took, in all accounts and regions. Safe to share between threads."""

    def __init__(self) -> None:
        self._latest: t.Deque[float] = collections.deque(maxlen=_REMEMBERED)
        self._sorted: list[float] | None = None
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Remember how long a node took."""
        with self._lock:
            self._latest.append(seconds)
            self._sorted = None

    def quantiles(self) -> tuple[float, float, float] | None:
        """Return a short run, a usual one and a long one; None while there is none."""
        with self._lock:
            if not self._latest:
                return None
            runs = self._sorted = self._sorted or sorted(self._latest)
            return runs[len(runs) // 10], runs[len(runs) // 2], runs[len(runs) * 19 // 20]


class Pace:
    """Learns from runs that ended how long the next ones will take, for one account and region.

    Until the first end, polls are at first close together and then further apart. From then on there is none before a
    command is as old as a short run, and there are some in quick succession around the age at which its nodes end.
    """

    def __init__(self, runs: Runs) -> None:
        """Take what is learned everywhere."""
        self._runs = runs
        self._pause = _FIRST
        self._rest = _THROTTLED

    def ran(self, seconds: float) -> None:
        """Remember how long a node took."""
        self._runs.add(seconds)

    def polled(self, moved: bool) -> None:
        """Remember whether the last poll saw anything end."""
        self._rest = _THROTTLED
        self._pause = self._step() if moved else self._pause * _GROWTH

    def rest(self) -> float:
        """Return how many seconds to leave AWS alone, now that it throttles."""
        rest, self._rest = self._rest, min(_LONGEST_REST, self._rest * 2)
        return rest * random.uniform(0.8, 1.2)

    def pause(self, ages: t.Sequence[float], last: bool) -> float:
        """Return how many seconds to wait until the next poll.

        Args:
            ages: how many seconds ago each command was sent that has not ended.
            last: whether no node waits for a slot, here or elsewhere.
        """
        if not ages:
            return _SOON
        known = self._runs.quantiles()
        jitter = random.uniform(0.8, 1.2)
        if not known:
            self._pause = min(self._pause, max(_SOON, min(_LONGEST, min(ages) / _LATE)))
            return self._pause * jitter
        short, usual, long = known
        jitter *= _LAST if last else 1.0
        least = _SHORTEST_STEP * (_LAST if last else 1.0)
        early = [short - age for age in ages if age < short]
        if early and not any(short <= age <= _SLOW * long + _LONGEST_STEP for age in ages):
            self._pause = self._step()
            return min(max(_LONGEST, usual * _SELDOM), min(early) + max(least, self._pause * jitter))
        self._pause = min(self._pause, max(_SOON, min(_LONGEST, min(ages) / _LATE)))
        return max(least, self._pause * jitter)

    def due(self, age: float) -> bool:
        """Say whether nodes of a command that was sent so many seconds ago may have ended, by the runs so far."""
        known = self._runs.quantiles()
        return not known or age >= known[0]

    def gather(self, age: float | None = None) -> float:
        """Return how many seconds a free slot may wait for others, so that they are filled together.

        Args:
            age: how many seconds ago the command was sent whose slots may come free; without it, those of others.
        """
        known = self._runs.quantiles()
        if not known:
            return 0.0
        short, usual, long = known
        hold = min(_LONGEST_STEP, usual * _GATHER * (1.0 - self._spread()))
        return hold if age is None or short <= age <= long + 2 * hold else 0.0

    def _spread(self) -> float:
        """Return how much runs differ: 0 where they are all alike, at most 1."""
        short, usual, long = self._runs.quantiles() or (0.0, 0.0, 0.0)
        return min(1.0, (long - short) / usual) if usual else 0.0

    def _step(self) -> float:
        known = self._runs.quantiles()
        if not known:
            return _FIRST
        part = _ALIKE + self._spread() * (_SPREAD - _ALIKE)
        return max(_SHORTEST_STEP, min(_LONGEST_STEP, known[1] * part))
