"""What the results of a batch come to."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.verdict import Budgets, verdict, word

FAILED = {"failed": True, "outcome": "failed", "reason": "probe", "msg": "no"}
AWAY = {"unreachable": True, "outcome": "unreachable", "reason": "agent_offline", "msg": "away"}
GOOD = {"changed": True, "outcome": "patched"}
LATE = {"failed": True, "outcome": "skipped", "reason": "too_late", "msg": "late"}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (GOOD, "patched"),
        (FAILED, "failed"),
        (AWAY, "unreachable"),
        (LATE, "skipped"),
        ({}, "skipped"),
        ({"skipped": True, "changed": False}, "skipped"),
        ({"changed": True}, "patched"),
        ({"changed": False}, "current"),
        ({"failed": True}, "failed"),
        ({"unreachable": True}, "unreachable"),
        ({"outcome": "unreachable"}, "current"),  # only the engine says so
        ({"outcome": "fine"}, "current"),
        ({"outcome": "patched", "failed": True}, "failed"),
    ],
)
def test_every_result_has_one_word(result: dict[str, Any], expected: str) -> None:
    assert word(result) == expected


@pytest.mark.parametrize(
    ("results", "errors", "unreachable", "within"),
    [
        ([GOOD], 0, 0, True),
        ([GOOD, FAILED], 1, 0, True),
        ([GOOD, FAILED], "50%", 0, True),
        ([GOOD, FAILED], "49%", 0, False),
        ([FAILED, FAILED], 1, 0, False),
        ([GOOD, AWAY], 1, 0, False),
        ([GOOD, AWAY], 0, 1, True),
        ([FAILED, AWAY], 1, 1, True),
        ([GOOD, LATE], 9, 9, False),
        ([GOOD, {}], 9, 9, False),
        ([GOOD, {"outcome": "unsupported", "failed": True}], 9, 9, False),
        ([GOOD, {"outcome": "reboot_pending"}], 0, 0, True),
    ],
)
def test_what_is_within_the_budgets(results: list[Any], errors: Any, unreachable: Any, within: bool) -> None:
    by_host = {str(number): result for number, result in enumerate(results)}
    found = verdict(by_host, Budgets.of(errors, unreachable, len(results)), "it")
    assert found["within_budget"] is within
    assert sum(found["totals"].values()) == found["hosts"] == len(results)
    assert found["not_right"].keys() == {host for host, one in by_host.items() if one is not GOOD}


def test_the_plan_is_its_hosts_and_what_is_done() -> None:
    budgets = Budgets(0, 0)
    plans = [
        verdict(results, budgets, what)["plan"]
        for results, what in (
            ({"a": GOOD, "b": FAILED}, {"x": 1}),
            ({"b": GOOD, "a": GOOD}, {"x": 1}),
            ({"a": GOOD}, {"x": 1}),
            ({"a": GOOD, "b": GOOD}, {"x": 2}),
        )
    ]
    assert plans[0] == plans[1]
    assert len(set(plans)) == 3


def test_a_budget_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"^max_unreachable: must be a number of nodes or a percentage"):
        Budgets.of("0", "many", 3)
