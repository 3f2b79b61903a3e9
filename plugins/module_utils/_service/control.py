# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""What all accounts and regions of one fan-out share: slots, the error budget, and the word to stop."""

from __future__ import annotations

import threading
import typing as t

#: What a reason to stop means for a node that was not sent to.
_SAID = {
    "asked_to_stop": "not sent: the run was asked to stop, or its time was up",
    "broken_off": "not sent: another account or region broke off",
    "slots_lost": "not sent: every slot is that of a node of which nobody can read whether it has ended",
    "max_errors_reached": "not sent: too many other nodes failed",
}


class OwnerGone(Exception):
    """Who started the run is gone, so nothing more is sent; one line."""


class Control:
    """Hands out slots and says when to stop. Safe to share between threads."""

    def __init__(
        self,
        max_in_flight: int,
        max_errors: int,
        asked_to_stop: t.Callable[[], bool],
        owner_gone: t.Callable[[], str] = lambda: "",
        marked: t.Callable[[], str] = lambda: "",
    ) -> None:
        """Take what holds for everybody.

        Args:
            max_in_flight: slots over all accounts and regions; 0 is no limit.
            max_errors: how many nodes may fail.
            asked_to_stop: says whether somebody wants it to stop.
            owner_gone: says how it is known that who started it is gone, or nothing while that is not so.
            marked: says who has stopped it from outside, or nothing while nobody has.
        """
        self._slots = max_in_flight
        self._free = max_in_flight if max_in_flight > 0 else None
        self._lost = 0
        self._owner_gone, self._gone = owner_gone, ""
        self.max_errors = max_errors
        self._errors = 0
        self._asked_to_stop, self._marked = asked_to_stop, marked
        self._broken = False
        self._lock = threading.Condition()

    def claim(self, slots: int) -> None:
        """Take slots for nodes that are in flight already, whether they are free or not."""
        if self._free is not None:
            with self._lock:
                self._free -= slots

    def lose(self, slots: int) -> None:
        """Take note of slots that are not given back, since nobody can read whether their nodes have ended."""
        with self._lock:
            self._lost += slots

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

    @property
    def free(self) -> int | None:
        """How many slots are free; None: without a limit."""
        return self._free

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
        return max(0, self.max_errors - self._errors)

    def break_off(self) -> None:
        """Stop everybody, since somebody broke off who will not give its slots back."""
        self._broken = True

    def leave(self, why: str) -> None:
        """Let nobody send or cancel anything any more."""
        self._gone = self._gone or why

    def check(self) -> None:
        """Go on only while who started it is there; called before each sending and once a second.

        Raises:
            OwnerGone: nobody may send or cancel anything any more.
        """
        self._gone = self._gone or self._owner_gone()
        if self._gone:
            raise OwnerGone(f"{self._gone}: nothing more is sent; what runs on nodes is left to the next run")

    def said(self, reason: str) -> str:
        """Return in a line what a reason to stop means for a node that was not sent to."""
        return f"not sent: the rollout was {self._marked()}" if reason == "stopped" else _SAID[reason]

    def stop_reason(self) -> str:
        """Return why nothing more may be sent, or nothing while all may go on.

        Returns:
            C(asked_to_stop), C(stopped), C(broken_off), C(slots_lost) or C(max_errors_reached).

        Raises:
            OwnerGone: see check().
        """
        self.check()
        if self._broken:
            return "broken_off"
        if self._asked_to_stop():
            return "asked_to_stop"
        if self._marked():
            return "stopped"
        if 0 < self._slots <= self._lost:
            return "slots_lost"
        return "max_errors_reached" if self._errors > self.max_errors else ""
