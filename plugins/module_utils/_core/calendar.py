# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Windows, when a wave may run, and freezes, when nothing may run. The time is always given, never asked for.

A window begins on a weekday of the month, C(2) Tuesday say, or so many days after it: the fourth day after the second
Tuesday is not always the second Saturday. It may end on the next day. Times are those of the window's own time zone, so
a night that loses an hour to summer time has a window that is shorter by an hour.
"""

from __future__ import annotations

import datetime
import re
import typing as t

try:
    import zoneinfo
except ImportError:  # Python 3.8: no controller of ours, but some node that imports this room
    zoneinfo = None  # type: ignore[assignment]

from .spec import problems

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
#: Which of a month's five Tuesdays; every one without it.
_WEEKS = ("1", "2", "3", "4", "5", "last")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

WINDOW = {
    "week": {"type": "raw"},
    "weekday": {"type": "str", "required": True, "choices": list(WEEKDAYS)},
    "offset_days": {"type": "int"},
    "start": {"type": "raw", "required": True},
    "end": {"type": "raw", "required": True},
    "timezone": {"type": "str"},
}  # type: t.Dict[str, t.Dict[str, t.Any]]
FREEZE = {
    "name": {"type": "str", "required": True},
    "start": {"type": "raw", "required": True},
    "end": {"type": "raw", "required": True},
    "timezone": {"type": "str"},
}  # type: t.Dict[str, t.Dict[str, t.Any]]


_Span = t.Tuple[datetime.datetime, datetime.datetime]


class CalendarError(ValueError):
    """A window or a freeze cannot be read; one line that names its key."""


class Window(t.NamedTuple):
    """A window as it comes again; `week` is 1 to 5, -1 for the month's last, 0 for every such weekday."""

    week: int
    weekday: int
    offset_days: int
    start: datetime.time
    end: datetime.time
    zone: datetime.tzinfo


class Freeze(t.NamedTuple):
    """A freeze, from its first moment to the first one after it."""

    name: str
    start: datetime.datetime
    end: datetime.datetime


class Verdict(t.NamedTuple):
    """Whether work may start now, until when (None: no end), and in one line why not and when it may."""

    may_start: bool
    until: t.Optional[datetime.datetime]
    why: str


def windows(data: t.Any, where: str) -> t.List[Window]:
    """Read windows as users write them: a list of mappings with the keys of WINDOW.

    Raises:
        CalendarError: with `where` and the key.
    """
    return [_window(entry, path) for entry, path in _entries(data, WINDOW, where)]


def freezes(data: t.Any, where: str) -> t.List[Freeze]:
    """Read freezes as users write them: a list of mappings with the keys of FREEZE.

    Raises:
        CalendarError: with `where` and the key.
    """
    return [_freeze(entry, path) for entry, path in _entries(data, FREEZE, where)]


def verdict(now: datetime.datetime, wanted: t.Sequence[Window], frozen: t.Sequence[Freeze]) -> Verdict:
    """Say whether work may start at an aware time; without any window it may whenever nothing is frozen."""
    now = now.astimezone(datetime.timezone.utc)
    spans = [span for window in wanted for span in _spans(window, now)]
    if not wanted:
        spans = [(now, datetime.datetime.max.replace(tzinfo=datetime.timezone.utc))]
    freeze = next((freeze for freeze in frozen if freeze.start <= now < freeze.end), None)
    ends = [end for start, end in spans if start <= now < end]
    if ends and not freeze:
        limits = [one.start for one in frozen if one.start > now] + ([max(ends, key=_order)] if wanted else [])
        return Verdict(True, min(limits, key=_order) if limits else None, "")
    later = [start for start, dummy in spans] + [one.end for one in frozen]
    opens = min((at for at in later if at > now and _may_start(at, spans, frozen)), key=_order, default=None)
    why = "frozen ({0})".format(freeze.name) if freeze else "outside its window"
    return Verdict(False, None, "{0}, may start {1}".format(why, shown(opens) if opens else "never within a year"))


def _may_start(at: datetime.datetime, spans: t.Iterable[_Span], frozen: t.Iterable[Freeze]) -> bool:
    return any(start <= at < end for start, end in spans) and not any(one.start <= at < one.end for one in frozen)


def _order(time: datetime.datetime) -> float:
    """Sort by time itself: Python compares two times of one zone by what the clock on the wall says."""
    return time.timestamp()


