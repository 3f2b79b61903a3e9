from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Node, Plan, Wave

from patchwave.progress import Screen


def closing(capsys: pytest.CaptureFixture[str], **counts: int) -> list[str]:
    """Show the closing table of a fleet with so many nodes of each outcome; return its lines."""
    nodes: list[dict[str, Any]] = [
        {"name": f"{outcome}-{index}", "id": "i-1", "patch_group": "web", "wave": "wave_1", "outcome": outcome}
        for outcome, count in counts.items()
        for index in range(count)
    ]
    nodes = [{**node, "version_before": None, "version_after": None, "reason": "[x]"} for node in nodes]
    content = {"nodes": nodes, "totals": counts, "rollout": {"stopped": None}}
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
    Screen().unread([{"account": "1", "region": "r", "error": "[red]\x1b[31m\x07 :smile:"}])
    assert capsys.readouterr().out == "NOT READ: account 1, region r: [red]\ufffd[31m\ufffd :smile:\n"


@pytest.mark.parametrize(("places", "said"), [(0, "worst case 12 bad nodes"), (4, "worst case 6 bad nodes")])
def test_the_worst_case_is_said_beforehand(capsys: pytest.CaptureFixture[str], places: int, said: str) -> None:
    waves = [
        Wave(name, tuple(Node(f"{name}-{index}", "i", "n", "1", "r", "web", name) for index in range(count)))
        for name, count in (("wave_1", 3), ("wave_2", 10))
    ]
    plan = Plan("now", {"tool": {"fixed_in": "2", "archive": {"version": "2"}}}, "run_command", 2, 0, tuple(waves))
    Screen().plan(plan, set(), set(), places)
    assert f"{said} (the budget and {places or 10} in flight)" in capsys.readouterr().out
