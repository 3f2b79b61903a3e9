"""The ledger: the append-only record of what happened to a plan, a JSON object a line."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from patchwave.errors import PatchwaveError


class Ledger:
    """A rollout's record on disk. Every line is on the disk before the call that wrote it returns."""

    def __init__(self, path: Path) -> None:
        """Open or make the file at path and hold it alone.

        Raises:
            PatchwaveError: another process holds it, or it cannot be written or read.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise PatchwaveError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.lines = self._read()
        except BlockingIOError as error:
            self.close()
            raise PatchwaveError(f"{path}: another patchwave apply is running on this rollout; wait for it") from error
        except PatchwaveError:
            self.close()
            raise

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        text = self._file.read()
        if text and not text.endswith("\n"):
            # A crash cut the last line; what it would have said is not known, so it counts for nothing.
            text = text[: text.rfind("\n") + 1]
            self._file.truncate(len(text.encode("utf-8")))
        try:
            return [json.loads(line) for line in text.splitlines()]
        except ValueError as error:
            raise PatchwaveError(
                f"{self._path}: is damaged: {error}; move it away to start the rollout anew"
            ) from error

    def write(self, event: str, **details: Any) -> None:
        """Append one event with the time of now."""
        self.write_all(event, [details])

    def write_all(self, event: str, entries: Iterable[dict[str, Any]]) -> None:
        """Append events of one kind with the time of now; they are on the disk when this returns.

        Raises:
            PatchwaveError: they are not.
        """
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        lines = [{"time": time, "event": event, **details} for details in entries]
        try:
            self._file.write("".join(json.dumps(line) + "\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            again = "run the same command again when it can, and it takes up what was sent"
            raise PatchwaveError(f"{self._path}: cannot be written: {error.strerror}; {again}") from error
        self.lines.extend(lines)

    def results(self) -> dict[str, dict[str, Any]]:
        """Return each host's latest result."""
        return {line["host"]: line for line in self.lines if line["event"] == "node"}

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
