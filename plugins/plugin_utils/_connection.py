# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""What a batch adds to a host's own connection: the word to stop, the latest start, the journal."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._core import moments, outcomes, run_names
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult
from ansible_collections.patchwave.aws.plugins.module_utils._service import stop_marks
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Sessions

from . import _batch
from ._journal import note


class Watch:
    """Says whether a host's work may start, and writes down how it ended."""

    def __init__(self, options: t.Mapping[str, t.Any], host: str, sessions: t.Callable[[], Sessions]) -> None:
        """Take the options of run_module, the host's name, and what makes sessions for AWS."""
        self._options, self._host, self._sessions = options, host, sessions

    def refused(self) -> dict[str, t.Any] | None:
        """Return the result of a host whose work may not start, or None.

        Raises:
            AwsError: nobody can tell whether a stop from outside holds.
        """
        reason, msg = self._reason(), ""
        if not reason:
            msg = self._marked()
            reason = "stopped" if msg else ""
        if not reason:
            return None
        msg = msg or _WHY[reason]
        self.ends(NodeResult.concluded(outcomes.SKIPPED, reason, msg))
        return _batch.ended(outcomes.SKIPPED, reason, msg)

    def _reason(self) -> str:
        options, now = self._options, time.time()
        stop_at = _batch.stop_time(options["stop_at"])
        with contextlib.closing(_batch.StopFile(options["stop_file"])) as stop:
            if stop.asked() or (stop_at is not None and now >= stop_at):
                return "asked_to_stop"
        with contextlib.closing(_batch.Owner(options["owner_lock"])) as owner:
            if owner.gone():
                return "asked_to_stop"
        late = options["latest_start"]
        return "too_late" if late and now > moments.seconds(late) else ""

    def _marked(self) -> str:
        """Say who stops the rollout from outside, where there is a bucket in which that is said."""
        place = _batch.place(self._options)
        if not place:
            return ""
        rollout = self._options["rollout"] or self._options["token"] or ""
        marks = stop_marks.Watch(self._sessions(), [place], run_names.run_name(rollout))
        marks.begin()
        stopped = marks.stopped()
        if not stopped:
            return ""
        self._note("stopped", {"said": stopped})
        return f"not started: the rollout was {stopped}"

    def begins(self) -> None:
        """Write down that something may happen to the host from now on."""
        self._note("begun", {})

    def ends(self, said: NodeResult) -> None:
        """Write down how the host ended."""
        self._note("result", said.line())

    def _note(self, kind: str, event: dict[str, t.Any]) -> None:
        if self._options["journal"]:
            note(self._options["journal"], self._options["token"], kind, {"host": self._host, **event})


_WHY = {
    "asked_to_stop": "not started: the run was asked to stop, or its time was up",
    "too_late": "not started: latest_start has passed",
}
