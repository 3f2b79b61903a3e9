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


def verdict(now: str, windows: Any, freezes: Any = (), minutes: int = 0) -> calendar.Verdict:
    """Judge by windows, none where the list is empty, and freezes; add when work may start to why it may not."""
    at, frozen = calendar.moment(now, "now"), calendar.freezes(list(freezes), "patch_freezes")
    wanted = calendar.windows(windows, "patch_windows") if windows != [] else []
    found = calendar.verdict(at, wanted, frozen, minutes)
    if found.may_start:
        return found
    opens = calendar.first_start(at, [found.starts])
    told = calendar.shown(opens.astimezone(calendar.zone_of(wanted, frozen))) if opens else "never within a year"
    return found._replace(why=f"{found.why}, may start {told}")


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
    assert verdict("2026-12-08T22:00Z", [], [])[:3] == (True, None, "")


def test_a_night_of_summer_time_is_an_hour_shorter() -> None:
    window = {"week": "last", "weekday": "sunday", "start": "01:00", "end": "04:00", "timezone": "Europe/Berlin"}
    minutes = [verdict(f"2026-03-29T0{hour}:30Z", [window]).may_start for hour in (0, 1, 2)]
    assert minutes == [True, True, False]


@pytest.mark.parametrize(
    ("windows", "freezes", "line"),
    [
        ("22:00", [], "patch_windows: must be a list, not text"),
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
        ([], [{**YEAR_END, "end": "soon"}], "patch_freezes[0].end: must be a date such as 2026-11-22 or a time"),
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
        last = day if end > start else day + datetime.timedelta(days=1)
        folds = [{"tzinfo": zone, "fold": fold} for fold in (0, 1)]
        opens = max(datetime.datetime(day.year, day.month, day.day, start, **fold).timestamp() for fold in folds)
        closes = min(datetime.datetime(last.year, last.month, last.day, end, **fold).timestamp() for fold in folds)
        expected = expected or opens <= now.replace(tzinfo=UTC).timestamp() < closes
    assert verdict(now.isoformat() + "Z", [written]).may_start == expected


#: What no documentation names; each closes the gate.
ODD = ["", " ", {}, (), False, True, 0, 1, 1.5, None, "no", "none", "[]", datetime.date(2026, 1, 1), b"x"]


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_value_of_another_type_closes_the_gate(value: Any) -> None:
    for read in (calendar.windows, calendar.freezes):
        with pytest.raises(calendar.CalendarError, match=r"^x: must be a list, not (text|empty|a )"):
            read(value, "x")
        with pytest.raises(calendar.CalendarError, match=r"^x\[0\]: must be a mapping"):
            read([value] if value != {} else [[]], "x")
    with pytest.raises(calendar.CalendarError, match="has no window"):
        calendar.windows([], "x")


@pytest.mark.parametrize("key", [*calendar.WINDOW])
@pytest.mark.parametrize(
    "value",
    [*ODD, [], "0", "6", -1, 28, "\uff12", 2.0, "24:00", "2:00", "\uff12\uff12:00", "22:00 ", "22:00\n"],
    ids=repr,
)
def test_a_key_of_a_window_with_an_odd_value_closes_the_gate(key: str, value: Any) -> None:
    fine = {("week", 1), ("offset_days", 0), ("offset_days", 1)}
    if isinstance(value, int) and not isinstance(value, bool) and (key, value) in fine:
        assert calendar.windows([{**SECOND_TUESDAY, key: value}], "x")
        return
    with pytest.raises(calendar.CalendarError, match=rf"^x\[0\]\.{key}: "):
        calendar.windows([{**SECOND_TUESDAY, key: value}], "x")


@pytest.mark.parametrize("key", [*calendar.FREEZE])
@pytest.mark.parametrize(
    "value", [item for item in ODD if not isinstance(item, (str, datetime.date))] + ["", " "], ids=repr
)
def test_a_key_of_a_freeze_with_an_odd_value_closes_the_gate(key: str, value: Any) -> None:
    with pytest.raises(calendar.CalendarError, match=rf"^x\[0\]\.{key}: "):
        calendar.freezes([{**YEAR_END, key: value}], "x")


@pytest.mark.parametrize(
    "name",
    [
        *("localtime", "right/Europe/Berlin", "posix/Europe/Berlin", "posixrules", "Factory", "europe/berlin", "utc"),
        *("EUROPE/BERLIN", "/usr/share/zoneinfo/Europe/Berlin", "Europe/../Europe/Berlin", "Europe//Berlin", "Europe"),
        *("Europe/Berlin ", "Europe/Berlin\n", "+01:00", "CEST", "tzdata.zi", "zone.tab", "Europe/Berlin\0", "."),
    ],
)
def test_only_names_of_iana_are_time_zones(name: str) -> None:
    for read, entry in ((calendar.windows, SECOND_TUESDAY), (calendar.freezes, YEAR_END)):
        with pytest.raises(calendar.CalendarError, match=r"^x\[0\]\.timezone: .* is no time zone of IANA"):
            read([{**entry, "timezone": name}], "x")


def test_a_machine_without_time_zones_is_not_blamed_on_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "_zones", lambda: frozenset({"localtime"}))
    with pytest.raises(calendar.CalendarError, match=r"^x\[0\]\.timezone: this machine knows no .*install tzdata"):
        calendar.windows([SECOND_TUESDAY], "x")
    assert calendar.windows([{**SECOND_TUESDAY, "timezone": "UTC"}], "x")


def test_a_calendar_in_words() -> None:
    (window,) = calendar.windows([{**SECOND_TUESDAY, "offset_days": 4}], "x")
    assert window.words() == "second tuesday, 4 days after, 22:00 to 04:00 of the next day Europe/Berlin"
    (window,) = calendar.windows([{"weekday": "monday", "offset_days": 1, "start": "01:00", "end": "02:00"}], "x")
    assert window.words() == "every monday, 1 day after, 01:00 to 02:00 UTC"
    (freeze,) = calendar.freezes([YEAR_END], "x")
    assert freeze.words() == "Year end, 2026-12-18T00:00+00:00 to 2027-01-07T00:00+00:00"


def test_windows_that_adjoin_or_overlap_are_one() -> None:
    def until(*hours: str) -> str | None:
        windows = [{"weekday": "tuesday", "start": hour[:5], "end": hour[6:]} for hour in hours]
        found = verdict("2026-12-08T20:30Z", windows).until
        return found and calendar.shown(found)

    assert until("20:00-22:00", "22:00-23:00", "22:30-01:00") == "2026-12-09T01:00+00:00"
    assert until("20:00-22:00", "22:01-23:00") == "2026-12-08T22:00+00:00"
    # A window that is always open has no end.
    always = [{"weekday": day, "start": "00:00", "end": "00:00"} for day in calendar.WEEKDAYS]
    assert verdict("2026-12-08T20:30Z", always)[:2] == (True, None)


def test_of_an_hour_that_is_there_twice_or_never_a_freeze_has_the_widest_reading_and_a_window_the_narrowest() -> None:
    # On 2026-10-25, 02:30 is at 00:30 and at 01:30 UTC; on 2026-03-29 there is no 02:30.
    for day, first, last in (("2026-10-25", "00:30", "01:30"), ("2026-03-29", "00:30", "01:30")):
        (starting,) = calendar.freezes([{"name": "x", "start": f"{day}T02:30", "end": "2027-01-01", **BERLIN}], "x")
        (ending,) = calendar.freezes([{"name": "x", "start": "2026-01-01", "end": f"{day}T02:30", **BERLIN}], "x")
        assert calendar.shown(starting.start.astimezone(UTC)) == f"{day}T{first}+00:00"
        assert calendar.shown(ending.end.astimezone(UTC)) == f"{day}T{last}+00:00"
        window = {"week": "last", "weekday": "sunday", **BERLIN}
        begins = verdict(f"{day}T00:00Z", [{**window, "start": "02:30", "end": "05:00"}]).why
        ends = verdict(f"{day}T00:00Z", [{**window, "start": "00:00", "end": "02:30"}]).until
        assert calendar.moment(begins[-22:], "x") == calendar.moment(f"{day}T{last}Z", "x")
        assert ends
        assert calendar.shown(ends.astimezone(UTC)) == f"{day}T{first}+00:00"


BERLIN = {"timezone": "Europe/Berlin"}


def test_when_it_may_start_so_many_minutes_are_left() -> None:
    window = {"weekday": "tuesday", "start": "20:00", "end": "22:00"}
    frozen = {"name": "x", "start": "2026-12-08T20:30Z", "end": "2026-12-08T21:30Z"}
    assert verdict("2026-12-08T19:00Z", [window], [frozen], 30).why.endswith("may start 2026-12-08T20:00+00:00")
    assert verdict("2026-12-08T20:01Z", [window], [frozen], 30).why == (
        "less than 30 minutes are left until 2026-12-08T20:30+00:00, may start 2026-12-08T21:30+00:00"
    )
    assert verdict("2026-12-08T20:01Z", [window], [frozen], 31).why.endswith("may start 2026-12-15T20:00+00:00")
    assert verdict("2026-12-08T20:01Z", [window], [], 121).why.endswith("may start never within a year")


def test_the_first_start_is_one_of_all_calendars() -> None:
    tuesday = verdict("2026-12-08T12:00Z", [{"weekday": "tuesday", "start": "20:00", "end": "23:00"}]).starts
    late = verdict("2026-12-08T12:00Z", [{"week": 3, "weekday": "tuesday", "start": "22:00", "end": "04:00"}]).starts
    other = verdict("2026-12-08T12:00Z", [{"weekday": "monday", "start": "22:00", "end": "23:00"}]).starts
    now = calendar.moment("2026-12-08T12:00Z", "x")
    assert calendar.first_start(now, [tuesday, late]) == calendar.moment("2026-12-15T22:00Z", "x")
    assert calendar.first_start(now, [tuesday, other]) is None
    assert calendar.first_start(now, []) == now


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_openings_are_those_of_brute_force(data: st.DataObject) -> None:
    """Every quarter of an hour of a week is judged alone."""
    clock = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
    window = st.fixed_dictionaries({"weekday": st.sampled_from(calendar.WEEKDAYS), "start": clock, "end": clock})
    wanted = calendar.windows(data.draw(st.lists(window, min_size=1, max_size=4)), "x")
    begin, quarter = datetime.datetime(2026, 6, 1, tzinfo=UTC), datetime.timedelta(minutes=15)
    edges = [sorted(pair) for pair in data.draw(st.lists(st.tuples(*[st.integers(0, 671)] * 2), max_size=3))]
    frozen = [calendar.Freeze("x", begin + a * quarter, begin + (b + 1) * quarter) for a, b in edges]
    least = data.draw(st.integers(0, 12))

    def is_open(at: datetime.datetime) -> bool:
        days = [at - datetime.timedelta(days=back) for back in (0, 1)]
        inside = False
        for one in wanted:
            for day in days:
                if day.weekday() == one.weekday:
                    start = datetime.datetime.combine(day, one.start, UTC)
                    end = datetime.datetime.combine(day, one.end, UTC)
                    inside = inside or start <= at < end + datetime.timedelta(days=one.end <= one.start)
        return inside and not any(freeze.start <= at < freeze.end for freeze in frozen)

    opened = [is_open(begin + index * quarter) for index in range(672 + 12)]
    starts = [all(opened[index : index + max(1, least)]) for index in range(672)]
    found = calendar.verdict(begin, wanted, frozen, least * 15)
    assert found.may_start == starts[0]
    first = calendar.first_start(begin, [found.starts])
    if any(starts):
        assert first == begin + starts.index(True) * quarter
    else:
        assert first is None or first >= begin + 660 * quarter


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "Ada", [], True, 5, {"by": "Ada"}, {"by": "Ada", "reason": ""}, {"by": "Ada", "reason": " "}),
        *({"by": "Ada", "reason": None}, {"by": "Ada", "reason": True}, {"by": 7, "reason": "x"}, {}),
        *({"by": "Ada", "reason": "\u200b\u00a0-"}, {"by": "Ada", "reason": "x", "until": "2026-01-01"}),
    ],
    ids=repr,
)
def test_an_override_without_a_person_or_a_reason_is_none(value: Any) -> None:
    with pytest.raises(calendar.CalendarError, match=r"^override"):
        calendar.override(value)
