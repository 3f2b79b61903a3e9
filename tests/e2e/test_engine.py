"""The Run Command engine on virtual nodes: places in flight, the error budget, nodes without an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BUCKET, ROOT

PLACES = [("123456789012", "eu-central-1"), ("123456789012", "us-east-1"), ("210987654321", "eu-central-1")]
FAILED = 'PATCHWAVE1 {"failed":true,"outcome":"rolled_back"}\n'


@pytest.fixture
def fleet(make_lab: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def make(name: str, count: int, run: Any, answers: list[dict[str, Any]] | None = None) -> Any:
        model: dict[str, Any] = {"delivery": 0.1, "run": run, "reply": 0.1, "seed": 1}
        if answers:
            model["answers"] = answers
        node = {"name": "v", "count": count, "spread": True, "tags": {"PatchGroup": "all"}, "virtual": model}
        content = {
            "accounts": sorted({account for account, _ in PLACES}),
            "regions": ["eu-central-1", "us-east-1"],
            "buckets": [BUCKET],
            "nodes": [node],
        }
        path = tmp_path / "scenario.yml"
        path.write_text(yaml.safe_dump(content))
        return make_lab(name, path)

    return make


def run(lab: Any, tmp_path: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """Run a module on the whole fleet; return each host's result."""
    task = {
        "module": "ansible.builtin.ping",
        "args": {},
        "bucket": BUCKET,
        "journal": str(tmp_path / "journal"),
        **options,
    }
    show = {"content": "{{ batch.results | to_json }}", "dest": str(tmp_path / "results.json")}
    play = {
        "name": "Batch",
        "hosts": "managed_nodes",
        "gather_facts": False,
        "tasks": [
            {"name": "Run", "patchwave.aws.run_module": task, "register": "batch", "run_once": True},
            {"name": "Keep", "ansible.builtin.copy": show, "run_once": True, "delegate_to": "localhost"},
        ],
    }
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([play]))
    lab.run("ansible-playbook", path, "-i", ROOT / "inventory")
    return dict(json.loads((tmp_path / "results.json").read_text()))


def flights(tmp_path: Path) -> list[int]:
    """Return how many nodes were in flight after each sending and each end."""
    flying: set[str] = set()
    found = []
    for line in (tmp_path / "journal").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "sent":
            flying.update(event["nodes"])
        elif event["event"] == "ended":
            flying.discard(event["node"])
        else:
            continue
        found.append(len(flying))
    return found


def test_at_most_so_many_nodes_are_in_flight_over_all_accounts_and_regions(fleet: Any, tmp_path: Path) -> None:
    lab = fleet("sliding", 60, {"uniform": [0.5, 4]})
    results = run(lab, tmp_path, max_in_flight=12)
    assert {result["outcome"] for result in results.values()} == {"patched"}
    assert len(results) == 60
    assert max(flights(tmp_path)) == 12
    # A slow node holds only its own place: the next ones begin long before a whole group of 12 has ended.
    assert flights(tmp_path).count(0) == 1


def test_one_error_budget_counts_over_all_accounts_and_regions(fleet: Any, tmp_path: Path) -> None:
    lab = fleet("budget", 60, 0.5, [{"share": 1.0, "exit_code": 0, "stdout": FAILED, "stderr": ""}])
    results = run(lab, tmp_path, max_in_flight=6, max_errors="10%")
    outcomes = [result["outcome"] for result in results.values()]
    assert outcomes.count("rolled_back") + outcomes.count("skipped") == 60
    # Six may fail; with six in flight the seventh failure stops it, and what is in flight by then may fail too.
    assert 7 <= outcomes.count("rolled_back") <= 7 + 6
    assert {result["reason"] for result in results.values() if result["outcome"] == "skipped"} == {"max_errors_reached"}


def test_a_thousand_nodes_cost_less_than_a_fifth_of_a_call_each(fleet: Any, tmp_path: Path) -> None:
    lab = fleet("thousand", 1000, 20)
    before = lab.calls()
    results = run(lab, tmp_path)
    assert {result["outcome"] for result in results.values()} == {"patched"}
    assert len(results) == 1000
    made = lab.calls() - before
    assert sum(made.values()) <= 200, made


@pytest.fixture
def fault(lab: Any) -> Any:
    """Make something go wrong in the session's lab until the test ends: fault(name, *nodes, ...options)."""

    def begin(*words: object) -> None:
        lab.run("patchwave", "lab", "fault", "--name", lab.name, *words)

    yield begin
    lab.run("patchwave", "lab", "fault", "--name", lab.name, "--clear")


def test_a_node_that_ran_but_ended_undeliverable_is_asked_again(
    lab: Any, install: Any, rollout: Any, fault: Any
) -> None:
    install("web-01", "app-01", "db-01", "batch-01")
    fault("agent-restart", "web-01", "--count", 1, "--set", "seconds=2")
    before = lab.calls()
    done = lab.run("patchwave", "apply", rollout(), "--output", rollout().parent / "out", check=False)
    report = json.loads((rollout().parent / "out" / "report.json").read_text())
    (node,) = (node for node in report["nodes"] if node["name"] == "web-01")
    assert node["outcome"] in ("patched", "current"), done.stdout
    assert done.returncode == 0
    made = {place[:2]: count for place, count in (lab.calls() - before).items() if place[2] == "SendCommand"}
    assert sorted(made.values()) == [1, 1, 1, 2]


def test_throttling_is_waited_out(lab: Any, install: Any, rollout: Any, fault: Any) -> None:
    install("web-01", "app-01", "db-01", "batch-01")
    fault("throttle", "--region", "us-east-1", "--for", 12, "--set", "rate=0.2", "--set", "burst=1")
    done = lab.run("patchwave", "apply", rollout(), "--output", rollout().parent / "out", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
