from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core import calendar
from dateutil import rrule
from hypothesis import given, settings
from hypothesis import strategies as st

UTC = datetime.UTC
SECOND_TUESDAY = {"week": 2, "weekday": "tuesday", "start": "22:00", "end": "04:00", "timezone": "Europe/Berlin"}
YEAR_END = {"name": "Year end", "start": "2026-12-18", "end": "2027-01-06"}


def verdict(now: str, windows: list[dict[str, Any]], freezes: list[dict[str, Any]] | None = None) -> calendar.Verdict:
    read = calendar.windows(windows, "patch_windows"), calendar.freezes(freezes or [], "patch_freezes")
    return calendar.verdict(calendar.moment(now, "now"), *read)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-12-08T20:59Z", None),
        ("2026-12-08T21:00Z", "2026-12-09T04:00+01:00"),  # 22:00 in Berlin in winter
        ("2026-12-09T02:59Z", "2026-12-09T04:00+01:00"),
        ("2026-12-09T03:00Z", None),
        ("2026-07-14T20:00Z", "2026-07-15T04:00+02:00"),  # and in summer
        ("2026-12-15T22:00Z", None),  # the third Tuesday
    ],
)
def test_a_window_is_open_from_its_start_to_before_its_end(now: str, until: str | None) -> None:
    found = verdict(now, [SECOND_TUESDAY])
    assert found.may_start == bool(until)
    assert (found.until and calendar.shown(found.until)) == until


def test_the_day_so_many_days_after_is_counted_from_the_weekday() -> None:
    # July 2026 begins on a Wednesday: four days after its second Tuesday, the 14th, is its third Saturday.
    after = {**SECOND_TUESDAY, "offset_days": 4}
    assert verdict("2026-07-18T20:00Z", [after]).may_start
    assert not verdict("2026-07-11T20:00Z", [after]).may_start


def test_a_window_that_began_last_month_is_still_open() -> None:
    last = {"week": "last", "weekday": "monday", "start": "23:00", "end": "05:00"}
    assert verdict("2026-12-01T04:00Z", [{**last, "weekday": "monday"}]).may_start
    assert verdict("2026-12-27T23:30Z", [{**last, "weekday": "friday", "offset_days": 2}]).may_start


def test_who_is_outside_is_told_when_it_may_start() -> None:
    assert verdict("2026-12-10T12:00Z", [SECOND_TUESDAY]).why == (
        "outside its window, may start 2027-01-12T22:00+01:00"
    )
    # The next window lies in a freeze, the one after it does not.
    assert verdict(
        "2026-12-10T12:00Z", [{**SECOND_TUESDAY, "week": "3"}], [{**YEAR_END, "start": "2026-12-11"}]
    ).why == ("outside its window, may start 2027-01-19T22:00+01:00")
    fifth = {"week": 5, "weekday": "tuesday", "start": "22:00", "end": "23:00"}
    freeze = {"name": "for ever", "start": "2020-01-01", "end": "2050-01-01"}
    assert verdict("2026-12-10T12:00Z", [fifth], [freeze]).why == "frozen (for ever), may start never within a year"


def test_a_freeze_closes_every_window_and_ends_with_its_last_day() -> None:
    daily = {"weekday": "wednesday", "start": "00:00", "end": "23:59"}
    found = verdict("2027-01-06T12:00Z", [daily], [YEAR_END])
    assert (found.may_start, found.why) == (False, "frozen (Year end), may start 2027-01-13T00:00+00:00")
    assert verdict("2027-01-07T00:00Z", [], [YEAR_END]).may_start
    assert not verdict("2027-01-06T23:59Z", [], [YEAR_END]).may_start


