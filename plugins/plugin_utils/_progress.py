# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""A line before a batch, and now and then while it runs: for people, and for job servers that end a silent job."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from ansible.utils.display import Display
from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes

#: Seconds between two lines.
_EVERY = 30.0


class Progress:
    """Counts the nodes of a batch that have ended, and says how many."""

    def __init__(self, nodes: int, max_errors: int, max_in_flight: int) -> None:
        """Take the number of nodes and the limits of the batch."""
        self._nodes = nodes
        self._limits = f"{f'at most {max_in_flight}' if max_in_flight else 'all'} at once, {max_errors} may fail"
        self._ended = self._wrong = 0
        self._lock = threading.Lock()

    def take(self, outcome: str) -> None:
        """Count a node; called by several threads."""
        with self._lock:
            self._ended += 1
            self._wrong += outcome not in outcomes.RIGHT

    def first(self) -> str:
        """Return the limits. Whoever runs several plays side by side, such as slices of a job, has them as often."""
        return f"patchwave: {self._nodes} nodes, {self._limits}; these limits are of this play alone"

    def line(self) -> str:
        """Return how the batch stands."""
        return f"patchwave: {self._ended} of {self._nodes} nodes have ended, {self._wrong} not right"

    @contextlib.contextmanager
    def shown(self) -> t.Iterator[None]:
        """Say the limits, and then how it stands now and then until the block ends."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(_EVERY):
                Display().display(self.line())

        Display().display(self.first())
        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
