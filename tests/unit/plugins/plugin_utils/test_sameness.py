"""For which hosts a task is evaluated to the same."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils._sameness import Sameness, varying

SAME = {
    "catalog": {"tool": {"dest": "/opt"}},
    "name": "tool",
    "start": "{{ verdict.latest | mandatory('no') }}",
    "n": "3",
}


def keys(template: Any, first: dict[str, Any], second: dict[str, Any], condition: str = "true") -> tuple[Any, Any]:
    same = Sameness([condition], template)
    return same.key("a", first), same.key("b", second)


@pytest.mark.parametrize(
    "template",
    [
        "text",
        {"args": "{{ catalog | patchwave.aws.software_args(name, start) }}", "most": ["{{ n | default(0, true) }}"]},
        "{{ n | default(omit, true) }}",
        "{{ 'a' if n is defined and not (n == '4' or name in ['x']) else catalog.tool.dest }}",
        "{{ missing | default('none') }}",
        None,
        {"a": 1, "b": True},
    ],
)
def test_hosts_that_share_all_that_is_named_share_a_key(template: Any) -> None:
    verdict = {"latest": "2026"}
    first, second = keys(template, {**SAME, "verdict": verdict, "own": "1"}, {**SAME, "verdict": verdict, "own": "2"})
    assert first == second
    assert first != "a"


@pytest.mark.parametrize(
    "template", ["{{ own }}", "{{ [own] | first }}", {"a": ["{{ through }}"]}, "{{ x if own else y }}"]
)
def test_hosts_that_differ_in_what_is_named_do_not(template: Any) -> None:
    through = "{{ own | upper }}"
    first, second = keys(template, {"own": "1", "through": through}, {"own": "2", "through": through})
    assert first != second


@pytest.mark.parametrize("condition", ["own == '1'", "name and not (own)", "n in own"])
def test_conditions_are_expressions(condition: str) -> None:
    first, second = keys("text", {"own": "1", "n": "1"}, {"own": "2", "n": "1"}, condition)
    assert first != second


@pytest.mark.parametrize(
    "template",
    [
        "{{ lookup('file', n) }}",
        "{{ n | own_filter }}",
        "{{ n | map('own_filter') | list }}",
        "{{ n is own_test }}",
        "{{ macro(n) }}",
        "{% include 'x' %}",
        "{{ deep }}",
        "{{ odd }}",
    ],
)
def test_what_is_not_known_is_each_hosts_own(template: str) -> None:
    variables = {"n": "1", "deep": {"a": ["{{ query('x') }}"]}, "odd": object()}
    assert keys(template, variables, variables) == ("a", "b")


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("now().hour < 4", "now("),
        ("(100 | random) < 50", "| random"),
        ("late", "now("),
        ("lookup('pipe', 'date')", "lookup('pipe"),
        ("start_now and known(now)", ""),
        ("group == 'random'", ""),
    ],
)
def test_conditions_that_change_by_themselves_are_found(condition: str, found: str) -> None:
    assert varying([condition], {"late": "{{ now().hour > 4 }}", "group": "x"}) == found
