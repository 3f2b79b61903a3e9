# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""What all accounts and regions of one fan-out share: slots, the error budget, and the word to stop."""

from __future__ import annotations

import threading
import typing as t


class Control:
    """Hands out slots and says when to stop. Safe to share between threads."""

    def __init__(self, max_in_flight: int, max_errors: int, asked_to_stop: t.Callable[[], bool]) -> None:
        """Take the slots over all accounts and regions (0: no limit), the failures allowed, and who may say stop."""
        self._free = max_in_flight if max_in_flight > 0 else None
        self._max_errors = max_errors
        self._errors = 0
        self._asked_to_stop = asked_to_stop
        self._broken = False
        self._lock = threading.Condition()

    def claim(self, slots: int) -> None:
        """Take slots for nodes that are in flight already, whether they are free or not."""
        if self._free is not None:
            with self._lock:
                self._free -= slots

    def exchange(self, given: int, wanted: int) -> int:
        """Give slots back and take up to so many, in one go; return how many were taken."""
        with self._lock:
            if self._free is None:
                return wanted
            self._free += given
            taken = max(0, min(wanted, self._free))
            self._free -= taken
            if self._free > 0:
                self._lock.notify_all()
            return taken

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for a free slot; return whether there is one."""
        with self._lock:
            return self._lock.wait_for(lambda: self._free is None or self._free > 0, max(0.0, seconds))

    def charge(self) -> None:
        """Count one node that failed."""
        with self._lock:
            self._errors += 1

    def errors_left(self) -> int:
        """Return how many more nodes may fail."""
        return max(0, self._max_errors - self._errors)

    def break_off(self) -> None:
        """Stop everybody, since somebody broke off who will not give its slots back."""
        self._broken = True

    def stop_reason(self) -> str:
        """Return why nothing more may be sent: C(asked_to_stop), C(broken_off), C(max_errors_reached), or nothing."""
        if self._broken:
            return "broken_off"
        if self._asked_to_stop():
            return "asked_to_stop"
        return "max_errors_reached" if self._errors > self._max_errors else ""
