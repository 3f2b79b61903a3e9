# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""One patch transaction at a time on a node."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from .errors import PatchError

_PAUSE = 0.1


@contextlib.contextmanager
def node_lock(path: str, timeout: float, create: bool = True) -> t.Iterator[None]:
    """Hold the node's lock. The kernel lets go of it when the process ends, however it ends.

    Args:
        path: the lock file; it stays.
        timeout: seconds to wait for another holder.
        create: false in check mode: without a lock file nobody holds it and none is made.

    Raises:
        PatchError: C(locked) when the time is up.
        OSError: the file cannot be opened.
    """
    # Check mode only looks, and must do so on a read-only file system too.
    access = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    try:
        handle = os.open(path, access | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        if create:
            raise
        yield
        return
    try:
        _wait(handle, path, timeout)
        if create:
            os.ftruncate(handle, 0)
            os.pwrite(handle, "{0}\n".format(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if time.monotonic() >= deadline:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
            message = "process {0} has held {1} for {2} s; wait for it or raise lock_timeout".format(
                holder, path, timeout
            )
            raise PatchError("locked", message)
        time.sleep(_PAUSE)
