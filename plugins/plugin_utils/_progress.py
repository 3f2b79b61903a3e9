# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""A line now and then while a batch runs, for people and for job servers that end a job which prints nothing."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from ansible.utils.display import Display
from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes

#: Seconds between two lines; the first comes after so many. A batch that is faster prints none.
_EVERY = 30.0


class Progress:
    """Counts the nodes of a batch that have ended, and says how many."""

    def __init__(self, nodes: int, max_errors: int, max_in_flight: int) -> None:
        """Take the number of nodes and the limits of the batch."""
        self._nodes = nodes
        at_once = f"{max_in_flight} at once" if max_in_flight else "all at once"
        self._limits = f"limits of this play alone: {at_once}, {max_errors} may fail"
        self._ended = self._wrong = 0
        self._lock = threading.Lock()

    def take(self, outcome: str) -> None:
        """Count a node; called by several threads."""
        with self._lock:
            self._ended += 1
            self._wrong += outcome not in outcomes.RIGHT

    def line(self) -> str:
        """Return how the batch stands."""
        return f"patchwave: {self._ended} of {self._nodes} nodes have ended, {self._wrong} not right ({self._limits})"

    @contextlib.contextmanager
    def shown(self) -> t.Iterator[None]:
        """Say so now and then until the block ends."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(_EVERY):
                Display().display(self.line())

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
