"""A stop from outside: of runs that live, that were killed, and whose agents come back later."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from conftest import BIN, BUCKET, OVERRIDE, ROOT

NODES = ("early", "late")
NAME = "CVE-2026-0001"


@pytest.fixture(scope="module")
def patient(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Start a lab whose commands wait for an agent that is away until their delivery time is over."""
    tags = {"PatchGroup": "all", "PatchWave": "1"}
    content = {
        "accounts": ["123456789012"],
        "regions": ["eu-central-1"],
        "buckets": [BUCKET],
        "nodes": [{"name": name, "tags": tags} for name in NODES],
        "settings": {"undeliverable_seconds": None},
    }
    path = tmp_path_factory.mktemp("stop") / "scenario.yml"
    path.write_text(yaml.safe_dump(content))
    return make_lab("stop", path)


@pytest.fixture
def s3(patient: Any) -> Any:
    own = patient.environment
    session = boto3.Session(own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"])
    return session.client("s3", endpoint_url=own["AWS_ENDPOINT_URL"], region_name=own["AWS_REGION"])


@pytest.fixture
def keys(s3: Any) -> Callable[[str], list[str]]:
    def keys(prefix: str) -> list[str]:
        return [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]

    return keys


@pytest.fixture
def rollout(patient: Any, s3: Any, keys: Callable[[str], list[str]], tmp_path: Path) -> Iterator[Path]:
    """Write a rollout of something that leaves a trace on each node; no agent is away before and after."""
    for name in NODES:
        patient.exec(name, "sh", "-ec", "rm -rf /opt/begun /opt/version /var/lib/patchwave; mkdir -p /opt")
    definition = {
        "fixed_in": "2.0.0",
        "command": {
            "command": ["/bin/sh", "-c", "date >> /opt/begun; sleep 3; echo 2.0.0 > /opt/version"],
            "undo": ["/bin/rm", "-f", "/opt/version"],
            "version": "2.0.0",
        },
        "probe": {"command": ["/bin/sh", "-c", "echo tool $(cat /opt/version 2>/dev/null || echo 1.0.0)"]},
    }
    (tmp_path / "software.yml").write_text(yaml.safe_dump({"tool": definition}))
    (tmp_path / "inv").mkdir()
    source = {"plugin": "patchwave.aws.patch_groups", "regions": ["eu-central-1"]}
    (tmp_path / "inv" / "patch_groups.yml").write_text(yaml.safe_dump(source))
    content = {
        **{"schema": 1, "name": NAME, "inventory": "inv/patch_groups.yml"},
        **{"catalog": "software.yml", "software": "tool", "waves": ["wave_1"], "bucket": BUCKET},
        **{"override": OVERRIDE},
    }
    path = tmp_path / "rollout.yml"
    path.write_text(yaml.safe_dump(content))
    yield path
    patient.run("patchwave", "lab", "fault", "--name", patient.name, "--clear")
    for key in keys("patchwave/stop/"):
        s3.delete_object(Bucket=BUCKET, Key=key)


def fault(lab: Any, *words: object) -> None:
    lab.run("patchwave", "lab", "fault", "--name", lab.name, *words)


def begun(lab: Any, node: str) -> bool:
    return lab.exec(node, "sh", "-c", "test -e /opt/begun && echo yes || echo no") == "yes\n"


def apply(lab: Any, path: Path) -> tuple[int, dict[str, Any], str]:
    done = lab.run("patchwave", "apply", path, "--output", path.parent / "out", check=False)
    return done.returncode, json.loads((path.parent / "out" / "report.json").read_text()), done.stdout + done.stderr


def start(lab: Any, path: Path) -> subprocess.Popen[str]:
    command = [BIN / "patchwave", "apply", path, "--output", path.parent / "out"]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return subprocess.Popen(command, env=lab.environment, **given)


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def sent(path: Path) -> bool:
    journal = path.parent / "out" / "wave_1.journal"
    return journal.exists() and '"sent"' in journal.read_text()


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a run as a job server does, with all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_after_a_kill_and_a_stop_an_agent_that_comes_back_begins_nothing(
    patient: Any, rollout: Path, keys: Callable[[str], list[str]]
) -> None:
    fault(patient, "agent-off", "late")
    process = start(patient, rollout)
    until(lambda: sent(rollout) and begun(patient, "early"))
    kill(process)
    assert len(keys(f"patchwave/run/{NAME}/")) == 1
    (rollout.parent / "software.yml").rename(rollout.parent / "away.yml")  # it is not needed
    inventory = rollout.parent / "inv" / "patch_groups.yml"
    inventory.rename(inventory.with_name("away"))
    blind = patient.run("patchwave", "stop", rollout, "--reason", "it hangs \udcff", "--by", "Ada", check=False)
    inventory.with_name("away").rename(inventory)
    assert (blind.returncode, "NOT DONE: no command was cancelled" in blind.stdout) == (2, True), blind
    told = f"rollout {NAME} is stopped: no run of it sends any more; no node begins any more (1 payloads taken away)"
    assert told in blind.stdout
    assert keys("patchwave/run/") == []
    done = patient.run("patchwave", "stop", rollout, "--reason", "it hangs", "--by", "Ada")
    (rollout.parent / "away.yml").rename(rollout.parent / "software.yml")
    assert "1 nodes cancelled and 0 that go on, of 1 commands in " in done.stdout
    assert keys("patchwave/stop/") == [f"patchwave/stop/{NAME}"]
    fault(patient, "agent-off", "--clear")
    time.sleep(2)
    assert not begun(patient, "late")

    code, report, output = apply(patient, rollout)
    assert code == 3, output
    assert "stopped by Ada at" in report["rollout"]["stopped"]
    assert ": it hangs ?; `patchwave stop --lift` lets it go on" in report["rollout"]["stopped"]
    assert not begun(patient, "late")

    patient.run("patchwave", "stop", rollout, "--lift")
    code, report, output = apply(patient, rollout)
    assert code == 0, output
    assert begun(patient, "late")


def test_a_command_that_cannot_be_cancelled_any_more_begins_nothing_either(patient: Any, rollout: Path) -> None:
    fault(patient, "agent-off", *NODES)
    fault(patient, "cancel-ignored", *NODES)
    process = start(patient, rollout)
    until(lambda: sent(rollout))
    patient.run("patchwave", "stop", rollout, "--reason", "wrong version")
    fault(patient, "agent-off", "--clear")
    output, dummy = process.communicate(timeout=120)
    assert not any(begun(patient, node) for node in NODES), output
    report = json.loads((rollout.parent / "out" / "report.json").read_text())
    assert {node["outcome"] for node in report["nodes"]} <= {"unreachable", "skipped", "unknown"}
    assert process.returncode in (2, 3)


def stop(lab: Any, name: str, **given: str) -> subprocess.CompletedProcess[str]:
    extra = {"patchwave_rollout": name, "patchwave_bucket": BUCKET, **given}
    command = ["ansible-playbook", "-i", ROOT / "inventory", "patchwave.aws.stop", "-e", json.dumps(extra)]
    return lab.run(*command, check=False)


def test_a_job_that_a_job_server_kills_is_stopped_by_its_number(
    patient: Any, rollout: Path, keys: Callable[[str], list[str]]
) -> None:
    catalog = yaml.safe_load((rollout.parent / "software.yml").read_text())
    extra = {
        **{"patch_software_name": "tool", "patch_software_catalog": catalog, "patch_software_bucket": BUCKET},
        **{"gate_override": OVERRIDE, "awx_job_id": 77},
    }
    fault(patient, "agent-off", *NODES)
    process = subprocess.Popen(
        [
            *(BIN / "ansible-playbook", "-i", ROOT / "inventory", "patchwave.aws.patch_software"),
            *("-e", json.dumps(extra)),
        ],
        env=patient.environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    before = patient.calls()
    until(lambda: any(call[2] == "SendCommand" for call in patient.calls() - before))
    kill(process)
    other = stop(patient, "awx-7")  # of nobody
    assert "(0 payloads taken away)" in other.stdout
    assert len(keys("patchwave/run/awx-77/")) == 1
    done = stop(patient, "awx-77", patchwave_stop_reason="wrong program")
    assert done.returncode == 0, done.stdout
    assert "2 nodes cancelled and 0 that go on, of 1 commands in " in done.stdout, done.stdout
    fault(patient, "agent-off", "--clear")
    time.sleep(2)
    assert not any(begun(patient, node) for node in NODES)
    assert keys("patchwave/stop/") == ["patchwave/stop/awx-7", "patchwave/stop/awx-77"]
    assert keys("patchwave/run/") == []


def test_a_stop_of_all_holds_for_every_batch_that_knows_the_bucket(patient: Any, tmp_path: Path) -> None:
    send = {"document": "AWS-RunShellScript", "parameters": {"commands": ["date"]}}
    tasks = [
        {"name": "Ship", "patchwave.aws.run_module": {"module": "ansible.builtin.ping", "bucket": BUCKET}},
        {"name": "Send", "patchwave.aws.run_command": {**send, "bucket": BUCKET}},
        {"name": "Send blindly", "patchwave.aws.run_command": send},
    ]
    play = {"name": "Play", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks, "ignore_errors": True}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    assert stop(patient, "all", patchwave_stop_by="Ada", patchwave_stop_reason="a bad day").returncode == 0
    try:
        done = patient.run("ansible-playbook", "-i", ROOT / "inventory", tmp_path / "play.yml")
        assert (
            len(
                re.findall(
                    r"^fatal: .*not sent: the rollout was stopped with all rollouts by Ada at .*: a bad day",
                    done.stdout,
                    re.M,
                )
            )
            == 4
        )
        assert done.stdout.count("ignored=2") == len(NODES)  # who does not know the bucket is not told
    finally:
        lifted = stop(patient, "all", patchwave_stop_state="absent")
    assert "rollout all may go on; it was stopped" in lifted.stdout
    done = patient.run("ansible-playbook", "-i", ROOT / "inventory", tmp_path / "play.yml")
    assert "fatal" not in done.stdout


def test_a_stop_says_what_would_be_done_and_what_cannot_be(patient: Any, rollout: Path, tmp_path: Path) -> None:
    extra = json.dumps({"patchwave_rollout": NAME, "patchwave_bucket": BUCKET})
    command = ("ansible-playbook", "-i", ROOT / "inventory", "patchwave.aws.stop")
    dry = patient.run(*command, "-e", extra, "--check")
    assert "changed: [" in dry.stdout
    assert "is stopped" in dry.stdout
    lifted = patient.run("patchwave", "stop", rollout, "--lift")
    assert f"rollout {NAME} was not stopped" in lifted.stdout
    nameless = patient.run(*command, check=False)
    assert nameless.returncode != 0
    assert "patchwave_rollout: name the rollout, or all" in nameless.stdout
    wrong = patient.run(
        *command, "-e", json.dumps({"patchwave_rollout": "x", "patchwave_bucket": "nowhere"}), check=False
    )
    assert wrong.returncode != 0
    assert "rollout x is NOT stopped" in wrong.stdout
    assert "no mark could be set, so a run that lives goes on sending" in wrong.stdout


@pytest.mark.parametrize("name", ["patchwave_hosts", "patchwave_bucket"])
def test_a_variable_that_cannot_be_evaluated_does_not_widen_a_stop(patient: Any, name: str) -> None:
    given = {"patch_software_bucket": BUCKET, "patchwave_rollout": "of-nobody", name: "{{ mispelt }}"}
    command = ("ansible-playbook", "-i", ROOT / "inventory", "patchwave.aws.stop", "--check")
    done = patient.run(*command, "-e", json.dumps(given), check=False)
    assert done.returncode != 0
    assert "'mispelt' is undefined" in done.stdout + done.stderr
