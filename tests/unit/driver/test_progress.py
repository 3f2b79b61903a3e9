from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Node, Plan, Wave

from patchwave import progress
from patchwave.progress import Screen, State
from patchwave.scope import Scope


def closing(capsys: pytest.CaptureFixture[str], **counts: int) -> list[str]:
    """Show the closing table of a fleet with so many nodes of each outcome; return its lines."""
    nodes: list[dict[str, Any]] = [
        {"name": f"{outcome}-{index}", "id": "i-1", "patch_group": "web", "wave": "wave_1", "outcome": outcome}
        for outcome, count in counts.items()
        for index in range(count)
    ]
    nodes = [{**node, "version_before": None, "version_after": None, "reason": "[x]"} for node in nodes]
    content = {"nodes": nodes, "totals": counts, "rollout": {"stopped": None, "leftovers": []}}
    Screen().table(content, Path("out"))
    return capsys.readouterr().out.splitlines()


def rows(lines: list[str]) -> Counter[str]:
    return Counter(line.split()[0].rpartition("-")[0] for line in lines if line.endswith("[x]") or "[x]" in line)


def test_a_small_fleet_is_listed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    lines = closing(capsys, patched=38, failed=2)
    assert rows(lines) == {"patched": 38, "failed": 2}
    assert not any("Not shown" in line for line in lines)


def test_of_a_large_one_those_that_need_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    lines = closing(capsys, patched=900, current=98, failed=2)
    assert rows(lines) == {"failed": 2}
    assert "Not shown, but in the report: 998 nodes that are right" in lines
    assert "1000 nodes: 900 patched, 98 current, 2 failed" in lines


def test_and_not_more_of_them_than_a_screen_holds(capsys: pytest.CaptureFixture[str]) -> None:
    lines = closing(capsys, patched=1, unknown=60)
    assert rows(lines) == {"unknown": 40}
    assert "Not shown, but in the report: 1 nodes that are right and 20 more that are not" in lines


def test_nothing_is_listed_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert closing(capsys, patched=41)[0].startswith("Not shown")


def test_what_machines_say_is_neither_markup_nor_obeyed_by_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    unread = {"account": "1", "region": "r", "error": "[red]\x1b[31m\x07 :smile:"}
    Screen().scope(Scope([unread], [], [], [], []))
    assert capsys.readouterr().out == "NOT READ: account 1, region r: [red]\ufffd[31m\ufffd :smile:\n"


@pytest.mark.parametrize(("places", "said"), [(0, "worst case 12 bad nodes"), (4, "worst case 6 bad nodes")])
def test_the_worst_case_is_said_beforehand(capsys: pytest.CaptureFixture[str], places: int, said: str) -> None:
    waves = [
        Wave(name, tuple(Node(f"{name}-{index}", "i", "n", "1", "r", "web", name) for index in range(count)))
        for name, count in (("wave_1", 3), ("wave_2", 10))
    ]
    plan = Plan("now", {"tool": {"fixed_in": "2", "archive": {"version": "2"}}}, "run_command", 2, 0, tuple(waves))
    Screen().plan(plan, set(), set(), places, dict.fromkeys(("wave_1", "wave_2"), 1))
    told = capsys.readouterr().out
    assert f"{said} (the budget and {places or 10} in flight)" in told
    assert "wave_1: 3 nodes (web 3), 1 of them may fail" in told


def test_what_the_plan_leaves_out_is_said_and_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    node = {"host": "i-1", "id": "i-1", "account": "1", "region": "r", "patch_group": "web"}
    scope = Scope(
        unread=[],
        left_out=[{"account": "1", "region": "r", "node_id": f"i-{index}", "why": "odd tag"} for index in range(30)],
        inventory_warnings=[f"line {index}" for index in range(30)],
        not_in_a_wave=[{**node, "name": f"web-{index}"} for index in range(30)],
        out_of_scope=[{"account": "1", "region": f"r{index}", "nodes": 2} for index in range(30)],
    )
    Screen().scope(scope)
    lines = capsys.readouterr().out.splitlines()
    assert [sum(1 for line in lines if line.startswith(start)) for start in ("LEFT OUT: i-", "Warning: line ")] == [
        8,
        8,
    ]
    assert lines.count("and 22 more of these; all are in the report") == 2
    text = " ".join(lines)
    assert "In scope and in no wave of this rollout: 30 nodes: web-0, web-1" in text
    assert "Out of scope, without a patch-group tag: 60 nodes: 2 in account 1, r0" in text
    assert text.count("and 22 more") == 4


def test_without_a_terminal_a_running_wave_says_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    state = State(400, Counter({"patched": 118, "failed": 2}), sent=320, in_flight=200)
    with Screen().wave("wave_1", 400) as view:
        for seconds in (0, 10, 29, 31, 40, 59, 61.5, 62):
            now[0] = seconds
            view.update(state)
        state.unreadable = {"account 1, region r": "expired"}
        now[0] = 63
        view.update(state)
        view.update(state)
        state.unreadable = {}
        view.update(state)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wave_1: ")]
    assert said == [
        *["wave_1: 120 of 400 ended (118 patched, 2 failed), 200 in flight"] * 2,
        "wave_1: cannot read account 1, region r: expired; trying again",
        "wave_1: account 1, region r can be read again",
    ]


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error"), ValueError("closed")])
def test_a_terminal_that_is_gone_ends_nothing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

        def flush(self) -> None:
            raise error

    monkeypatch.setattr("sys.stdout", Gone())
    screen = Screen()
    screen.say("x")
    with screen.wave("wave_1", 1) as view:
        view.update(State(1))
