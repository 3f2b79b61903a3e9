"""The driver on the lab: waves, outcomes, budget, resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BIN, ROOT, heed_signals

from patchwave import locks

FIRST_WAVE = ("web-01", "app-01", "db-01", "batch-01")


def apply(lab: Any, path: Path, **environment: str) -> tuple[int, dict[str, Any], str]:
    done = lab.run("patchwave", "apply", path, "--output", path.parent / "out", check=False, **environment)
    report = json.loads((path.parent / "out" / "report.json").read_text())
    return done.returncode, report, done.stdout + done.stderr


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    return {node["name"]: node["outcome"] for node in report["nodes"]}


def test_a_wave_is_patched_and_a_second_run_has_nothing_to_do(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install(*FIRST_WAVE)
    code, report, output = apply(lab, rollout())
    assert code == 0, output
    assert outcomes(report) == dict.fromkeys(FIRST_WAVE, "patched")
    assert {(node["version_before"], node["version_after"]) for node in report["nodes"]} == {("1.0.0", "2.0.0")}
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 2.0.0\n"
    assert "WARNING" not in output
    logs = [path.read_text() for path in (rollout().parent / "out").iterdir()]
    assert not any("WARNING" in text or "X-Amz-Signature" in text for text in logs)

    before = lab.calls()
    code, report, output = apply(lab, rollout())
    assert code == 0
    assert "Resumed: 4 of 4 nodes are done, 0 still to do" in output
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_a_node_that_is_right_without_us_is_current(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install(*FIRST_WAVE)
    apply(lab, rollout())
    stamp = lab.exec("web-01", "stat", "-c", "%Y %Z %i", "/opt/tool/2.0.0", "/opt/tool/current", "/opt/tool/2.0.0/tool")
    code, report, _ = apply(lab, rollout(name="again", error_budget=1))
    assert code == 0
    assert outcomes(report) == dict.fromkeys(FIRST_WAVE, "current")
    after = lab.exec("web-01", "stat", "-c", "%Y %Z %i", "/opt/tool/2.0.0", "/opt/tool/current", "/opt/tool/2.0.0/tool")
    assert after == stamp


def test_the_error_budget_stops_before_the_next_wave(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install(*FIRST_WAVE)
    install("web-01", "db-01", sick=True)
    code, report, output = apply(lab, rollout(waves=["wave_1", "wave_2"], error_budget=1))
    assert code == 3
    words = outcomes(report)
    assert [words[name] for name in FIRST_WAVE] == ["rolled_back", "patched", "rolled_back", "patched"]
    assert report["totals"]["skipped"] == 8
    assert report["rollout"]["stopped"] == "2 nodes failed, 1 allowed"
    assert "STOPPED: 2 nodes failed, 1 allowed" in output
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"


@contextmanager
def held(lab: Any, name: str) -> Iterator[str]:
    """Hold a node of the first account and region by its tag."""
    node = lab.nodes()[name]
    script = "import boto3; boto3.client('ec2', region_name='eu-central-1').{}_tags(Resources=['{}'], Tags=[{}])"
    lab.run("python", "-c", script.format("create", node, "dict(Key='PatchHold', Value='CHG-1')"))
    try:
        yield node
    finally:
        lab.run("python", "-c", script.format("delete", node, "dict(Key='PatchHold')"))


def test_a_held_node_is_left_alone_until_its_tag_is_gone(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install(*FIRST_WAVE)
    with held(lab, "web-01") as node:
        code, report, output = apply(lab, rollout())
        playbook = ("ansible-playbook", "patchwave.aws.patch_software", "-i", ROOT / "inventory", "--list-hosts")
        listed = lab.run(*playbook).stdout
    assert code == 2, output
    assert outcomes(report) == {**dict.fromkeys(FIRST_WAVE, "patched"), "web-01": "skipped"}
    assert {node["reason"] for node in report["nodes"]} == {"upgraded", "held"}
    assert "Held by a tag and left alone: web-01" in output
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"
    assert "hosts (23)" in listed
    assert node not in listed
    code, report, _ = apply(lab, rollout())
    assert code == 0
    assert outcomes(report) == dict.fromkeys(FIRST_WAVE, "patched")


def test_a_wave_may_be_a_group_of_groups_and_no_node_is_in_two(lab: Any, rollout: Callable[..., Path]) -> None:
    path = rollout(waves=["wave_1", "all", "managed_nodes"])
    done = lab.run("patchwave", "apply", path, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"patchwave: {path}: waves[2]: every node of 'managed_nodes' is in an earlier wave\n",
    )


def test_another_plan_begins_another_ledger(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install(*FIRST_WAVE)
    apply(lab, rollout())
    apply(lab, rollout(error_budget=2))
    assert len(list((rollout().parent / "out").glob("ledger-*.jsonl"))) == 2


def test_another_kind_of_software_goes_the_same_way(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install(*FIRST_WAVE)
    sed = ["sed", "-i"]
    program = "/opt/tool/1.0.0/tool"
    definition = {
        "fixed_in": "2.0.0",
        "command": {
            "command": [*sed, "s/tool 1.0.0/tool 2.0.0/", program],
            "undo": [*sed, "s/tool 2.0.0/tool 1.0.0/", program],
            "version": "2.0.0",
        },
        "probe": {"command": [program]},
    }
    code, report, output = apply(lab, rollout(catalog={"tool": definition}))
    assert code == 0, output
    assert outcomes(report) == dict.fromkeys(FIRST_WAVE, "patched")
    assert "tool to 2.0.0 on 4 nodes" in output


@pytest.mark.parametrize("transport", ["run_command", pytest.param("connection", marks=pytest.mark.needs_root)])
def test_rollout_and_catalog_are_data_in_which_no_template_is_found(
    lab: Any,
    install: Callable[..., None],
    rollout: Callable[..., Path],
    software: dict[str, Any],
    ssh_inventory: Path,
    tmp_path: Path,
    transport: str,
) -> None:
    """The node gets the very text, and nothing runs on the controller."""
    trap = f"{{{{ lookup('pipe', 'touch {tmp_path}/run; echo x') }}}}"
    catalog = {"tool": {**software, "health": {"command": ["test", trap, "!=", "x"], "retries": 0}}}
    override = {"by": trap, "reason": trap}
    if transport == "run_command":
        names, path = FIRST_WAVE, rollout(catalog=catalog, override=override)
    else:
        names = ("web-02", "db-02")
        more = {"inventory": str(ssh_inventory), "waves": ["managed_nodes"], "transport": transport}
        path = rollout(catalog=catalog, override=override, vars={"ansible_become_user": trap}, **more)
    install(*names)
    code, report, output = apply(lab, path)
    assert code == 0, output
    assert outcomes(report) == dict.fromkeys(names, "patched")
    assert not (tmp_path / "run").exists()


def test_nodes_in_scope_and_in_no_wave_need_a_person_unless_the_file_says_that_they_are_left_out(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install(*FIRST_WAVE)
    assert apply(lab, rollout())[0] == 0
    code, report, output = apply(lab, rollout(not_in_waves=None))
    assert code == 2, output
    assert outcomes(report) == dict.fromkeys(FIRST_WAVE, "patched")
    others = report["rollout"]["not_in_a_wave"]
    assert len(others) == 20
    assert {"host", "id", "name", "account", "region", "patch_group"} == set(others[0])
    assert output.count("In scope and in no wave of this rollout: 20 nodes: ") == 2
    page = (rollout().parent / "out" / "report.html").read_text()
    assert "20 nodes are in scope and in no wave of this rollout" in page


@pytest.mark.needs_root
def test_the_driver_goes_over_openssh_as_well(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path], ssh_inventory: Path
) -> None:
    install("web-02")
    install("db-02", sick=True)
    inventory = yaml.safe_load(ssh_inventory.read_text())
    inventory["managed_nodes"]["hosts"]["gone"] = {"ansible_ssh_common_args": "-o ProxyCommand=false"}
    ssh_inventory.write_text(yaml.safe_dump(inventory))
    changes = {"inventory": str(ssh_inventory), "waves": ["managed_nodes"], "transport": "connection", "bucket": None}
    code, report, output = apply(lab, rollout(error_budget=1, **changes))
    assert code == 2, output
    assert outcomes(report) == {"web-02": "patched", "db-02": "rolled_back", "gone": "unreachable"}
    code, report, output = apply(lab, rollout(error_budget=1, **changes))
    assert "Resumed: 1 of 3 nodes are done" in output
    assert outcomes(report) == {"web-02": "patched", "db-02": "rolled_back", "gone": "unreachable"}


def begin(lab: Any, path: Path) -> subprocess.Popen[str]:
    """Start a rollout of something slow in a session of its own; return when every node of the first wave has it."""
    command = [BIN / "patchwave", "apply", path, "--output", path.parent / "out"]
    process = subprocess.Popen(
        command,
        env=lab.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    )
    journal = path.parent / "out" / "wave_1.journal"
    deadline = time.monotonic() + 180
    while not (journal.exists() and journal.read_text().count('"sent"') == 4):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


@pytest.fixture
def one_slow_wave(
    install: Callable[..., None], rollout: Callable[..., Path], software: dict[str, Any]
) -> Callable[..., Path]:
    install(*FIRST_WAVE)
    definition = {**software, "health": {"command": ["sleep", "8"], "timeout": 20}}
    return lambda **more: rollout(catalog={"tool": definition}, **more)


@pytest.fixture
def slow(one_slow_wave: Callable[..., Path]) -> Path:
    return one_slow_wave(waves=["wave_1", "wave_2"])


def sends(lab: Any) -> int:
    return sum(count for (_, _, operation), count in lab.calls().items() if operation == "SendCommand")


def test_an_interrupted_rollout_waits_for_what_runs_and_begins_nothing_more(lab: Any, slow: Path) -> None:
    process = begin(lab, slow)
    before = sends(lab)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "Traceback" not in output
    assert "Stopping: nothing more is sent" in output
    report = json.loads((slow.parent / "out" / "report.json").read_text())
    words = outcomes(report)
    assert [words[name] for name in FIRST_WAVE] == ["patched"] * 4
    assert report["totals"]["skipped"] == 8
    assert sends(lab) == before


def test_a_second_interrupt_leaves_the_nodes_alone_and_the_next_run_finds_out(lab: Any, slow: Path) -> None:
    process = begin(lab, slow)
    process.send_signal(signal.SIGINT)
    while locks.is_held(slow.parent / "out" / "stop"):  # it has not heard the first
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 130, output
    words = outcomes(json.loads((slow.parent / "out" / "report.json").read_text()))
    assert [words[name] for name in FIRST_WAVE] == ["unknown"] * 4

    before = sends(lab)
    code, report, output = apply(lab, slow)
    assert code == 0, output
    assert [outcomes(report)[name] for name in FIRST_WAVE] == ["patched"] * 4
    assert sends(lab) == before + 4  # of the second wave


def test_answers_that_expired_credentials_could_not_read_are_read_by_the_next_run(
    lab: Any, one_slow_wave: Callable[..., Path]
) -> None:
    slow = one_slow_wave()
    process = begin(lab, slow)
    lab.run("patchwave", "lab", "fault", "--name", lab.name, "token-expired")
    try:
        output, _ = process.communicate(timeout=180)
    finally:
        lab.run("patchwave", "lab", "fault", "--name", lab.name, "--clear")
    assert process.returncode == 3, output
    assert "Traceback" not in output
    nodes = json.loads((slow.parent / "out" / "report.json").read_text())["nodes"]
    ends = [(node["outcome"], node["msg"]) for node in nodes if node["name"] in FIRST_WAVE]
    # Those of the caller's own account, who has no session, could be read.
    unread = [msg for outcome, msg in ends if outcome == "unknown"]
    assert 0 < len(unread) == len(ends) - [outcome for outcome, _ in ends].count("patched")
    assert all("renew the credentials and run again" in msg for msg in unread)

    before = sends(lab)
    code, report, output = apply(lab, slow)
    assert code == 0, output
    assert [outcomes(report)[name] for name in FIRST_WAVE] == ["patched"] * 4
    assert sends(lab) == before


def test_a_killed_controller_is_taken_up_and_no_node_is_sent_the_work_twice(lab: Any, slow: Path) -> None:
    process = begin(lab, slow)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = sends(lab)
    code, report, output = apply(lab, slow)
    assert code == 0, output
    assert [outcomes(report)[name] for name in FIRST_WAVE] == ["patched"] * 4
    assert sends(lab) == before + 4  # of the second wave
    script = "import boto3; print(boto3.client('s3').list_objects_v2(Bucket='patchwave-lab')['Contents'])"
    assert "patchwave/" not in lab.run("python", "-c", script).stdout
