"""The Run Command engine on virtual nodes: slots, the error budget, nodes without an answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from conftest import BIN, BUCKET, ROOT

ACCOUNTS, REGIONS = ["123456789012", "210987654321"], ["eu-central-1", "us-east-1"]
PLACES = [(account, region) for account in ACCOUNTS for region in REGIONS]
FAILED = 'PATCHWAVE1 {"failed":true,"outcome":"rolled_back"}\n'


@pytest.fixture
def fleet(make_lab: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def make(name: str, count: int, run: Any, answers: list[dict[str, Any]] | None = None) -> Any:
        model: dict[str, Any] = {"delivery": 0.1, "run": run, "reply": 0.1, "seed": 1}
        if answers:
            model["answers"] = answers
        node = {"name": "v", "count": count, "spread": True, "tags": {"PatchGroup": "all"}, "virtual": model}
        content = {
            "accounts": ACCOUNTS,
            "regions": REGIONS,
            "buckets": [BUCKET],
            "nodes": [node],
        }
        path = tmp_path / "scenario.yml"
        path.write_text(yaml.safe_dump(content))
        return make_lab(name, path)

    return make


def playbook(tmp_path: Path, **options: Any) -> Path:
    """Write a play that runs a module on the whole fleet and keeps each host's result."""
    task = {
        "module": "ansible.builtin.ping",
        "args": {},
        "bucket": BUCKET,
        "journal": str(tmp_path / "journal"),
        **options,
    }
    show = {"content": "{{ batch | to_json }}", "dest": str(tmp_path / "batch.json")}
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
    return path


def run(lab: Any, tmp_path: Path, inventory: Path = ROOT / "inventory", **options: Any) -> dict[str, dict[str, Any]]:
    """Run a module on the whole fleet; return each host's result."""
    lab.run("ansible-playbook", playbook(tmp_path, **options), "-i", inventory)
    return dict(json.loads((tmp_path / "batch.json").read_text())["results"])


def plugins(lab: Any, places: list[tuple[str, str]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the invocations of every command with their only step, each with its node's id."""
    found = []
    names = {"AccessKeyId": "aws_access_key_id", "SecretAccessKey": "aws_secret_access_key"}
    names["SessionToken"] = "aws_session_token"
    keys = {name: lab.environment[name.upper()] for name in list(names.values())[:2]}
    address = {"endpoint_url": lab.environment["AWS_ENDPOINT_URL"]}
    for account, region in places:
        role = f"arn:aws:iam::{account}:role/test"
        sts = boto3.client("sts", region_name=region, **address, **keys)
        assumed = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        session = {option: assumed[name] for name, option in names.items()}
        ssm = boto3.client("ssm", region_name=region, **address, **session)
        for page in ssm.get_paginator("list_command_invocations").paginate(Details=True):
            for one in page["CommandInvocations"]:
                found.append((one["InstanceId"], {**one["CommandPlugins"][0], **one}))
    return found


def worked(lab: Any) -> dict[str, list[tuple[float, float]]]:
    """Return when each node was sent a command and ended, by the lab's own record."""
    found: dict[str, list[tuple[float, float]]] = {}
    for node, one in plugins(lab, PLACES):
        span = (one["RequestedDateTime"].timestamp(), one["ResponseFinishDateTime"].timestamp())
        found.setdefault(node, []).append(span)
    return found


def most_in_flight(spans: list[tuple[float, float]]) -> int:
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)


def test_at_most_so_many_nodes_are_in_flight_over_all_accounts_and_regions(fleet: Any, tmp_path: Path) -> None:
    lab = fleet("sliding", 36, {"uniform": [0.3, 4]})
    results = run(lab, tmp_path, max_in_flight=12)
    assert {result["outcome"] for result in results.values()} == {"patched"}
    assert len(results) == 36
    spans = [span for (span,) in worked(lab).values()]
    assert most_in_flight(spans) == 12
    # A slow node holds only its own place: the 13th begins long before the first 12 have ended.
    assert sorted(begin for begin, _ in spans)[12] < max(end for _, end in sorted(spans)[:12])


def test_a_run_killed_again_and_again_sends_to_every_node_once(fleet: Any, tmp_path: Path) -> None:
    lab = fleet("killed", 24, {"uniform": [0.5, 2]})
    play, journal = playbook(tmp_path, max_in_flight=6, token="killed"), tmp_path / "journal"
    lines, kills = 1, 0
    while kills < 6:
        command = [BIN / "ansible-playbook", play, "-i", ROOT / "inventory"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=lab.environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= lines):
            time.sleep(0.002)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        lines = journal.read_bytes().count(b"\n") + kills
    assert kills >= 4
    results = run(lab, tmp_path, max_in_flight=6, token="killed")
    assert Counter(result["outcome"] for result in results.values()) == {"patched": 24}
    spans = worked(lab)
    assert {len(each) for each in spans.values()} == {1}, "a node was sent the work twice"
    assert len(spans) == 24
    assert most_in_flight([span for (span,) in spans.values()]) <= 6


def test_nothing_goes_on_sending_when_ansible_playbook_is_killed(fleet: Any, tmp_path: Path) -> None:
    lab = fleet("orphaned", 60, 1)
    play, journal = playbook(tmp_path, max_in_flight=4, token="orphaned"), tmp_path / "journal"
    command = [BIN / "ansible-playbook", play, "-i", ROOT / "inventory"]
    with subprocess.Popen(command, cwd=ROOT, env=lab.environment, stdout=subprocess.DEVNULL) as process:
        while not (journal.exists() and journal.read_text().count('"sent"') >= 6):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    worker = json.loads(journal.read_text().splitlines()[0])["pid"]
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}/stat").exists() and " Z " not in Path(f"/proc/{worker}/stat").read_text():
        assert time.monotonic() < deadline, "the action goes on"
        time.sleep(0.05)
    events = [json.loads(line)["event"] for line in journal.read_text().splitlines()]
    assert "finished" not in events
    assert len(plugins(lab, PLACES)) < 40
    results = run(lab, tmp_path, token="orphaned")
    assert Counter(result["outcome"] for result in results.values()) == {"patched": 60}
    assert {len(spans) for spans in worked(lab).values()} == {1}


