"""The journal of a wave's batch, which the action writes on the controller and the driver reads while it does."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult

from patchwave.errors import PatchwaveError, of_file

#: What the action puts before a token that it was given.
_TOKEN_PREFIX = "patchwave "


class Journal:
    """What the actions of one work have told so far; each line of the file is read once.

    Attributes:
        sent: hosts that a command was sent to, in any run of this work.
        begun: hosts on which work over their own connection has begun, in any run.
        ended: hosts with a result of the running action.
        unreadable: accounts and regions that cannot be read just now, with the error.
        leftovers: what could not be deleted in S3, as bucket and key, with the error.
        stopped: who stops the rollout from outside, and why; empty while nobody does.
        pid: the process of the action that began last.
    """

    def __init__(self, path: Path, token: str) -> None:
        """Take in what earlier runs of the work called token have left in the file; it may be missing."""
        self._path, self._token = path, _TOKEN_PREFIX + token
        self._file: IO[bytes] | None = None
        self._offset, self._mine = 0, False
        self._intents: dict[str, set[str]] = {}
        self._refused: set[str] = set()
        self.sent: set[str] = set()
        self.begun: set[str] = set()
        self.ended: set[str] = set()
        self.unreadable: dict[str, str] = {}
        self.leftovers: dict[tuple[str, str], str] = {}
        self.stopped = ""
        self.pid: int | None = None
        #: Results of earlier runs, which no ledger may have.
        self.earlier = dict(self.read())
        self.ended.clear()
        self._earlier_intents, self._earlier_begun = set(self._intents), set(self.begun)

    def read(self) -> Iterator[tuple[str, NodeResult]]:
        """Read what was written since; return each host's new result."""
        for event in self._events():
            kind = event.get("event")
            if kind == "started":
                self._started(event)
            elif kind == "leftover":
                self.leftovers[str(event.get("bucket")), str(event.get("key"))] = str(event.get("error", ""))
            elif kind == "begun" and self._is_mine(event):
                self.begun.add(str(event.get("host")))
            elif kind == "stopped" and self._is_mine(event):
                self.stopped = " ".join(str(event.get("said", "")).split())
            elif self._is_mine(event) and kind == "result" and isinstance(event.get("host"), str):
                self.ended.add(event["host"])
                yield event["host"], NodeResult.read(event)
            elif self._mine:
                self._take(str(kind), event)

    def _is_mine(self, event: dict[str, Any]) -> bool:
        """Say whether a line is of this work: by its own token, or by that of the action that writes all lines."""
        return bool(event["token"] == self._token) if "token" in event else self._mine

    def maybe_sent(self) -> set[str]:
        """Return the hosts that may have been sent something, in any run: of all intents that AWS did not refuse."""
        return self._of_intents(set(self._intents)) | self.begun

    def maybe_sent_now(self) -> set[str]:
        """Return those of the running action alone."""
        return self._of_intents(self._intents.keys() - self._earlier_intents) | self.begun - self._earlier_begun

    def _of_intents(self, comments: set[str]) -> set[str]:
        return set().union(*(self._intents[comment] for comment in comments - self._refused))

    def forget(self) -> None:
        """Remove the file; of what could not be deleted in S3 a line stays, so that the next run tries again."""
        self.close()
        lines = [
            json.dumps({"event": "leftover", "time": time.time(), "bucket": bucket, "key": key, "error": error}) + "\n"
            for (bucket, key), error in self.leftovers.items()
        ]
        if not lines:
            try:
                return self._path.unlink(missing_ok=True)
            except OSError as error:
                raise of_file(self._path, error) from error
        draft = self._path.with_name(f".{self._path.name}")
        try:
            draft.write_text("".join(lines), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise of_file(self._path, error) from error

    def _started(self, event: dict[str, Any]) -> None:
        self._mine = event.get("token") == self._token
        pid = event.get("pid")
        self.pid = pid if isinstance(pid, int) and pid > 1 else None
        self.ended.clear()
        self.stopped = ""
        self.unreadable.clear()
        self.leftovers.clear()  # the new run tries them again, and tells anew of those that stay

    def _take(self, kind: str, event: dict[str, Any]) -> None:
        comment, where = str(event.get("comment", "")), str(event.get("where", ""))
        if kind == "intent":
            self._intents[comment] = _hosts(event)
        elif kind == "sent":
            self.sent |= _hosts(event)
        elif kind == "refused":
            self._refused.add(comment)
        elif kind == "unreadable":
            self.unreadable[where] = str(event.get("error", ""))
        elif kind == "readable":
            self.unreadable.pop(where, None)

    def _events(self) -> Iterator[dict[str, Any]]:
        data = self._new()
        whole = data[: data.rfind(b"\n") + 1]  # the rest is half a line, whole at the next poll
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a crash cut it
            if isinstance(event, dict):
                yield event

    def _new(self) -> bytes:
        """Read what was appended; of a file that somebody removes, what the action still writes into it as well.

        Raises:
            PatchwaveError: it cannot be read, or is another file than before.
        """
        try:
            self._file = self._file or self._path.open("rb")
            self._file.seek(self._offset)
            data = self._file.read()
            if data or os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                return data
        except OSError as error:
            if not self._file:
                if isinstance(error, FileNotFoundError):
                    return b""
                raise of_file(self._path, error, "it knows what was sent; mend its rights, or move it away") from error
        raise PatchwaveError(f"{self._path}: was removed or replaced while the wave ran; run the same command again")

    def close(self) -> None:
        """Let the file go."""
        if self._file:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        self.close()


def _hosts(event: dict[str, Any]) -> set[str]:
    nodes = event.get("nodes")
    return {str(host) for host in nodes} if isinstance(nodes, list) else set()
