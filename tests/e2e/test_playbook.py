"""The playbook as plain ansible-playbook runs it, over Run Command and over OpenSSH."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

INVENTORY = ROOT / "inventory"
PLAYBOOK = "patchwave.aws.patch_software"


def recap(output: str) -> dict[str, dict[str, int]]:
    """Return the counters of the play recap by host."""
    rows = re.findall(r"^(\S+)\s+: (ok=.*)$", output, re.MULTILINE)
    return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in rows}


def test_every_node_has_a_result_of_its_own(lab: Any, install: Callable[..., None], variables: Path) -> None:
    install("web-01", "app-01")
    install("batch-01", sick=True)
    ids = lab.nodes()
    hosts = [ids[name] for name in ("web-01", "app-01", "batch-01", "app-04")]
    done = lab.run(
        "ansible-playbook", PLAYBOOK, "-i", INVENTORY, "-e", f"@{variables}", "--limit", ",".join(hosts), check=False
    )
    counts = recap(done.stdout)
    assert [counts[host]["failed"] for host in hosts] == [0, 0, 1, 0], done.stdout
    assert [counts[host]["unreachable"] for host in hosts] == [0, 0, 0, 1]
    assert done.returncode != 0
    assert "WARNING" not in done.stdout + done.stderr
    assert "X-Amz-Signature" not in done.stdout + done.stderr


def test_check_mode_says_what_would_happen_and_changes_nothing(
    lab: Any, install: Callable[..., None], variables: Path
) -> None:
    install("web-01")
    find = ("find", "/opt/tool", "/var/lib", "-maxdepth", "1", "-newer", "/opt/tool/1.0.0/tool")
    before = lab.exec("web-01", *find)
    host = lab.nodes()["web-01"]
    options = ("-i", INVENTORY, "-e", f"@{variables}", "--limit", host)
    done = lab.run("ansible-playbook", PLAYBOOK, *options, "--check", "--diff")
    assert recap(done.stdout)[host]["changed"] >= 1
    assert "2.0.0" in done.stdout
    assert lab.exec("web-01", *find) == before
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"
    real = lab.run("ansible-playbook", PLAYBOOK, *options)
    assert recap(real.stdout)[host]["changed"] >= 1
    again = lab.run("ansible-playbook", PLAYBOOK, *options, "--check")
    assert f"ok: [{host}]" in again.stdout.split("Patch the node")[1]


def test_rescue_sees_the_failed_node_only(
    lab: Any, install: Callable[..., None], variables: Path, tmp_path: Path
) -> None:
    install("web-01")
    install("app-01", sick=True)
    play = {
        "name": "Patch and rescue",
        "hosts": "managed_nodes",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Patch",
                "block": [{"name": "Patch", "ansible.builtin.include_role": {"name": PLAYBOOK}}],
                "rescue": [
                    {
                        "name": "Say who",
                        "ansible.builtin.debug": {
                            "msg": "rescued {{ inventory_hostname }} {{ ansible_failed_result.outcome }}"
                        },
                    }
                ],
            }
        ],
    }
    path = tmp_path / "rescue.yml"
    path.write_text(yaml.safe_dump([play]))
    ids = lab.nodes()
    limit = f"{ids['web-01']},{ids['app-01']}"
    done = lab.run("ansible-playbook", path, "-i", INVENTORY, "-e", f"@{variables}", "--limit", limit)
    assert re.findall(r"rescued (\S+) (\w+)", done.stdout) == [(ids["app-01"], "rolled_back")]


def test_a_program_that_is_not_in_the_catalog_stops_the_play_before_anything(lab: Any, variables: Path) -> None:
    before = lab.calls()
    options = ("-i", INVENTORY, "-e", f"@{variables}", "-e", "patch_software_name=nothing")
    done = lab.run("ansible-playbook", PLAYBOOK, *options, check=False)
    assert done.returncode != 0
    assert "patch_software_name: 'nothing' is not in patch_software_catalog; known programs: tool" in done.stdout
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_the_bastion_without_a_patch_group_is_never_touched(lab: Any) -> None:
    graph = lab.run("ansible-inventory", "-i", INVENTORY, "--graph").stdout
    ids = lab.nodes()
    assert len(re.findall(r"^  \|  \|--m?i-", graph.split("@patch_group")[0], re.MULTILINE)) == 24
    assert ids["bastion"] not in graph
    groups = set(re.findall(r"@(\w+):", graph))
    assert {"patch_group_web", "patch_group_db", "wave_1", "wave_2", "wave_3", "platform_linux"} <= groups


@pytest.mark.needs_root
def test_the_same_play_over_openssh(
    lab: Any, install: Callable[..., None], variables: Path, ssh_inventory: Path
) -> None:
    install("web-02")
    install("db-02", sick=True)
    before = lab.calls()
    options = ("-i", ssh_inventory, "-e", f"@{variables}", "-e", "patchwave_transport=connection")
    done = lab.run("ansible-playbook", PLAYBOOK, *options, check=False)
    counts = recap(done.stdout)
    assert (counts["web-02"]["failed"], counts["db-02"]["failed"]) == (0, 1), done.stdout + done.stderr
    assert lab.exec("web-02", "/opt/tool/current/tool") == "tool 2.0.0\n"
    assert lab.exec("db-02", "/opt/tool/current/tool") == "tool 1.0.0\n"
    assert "rolled_back" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_whoever_may_only_read_is_told_so_in_one_line_and_nothing_is_sent(
    lab: Any, install: Callable[..., None], variables: Path
) -> None:
    install("web-01")
    lab.run("patchwave", "lab", "switch", "--name", lab.name, "--read-only")
    try:
        before = lab.calls()
        options = ("-i", INVENTORY, "-e", f"@{variables}", "--limit", lab.nodes()["web-01"])
        done = lab.run("ansible-playbook", PLAYBOOK, *options, "--check", check=False)
    finally:
        lab.run("patchwave", "lab", "switch", "--name", lab.name, "--read-write")
    assert done.returncode != 0
    assert "AccessDenied" in done.stdout
    assert "nothing was sent to any node" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"


def play(lab: Any, variables: Path, *hosts: str, **extra: Any) -> subprocess.CompletedProcess[str]:
    limit = ",".join(lab.nodes()[host] for host in hosts)
    command = ["ansible-playbook", "-i", ROOT / "inventory", "patchwave.aws.patch_software", "--limit", limit]
    given = ["-e", f"@{variables}", "-e", json.dumps(extra)]
    return lab.run(*command, *given, check=False, ANSIBLE_SHOW_CUSTOM_STATS="true")


def verdict(output: str) -> dict[str, Any]:
    """Return the statistic that the play sets."""
    found = json.loads(output.partition("CUSTOM STATS: ")[2].partition("RUN: ")[2])
    return dict(found["patchwave_verdict"])


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("budget", "code"), [("34%", 0), ("33%", 2)])
def test_a_play_fails_beyond_its_budget_only_and_says_what_it_came_to(
    lab: Any, install: Callable[..., None], variables: Path, budget: str, code: int, together: bool
) -> None:
    install("web-01", "app-01")
    install("db-01", sick=True)
    done = play(
        lab, variables, "web-01", "app-01", "db-01",
        patch_software_max_errors=budget, patch_software_node_results=not together,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr
    found, sick = verdict(done.stdout), lab.nodes()["db-01"]
    assert {word: count for word, count in found["totals"].items() if count} == {"patched": 2, "rolled_back": 1}
    assert (found["hosts"], found["within_budget"]) == (3, code == 0)
    assert found["error_budget"] == (1 if code == 0 else 0)
    assert {host: ended[0] for host, ended in found["not_right"].items()} == {sick: "rolled_back"}
    assert len(found["plan"]) == 64
    counts = recap(done.stdout)
    assert len(counts) == (1 if together else 3)
    if not together:
        assert counts[sick]["ignored" if code == 0 else "failed"] == 1
        assert sum(one["failed"] + one["ignored"] for one in counts.values()) == 1


def test_nodes_that_cannot_be_reached_have_a_budget_of_their_own(
    lab: Any, install: Callable[..., None], variables: Path
) -> None:
    install("web-01")
    for budget, code in (("0", 4), ("1", 0)):
        done = play(lab, variables, "web-01", "app-04", patch_software_max_unreachable=budget)
        assert done.returncode == code, done.stdout + done.stderr
        found = verdict(done.stdout)
        assert found["totals"]["unreachable"] == 1
        assert found["within_budget"] is (code == 0)


def test_what_is_refused_ends_every_host_with_the_reason_and_sends_nothing(lab: Any, variables: Path) -> None:
    before = lab.calls()
    done = play(lab, variables, "web-01", "app-01", "db-01", patch_software_refuse="the change is not approved")
    assert done.returncode == 2
    counts = recap(done.stdout)
    assert [one["failed"] for one in counts.values()] == [1, 1, 1]
    assert done.stdout.count("the change is not approved") >= 3
    assert not [call for call in lab.calls() - before if call[2] in ("SendCommand", "PutObject")]
    found = verdict(done.stdout)
    assert (found["totals"]["skipped"], found["totals"]["failed"], found["within_budget"]) == (3, 0, False)


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_node_with_a_wrong_clock_stops_nobody_else(
    lab: Any, install: Callable[..., None], variables: Path, seconds: int
) -> None:
    install("web-01", "app-01")
    end = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=30)).isoformat(timespec="seconds")
    lab.run("patchwave", "lab", "fault", "--name", lab.name, "wrong-clock", "web-01", "--set", f"seconds={seconds}")
    try:
        done = play(
            lab, variables, "web-01", "app-01", patch_software_latest_start=end, patch_software_max_unreachable=1
        )
    finally:
        lab.run("patchwave", "lab", "fault", "--name", lab.name, "--clear")
    assert done.returncode == 0, done.stdout + done.stderr
    found = verdict(done.stdout)
    assert {word: count for word, count in found["totals"].items() if count} == {"patched": 1, "unreachable": 1}
    ((outcome, reason, msg),) = found["not_right"].values()
    assert (outcome, reason) == ("unreachable", "clock_wrong")
    assert ("s ahead of S3's" if seconds > 0 else "s behind S3's") in msg
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gate_minutes_left": "abc"}, "minutes_left: must be 0 to "),
        ({"gate_require_windows": "{{ nowhere }}"}, "nowhere"),
        ({"gate_override": {"by": "Ada", "reason": "{{ nowhere }}"}}, "nowhere"),
        ({"patch_software_refuse": "{{ nowhere }}"}, "nowhere"),
        ({"patch_software_bucket_owner": "{{ nowhere }}"}, "nowhere"),
        ({"patchwave_rollout": "{{ nowhere }}"}, "nowhere"),
        ({"patch_software_bucket": "no-such-bucket", "patch_software_max_errors": "100%"}, "no-such-bucket"),
        ({"patch_software_name": "unknown", "patch_software_max_errors": "100%"}, "known programs: tool"),
        ({"patch_software_max_unreachable": "lots"}, "max_unreachable: must be a number"),
    ],
)
def test_a_mistake_ends_every_host_and_nothing_is_done(
    lab: Any, variables: Path, given: dict[str, Any], said: str, together: bool
) -> None:
    before = lab.calls()
    more = {"patch_software_node_results": False} if together else {}
    done = play(lab, variables, "web-01", "app-01", **given, **more)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stdout
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}
    evaluated = not any(name.startswith("gate_") for name in given) or said != "nowhere"
    if not together and evaluated:  # the gate's task runs once, and what it is given is evaluated for its first host
        assert all(counts["failed"] for counts in recap(done.stdout).values()), done.stdout
        assert len(recap(done.stdout)) == 2
    if "max_unreachable" not in said:
        found = verdict(done.stdout)
        assert (found["hosts"], found["totals"]["skipped"], found["within_budget"]) == (2, 2, False)


@pytest.mark.parametrize(
    "words", [("--tags", "else"), ("--skip-tags", "else"), ("--start-at-task", "Say what it came to")]
)
def test_a_job_with_other_tags_or_begun_elsewhere_is_not_green(
    lab: Any, variables: Path, words: tuple[str, str]
) -> None:
    limit = ",".join(lab.nodes()[host] for host in ("web-01", "app-01"))
    given = ["-e", f"@{variables}", "-e", "patch_software_refuse=no", "--limit", limit, *words]
    done = lab.run("ansible-playbook", PLAYBOOK, "-i", INVENTORY, *given, check=False)
    assert done.returncode != 0, done.stdout


def test_hosts_that_cannot_be_evaluated_are_not_all_hosts(lab: Any, variables: Path, tmp_path: Path) -> None:
    path = tmp_path / "wave.yml"
    path.write_text(
        yaml.safe_dump(
            [
                {
                    "name": "Patch",
                    "ansible.builtin.import_playbook": PLAYBOOK,
                    "vars": {"patchwave_hosts": "wave_{{ wave }}"},
                }
            ]
        )
    )
    before = lab.calls()
    done = lab.run("ansible-playbook", "-i", INVENTORY, path, "-e", f"@{variables}", check=False)
    assert done.returncode != 0
    assert "'wave' is undefined" in done.stdout + done.stderr
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_a_node_that_was_left_alone_is_no_success(lab: Any, install: Callable[..., None], variables: Path) -> None:
    install("web-01")
    content = yaml.safe_load(variables.read_text())
    content["patch_software_catalog"]["tool"]["unsafe_processes"] = ["sleep"]
    variables.write_text(yaml.safe_dump(content))
    lab.exec("web-01", "sh", "-c", "sleep 60 >/dev/null 2>&1 &")
    done = play(lab, variables, "web-01")
    assert done.returncode == 2, done.stdout
    found = verdict(done.stdout)
    assert (found["totals"]["skipped"], found["within_budget"]) == (1, False)