def test_one_error_budget_counts_over_all_accounts_and_regions(fleet: Any, tmp_path: Path) -> None:
    lab = fleet("budget", 60, 0.5, [{"share": 1.0, "exit_code": 0, "stdout": FAILED, "stderr": ""}])
    results = run(lab, tmp_path, max_in_flight=6, max_errors="10%")
    outcomes = [result["outcome"] for result in results.values()]
    assert outcomes.count("rolled_back") + outcomes.count("skipped") == 60
    # Six may fail; with six in flight the seventh failure stops it, and what is in flight by then may fail too.
    assert 7 <= outcomes.count("rolled_back") <= 7 + 6
    assert {result["reason"] for result in results.values() if result["outcome"] == "skipped"} == {"max_errors_reached"}


def test_a_stop_cancels_what_no_agent_has_begun_and_waits_for_what_runs(make_lab: Any, tmp_path: Path) -> None:
    model = {"delivery": 0.1, "run": 8, "reply": 0.1, "seed": 1}
    tags, stop_file = {"PatchGroup": "all"}, tmp_path / "stop"
    nodes: list[dict[str, Any]] = [
        {"name": "runs", "count": 3, "tags": tags, "virtual": model},
        {"name": "waits", "count": 3, "tags": tags, "virtual": model},
    ]
    content = {
        "accounts": ACCOUNTS[:1],
        "regions": REGIONS[:1],
        "buckets": [BUCKET],
        "nodes": nodes,
        "settings": {"delayed_seconds": 0.5, "undeliverable_seconds": None},
        # Systems Manager does not know yet that they are away.
        "faults": [{"name": "agent-off", "nodes": [f"waits-0{number}" for number in (1, 2, 3)]}],
    }
    (tmp_path / "scenario.yml").write_text(yaml.safe_dump(content))
    lab = make_lab("stopped", tmp_path / "scenario.yml")

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, lab, tmp_path, stop_file=str(stop_file))
        try:
            begun = delayed = 0
            while (begun, delayed) != (3, 3):
                assert not running.done()
                time.sleep(0.1)
                steps = [one for _, one in plugins(lab, PLACES[:1])]
                begun = sum("ResponseStartDateTime" in one for one in steps)
                delayed = sum(one["Status"] == "Delayed" for one in steps)
        finally:
            stop_file.touch()
        results = running.result()
    names = {node: name.partition("-")[0] for name, node in lab.nodes().items()}
    ends = Counter((names[host], one["outcome"], one.get("reason")) for host, one in results.items())
    assert ends == {("runs", "patched", None): 3, ("waits", "unknown", "cancelled"): 3}
    assert lab.calls()[ACCOUNTS[0], REGIONS[0], "CancelCommand"] >= 1


