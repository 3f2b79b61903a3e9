"""Ctrl-C, SIGTERM and a closed terminal: the first asks the running wave to stop, the second leaves it.

Ctrl-Z does nothing: a driver that sleeps would hear no Ctrl-C, while what it has started goes on sending.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from patchwave import locks

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What puts a process in the background to sleep that reads or writes its terminal.
_OF_THE_TERMINAL = (signal.SIGTTIN, signal.SIGTTOU)
_NOT_NOW = b"\r\npatchwave: cannot be suspended while a rollout runs; it goes on, Ctrl-C stops it\r\n"


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


def _goes_on(*dummy: object) -> None:
    """Say so, past all buffers, for a signal may come while one is written."""
    with contextlib.suppress(OSError):
        os.write(2, _NOT_NOW)


@contextmanager
def handled() -> Iterator[Interrupts]:
    """Handle the signals until the block ends, so that what was done until then is still written down."""
    interrupts = Interrupts()
    handlers: dict[signal.Signals, Any] = {
        **dict.fromkeys(_SIGNALS, interrupts._handle),
        **dict.fromkeys(_OF_THE_TERMINAL, signal.SIG_IGN),
        signal.SIGTSTP: _goes_on,
    }
    # Who ignores one, as nohup does, goes on ignoring it.
    before = {number: signal.getsignal(number) for number in handlers}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, handlers[number])
    try:
        yield interrupts
    finally:
        for number in taken:
            signal.signal(number, before[number])
