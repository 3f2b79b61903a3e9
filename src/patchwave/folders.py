"""Private folders for what Ansible needs for a moment, gone when the driver has ended, however it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchwave.errors import PatchwaveError

_PREFIX = "patchwave-apply-"
#: In each folder: held for as long as the driver that made the folder lives.
_LOCK = ".lock"
#: The files of an output folder.
_OURS = ("*.journal", "*.log", "apply.lock", "ledger-*.jsonl", "report.html", "report.json", "stop")
#: Seconds that a folder without a lock may be on its way to one.
_YOUNG = 60.0
#: Bytes without which nothing begins.
_ROOM = 65_536


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for this user only, and remove it when the block ends; those of dead drivers go as well."""
    remove_stale()
    with contextlib.ExitStack() as stack:
        try:
            # An orphan of Ansible may still write there for a moment.
            made = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
            lock = stack.enter_context((folder / _LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "cache").mkdir(mode=0o700)
            (folder / "tmp").mkdir(mode=0o700)
            check_room(folder)
        except OSError as error:
            raise of_temporary(error) from error
        yield folder


def check_files(folder: Path) -> None:
    """Find out whether each file of ours that is in an output folder is one; a pipe would be waited for.

    Raises:
        PatchwaveError: one is not.
    """
    for pattern in _OURS:
        for path in sorted(folder.glob(pattern)):
            with contextlib.suppress(OSError):  # gone, or leads nowhere; told where it is used
                kind = path.stat().st_mode
                if not stat.S_ISREG(kind):
                    what = "folder" if stat.S_ISDIR(kind) else "pipe or a device"
                    raise PatchwaveError(f"{path}: is a {what}, where a file is needed; move it away")


def check_room(folder: Path) -> None:
    """Find out whether something can be written in a private folder.

    Raises:
        PatchwaveError: it cannot.
    """
    file = folder / ".room"
    try:
        with file.open("wb") as probe:
            probe.write(bytes(_ROOM))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise of_temporary(error) from error
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def of_temporary(error: OSError) -> PatchwaveError:
    """Return in a line that temporary files cannot be written, and what to do."""
    place = "TMPDIR"
    with contextlib.suppress(OSError):
        place = tempfile.gettempdir()
    what = "make room there, or set TMPDIR to a folder that has some"
    return PatchwaveError(f"{place}: temporary files cannot be written: {error.strerror or error}; {what}")


def remove_stale() -> None:
    """Remove the folders of this user's drivers that were killed: they may hold secrets."""
    with contextlib.suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                if _is_stale(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_stale(folder: Path) -> bool:
    known = folder.lstat()
    if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.geteuid():
        return False
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - known.st_mtime > _YOUNG
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