def test_a_thousand_nodes_cost_less_than_a_fifth_of_a_call_each(fleet: Any, tmp_path: Path) -> None:
    lab = fleet("thousand", 1000, 20)
    before = lab.calls()
    results = run(lab, tmp_path)
    assert {result["outcome"] for result in results.values()} == {"patched"}
    assert len(results) == 1000
    made = lab.calls() - before
    assert sum(made.values()) <= 200, made
    of_the_inventory = ("DescribeInstances", "DescribeInstanceProperties", "GetCallerIdentity", "GetResources")
    own = sum(count for place, count in made.items() if place[2] not in (*of_the_inventory, "AssumeRole"))
    reported = json.loads((tmp_path / "batch.json").read_text())["api_calls"]
    # DescribeInstanceProperties once in each place, and once to whom the caller's credentials belong.
    assert reported == own + len(PLACES) + 1, made


def test_a_bad_node_ends_with_a_reason_and_costs_nobody_else(make_lab: Any, tmp_path: Path) -> None:
    model = {"delivery": 0.1, "run": 0.2, "reply": 0.1, "seed": 1}
    common = {"tags": {"PatchGroup": "all"}, "virtual": model}
    nodes = [{"name": "good", "count": 5}, {"name": "windows", "platform": "Windows"}, {"name": "off", "agent": False}]
    nodes += [{"name": "elsewhere", "region": "us-east-1"}, {"name": "stopped"}, {"name": "terminated"}]
    content = {
        "accounts": ACCOUNTS,
        "regions": REGIONS,
        "buckets": [BUCKET],
        "nodes": [{**common, **node} for node in nodes],
        "settings": {"stopped_nodes": "refused"},
    }
    (tmp_path / "scenario.yml").write_text(yaml.safe_dump(content))
    lab = make_lab("bad-nodes", tmp_path / "scenario.yml")
    ids = {**lab.nodes(), "never-there": "i-0123456789abcdef0", "no-id": "localhost"}
    script = f"import boto3; ec2 = boto3.client('ec2'); ec2.stop_instances(InstanceIds=['{ids['stopped']}']);"
    lab.run("python", "-c", f"{script} ec2.terminate_instances(InstanceIds=['{ids['terminated']}'])")
    # All are said to be Linux nodes of the first account and region.
    place = {"account": ACCOUNTS[0], "region": REGIONS[0], "platform": "linux"}
    hosts = {name: {"node_id": node, **place} for name, node in ids.items()}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"managed_nodes": {"hosts": hosts}}))
    results = run(lab, tmp_path, tmp_path / "hosts.yml")
    found = {name: (result["outcome"], result.get("reason")) for name, result in results.items()}
    assert {name: found.pop(name) for name in ids if name.startswith("good")} == dict.fromkeys(
        [f"good-{number:02}" for number in range(1, 6)], ("patched", None)
    )
    assert found == {
        "windows": ("unsupported", "invalid_platform"),
        "off": ("unreachable", "agent_offline"),
        "elsewhere": ("unreachable", "not_managed"),
        "stopped": ("unreachable", "not_managed"),
        "terminated": ("unreachable", "not_managed"),
        "never-there": ("unreachable", "not_managed"),
        "no-id": ("unreachable", "not_managed"),
    }


