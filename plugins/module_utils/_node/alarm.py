# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""A time limit for what has none: a server may send a byte of its answer now and then, and each read is in time."""

from __future__ import annotations

import contextlib
import signal
import threading
import typing as t


@contextlib.contextmanager
def alarm(seconds: float, late: t.Callable[[], Exception]) -> t.Iterator[None]:
    """Raise what C(late) makes when the time is up."""
    if seconds <= 0:
        raise late()
    if threading.current_thread() is not threading.main_thread():  # who has no signals is no module of Ansible's
        yield
        return

    def ring(*dummy: t.Any) -> None:
        raise late()

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
