# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Moments in time as calendars, definitions and commands carry them. This is the one reading of them.

A moment is C(2026-11-22), C(2026-11-22T04:00), C(2026-11-22T04:00:00.5) or one of these times with C(Z) or an offset
such as C(+01:00); a space may stand for the T. Everything else is refused, whatever Python or ISO 8601 would take.
"""

from __future__ import annotations

import datetime
import re
import typing as t

_SHAPE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?\Z",
    re.ASCII,
)
#: Years of which every time can be had in every zone, and the year after too.
_YEARS = (1970, 9990)
#: What a moment may look like, for messages.
WANTED = "a date such as 2026-11-22 or a time such as 2026-11-22T04:00:00+01:00"


class Moment(t.NamedTuple):
    """A time, with its offset where one is given; `is_date` where a whole day is meant."""

    time: datetime.datetime
    is_date: bool


def read(value: t.Any) -> Moment:
    """Read a text, or a date or time that YAML has made of one.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, datetime.datetime):
        found = Moment(value, False)
    elif isinstance(value, datetime.date):
        found = Moment(datetime.datetime(value.year, value.month, value.day), True)
    else:
        found = _of_text(value)
    if not _YEARS[0] <= found.time.year <= _YEARS[1]:
        raise ValueError("not a moment: {0!r}".format(value))
    return found


def _of_text(text: t.Any) -> Moment:
    match = _SHAPE.match(text) if isinstance(text, str) else None
    if not match:
        raise ValueError("not a moment: {0!r}".format(text))
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, zone = match.groups()[6:]
    micro = int((fraction or "").ljust(6, "0"))
    time = datetime.datetime(year, month, day, hour, minute, second, micro, _zone(zone) if zone else None)
    return Moment(time, match.group(4) is None)


def _zone(text: str) -> datetime.tzinfo:
    if text == "Z":
        return datetime.timezone.utc
    offset = datetime.timedelta(hours=int(text[1:3]), minutes=int(text[4:]))
    return datetime.timezone(-offset if text[0] == "-" else offset)


def seconds(text: str) -> float:
    """Return seconds since 1970 of a moment such as C(2026-11-22T04:00:00Z); its seconds may be left out.

    Raises:
        ValueError: no moment, or one without a zone, whose meaning depends on the reader.
    """
    found = _of_text(text)
    if found.time.tzinfo is None:
        raise ValueError("not a moment: {0!r}".format(text))
    return read(found.time).time.timestamp()


def is_moment(text: t.Any) -> bool:
    """Tell whether C(text) is a moment with a zone."""
    try:
        seconds(text)
    except (ValueError, OverflowError):
        return False
    return True


def earliest(texts: t.Iterable[str]) -> str:
    """Return the earliest of some moments, as it is written; empty without any.

    Raises:
        ValueError: one of them is no moment with a zone.
    """
    return min(texts, key=seconds, default="")