#: What nodes print, and the outcome or the words that come of it.
SAID: dict[str, tuple[str, str]] = {
    "good": ('PATCHWAVE1 {"changed":true,"outcome":"patched"}', "patched"),
    "deep": ("PATCHWAVE1 " + '{"a":' * 49 + "1" + "}" * 49, ""),
    "deeper": ("PATCHWAVE1 " + "[" * 20_000, "unknown"),
    "no-json": ("not <b>JSON</b>", "unknown"),
    "no-word": ('PATCHWAVE1 {"failed":true,"outcome":["patched"]}', "['patched']"),
    "half": ('PATCHWAVE1 {"msg":"\\ud83d {{ 7 * 7 }}","outcome":"current"}', "current"),
    "host": ('PATCHWAVE1 {"add_host":{"host_name":"evil","groups":["managed_nodes"]},"outcome":"current"}', "current"),
    "other": ('PATCHWAVE1 {"results":{"good":{"failed":true}},"command_id":"x","outcome":"patched"}', "patched"),
}


def test_whatever_a_node_says_it_says_for_itself_alone(make_lab: Any, tmp_path: Path) -> None:
    def node(name: str, said: str) -> dict[str, Any]:
        answer = {"share": 1.0, "exit_code": 0, "stdout": f"{said}\n", "stderr": ""}
        model = {"delivery": 0.1, "run": 0.2, "reply": 0.1, "seed": 1, "answers": [answer]}
        return {"name": name, "tags": {"PatchGroup": "all"}, "virtual": model}

    nodes = [node(name, said) for name, (said, _) in SAID.items()]
    content = {"accounts": ACCOUNTS[:1], "regions": REGIONS[:1], "buckets": [BUCKET], "nodes": nodes}
    (tmp_path / "scenario.yml").write_text(yaml.safe_dump(content))
    lab = make_lab("hostile", tmp_path / "scenario.yml")
    path = playbook(tmp_path, max_errors="100%")
    (play,) = yaml.safe_load(path.read_text())
    own = {"result": "{{ batch.results[inventory_hostname] }}"}
    play["tasks"] += [
        {"name": "Take", "patchwave.aws.node_result": own, "register": "own", "ignore_errors": True},
        {"name": "Show", "ansible.builtin.debug": {"msg": "{{ own.msg | default('') }} {{ groups.all | length }}"}},
    ]
    path.write_text(yaml.safe_dump([play]))
    done = lab.run("ansible-playbook", path, "-i", ROOT / "inventory")
    ids = {node: name for name, node in lab.nodes().items()}
    results = {ids[host]: one for host, one in json.loads((tmp_path / "batch.json").read_text())["results"].items()}
    assert {name: str(one.get("outcome", "")) for name, one in results.items()} == {
        name: outcome for name, (_, outcome) in SAID.items()
    }
    assert "evil" not in done.stdout
    assert f'"msg": "? {{{{ 7 * 7 }}}} {len(SAID)}"' in done.stdout
    assert results["other"]["command_id"] == results["good"]["command_id"]
    assert "Traceback" not in done.stdout + done.stderr


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


def refused(lab: Any) -> Counter[str]:
    """Count the calls so far that were throttled, by operation."""
    calls = map(json.loads, (lab.folder / "api.jsonl").read_text(encoding="utf-8").splitlines())
    return Counter(call["operation"] for call in calls if call["error"] == "ThrottlingException")


def test_throttling_is_waited_out(lab: Any, install: Any, rollout: Any, software: Any, fault: Any) -> None:
    nodes = ("web-01", "app-01", "db-01", "batch-01")
    install(*nodes)
    waits = {"command": ["sh", "-c", "until test -e /opt/tool/go; do sleep 0.1; done"], "timeout": 300}
    path, before = rollout(catalog={"tool": {**software, "health": waits}}), refused(lab)
    with ThreadPoolExecutor(1) as pool:
        fault("throttle", "--region", "us-east-1", "--set", "rate=0.2", "--set", "burst=1")
        running = pool.submit(lab.run, "patchwave", "apply", path, "--output", path.parent / "out", check=False)
        # Until results were refused too, to which it comes when it has sent.
        while not running.done() and (refused(lab) - before)["ListCommandInvocations"] < 5:
            time.sleep(0.1)
        for node in nodes:
            lab.exec(node, "touch", "/opt/tool/go")
        lab.run("patchwave", "lab", "fault", "--name", lab.name, "--clear")
        done = running.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (refused(lab) - before)["ListCommandInvocations"] >= 5
