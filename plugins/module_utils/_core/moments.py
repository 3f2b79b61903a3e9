# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Moments in time as definitions and commands carry them: ISO 8601 with a zone."""

from __future__ import annotations

import datetime
import re
import typing as t

_SHAPE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d)?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)


def seconds(text: str) -> float:
    """Return seconds since 1970 of a moment such as C(2026-11-22T04:00:00Z); its seconds may be left out.

    Raises:
        ValueError: no moment, or one without a zone, whose meaning depends on the reader.
    """
    match = _SHAPE.match(text) if isinstance(text, str) else None
    if not match:
        raise ValueError("not a moment: {0!r}".format(text))
    whole = match.group(1) + (match.group(2) or ":00") + match.group(3).replace("Z", "+0000")
    return datetime.datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S%z").timestamp()


def is_moment(text: t.Any) -> bool:
    """Tell whether C(text) is a moment with a zone."""
    try:
        seconds(text)
    except (ValueError, OverflowError):
        return False
    return True
