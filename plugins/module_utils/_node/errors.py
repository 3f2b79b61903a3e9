# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The one exception of what runs on a node."""

from __future__ import annotations

import errno
import os

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class PatchError(Exception):
    """A step could not be done.

    Attributes:
        reason: a key of C(_core.software.REASONS).
        message: what went wrong, where and what to do, in one line without secrets.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


#: What a step may raise that is no fault of this code: ours, the file system's, and that of folders nested too deep.
ALL = (PatchError, OSError, RecursionError)


def patch_error(error: BaseException, where: str) -> PatchError:
    """Return one of ALL as a PatchError; C(where) is the folder, for the message."""
    if isinstance(error, PatchError):
        return error
    if isinstance(error, OSError):
        return from_os_error(error, where)
    return PatchError("io_error", "folders are nested too deep in {0}; remove them and run again".format(where))


def from_os_error(error: OSError, where: str) -> PatchError:
    """Turn an error of the file system into a PatchError.

    Args:
        error: what the system call raised.
        where: the folder it happened in, for the message.
    """
    text = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _FULL:
        return PatchError("no_space", "no room in {0} ({1}); free some and run again".format(where, text))
    if error.errno in _DENIED:
        return PatchError("not_writable", "cannot write {0} ({1}); check its mount and owner".format(where, text))
    return PatchError("io_error", "file system error in {0}: {1}".format(where, text))
