# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What a patch run says at its end."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .._core.outcomes import FAILED, ROLLED_BACK
from .log import Log
from .text import fit, label, tidy

_WRONG = (FAILED, ROLLED_BACK)
_MSG_CHARS = 500


class Report:
    """Collect outcome, versions and times of one run.

    Args:
        name: the program.
        log: gets each step with its time, and the end.
        scrub: hides secrets in a text.
    """

    def __init__(self, name: str, log: Log, scrub: t.Callable[[str], str]) -> None:
        self._name = name
        self._scrub = scrub
        self._start = time.monotonic()
        self._seconds = {}  # type: t.Dict[str, float]
        self._end = (FAILED, "io_error", "not run")
        self.log = log
        self.before = None  # type: t.Optional[str]
        self.after = None  # type: t.Optional[str]
        self.changed = False
        self.extra = {}  # type: t.Dict[str, t.Any]

    @property
    def outcome(self) -> str:
        """The outcome set last."""
        return self._end[0]

    @contextlib.contextmanager
    def step(self, name: str) -> t.Iterator[None]:
        """Time one step, also when it fails."""
        start = time.monotonic()
        self.log.event(name)
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - start

    def end(self, outcome: str, reason: str, message: str) -> None:
        """Set how the run ended; the last call counts."""
        self._end = (outcome, reason, tidy(self._scrub(message), _MSG_CHARS))

    def result(self) -> t.Dict[str, t.Any]:
        """Return the result as the module documents it, at most text.RESULT_BYTES bytes of JSON."""
        outcome, reason, message = self._end
        self._seconds["total"] = time.monotonic() - self._start
        return fit(
            {
                "name": label(self._name, 64),
                "outcome": outcome,
                "reason": reason,
                "msg": message,
                "version_before": self.before,
                "version_after": self.after,
                "changed": self.changed,
                "failed": outcome in _WRONG,
                "seconds": {step: round(spent, 3) for step, spent in self._seconds.items()},
                "log": label(self.log.path, 230),
                **self.extra,
            }
        )
