# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Windows, when a wave may run, and freezes, when nothing may run. The time is always given, never asked for.

A window begins on a weekday of the month, C(2) Tuesday say, or so many days after it: the fourth day after the second
Tuesday is not always the second Saturday. It may end on the next day. Times are those of the window's own time zone, so
a night that loses an hour to summer time has a window that is shorter by an hour. Where a clock shows an hour twice or
not at all, a window has the narrowest reading of its start and end, and a freeze the widest.

A value's type is checked before anything else, for what is empty or odd must not read as "at any time".
"""

from __future__ import annotations

import datetime
import functools
import re
import typing as t

try:
    import zoneinfo
except ImportError:  # Python 3.8: no controller of ours, but some node that imports this room
    zoneinfo = None  # type: ignore[assignment]

from . import moments
from .spec import kind, problems

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
#: Which of a month's five Tuesdays; every one without it.
_WEEKS = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "last": -1}
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_ZONE_NAME = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*)*")
#: What lies among the time zones and is none: a placeholder.
_NO_ZONES = ("Factory",)

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
#: The keys of an override.
OVERRIDE = {
    "by": {"type": "str", "required": True},
    "reason": {"type": "str", "required": True},
}  # type: t.Dict[str, t.Dict[str, t.Any]]

UTC = datetime.timezone.utc
#: The end of what has none.
NO_END = datetime.datetime.max.replace(tzinfo=UTC)
#: Windows are looked up for so long, and an opening counts for so long; some months have no fifth Tuesday.
_LOOKED_UP, _YEAR = datetime.timedelta(days=400), datetime.timedelta(days=366)
_TICK = datetime.timedelta(microseconds=1)


class Span(t.NamedTuple):
    """A time in UTC from its first moment to the first one after it."""

    start: datetime.datetime
    end: datetime.datetime


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

    def words(self) -> str:
        """Return it for people."""
        weeks = {0: "every", 1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}
        after = ", {0} day{1} after".format(self.offset_days, "s"[self.offset_days == 1 :]) if self.offset_days else ""
        over_night = "" if self.end > self.start else " of the next day"
        clock = "{0:%H:%M} to {1:%H:%M}{2}".format(self.start, self.end, over_night)
        return "{0} {1}{2}, {3} {4}".format(weeks[self.week], WEEKDAYS[self.weekday], after, clock, self.zone)


class Freeze(t.NamedTuple):
    """A freeze, from its first moment to the first one after it."""

    name: str
    start: datetime.datetime
    end: datetime.datetime

    def words(self) -> str:
        """Return it for people."""
        return "{0}, {1} to {2}".format(self.name, shown(self.start), shown(self.end))


class Verdict(t.NamedTuple):
    """Whether work may start now, until when (None: no end), in a line why not, and when it could, now or later."""

    may_start: bool
    until: t.Optional[datetime.datetime]
    why: str
    starts: t.List[Span]


def windows(data: t.Any, where: str) -> t.List[Window]:
    """Read windows as users write them: a list of mappings with the keys of WINDOW, at least one.

    Raises:
        CalendarError: with `where` and the key.
    """
    found = [_window(entry, path) for entry, path in _entries(data, WINDOW, where)]
    if not found:
        raise CalendarError("{0}: has no window; without the variable any time will do".format(where))
    return found


def freezes(data: t.Any, where: str) -> t.List[Freeze]:
    """Read freezes as users write them: a list of mappings with the keys of FREEZE, which may be empty.

    Raises:
        CalendarError: with `where` and the key.
    """
    return [_freeze(entry, path) for entry, path in _entries(data, FREEZE, where)]


def override(data: t.Any, where: str = "override") -> t.Dict[str, str]:
    """Read who overrides a calendar and why.

    Raises:
        CalendarError: with `where` and the key.
    """
    found = problems(OVERRIDE, data, where)
    if found:
        raise CalendarError(found[0])
    said = {str(key): " ".join(text.split()) for key, text in data.items()}
    for key, text in said.items():
        if not any(char.isalnum() for char in text):
            raise CalendarError("{0}.{1}: must not be empty".format(where, key))
    return said


def zone_of(wanted: t.Sequence[Window], frozen: t.Sequence[Freeze]) -> datetime.tzinfo:
    """Return the time zone in which times of a calendar are told."""
    zones = [window.zone for window in wanted] + [freeze.start.tzinfo for freeze in frozen if freeze.start.tzinfo]
    return zones[0] if zones else UTC


def verdict(
    now: datetime.datetime, wanted: t.Sequence[Window], frozen: t.Sequence[Freeze], minutes: int = 0
) -> Verdict:
    """Say whether work may start at an aware time, with so many minutes left.

    Without any window it may whenever nothing is frozen. Windows that adjoin or overlap are one.
    """
    now, zone, least = now.astimezone(UTC), zone_of(wanted, frozen), datetime.timedelta(minutes=minutes)
    open_at = _without(_merged(_spans(wanted, now), now + _LOOKED_UP) if wanted else [Span(now, NO_END)], frozen)
    # With minutes left to the last, it may still start at the very moment when these are left.
    starts = [Span(one.start, one.end - least + _TICK if least else one.end) for one in open_at]
    starts = [one for one in starts if one.end > max(now, one.start)]
    current = next((one for one in open_at if one.start <= now < one.end), None)
    if not current:
        freeze = next((one for one in frozen if one.start <= now < one.end), None)
        why = "frozen ({0})".format(freeze.name) if freeze else "outside its window"
        return Verdict(False, None, why, starts)
    until = None if current.end == NO_END else current.end.astimezone(zone)
    if until and current.end - now < least:
        why = "less than {0} minutes are left until {1}".format(minutes, shown(until))
        return Verdict(False, None, why, starts)
    return Verdict(True, until, "", starts)


def first_start(now: datetime.datetime, calendars: t.Iterable[t.Sequence[Span]]) -> t.Optional[datetime.datetime]:
    """Return the first moment from now on that is in a span of every calendar, in UTC; None within a year."""
    now = now.astimezone(UTC)
    common = [Span(now, now + _YEAR)]
    for spans in calendars:
        common = list(_common(common, spans))
    return common[0].start if common else None


def _common(ones: t.Sequence[Span], others: t.Sequence[Span]) -> t.Iterator[Span]:
    """Yield what two lists of spans have in common; each is in its order and has no overlaps."""
    one, other = 0, 0
    while one < len(ones) and other < len(others):
        start, end = max(ones[one].start, others[other].start), min(ones[one].end, others[other].end)
        if start < end:
            yield Span(start, end)
        if ones[one].end < others[other].end:
            one += 1
        else:
            other += 1


def moment(value: t.Any, where: str, zone: datetime.tzinfo = UTC) -> datetime.datetime:
    """Read a moment; one without an offset is in the given zone, the earlier reading of two."""
    found = _read(value, where).time
    return found if found.tzinfo else _in_zone(found, zone, min)


def shown(time: datetime.datetime) -> str:
    """Return a time for people and programs, to the minute and with its offset."""
    return time.isoformat(timespec="minutes")


def _read(value: t.Any, where: str) -> moments.Moment:
    try:
        return moments.read(value)
    except ValueError:
        raise CalendarError("{0}: must be {1}, not {2!r}".format(where, moments.WANTED, value)) from None


def _entries(data: t.Any, spec: t.Dict[str, t.Dict[str, t.Any]], where: str) -> t.Iterator[t.Tuple[t.Any, str]]:
    if not isinstance(data, list):
        raise CalendarError("{0}: must be a list, not {1}".format(where, kind(data)))
    for index, entry in enumerate(data):
        path = "{0}[{1}]".format(where, index)
        found = problems(spec, entry, path)
        if isinstance(entry, dict):
            found += ["{0}.{1}: must not be empty".format(path, key) for key, value in entry.items() if value is None]
        if found:
            raise CalendarError(found[0])
        yield entry, path


def _window(entry: t.Dict[str, t.Any], path: str) -> Window:
    week, offset = entry.get("week", 0), entry.get("offset_days", 0)
    if "week" in entry and (not _is_week(week) or str(week) not in _WEEKS):
        raise CalendarError("{0}.week: must be one of {1}, not {2!r}".format(path, ", ".join(_WEEKS), week))
    if not 0 <= offset <= 27:
        raise CalendarError("{0}.offset_days: must be 0 to 27, not {1}".format(path, offset))
    return Window(
        week=_WEEKS.get(str(week), 0),
        weekday=WEEKDAYS.index(entry["weekday"]),
        offset_days=offset,
        start=_clock(entry["start"], path + ".start"),
        end=_clock(entry["end"], path + ".end"),
        zone=_zone(entry.get("timezone", "UTC"), path),
    )


def _is_week(value: t.Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _freeze(entry: t.Dict[str, t.Any], path: str) -> Freeze:
    if not entry["name"].strip():
        raise CalendarError("{0}.name: must not be empty".format(path))
    zone = _zone(entry.get("timezone", "UTC"), path)
    first, last = (_read(entry[key], "{0}.{1}".format(path, key)) for key in ("start", "end"))
    start = first.time if first.time.tzinfo else _in_zone(first.time, zone, min)
    end = last.time + datetime.timedelta(days=1) if last.is_date else last.time
    end = end if end.tzinfo else _in_zone(end, zone, max)
    if end.astimezone(UTC) <= start.astimezone(UTC):
        raise CalendarError("{0}.end: must be after its start".format(path))
    return Freeze(" ".join(entry["name"].split()), start, end)


def _in_zone(
    time: datetime.datetime, zone: datetime.tzinfo, choose: t.Callable[..., datetime.datetime]
) -> datetime.datetime:
    """Return what a clock on the wall shows as a time; of the two readings in the hours of a change, the chosen one."""
    both = [time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return choose(both).astimezone(zone)


def _clock(text: t.Any, path: str) -> datetime.time:
    match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise CalendarError("{0}: must be a time such as '22:00', in quotes, not {1!r}".format(path, text))
    return datetime.time(int(match.group(1)), int(match.group(2)))


def _zone(name: str, path: str) -> datetime.tzinfo:
    if name == "UTC":
        return UTC
    if "Europe/London" not in _zones():
        why = "{0}.timezone: this machine knows no time zones; install tzdata, the system's or Python's package"
        raise CalendarError(why.format(path))
    if not _ZONE_NAME.fullmatch(name) or name not in _zones():
        raise CalendarError("{0}.timezone: {1!r} is no time zone of IANA, such as Europe/Berlin".format(path, name))
    return t.cast("datetime.tzinfo", zoneinfo.ZoneInfo(name))


@functools.lru_cache(maxsize=None)
def _zones() -> t.FrozenSet[str]:
    """Return the names of all time zones, exactly as they are spelt; the file system may not mind their case."""
    return frozenset(zoneinfo.available_timezones()).difference(_NO_ZONES) if zoneinfo else frozenset()


def _spans(wanted: t.Iterable[Window], now: datetime.datetime) -> t.Iterator[Span]:
    """Yield the windows from the month before last on; one in which the clock leaves no time is none."""
    for window in wanted:
        local = now.astimezone(window.zone)
        for months in range(-2, 15):
            year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
            for day in _days(window, year, month + 1):
                last = day if window.end > window.start else day + datetime.timedelta(days=1)
                start = _in_zone(datetime.datetime.combine(day, window.start), window.zone, max)
                end = _in_zone(datetime.datetime.combine(last, window.end), window.zone, min)
                span = Span(start.astimezone(UTC), end.astimezone(UTC))
                if span.start < span.end:
                    yield span


def _merged(spans: t.Iterable[Span], looked_up: datetime.datetime) -> t.List[Span]:
    """Return spans in their order, those that adjoin or overlap as one; one that is open for so long has no end."""
    found = []  # type: t.List[Span]
    for span in sorted(spans):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return [Span(one.start, NO_END) if one.end > looked_up else one for one in found]


def _without(spans: t.List[Span], frozen: t.Iterable[Freeze]) -> t.List[Span]:
    for freeze in frozen:
        first, last = freeze.start.astimezone(UTC), freeze.end.astimezone(UTC)
        parts = [(one.start, min(one.end, first)) for one in spans] + [(max(one.start, last), one.end) for one in spans]
        spans = sorted(Span(start, end) for start, end in parts if start < end)
    return spans


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