def test_work_may_start_until_the_window_ends_or_a_freeze_begins() -> None:
    freeze = {"name": "Sale", "start": "2026-12-09T00:30:00+01:00", "end": "2026-12-10"}
    until = verdict("2026-12-08T22:00Z", [SECOND_TUESDAY], [freeze]).until
    assert until
    assert calendar.shown(until) == "2026-12-09T00:30+01:00"
    assert verdict("2026-12-08T22:00Z", [], []) == calendar.Verdict(True, None, "")


def test_a_night_of_summer_time_is_an_hour_shorter() -> None:
    window = {"week": "last", "weekday": "sunday", "start": "01:00", "end": "04:00", "timezone": "Europe/Berlin"}
    minutes = [verdict(f"2026-03-29T0{hour}:30Z", [window]).may_start for hour in (0, 1, 2)]
    assert minutes == [True, True, False]


@pytest.mark.parametrize(
    ("windows", "freezes", "line"),
    [
        ("22:00", [], "patch_windows: must be a list, not str"),
        ([{**SECOND_TUESDAY, "week": 6}], [], "patch_windows[0].week: must be one of 1, 2, 3, 4, 5, last, not 6"),
        (
            [{**SECOND_TUESDAY, "start": 1320}],
            [],
            "patch_windows[0].start: must be a time such as '22:00', in quotes, not 1320",
        ),
        ([{**SECOND_TUESDAY, "weekday": "Tue"}], [], "patch_windows[0].weekday: must be one of monday, "),
        ([{**SECOND_TUESDAY, "offset_days": 28}], [], "patch_windows[0].offset_days: must be 0 to 27, not 28"),
        ([{**SECOND_TUESDAY, "timezone": "Berlin"}], [], "patch_windows[0].timezone: 'Berlin' is no time zone"),
        (
            [{**SECOND_TUESDAY, "timezone": "../../etc/passwd"}],
            [],
            "patch_windows[0].timezone: '../../etc/passwd' is no",
        ),
        ([{**SECOND_TUESDAY, "zone": "UTC"}], [], "patch_windows[0].zone: unknown key"),
        ([], [{**YEAR_END, "end": "soon"}], "patch_freezes[0].end: must be an ISO 8601 date or time, not 'soon'"),
        ([], [{**YEAR_END, "end": "2026-12-01"}], "patch_freezes[0].end: must be after its start"),
        ([], [{"name": "x", "start": "2026-12-01"}], "patch_freezes[0].end: is required and missing"),
    ],
)
def test_what_cannot_be_read_is_named(windows: Any, freezes: Any, line: str) -> None:
    with pytest.raises(calendar.CalendarError) as caught:
        verdict("2026-12-08T22:00Z", windows, freezes)
    assert str(caught.value).startswith(line)


@settings(max_examples=200)
@given(
    st.datetimes(datetime.datetime(2020, 3, 1), datetime.datetime(2040, 1, 1)),
    st.sampled_from([1, 2, 3, 4, -1]),
    st.integers(0, 6),
    st.integers(0, 23),
    st.integers(0, 23),
)
def test_windows_are_those_of_dateutil(now: datetime.datetime, week: int, weekday: int, start: int, end: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    written = {
        "week": "last" if week == -1 else week,
        "weekday": calendar.WEEKDAYS[weekday],
        "start": f"{start:02}:00",
        "end": f"{end:02}:00",
        "timezone": "Europe/Berlin",
    }
    begin = now - datetime.timedelta(days=70)
    tomorrow = now + datetime.timedelta(days=1)  # which it may be in Berlin
    rule = rrule.rrule(rrule.MONTHLY, dtstart=begin, until=tomorrow, byweekday=rrule.weekday(weekday, week))
    expected = False
    for day in rule:
        opens = datetime.datetime(day.year, day.month, day.day, start, tzinfo=zone)
        last = day if end > start else day + datetime.timedelta(days=1)
        closes = datetime.datetime(last.year, last.month, last.day, end, tzinfo=zone)
        expected = expected or opens <= now.replace(tzinfo=UTC) < closes
    assert verdict(now.isoformat() + "Z", [written]).may_start == expected
