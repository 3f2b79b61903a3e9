from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core import calendar, moments


def test_what_the_gate_says_is_a_moment_for_the_nodes() -> None:
    until = calendar.shown(calendar.moment("2026-11-22T05:00:00+01:00", "at"))
    assert moments.seconds(until) == moments.seconds("2026-11-22T04:00:00Z") == 1795320000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T04:00:00Z", 1795320000),
        ("2026-11-22T04:00Z", 1795320000),
        ("2026-11-22 04:00:00+00:00", 1795320000),
        ("2026-11-22T04:00:00.25+00:00", 1795320000.25),
        ("2026-11-21T23:30-04:30", 1795320000),
    ],
)
def test_a_moment(text: str, seconds: float) -> None:
    assert moments.seconds(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("20261127", "2026-11-27Z", "2026-11-27+01:00", "2026-W48-5", "2026W485", "2026-331", "2026-11", "2026"),
        *(" 2026-11-27", "2026-11-27 ", "2026-11-27\n", "2026-11-27T", "2026-11-27T24:00Z", "2026-11-27T10Z"),
        *("2026-11-27T1000Z", "2026-11-27T10:00:60Z", "2026-11-27T10:00,5Z", "2026-11-27t10:00Z", "2026-11-27T10:00z"),
        *("2026-11-27T10:00+01", "2026-11-27T10:00+0100", "2026-11-27T10:00+25:00", "2026-11-27T10:00+01:60"),
        *("2026-11-27T10:00:00.1234567Z", "2026-11-27  10:00Z", "2026-11-27T10:00 Z", "2026-1-1", "26-11-27"),
        *(
            "\uff12\uff10\uff12\uff16-11-27",
            "2026-02-30",
            "0001-01-01",
            "9999-12-31",
            "9991-01-01",
            "now",
            "",
            "1795320000",
        ),
        *(20261127, 1795320000, 1.5, True, None, [], {}, b"2026-11-27"),
    ],
    ids=repr,
)
def test_what_is_no_moment(value: Any) -> None:
    assert not moments.is_moment(value)
    with pytest.raises(ValueError, match=r"not a moment|day is out of range|hour must be|second must be"):
        moments.read(value)
    with pytest.raises(calendar.CalendarError, match=r"^x: must be a date such as"):
        calendar.moment(value, "x")


def test_a_moment_without_a_zone_is_none_for_a_node() -> None:
    for text in ("2026-11-27", "2026-11-27T10:00"):
        assert not moments.is_moment(text)
        assert moments.read(text)


def test_dates_and_times_of_yaml_are_read_as_their_texts() -> None:
    day = datetime.date(2026, 11, 27)
    assert moments.read(day) == moments.read("2026-11-27") == (datetime.datetime(2026, 11, 27), True)
    assert moments.read(datetime.datetime(2026, 11, 27, 10)) == moments.read("2026-11-27T10:00")


def test_the_earliest_of_several() -> None:
    assert moments.earliest([]) == ""
    assert moments.earliest(["2026-11-22T04:00Z", "2026-11-22T04:30+01:00"]) == "2026-11-22T04:30+01:00"
    with pytest.raises(ValueError, match=r"soon"):
        moments.earliest(["2026-11-22T04:00Z", "soon"])
