from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Node, Plan, Wave

from patchwave import report
from patchwave.errors import PatchwaveError
from patchwave.ledger import Ledger
from patchwave.scope import Scope

HOSTILE = '<script>alert(1)</script>{{ 7*7 }}"'


def make(tmp_path: Path) -> dict[str, object]:
    nodes = tuple(Node(host, host, HOSTILE, "123456789012", "eu-central-1", "web", "wave_1") for host in "ab")
    definition = {"fixed_in": "2", "archive": {"version": "2.1"}}
    plan = Plan("urgent", {"just": definition}, "run_command", 1, 1, (Wave("wave_1", nodes),))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    unread = {"account": "210987654321", "region": "eu-central-1", "error": HOSTILE}
    left_out = {"account": "1", "region": "r", "node_id": "i-1", "why": HOSTILE}
    other = {"host": "c", "id": "c", "name": HOSTILE, "account": "1", "region": "r", "patch_group": "web"}
    scope = Scope([unread], [left_out], [HOSTILE], [other], [{"account": "1", "region": "r", "nodes": 7}])
    ledger.write("started", plan="0" * 64, **scope.as_dict())
    ledger.write("leftover", wave="wave_1", bucket="b", key="k", error=HOSTILE)
    ledger.write(
        "node", host="a", outcome="failed", reason="no_space", msg=HOSTILE, version_before="1", version_after="1"
    )
    ledger.write("finished", stopped=None)
    content = report.content(plan, "0" * 64, ledger, "1 nodes failed, 0 allowed")
    ledger.close()
    return content


def test_every_node_of_the_plan_is_in_the_report_with_its_last_result(tmp_path: Path) -> None:
    content = make(tmp_path)
    assert [(node["host"], node["outcome"], node["reason"]) for node in content["nodes"]] == [
        ("a", "failed", "no_space"),
        ("b", "skipped", "not_started"),
    ]
    assert (content["totals"]["failed"], content["totals"]["skipped"], content["totals"]["patched"]) == (1, 1, 0)
    assert content["schema"] == 1
    wanted = {"id", "account", "region", "patch_group", "wave", "outcome", "version_before", "version_after", "reason"}
    assert wanted <= set(content["nodes"][0])


def test_both_files_are_written_and_what_nodes_say_is_escaped(tmp_path: Path) -> None:
    content = make(tmp_path)
    report.write(content, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text()) == content
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7*7 }}" in page
    assert "The rollout was stopped" in page
    assert "account 210987654321, region eu-central-1: &lt;script&gt;" in page
    assert "Left out:</b> i-1 in account 1, r: &lt;script&gt;" in page
    assert "s3://b/k: &lt;script&gt;" in page
    assert "Warning of the inventory:</b> &lt;script&gt;" in page
    assert "1 nodes are in scope and in no wave" in page
    assert "7 nodes have no patch-group tag" in page
    assert not list(tmp_path.glob(".report*"))


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(PatchwaveError, match=r"report\.html: cannot be written: Is a directory; the ledger has"):
        report.write(make(tmp_path), tmp_path)


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    report.write(make(tmp_path), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "http:" not in page
    assert "https:" not in page


def test_an_override_is_told_with_all_it_overrode(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write("started", plan="0" * 64)
    override = {"by": HOSTILE, "reason": "CVE-2026-0001"}
    ledger.write("gate", wave="wave_1", closed=["a: frozen (Sale)"], override=override)
    ledger.write("gate", wave="wave_2", closed=["b: frozen (Sale)"], override={})
    plan = Plan("urgent", {"just": {"fixed_in": "2", "archive": {"version": "2.1"}}}, "run_command", 1, 1, ())
    content = report.content(plan, "0" * 64, ledger, None)
    ledger.close()
    (found,) = content["rollout"]["overridden"]
    assert (found["wave"], found["closed"], found["reason"]) == ("wave_1", ["a: frozen (Sale)"], "CVE-2026-0001")
    report.write(content, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<small>a: frozen (Sale)</small>" in page
    assert "<script>alert" not in page
