# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The mark in a bucket that stops a rollout from outside, whoever runs it and wherever.

A run looks for the mark once its payload lies in the bucket, and again before each sending. Whoever stops it sets the
mark first and takes the payloads away after that. So either the run sees the mark, or its payload is among those that
go, and S3 shows every write to every later read (https://aws.amazon.com/s3/consistency/).
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import typing as t

from .._aws import s3 as s3_api
from .._aws.errors import AwsError
from .._aws.sessions import Sessions
from .._core import run_names

#: Seconds for which an answer is taken for the truth: where a payload goes with the stop, and where there is none.
FRESH, FRESH_WITHOUT_PAYLOAD = 2.0, 0.5
_DENIED = ("AccessDenied", "403")
#: Bytes of a mark that are read, and characters of each of its texts that are shown.
_LARGEST, _LONGEST = 10_000, 200


class Place(t.NamedTuple):
    """Where marks and payloads of a rollout lie: a bucket, what its keys begin with, whose it must be (an account)."""

    bucket: str
    prefix: str
    owner: str | None = None


class Mark(t.NamedTuple):
    """Who has stopped a rollout, or all of them, when (ISO 8601) and why. Each text may be empty."""

    by: str
    time: str
    reason: str
    of_all: bool = False

    def __str__(self) -> str:
        """Return it in a line."""
        what = "stopped with all rollouts" if self.of_all else "stopped"
        when = f" at {self.time}" if self.time else ""
        return f"{what} by {self.by or 'somebody'}{when}{': ' if self.reason else ''}{self.reason}"


def look(sessions: Sessions, place: Place, name: str) -> Mark | None:
    """Return the mark that stops the rollout, its own or the one for all, or None.

    Raises:
        AwsError: nobody can tell.
    """
    s3 = sessions.s3(place.bucket)
    wanted = {run_names.stop_mark(place.prefix, one): one == run_names.ALL for one in (name, run_names.ALL)}
    try:
        listed = s3_api.list_objects(s3, place.bucket, run_names.stops(place.prefix), place.owner)
        there = {key.rstrip("/") for key in listed}  # consoles make "folders"
    except AwsError as error:
        if error.code not in _DENIED:
            raise
        # Whoever may read an object and not list the bucket is told of one that is there.
        heads = {key: s3_api.head_object(s3, place.bucket, key, place.owner) for key in wanted}
        there = {key for key, head in heads.items() if head is not None}
    for key, of_all in wanted.items():
        if key in there:
            return read(sessions, place, key)._replace(of_all=of_all)
    return None


def read(sessions: Sessions, place: Place, key: str) -> Mark:
    """Return what a mark says; one that cannot be read stops all the same."""
    try:
        said = json.loads(s3_api.get_object(sessions.s3(place.bucket), place.bucket, key, _LARGEST, place.owner))
        by, when, reason = (said.get(part, "") for part in ("by", "time", "reason"))
    except (AwsError, ValueError, AttributeError, RecursionError):
        return Mark("", "", "")
    return Mark(text(by), text(when), text(reason))


def text(value: t.Any) -> str:
    """Return anything as a short line that any file takes."""
    shown = "".join(char if char.isprintable() else " " for char in str(value))
    return " ".join(shown.split())[:_LONGEST].encode("utf-8", "replace").decode()


class Watch:
    """Says whether a run is stopped by a mark. Safe to share between threads."""

    def __init__(self, sessions: Sessions, places: t.Iterable[Place], name: str, fresh: float = FRESH) -> None:
        """Take where to look, the rollout's name, and for how many seconds an answer is taken for the truth."""
        self._sessions, self._name, self._fresh = sessions, name, fresh
        #: What this run has stored, each a bucket, a key and whose it must be; gone only with a stop.
        self.stored: list[tuple[str, str, str | None]] = []
        self._doubts = False
        self._places = list(dict.fromkeys(places))
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._mark: Mark | None = None
        #: Told once, in a line, who stops the run.
        self.heard: t.Callable[[str], None] = lambda said: None

    def begin(self) -> None:
        """Look for the first time, once the payloads lie there and before anything is sent.

        Raises:
            AwsError: nobody can tell whether the run is stopped, and not for want of a right.
        """
        with self._lock:
            if self._looked == float("-inf"):
                self._look(first=True)

    def doubt(self) -> None:
        """Look again, and at what was stored as well, for a node could not have it."""
        self._doubts, self._looked = True, float("-inf")

    def stopped(self) -> str:
        """Return who has stopped the run and why, in a line, or nothing."""
        # Who finds the answer too old asks; the others go on by the old one meanwhile.
        if self._places and time.monotonic() - self._looked > self._fresh and self._lock.acquire(blocking=False):
            try:
                if time.monotonic() - self._looked > self._fresh:
                    self._look(first=False)
            finally:
                self._lock.release()
        return str(self._mark) if self._mark else ""

    def _look(self, first: bool) -> None:
        if self._mark:
            return
        for place in self._places:
            try:
                self._mark = self._mark or look(self._sessions, place, self._name)
            except AwsError:
                if first:
                    raise
        if not self._mark and self._doubts:
            self._mark = self._withdrawn()
        if self._mark:
            self.heard(str(self._mark))
        self._looked = time.monotonic()

    def _withdrawn(self) -> Mark | None:
        """Return a mark where something of what was stored is not there any more: that is what a stop does.

        Only a listing tells: of an object that is not there, S3 says to who may not list the whole bucket what it says
        of one that may not be read.
        """
        self._doubts = False
        for bucket, key, owner in self.stored:
            with contextlib.suppress(AwsError):
                if key not in s3_api.list_objects(self._sessions.s3(bucket), bucket, key, owner):
                    return Mark("", "", f"s3://{bucket}/{key} was taken away")
        return None
