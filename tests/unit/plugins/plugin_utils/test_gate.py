"""The verdict over a batch, by what is set for each host."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils import _gate
from ansible_collections.patchwave.aws.plugins.plugin_utils._calendars import Sources

NOW = "2026-12-08T20:30Z"  # a Tuesday
TUESDAY = {"weekday": "tuesday", "start": "20:00", "end": "23:00"}
LATE = {"week": 3, "weekday": "tuesday", "start": "22:00", "end": "04:00"}
SALE = {"name": "Sale", "start": "2026-12-08", "end": "2026-12-08"}
ADA = {"by": "Ada", "reason": "it cannot wait"}


def sources(windows: Any = None, *freezes: Any, **more: Any) -> Sources:
    given = [] if windows is None else [("patch_windows", windows)]
    return Sources(given, [("patch_freezes", list(freezes))], [], [])._replace(**more)


def judge(known: dict[str, Sources], *groups: tuple[list[str], dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Judge hosts with what is set for them, all with the same options or in groups with their own."""
    asked = [_gate.Asked.of(hosts, {"at": NOW, **own}) for hosts, own in groups or [(list(known), options)]]
    return _gate.judge(asked, known.__getitem__)


def test_an_open_gate_says_until_when_and_by_what() -> None:
    found = judge({"a": sources([TUESDAY]), "b": sources([TUESDAY]), "c": sources()})
    assert (found["closed"], found["latest_start"]) == ([], "2026-12-08T23:00:00+00:00")
    assert "failed" not in found
    assert found["calendars"] == [
        {"hosts": 2, "windows": "every tuesday, 20:00 to 23:00 UTC", "freezes": "none"},
        {"hosts": 1, "windows": "none, so at any time", "freezes": "none"},
    ]


def test_when_it_may_start_is_a_moment_for_the_whole_batch() -> None:
    found = judge({"a": sources([TUESDAY]), "b": sources([LATE])})
    assert found["closed"] == ["b: outside its window, may start 2026-12-15T22:00+00:00"]
    assert found["failed"]
    # With an hour left for everybody there is no such moment, and what cannot be read never opens.
    found = judge({"a": sources([TUESDAY]), "b": sources([LATE])}, minutes_left=90)
    assert found["closed"] == ["b: outside its window, may start never within a year"]
    found = judge({"a": sources([TUESDAY], SALE), "b": sources("odd")})
    assert found["closed"][0] == "a: frozen (Sale)"
    assert found["closed"][1] == "b: the calendar cannot be read: patch_windows: must be a list, not text"
    assert found["calendars"][1]["windows"] == "cannot be read: patch_windows: must be a list, not text"


def test_windows_can_be_required() -> None:
    found = judge({"a": sources(), "b": sources([TUESDAY])}, require_windows=True)
    assert found["closed"] == ["a: has no patch_windows, which are required (require_windows)"]
    assert found["failed"]


def test_an_override_is_in_force_for_the_whole_run() -> None:
    found = judge({"a": sources([TUESDAY])}, override=ADA)
    assert (found["override"], found["latest_start"], found["closed"]) == (ADA, "", [])
    assert found["msg"] == "the gate is open, and overridden for the whole run by Ada: it cannot wait"
    found = judge({"a": sources([TUESDAY], SALE)}, override=ADA)
    assert "failed" not in found
    assert found["msg"] == (
        "the gate is closed but overridden by Ada: it cannot wait: a: frozen (Sale), may start 2026-12-15T20:00+00:00"
    )


def test_groups_with_an_override_and_without() -> None:
    known = {"a": sources([TUESDAY], SALE), "b": sources([TUESDAY])}
    found = judge(known, (["a"], {"override": ADA}), (["b"], {}))
    assert "failed" not in found
    assert (found["override"], found["latest_start"]) == (ADA, "2026-12-08T23:00:00+00:00")
    found = judge(known, (["a"], {}), (["b"], {"override": ADA}))
    assert found["msg"] == "the gate is closed: a: frozen (Sale), may start 2026-12-15T20:00+00:00"
    found = judge(known, (["a"], {"override": ADA}), (["b"], {"minutes_left": 151}))
    assert found["msg"].startswith("the gate is closed: b: less than 151 minutes are left")


