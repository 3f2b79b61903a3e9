# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What must hold before a node is touched, and again right before its services are stopped."""

from __future__ import annotations

import time
import typing as t

from .._core import moments
from . import processes
from .errors import PatchError
from .services import Services


class Preconditions:
    """Judge whether the switch may begin now.

    Args:
        latest_start: time after which nothing is begun, or nothing for any time.
        unsafe: names of processes during which nothing is begun.
        services: which must all be on the node.
        clock: C(time.time) or a stand-in.
    """

    def __init__(
        self,
        latest_start: t.Optional[str],
        unsafe: t.Sequence[str],
        services: Services,
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        self._latest = latest_start
        self._unsafe = unsafe
        self._services = services
        self._clock = clock

    def check(self, first: bool = False) -> None:
        """Raise PatchError: what Services.check() or check_now() raise."""
        self._services.check(first)
        self.check_now()

    def check_now(self) -> None:
        """Raise PatchError: C(too_late) or C(unsafe_process)."""
        if self._latest and self._clock() > moments.seconds(self._latest):
            message = "latest_start {0} has passed; run again in the next window"
            raise PatchError("too_late", message.format(self._latest))
        running = processes.named(self._unsafe)
        if running:
            message = "{0} runs, which unsafe_processes forbids to disturb; run again when it has ended"
            raise PatchError("unsafe_process", message.format(", ".join(running)))