def moment(text: t.Any, where: str, zone: datetime.tzinfo = datetime.timezone.utc) -> datetime.datetime:
    """Read an ISO 8601 time, or YAML's own; one without an offset is in the given zone."""
    if isinstance(text, datetime.datetime):
        found = text
    else:
        try:
            found = datetime.datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", str(text)))
        except ValueError:
            raise CalendarError("{0}: must be an ISO 8601 date or time, not {1!r}".format(where, text)) from None
    return found if found.tzinfo else found.replace(tzinfo=zone)


def shown(time: datetime.datetime) -> str:
    """Return a time for people and programs, to the minute and with its offset."""
    return time.isoformat(timespec="minutes")


def _entries(data: t.Any, spec: t.Dict[str, t.Dict[str, t.Any]], where: str) -> t.Iterator[t.Tuple[t.Any, str]]:
    if not isinstance(data, list):
        raise CalendarError("{0}: must be a list, not {1}".format(where, type(data).__name__))
    for index, entry in enumerate(data):
        path = "{0}[{1}]".format(where, index)
        found = problems(spec, entry, path)
        if found:
            raise CalendarError(found[0])
        yield entry, path


def _window(entry: t.Dict[str, t.Any], path: str) -> Window:
    week = str(entry.get("week") or "")
    if week and week not in _WEEKS:
        raise CalendarError("{0}.week: must be one of {1}, not {2!r}".format(path, ", ".join(_WEEKS), entry["week"]))
    offset = entry.get("offset_days") or 0
    if not 0 <= offset <= 27:
        raise CalendarError("{0}.offset_days: must be 0 to 27, not {1}".format(path, offset))
    return Window(
        week={"": 0, "last": -1}[week] if week in ("", "last") else int(week),
        weekday=WEEKDAYS.index(entry["weekday"]),
        offset_days=offset,
        start=_clock(entry["start"], path + ".start"),
        end=_clock(entry["end"], path + ".end"),
        zone=_zone(entry, path),
    )


def _freeze(entry: t.Dict[str, t.Any], path: str) -> Freeze:
    zone = _zone(entry, path)
    start, end = (moment(entry[key], "{0}.{1}".format(path, key), zone) for key in ("start", "end"))
    if _is_date(entry["end"]):
        end = (end.replace(tzinfo=None) + datetime.timedelta(days=1)).replace(tzinfo=zone)
    if end <= start:
        raise CalendarError("{0}.end: must be after its start".format(path))
    return Freeze(entry["name"], start, end)


def _is_date(value: t.Any) -> bool:
    """Say whether a whole day is meant, which a freeze that ends with it still covers."""
    if isinstance(value, str):
        return re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None
    return not isinstance(value, datetime.datetime)


def _clock(text: t.Any, path: str) -> datetime.time:
    match = _CLOCK.fullmatch(str(text))
    if not match:
        raise CalendarError("{0}: must be a time such as '22:00', in quotes, not {1!r}".format(path, text))
    return datetime.time(int(match.group(1)), int(match.group(2)))


def _zone(entry: t.Dict[str, t.Any], path: str) -> datetime.tzinfo:
    name = entry.get("timezone") or "UTC"
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # the last is zoneinfo's own for a name it does not know
        raise CalendarError("{0}.timezone: {1!r} is no time zone, such as Europe/Berlin".format(path, name)) from None


def _spans(window: Window, now: datetime.datetime) -> t.Iterator[_Span]:
    """Yield the windows from the month before last to a year on, for some months have no fifth Tuesday."""
    local = now.astimezone(window.zone)
    for months in range(-2, 13):
        year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
        for day in _days(window, year, month + 1):
            start = datetime.datetime.combine(day, window.start, window.zone)
            last = day if window.end > window.start else day + datetime.timedelta(days=1)
            yield start, datetime.datetime.combine(last, window.end, window.zone)


def _days(window: Window, year: int, month: int) -> t.List[datetime.date]:
    first = datetime.date(year, month, 1)
    day = first + datetime.timedelta(days=(window.weekday - first.weekday()) % 7)
    found = []  # type: t.List[datetime.date]
    while day.month == month:
        found.append(day)
        day += datetime.timedelta(days=7)
    if window.week:
        index = window.week - 1 if window.week > 0 else -1
        found = found[index:][:1]
    return [day + datetime.timedelta(days=window.offset_days) for day in found]
