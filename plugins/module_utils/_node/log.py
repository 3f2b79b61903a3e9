# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""A small log on the node: one JSON object a line, at most two files of a quarter megabyte."""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

from .text import tidy

MAX_BYTES = 256 * 1024
_MAX_TEXT = 400


class Log:
    """Append events; a log that cannot be written never stops a patch.

    Args:
        path: the log file; the one before it is C(path + ".1").
        name: the program, in each line.
        scrub: hides secrets in a text.
        enabled: false in check mode.
    """

    def __init__(self, path: str, name: str, scrub: t.Callable[[str], str], enabled: bool = True) -> None:
        self.path = path
        self._name = name
        self._scrub = scrub
        self._enabled = enabled

    def event(self, step: str, **details: t.Any) -> None:
        """Append one line: time (UTC), process, name, step and details, whose texts are cut to 400 characters."""
        if not self._enabled:
            return
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "pid": os.getpid(),
            "name": self._name,
            "step": step,
        }
        for key, value in details.items():
            line[key] = tidy(self._scrub(value), _MAX_TEXT) if isinstance(value, str) else value
        with contextlib.suppress(OSError):
            self._append(json.dumps(line) + "\n")

    def _append(self, text: str) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
            size = stream.tell()
        if size > MAX_BYTES:
            os.replace(self.path, self.path + ".1")
