# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""When to poll next: as seldom as slots allow that must not stay empty for long."""

from __future__ import annotations

import collections
import random
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


class Pace:
    """Learns from runs that ended how long the next ones will take.

    Until the first end, polls are at first close together and then further apart. From then on there is none before a
    command is as old as a short run, and there are some in quick succession around the age at which its nodes end.
    """

    def __init__(self) -> None:
        self._runs: t.Deque[float] = collections.deque(maxlen=_REMEMBERED)
        self._sorted: list[float] | None = None
        self._pause = _FIRST
        self._rest = _THROTTLED

    def ran(self, seconds: float) -> None:
        """Remember how long a node took."""
        self._runs.append(seconds)
        self._sorted = None

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
            last: whether no node waits for a slot.
        """
        if not ages:
            return _SOON
        jitter = random.uniform(0.8, 1.2) * (_LAST if last and self._runs else 1.0)
        if self._runs:
            short, usual, long = self._quantiles()
            early = [short - age for age in ages if age < short]
            if early and not any(short <= age <= _SLOW * long + _LONGEST_STEP for age in ages):
                self._pause = self._step()
                return min(max(_LONGEST, usual * _SELDOM), min(early) + self._pause * jitter)
        self._pause = min(self._pause, max(_SOON, min(_LONGEST, min(ages) / _LATE)))
        return self._pause * jitter

    def due(self, age: float) -> bool:
        """Say whether nodes of a command that was sent so many seconds ago may have ended, by the runs so far."""
        return not self._runs or age >= self._quantiles()[0]

    def gather(self, age: float) -> float:
        """Return how many seconds a free slot may wait for those of a command that was sent so long ago."""
        if not self._runs:
            return 0.0
        short, usual, long = self._quantiles()
        hold = min(_LONGEST_STEP, usual * _GATHER * (1.0 - self._spread()))
        return hold if short <= age <= long + 2 * hold else 0.0

    def _spread(self) -> float:
        """Return how much runs differ: 0 where they are all alike, at most 1."""
        short, usual, long = self._quantiles()
        return min(1.0, (long - short) / usual) if usual else 0.0

    def _step(self) -> float:
        if not self._runs:
            return _FIRST
        dummy, usual, dummy = self._quantiles()
        return max(_SHORTEST_STEP, min(_LONGEST_STEP, usual * (_ALIKE + self._spread() * (_SPREAD - _ALIKE))))

    def _quantiles(self) -> tuple[float, float, float]:
        """Return a short run, a usual one and a long one."""
        runs = self._sorted = self._sorted or sorted(self._runs)
        return runs[len(runs) // 10], runs[len(runs) // 2], runs[len(runs) * 19 // 20]
