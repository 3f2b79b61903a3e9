"""Ctrl-C, SIGTERM and a closed terminal: the first asks the running wave to stop, the second leaves it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from patchwave import locks

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Counts them, and says stop to every action of the rollout, once there is one that may hear it."""

    def __init__(self) -> None:
        self.count = 0
        self._stop: locks.StopFile | None = None

    def asked(self) -> bool:
        """Say whether the rollout is to stop."""
        return self.count > 0

    def left_alone(self) -> bool:
        """Say whether what runs is to be left."""
        return self.count > 1

    def stop_sending(self) -> None:
        """Ask the running action to send nothing more; not the end of what was sent."""
        if self._stop:
            self._stop.say()

    def name_stop_file(self, stop: locks.StopFile | None) -> None:
        """Say by which file actions are stopped from now on; None when there is nobody any more who must obey."""
        self._stop = stop
        if self.count:
            self.stop_sending()

    def _handle(self, *dummy: object) -> None:
        self.count += 1
        self.stop_sending()


@contextmanager
def handled() -> Iterator[Interrupts]:
    """Handle the signals until the block ends, so that what was done until then is still written down."""
    interrupts = Interrupts()
    # Who ignores one, as nohup does, goes on ignoring it.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, interrupts._handle)
    try:
        yield interrupts
    finally:
        for number in taken:
            signal.signal(number, before[number])
