"""Whatever a node says, its result is typed and bounded, and it is the node's."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.sampled_from([*NodeResult._fields, "failed", "total", "unreachable"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(outcomes.OUTCOMES)
ANYTHING = st.recursive(
    SCALARS | st.text(st.characters(categories=["Cs", "Cc", "Lo"])) | st.just(10**400),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS | st.text(), inner),
    max_leaves=20,
)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


def bounded(result: NodeResult) -> bool:
    """Say whether a result is what a report can hold."""
    texts = [result.reason, result.msg, result.version_before or "", result.version_after or "", result.command_id]
    assert all(isinstance(one, str) and one.isprintable() for one in texts)
    assert result.outcome in outcomes.OUTCOMES
    assert result.seconds is None or (type(result.seconds) is float and 0 <= result.seconds < math.inf)
    assert type(result.changed) is bool
    return len(json.dumps(result.line(), allow_nan=False, ensure_ascii=False).encode()) < 12_000


@given(ANYTHING | st.dictionaries(KEYS, ANYTHING), st.booleans())
def test_anything_is_a_result_of_the_node(said: Any, strict: bool) -> None:
    result = NodeResult.said(said, "c-1", strict)
    assert bounded(result)
    assert (result.source, result.command_id) == ("node", "c-1")
    assert bounded(NodeResult.read(said))
    assert NodeResult.read(result.line()) == result
    assert NodeResult.read(json.loads(json.dumps(result.line()))) == result


@pytest.mark.parametrize(
    ("said", "outcome", "lenient"),
    [
        ({"outcome": "rolled_back", "failed": True}, "rolled_back", "rolled_back"),
        ({"outcome": "skipped", "failed": True}, "skipped", "skipped"),
        ({"outcome": "patched", "failed": True}, "failed", "failed"),
        ({"outcome": "unreachable"}, "failed", "current"),  # who answers is reached
        ({"outcome": "splendid"}, "failed", "current"),  # another module's own word
        ({"outcome": ["patched"], "changed": True}, "failed", "patched"),
        ({"outcome": "splendid", "failed": True}, "failed", "failed"),
        ({}, "failed", "current"),
        ([], "failed", "current"),
    ],
)
def test_the_outcome(said: Any, outcome: str, lenient: str) -> None:
    assert [NodeResult.said(said, strict=strict).outcome for strict in (True, False)] == [outcome, lenient]


@pytest.mark.parametrize("reason", ["too_late", "asked_to_stop", "api_error", "unknown", "no_answer"])
def test_no_reason_makes_a_conclusion_of_the_engine(reason: str) -> None:
    forged = {"outcome": "unknown", "reason": reason, "source": "engine", "command_id": "x"}
    assert NodeResult.said(forged, "c-1") == NodeResult("unknown", reason, command_id="c-1", source="node")
    assert NodeResult.concluded("unknown", reason, "m", "c-1").source == "engine"


@pytest.mark.parametrize(
    ("key", "said", "kept"),
    [
        ("reason", "no_space", "no_space"),
        ("reason", None, ""),
        ("reason", "No Space", "other"),
        ("reason", "x" * 41, "other"),
        ("reason", "x\n", "other"),
        ("reason", ["no_space"], "other"),
        ("reason", 7, "other"),
        ("version_before", 1, "1"),
        ("version_before", 1.5, "1.5"),
        ("version_before", True, None),
        ("version_before", math.inf, None),
        ("version_before", 10**300, None),
        ("version_before", {"a": 1}, None),
        ("version_after", " 1.0\x1b[31m ", "1.0\ufffd[31m"),
        ("version_after", "9" * 5000, "9" * 200),
        ("seconds", {"total": 1.5, "probe": 1}, 1.5),
        ("seconds", 2, 2.0),
        ("seconds", -1, None),
        ("seconds", math.nan, None),
        ("seconds", 1e9, None),
        ("seconds", True, None),
        ("seconds", "3", None),
        ("msg", "a\nb\tc\u202e", "a b c\ufffd"),
        ("msg", "\ud83d", "?"),
        ("msg", "x" * 100_000, "x" * 2000),
        ("msg", {"a": 1}, '{"a": 1}'),
        ("msg", deep(5000), ""),
        ("changed", "yes", False),
        ("changed", True, True),
    ],
)
def test_each_value_is_bounded(key: str, said: Any, kept: Any) -> None:
    result = NodeResult.said({"outcome": "patched", key: said})
    assert getattr(result, key) == kept
    assert bounded(result)


def test_what_uses_up_the_error_budget() -> None:
    assert {word for word in outcomes.OUTCOMES if NodeResult(word).charged} == outcomes.CHARGED
