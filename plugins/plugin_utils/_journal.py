# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""The journal of a batch on the controller: what was about to be sent, what was, how each node ended; JSON lines.

It is written before each sending, so that a run whose results never arrived can be taken up: its commands are found
again by the comments they carry. It is also how results reach who started the batch. Who has them removes the file.
Each line has C(event) and C(time); docs/engine.md lists the events.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._service.run_command import Sent

#: Events that are on the disk before anything goes on. The others are only read by who watches, and after a crash the
#: next run asks AWS for what they say; that of the end takes all before it along.
_DURABLE = ("started", "intent", "finished")
#: What a token that was given begins with in a journal and in comments.
TOKEN = "patchwave "
#: Seconds to wait for another process to let the journal go, such as what is left of a controller that was killed.
_PATIENCE = 60


#: Between the works of one run.
_AND = ", "


class JournalError(Exception):
    """The journal cannot be had; one line."""


class JournalLost(Exception):
    """The journal cannot be written any more, and something may have been sent; one line."""


class Journal:
    """An append-only file, or nothing where there is no path. Held alone for as long as the batch runs."""

    def __init__(
        self, path: str | None, token: str, work: str = "", check: t.Callable[[], None] = lambda: None
    ) -> None:
        """Open the journal for the work called token.

        Args:
            path: the file.
            token: names the work.
            work: says what that is, in a line.
            check: called while another process holds it; what it raises ends the waiting.

        Raises:
            JournalError: it cannot be written, another process holds it, or the token stands for other work in it.
        """
        #: Sendings of earlier runs of this very work, but for those that AWS refused.
        self.earlier: list[Sent] = []
        #: Payloads that earlier runs left behind, as (bucket, key).
        self.leftovers: list[tuple[str, str]] = []
        self._file: t.TextIO | None = None
        self._path = path
        self._writing = threading.Lock()
        if path:
            try:
                self._file = os.fdopen(
                    os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+", encoding="utf-8"
                )
            except OSError as error:
                raise JournalError(f"journal: {path}: cannot be written: {error.strerror}") from error
            try:
                self._lock(path, check)
                self._read(self._file, token, work)
            except BaseException:
                self._file.close()
                raise

    def _lock(self, path: str, check: t.Callable[[], None]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self._file:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise JournalError(f"journal: {path}: another process runs this batch; wait for it") from error
                check()
                time.sleep(0.5)

    def _read(self, file: t.TextIO, token: str, work: str) -> None:
        mine = False
        payloads: dict[tuple[str, str], None] = {}  # that may lie there
        stuck: dict[tuple[str, str], None] = {}  # of those, the ones that this run could not delete
        for event in self._events(file):
            kind = event["event"]
            if kind == "started":
                mine = event["token"] == token
                if mine:
                    self._same(event.get("work", work), work)
                payloads.update({(one["bucket"], one["key"]): None for one in event.get("payloads", ())})
                stuck.clear()
            elif kind == "intent" and mine:
                self.earlier.append(Sent(event["comment"], tuple(event["nodes"]), event["time"]))
            elif kind == "refused" and mine:
                self.earlier = [sent for sent in self.earlier if sent.comment != event["comment"]]
            elif kind == "leftover":
                stuck[event["bucket"], event["key"]] = None
            elif kind == "finished":
                payloads = dict(stuck)
        self.leftovers = list({**payloads, **stuck})

    def _same(self, before: str, now: str) -> None:
        """Compare works, each a list in one text; of several, one run may do a part."""
        one, other = (set(filter(None, each.split(_AND))) for each in (before, now))
        if not (one <= other or other <= one):
            what = f"has {before} under this token, not {now}; give each work a token of its own"
            raise JournalError(f"journal: {self._path}: {what}")

    def _events(self, file: t.TextIO) -> t.Iterator[dict[str, t.Any]]:
        file.seek(0)
        lines = file.read().split("\n")
        if lines[-1]:
            file.write("\n")  # a crash cut the last line; what comes now is not a part of it
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # cut: nothing was sent yet, since a line is on the disk before that
            if not isinstance(event, dict) or "event" not in event:
                raise JournalError(f"journal: {self._path}: is no journal; name another file")
            yield event

    def write(self, kind: str, event: dict[str, t.Any]) -> None:
        """Append an event, from any thread; what a next run must know is on the disk when this returns.

        Raises:
            JournalLost: the disk is full, for instance.
        """
        if not self._file:
            return
        line = json.dumps({"event": kind, "time": time.time(), **event}, allow_nan=False)
        try:
            with self._writing:
                self._file.write(line + "\n")
                self._file.flush()
                if kind in _DURABLE:
                    os.fsync(self._file.fileno())
        except OSError as error:
            what = "what was sent goes on; make room and run again, which takes it up"
            raise JournalLost(f"journal: {self._path}: cannot be written: {error.strerror}; {what}") from error

    def close(self) -> None:
        """Let the file go."""
        if self._file:
            with contextlib.suppress(OSError):  # what could not be written was said before
                self._file.close()


def note(path: str, token: str | None, kind: str, event: dict[str, t.Any]) -> None:
    """Append one event from a process that works for one host, as many of which write at once.

    Raises:
        JournalLost: it cannot be written.
    """
    line = json.dumps({"event": kind, "time": time.time(), "token": f"{TOKEN}{token}", **event}, allow_nan=False)
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode() + b"\n")
        finally:
            os.close(file)
    except OSError as error:
        raise JournalLost(f"journal: {path}: cannot be written: {error.strerror}") from error
