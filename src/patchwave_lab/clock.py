"""The lab's one clock, and what is due when."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

log = logging.getLogger(__name__)
Action = Callable[[], None]


class Clock:
    """Real time, plus what it was advanced by. All times are seconds since the epoch."""

    def __init__(self) -> None:
        #: Seconds that it was advanced by.
        self.ahead = 0.0

    def now(self) -> float:
        """The lab's present."""
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        """Move the lab's present on."""
        self.ahead += seconds

    @staticmethod
    def moment(at: float) -> datetime:
        """A point in time as AWS puts it on the wire: UTC, milliseconds."""
        return datetime.fromtimestamp(round(at, 3), UTC)


class Timeline:
    """Runs actions when the clock reaches their time, one after the other, holding the lab's lock."""

    def __init__(self, clock: Clock, lock: "threading.RLock") -> None:
        self.clock = clock
        self._changed = threading.Condition(lock)
        self._due: list[tuple[float, int, Action]] = []
        self._order = itertools.count()

    def start(self) -> None:
        """Run what is due from now on, in a thread of its own."""
        threading.Thread(target=self._run, name="timeline", daemon=True).start()

    def after(self, seconds: float, action: Action) -> None:
        """Run `action` in `seconds`, by the lab's clock."""
        with self._changed:
            entry = (self.clock.now() + seconds, next(self._order), action)
            heapq.heappush(self._due, entry)
            # Wake the thread only for what comes before all that it waits for.
            if self._due[0] is entry:
                self._changed.notify_all()

    def advance(self, seconds: float) -> None:
        """Move the clock on; what was due before, and what becomes due by that, has run when this returns."""
        with self._changed:
            self._run_due()
            self.clock.advance(seconds)
            self._run_due()
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget everything that is not yet due."""
        with self._changed:
            self._due.clear()

    def _run_due(self) -> None:
        while self._due and self._due[0][0] <= self.clock.now():
            try:
                heapq.heappop(self._due)[2]()
            except Exception:
                log.exception("an action failed")

    def _run(self) -> None:
        with self._changed:
            while True:
                self._run_due()
                wait = self._due[0][0] - self.clock.now() if self._due else None
                self._changed.wait(wait)
