"""The ledger: the append-only record of what happened to a plan, a JSON object a line."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult

from patchwave.errors import PatchwaveError, of_file

#: Outcomes after which a node may be another than before.
_MAY_HAVE_CHANGED = outcomes.CHARGED | {outcomes.PATCHED, outcomes.REBOOT_PENDING}


class Ledger:
    """A rollout's record on disk. Every line is on the disk before the call that wrote it returns.

    Attributes:
        lines: every event that is not a node's result.
        results: each host's latest result.
        may_have_changed: whether some node may have been changed, in any run.
        time: of the last line.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file at path and hold it alone.

        Raises:
            PatchwaveError: another process holds it, or it cannot be written or read.
        """
        self._path = path
        self._lock = threading.Lock()
        self.lines: list[dict[str, Any]] = []
        self.results: dict[str, NodeResult] = {}
        self.may_have_changed = False
        self.time = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except IsADirectoryError as error:
            raise of_file(path, error) from error
        except OSError as error:
            raise PatchwaveError(f"{path}: cannot be written: {error.strerror}") from error
        #: How long the file is, in whole lines.
        self._length = 0
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError as error:
            self.close()
            raise PatchwaveError(f"{path}: another patchwave apply is running on this rollout; wait for it") from error
        except OSError as error:
            self.close()
            raise of_file(path, error) from error
        except PatchwaveError:
            self.close()
            raise

    def _read(self) -> None:
        with os.fdopen(os.dup(self._file), "rb") as file:
            data = file.read()
        # A crash cut the last line; what it would have said is not known, so it counts for nothing.
        whole = data[: data.rfind(b"\n") + 1]
        self._length = len(whole)
        if len(whole) < len(data):
            os.ftruncate(self._file, self._length)
        try:
            for line in whole.decode("utf-8").splitlines():
                self._take(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # What it does not tell may be that nodes were changed.
            why = "is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise PatchwaveError(
                f"{self._path}: is damaged: {why}; move it away to start the rollout anew", exit_code=3
            ) from error

    def _take(self, line: dict[str, Any], result: NodeResult | None = None) -> None:
        self.time = line["time"]
        if line["event"] != "node":
            self.lines.append(line)
            return
        known = result or NodeResult.read(line)
        self.results[line["host"]] = known
        self.may_have_changed |= known.outcome in _MAY_HAVE_CHANGED

    def write(self, event: str, **details: Any) -> None:
        """Append one event with the time of now."""
        self._append([({"event": event, **details}, None)])

    def write_results(self, results: dict[str, NodeResult]) -> None:
        """Append how nodes ended, by host."""
        self._append(({"event": "node", "host": host, **result.line()}, result) for host, result in results.items())

    def _append(self, entries: Iterable[tuple[dict[str, Any], NodeResult | None]]) -> None:
        """Append lines with the time of now; they are on the disk when this returns.

        Raises:
            PatchwaveError: they are not.
        """
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        lines = [({"time": time, **line}, result) for line, result in entries]
        with self._lock:
            try:
                self._put("".join(json.dumps(line, allow_nan=False) + "\n" for line, dummy in lines).encode())
            except OSError as error:
                again = "run the same command again when it can, and it takes up what was sent"
                raise PatchwaveError(f"{self._path}: cannot be written: {error.strerror}; {again}") from error
            for line, result in lines:
                self._take(line, result)

    def _put(self, data: bytes) -> None:
        """Append whole lines; of those that do not fit nothing stays, now or before the next ones."""
        if os.fstat(self._file).st_size != self._length:
            os.ftruncate(self._file, self._length)
        try:
            left = data
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._length)
            raise
        self._length += len(data)

    def close(self) -> None:
        """Let the file go; all that was written is on the disk already."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1


def may_have_changed(path: Path) -> bool:
    """Say whether a ledger that cannot be opened just now tells of nodes that may have been changed."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return False
    except OSError:
        return not path.is_dir()
    for line in lines:
        with contextlib.suppress(ValueError, AttributeError, RecursionError):
            known = json.loads(line)
            if known.get("event") == "node" and NodeResult.read(known).outcome in _MAY_HAVE_CHANGED:
                return True
    return False