def test_all_overrides_are_recorded() -> None:
    known = {host: sources([TUESDAY], SALE) for host in "abc"}
    found = judge(
        known, (["a"], {"override": ADA}), (["b"], {"override": {**ADA, "by": "Bob"}}), (["c"], {"override": ADA})
    )
    assert found["override"] == {"by": "Ada; Bob", "reason": "it cannot wait"}
    assert "failed" not in found


def test_what_is_wrong_or_doubtful_is_told() -> None:
    found = judge({"a": sources(wrong=["patch_freeze: is neither"]), "b": sources(doubtful=["freezes"])})
    assert found["closed"] == ["a: the calendar cannot be read: patch_freeze: is neither"]
    assert found["warnings"] == ["the gate does not read freezes; did you mean patch_windows or patch_freezes_NAME?"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("minutes_left", odd)
            for odd in (-1, "-1", 1.5, "1.5", True, False, [], {}, "x", "\uff13", 10**7, "1e3", " 1")
        ),
        *(("override", odd) for odd in ([], "no", "{", 0, False, True, "0", {"by": "Ada"}, {**ADA, "reason": True})),
        *(("override", odd) for odd in ({**ADA, "reason": " "}, {**ADA, "for": "a"}, "null", "[]", '{"by": "x"}')),
        *(("override", odd) for odd in ("by=Ada reason=x", "by: Ada", "{by: Ada, reason: 5}", "a: [", "~", " ")),
        *(("at", odd) for odd in (20261127, True, "20261127", "2026-12-08Z", " ", "now", [], 0, False)),
        *(("require_windows", odd) for odd in ("maybe", 1, 0, [], {}, "on")),
    ],
)
def test_an_odd_option_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        _gate.Asked.of(["a"], {name: value})


@pytest.mark.parametrize(
    ("value", "kind"), [(True, "a truth"), (0, "a number or a date"), ([], "a list"), ("~", "empty"), ("me", "text")]
)
def test_an_override_that_is_none_is_told_in_the_words_of_yaml(value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=f"^override: must be a mapping, not {kind}$"):
        _gate.Asked.of(["a"], {"override": value})


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_option_is_not_given(value: Any) -> None:
    names = ("minutes_left", "override", "at", "require_windows")
    found = _gate.Asked.of(["a"], dict.fromkeys(names, value))
    assert found[2:] == (0, {}, False)
    assert abs(found.now - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    assert _gate.Asked.of(["a"], {"override": {}}).override == {}


def test_texts_of_a_survey() -> None:
    given = {"minutes_left": "30", "override": '{"by": "Ada", "reason": "it  cannot wait"}', "require_windows": "yes"}
    assert _gate.Asked.of(["a"], given)[2:] == (30, ADA, True)
    assert _gate.Asked.of(["a"], {"override": "by: Ada\nreason: it cannot wait"}).override == ADA


def test_check_mode_tells_and_goes_on() -> None:
    found = _gate.in_check_mode(judge({"a": sources([TUESDAY], SALE)}))
    assert (found["failed"], len(found["closed"]), found["check_only"]) == (False, 1, True)
    assert not _gate.in_check_mode(judge({"a": sources([TUESDAY])}))["check_only"]
    assert found["msg"].endswith("; check mode goes on")


def test_calendars_are_bounded() -> None:
    known = {f"h{index}": sources([{**TUESDAY, "start": f"0{index // 60}:{index % 60:02}"}]) for index in range(100)}
    found = judge(known)["calendars"]
    assert len(found) == 41
    assert found[-1] == {"hosts": 60, "windows": "60 other calendars", "freezes": ""}
