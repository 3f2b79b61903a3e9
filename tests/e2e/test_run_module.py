"""What the controller asks of AWS, counted in the lab's API log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from conftest import BUCKET, ROOT

NODES = 60
ACCOUNTS = ("123456789012", "210987654321")
#: Calls that name a single node.
PER_NODE = {"GetCommandInvocation", "GetConnectionStatus", "ListTagsForResource"}


def batch(module: str, args: dict[str, Any], **options: Any) -> str:
    """Return a playbook that runs a module on all nodes and prints each node's own result."""
    run = {"module": module, "args": args, "bucket": BUCKET, **options}
    result = {"result": "{{ batch.results[inventory_hostname] }}"}
    tasks = [
        {"name": "Run", "patchwave.aws.run_module": run, "register": "batch", "run_once": True},
        {"name": "Take", "patchwave.aws.node_result": result, "register": "own", "ignore_errors": True},
        {"name": "Show", "ansible.builtin.debug": {"msg": "OWN {{ own | to_json }} END"}},
    ]
    return yaml.safe_dump([{"name": "Batch", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks}])


def test_a_stage_costs_a_command_for_each_fifty_nodes_and_no_call_for_one(
    make_lab: Callable[..., Any], tmp_path: Path
) -> None:
    places = [(ACCOUNTS[0], "eu-central-1")] * (NODES - 6) + [(ACCOUNTS[0], "us-east-1")] * 3
    places += [(ACCOUNTS[1], "us-east-1")] * 3
    nodes = [
        {"name": f"n-{number:02}", "account": account, "region": region, "tags": {"PatchGroup": "all"}}
        for number, (account, region) in enumerate(places)
    ]
    scenario = tmp_path / "scenario.yml"
    content = {
        "accounts": list(ACCOUNTS),
        "regions": ["eu-central-1", "us-east-1"],
        "buckets": [BUCKET],
        "nodes": nodes,
    }
    scenario.write_text(yaml.safe_dump(content))
    lab = make_lab("sixty", scenario)
    play = tmp_path / "play.yml"
    play.write_text(batch("ansible.builtin.ping", {"data": "hello"}))
    done = lab.run("ansible-playbook", play, "-i", ROOT / "inventory")
    assert done.stdout.count('OWN {\\"changed\\": false') + done.stdout.count("OWN ") >= NODES
    assert done.stdout.count("hello") >= NODES
    calls = lab.calls()
    sent = {place[:2]: count for place, count in calls.items() if place[2] == "SendCommand"}
    assert sent == {
        (ACCOUNTS[0], "eu-central-1"): 2,  # 54 nodes
        (ACCOUNTS[0], "us-east-1"): 1,
        (ACCOUNTS[1], "us-east-1"): 1,
    }
    assert not PER_NODE & {operation for _, _, operation in calls}


def test_results_are_those_of_the_module(lab: Any, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(batch("ansible.builtin.command", {"argv": ["echo", "it's $HOME {{ '{{' }} 7*7 }}"]}))
    host = lab.nodes()["db-02"]
    done = lab.run("ansible-playbook", play, "-i", ROOT / "inventory", "--limit", host)
    assert "it's $HOME {{ 7*7 }}" in done.stdout
    assert '\\"rc\\": 0' in done.stdout or '"rc": 0' in done.stdout


def test_a_bucket_that_is_not_there_is_one_line_and_nothing_is_sent(lab: Any, tmp_path: Path) -> None:
    before = lab.calls()
    play = tmp_path / "play.yml"
    play.write_text(batch("ansible.builtin.ping", {}, bucket="no-such-bucket"))
    done = lab.run("ansible-playbook", play, "-i", ROOT / "inventory", check=False)
    assert done.returncode != 0
    assert "NoSuchBucket" in done.stdout
    assert "nothing was sent to any node" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_the_payload_does_not_stay_in_the_bucket(lab: Any, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(batch("ansible.builtin.ping", {}))
    lab.run("ansible-playbook", play, "-i", ROOT / "inventory", "--limit", lab.nodes()["web-01"])
    script = (
        "import boto3, json; s3 = boto3.client('s3');"
        f"print(json.dumps([o['Key'] for o in s3.list_objects_v2(Bucket='{BUCKET}').get('Contents', [])]))"
    )
    keys = json.loads(lab.run("python", "-c", script).stdout)
    assert [key for key in keys if key.startswith("patchwave/")] == []


def test_an_unknown_option_of_the_action_is_named(lab: Any, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(batch("ansible.builtin.ping", {}, max_error="1"))
    done = lab.run("ansible-playbook", play, "-i", ROOT / "inventory", check=False)
    assert done.returncode != 0
    assert "max_error" in done.stdout
