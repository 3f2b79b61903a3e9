"""Locks on files, by which the driver and what it started know whether the other still lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import IO

from patchwave.errors import PatchwaveError

_POLL = 0.1
#: Seconds that an action has to end after SIGTERM, and after SIGKILL.
_TERMINATED, _KILLED = 3.0, 20.0


def take(path: Path) -> IO[str] | None:
    """Lock a file that is made where it is missing; None where another process has it. Closing it lets it go.

    Raises:
        OSError: it cannot be made or opened.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class StopFile:
    """The file by which actions are told to stop: held locked until they are to. Letting it go takes no disk."""

    def __init__(self, path: Path) -> None:
        """Make the file anew and hold it.

        Raises:
            PatchwaveError: that is not possible; nothing could be stopped then.
        """
        self.path = path
        try:
            path.unlink(missing_ok=True)  # of a killed run: whoever had to obey it has ended
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._failed(error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> PatchwaveError:
        if self.path.is_dir() and not self.path.is_symlink():
            return PatchwaveError(f"{self.path}: is a folder, where a file is needed to stop a rollout; move it away")
        what = "a rollout without it could not be stopped; make room, or mend the folder's rights"
        return PatchwaveError(f"{self.path}: cannot be made and locked: {error.strerror}; {what}")

    def check(self) -> None:
        """Find out whether who begins now will find the file.

        Raises:
            PatchwaveError: somebody has removed or replaced it.
        """
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._file)):
                return
        raise PatchwaveError(f"{self.path}: was removed or replaced while the rollout ran; run the same command again")

    def say(self) -> None:
        """Say stop, from any thread and from a signal's handler; it is never unsaid."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        # For who begins only now, where somebody has removed the file.
        with contextlib.suppress(OSError):
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))

    def withdraw(self) -> None:
        """Remove the file, once nobody is left who must obey it."""
        with contextlib.suppress(OSError):  # the next run makes it anew
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let the file go, which says stop to whoever is left."""
        os.close(self._file)


def is_held(path: Path) -> bool:
    """Say whether a process holds the lock of a file, which may be missing."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def wait_until_free(path: Path, seconds: float) -> bool:
    """Wait until nobody holds a file; False when somebody still does."""
    deadline = time.monotonic() + seconds
    while is_held(path):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def end_holder(path: Path, pid: int | None, grace: float) -> bool:
    """Wait for the process that holds a file, and end it when it takes too long.

    Args:
        path: the file.
        pid: the process that is said to hold it, if that is known; it is ended only if it has the file open.
        grace: seconds to wait before.

    Returns:
        Whether nobody holds it any more.
    """
    if wait_until_free(path, grace):
        return True
    for number, seconds in ((signal.SIGTERM, _TERMINATED), (signal.SIGKILL, _KILLED)):
        if pid and has_open(pid, path):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if wait_until_free(path, seconds):
            return True
    return False


def has_open(pid: int, path: Path) -> bool:
    """Say whether a process has a file open; where the system has no /proc, whether it lives at all."""
    if not Path("/proc/self/fd").exists():
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return True
        return False
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found = entry.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    return False
