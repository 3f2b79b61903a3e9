# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Whether an account and region can be read, and what to do while it cannot.

What cannot be read has not ended: a hiccup of seconds or minutes costs nothing but time.
"""

from __future__ import annotations

import random
import typing as t

from .._aws.errors import AwsError
from .run_command_types import Listener

#: Seconds until it is tried again: at first and at most; each further time twice as long.
_FIRST, _LONGEST = 1.0, 30.0
#: Codes of errors that do not pass by themselves, and how many in a row prove it.
_FINAL = (
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AccessDenied",
    "AccessDeniedException",
)
_FINAL_TRIES = 5
#: Characters of an error that are told.
_TOLD = 500

_Answer = t.TypeVar("_Answer")


def read(call: t.Callable[[], _Answer]) -> _Answer:
    """Call AWS.

    Raises:
        AwsError: the call failed, or its answer is not of AWS's shape, as a proxy's may be.
    """
    try:
        return call()
    except AwsError:
        raise
    except Exception as error:
        raise AwsError(f"AWS gave an answer that cannot be read ({type(error).__name__})", error) from error


def final(error: AwsError) -> bool:
    """Say whether an error does not pass by itself: the credentials have ended, or may not do this."""
    return error.code in _FINAL


class Readable:
    """Knows whether an account and region can be read; each change is told."""

    def __init__(self, where: str, tell: Listener) -> None:
        """Take the name of the account and region, and who is told."""
        self._where, self._tell = where, tell
        #: The latest error while it cannot be read.
        self.error: AwsError | None = None
        self._tries = self._final = 0

    def well(self) -> None:
        """Take note that it was read."""
        if self.error:
            self._tell("readable", {"where": self._where})
        self.error, self._tries, self._final = None, 0, 0

    def failed(self, error: AwsError) -> None:
        """Take note that it could not be read."""
        if not self.error:
            self._tell("unreadable", {"where": self._where, "error": str(error)[:_TOLD]})
        self.error = error
        self._tries += 1
        self._final = self._final + 1 if final(error) else 0

    @property
    def over(self) -> bool:
        """Whether it will certainly not be read again in this run: the credentials have ended, or their rights."""
        return self._final >= _FINAL_TRIES

    def pause(self) -> float:
        """Return how many seconds to wait until it is tried again."""
        return min(_LONGEST, _FIRST * 2.0 ** min(self._tries - 1, 10)) * random.uniform(0.8, 1.2)
