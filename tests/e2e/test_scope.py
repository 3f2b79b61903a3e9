"""Batch actions on the lab touch exactly the hosts, and use the arguments, that Ansible's own rules give each host."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BUCKET, ROOT
from test_playbook import recap

INVENTORY = ROOT / "inventory"
ROLE = "patchwave.aws.patch_software"
#: Of the scenario's first wave, one of each patch group.
WAVE = ("web-01", "app-01", "db-01", "batch-01")
WEB = "patch_group == 'web'"


@pytest.fixture
def play(lab: Any, tmp_path: Path, variables: Path) -> Callable[..., Any]:
    """Run tasks on the first wave: play(tasks, options); return the process that has ended."""

    def run(tasks: list[dict[str, Any]], *options: object, **keywords: Any) -> Any:
        content = {"name": "Play", "hosts": "wave_1", "gather_facts": False, "tasks": tasks, **keywords}
        path = tmp_path / "play.yml"
        path.write_text(yaml.safe_dump([content], sort_keys=False))
        return lab.run("ansible-playbook", path, "-i", INVENTORY, "-e", f"@{variables}", *options, check=False)

    return run


def versions(lab: Any) -> dict[str, str]:
    return {name: lab.exec(name, "/opt/tool/current/tool").split()[1] for name in WAVE}


def only(*patched: str) -> dict[str, str]:
    return {name: "2.0.0" if name in patched else "1.0.0" for name in WAVE}


@pytest.mark.parametrize(
    "task",
    [
        {"ansible.builtin.import_role": {"name": ROLE}},
        {"ansible.builtin.include_role": {"name": ROLE}},
        {"block": [{"ansible.builtin.include_role": {"name": ROLE}}]},
    ],
    ids=["import_role", "include_role", "block"],
)
def test_a_role_under_a_condition_patches_those_hosts_only(
    lab: Any, install: Callable[..., None], play: Callable[..., Any], task: dict[str, Any]
) -> None:
    install(*WAVE)
    done = play([{"name": "Patch", **task, "when": WEB}])
    assert done.returncode == 0, done.stdout + done.stderr
    assert versions(lab) == only("web-01")
    ids = lab.nodes()
    counts = recap(done.stdout)
    assert [counts[ids[name]]["changed"] for name in WAVE] == [1, 0, 0, 0]
    assert all(counts[ids[name]]["skipped"] for name in WAVE[1:])


def test_commands_and_modules_go_to_the_hosts_of_their_conditions_with_each_ones_arguments(
    lab: Any, play: Callable[..., Any]
) -> None:
    script = {"commands": ["rm -f /opt/mark; echo {{ patch_group }} > /opt/said"]}
    module = {"argv": ["sh", "-c", "echo $GROUP {{ node_name }} > /opt/mark"]}
    done = play(
        [
            {
                "name": "Send",
                "patchwave.aws.run_command": {"document": "AWS-RunShellScript", "parameters": script},
                "when": "patch_group != 'db'",
            },
            {
                "name": "Ship",
                "patchwave.aws.run_module": {"module": "ansible.builtin.command", "args": module, "bucket": BUCKET},
                "when": "patch_group in ['app', 'batch']",
                "environment": {"GROUP": "{{ patch_group }}"},
                "register": "own",
            },
            {"name": "Show", "ansible.builtin.debug": {"msg": "{{ node_name }}={{ own.rc | default('skipped') }}"}},
        ]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = {
        name: lab.exec(name, "sh", "-c", "cat /opt/said /opt/mark 2>/dev/null; rm -f /opt/said /opt/mark")
        for name in WAVE
    }
    assert said == {
        "web-01": "web\n",
        "app-01": "app\napp app-01\n",
        "db-01": "",
        "batch-01": "batch\nbatch batch-01\n",
    }
    assert all(f"{name}={rc}" in done.stdout for name, rc in zip(WAVE, ("skipped", 0, "skipped", 0), strict=True))


def test_limits_that_differ_and_keywords_that_do_not_reach_a_node_are_refused_by_name(
    lab: Any, play: Callable[..., Any]
) -> None:
    before = lab.calls()
    ping = {"module": "ansible.builtin.ping", "bucket": BUCKET}
    cases = [
        (
            {"patchwave.aws.run_module": {**ping, "max_in_flight": "{{ 1 if patch_group == 'db' else 2 }}"}},
            "max_in_flight: differs between host",
        ),
        (
            {"patchwave.aws.run_module": ping, "become": True, "become_user": "oracle"},
            "become_user: ansible.builtin.ping runs as root over Run Command, not as 'oracle'",
        ),
        ({"patchwave.aws.run_module": ping, "delegate_to": "localhost"}, "delegate_to: "),
        ({"patchwave.aws.run_module": ping, "loop": [1]}, "loop: "),
        (
            {"patchwave.aws.run_module": {"module": "ansible.builtin.ping"}},
            "bucket: is required with transport run_command",
        ),
    ]
    for task, why in cases:
        done = play([{"name": "Run", **task}])
        assert why in done.stdout, done.stdout
        assert all(counts["failed"] == 1 for counts in recap(done.stdout).values()), done.stdout
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_a_program_by_group_and_texts_as_a_survey_gives_them(
    lab: Any, install: Callable[..., None], play: Callable[..., Any], variables: Path
) -> None:
    install(*WAVE)
    content = yaml.safe_load(variables.read_text())
    definition = content["patch_software_catalog"]["tool"]
    other = {
        **definition,
        "dest": "/opt/other",
        "probe": {"command": ["/opt/other/current/tool"]},
        "install_missing": True,
    }
    other["health"] = {"command": ["true"]}
    catalog = {"tool": definition, "other": other}
    content["patch_software_catalog"] = json.dumps(catalog)
    content["patch_software_name"] = "{{ 'other' if patch_group == 'web' else 'tool' }}"
    variables.write_text(yaml.safe_dump(content))
    survey = {"patch_software_keep_payload": "false", "patch_software_max_in_flight": "2"}
    done = play(
        [{"name": "Patch", "ansible.builtin.import_role": {"name": ROLE, "tasks_from": "patch"}}],
        *(word for key, value in survey.items() for word in ("-e", f"{key}={value}")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert versions(lab) == only("app-01", "db-01", "batch-01")
    assert lab.exec("web-01", "/opt/other/current/tool") == "tool 2.0.0\n"
    lab.exec("web-01", "rm", "-rf", "/opt/other")


def test_one_result_for_all_nodes_is_asked_for_by_a_text_and_fails_beyond_the_budget(
    lab: Any, install: Callable[..., None], variables: Path
) -> None:
    install(*WAVE)
    install("db-01", sick=True)
    options = ("-i", INVENTORY, "-e", f"@{variables}", "-e", "patch_software_node_results=false", "--limit", "wave_1")
    done = lab.run("ansible-playbook", ROLE, *options, check=False)
    assert done.returncode != 0
    assert sum(counts["failed"] for counts in recap(done.stdout).values()) >= 1
    assert done.stdout.count("fatal: [") == 1, done.stdout
    assert f"1 of 4 hosts failed: host {lab.nodes()['db-01']}: rolled_back: " in done.stdout
    assert versions(lab) == only("web-01", "app-01", "batch-01")
    install("db-01")
    again = lab.run("ansible-playbook", ROLE, *options)
    assert again.stdout.count("changed: [") == 1, again.stdout


def test_what_a_node_says_of_itself_does_not_route_the_next_command(lab: Any, play: Callable[..., Any]) -> None:
    ids = lab.nodes()
    facts = {
        "node_id": ids["db-01"],
        "region": "us-east-1",
        "assume_role_arn": "arn:aws:iam::1:role/x",
        "ansible_x": "y",
    }
    answer = json.dumps({"changed": False, "ansible_facts": facts})
    evil = f"#!/usr/bin/python\n# from ansible.module_utils.basic import *\nprint({answer!r})\n"
    tasks = [
        {
            "name": "Ask",
            "patchwave.aws.run_module": {"module": "evil", "bucket": BUCKET},
            "register": "batch",
            "run_once": True,
        },
        {"name": "Take", "patchwave.aws.node_result": {"result": "{{ batch.results[inventory_hostname] }}"}},
        {"name": "Ask", "patchwave.aws.run_module": {"module": "evil", "bucket": BUCKET}},
        {"name": "Fact", "ansible.builtin.set_fact": {"node_id": ids["db-01"], "region": "us-east-1"}},
        {
            "name": "Send",
            "patchwave.aws.run_command": {
                "document": "AWS-RunShellScript",
                "parameters": {"commands": ["touch /opt/sent"]},
            },
            "vars": {"node_id": ids["db-01"]},
        },
        {"name": "Show", "ansible.builtin.debug": {"msg": "x={{ ansible_facts.x }}"}},
    ]
    library = Path(lab.folder) / "library"
    library.mkdir(exist_ok=True)
    (library / "evil.py").write_text(evil)
    done = play(
        tasks, "--limit", ids["web-01"], "-e", "region=us-east-1", "-e", f"node_id={ids['db-01']}", "-M", library
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sent = {
        name: lab.exec(name, "sh", "-c", "ls /opt/sent 2>/dev/null; rm -f /opt/sent") for name in ("web-01", "db-01")
    }
    assert sent == {"web-01": "/opt/sent\n", "db-01": ""}


def test_without_a_verdict_of_the_gate_nothing_is_patched(
    lab: Any, install: Callable[..., None], variables: Path
) -> None:
    install("web-01")
    before = lab.calls()
    options = ("-i", INVENTORY, "-e", f"@{variables}", "--limit", lab.nodes()["web-01"])
    for start in ("Patch the node", "patchwave.aws.patch_software : Patch the node"):
        done = lab.run("ansible-playbook", ROLE, *options, "--start-at-task", start, check=False)
        assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}, done.stdout
    assert "the gate gave no verdict" in done.stdout
    assert done.returncode != 0
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"


def test_nothing_is_sent_to_nodes_of_another_account_than_the_credentials(lab: Any, tmp_path: Path) -> None:
    ids = lab.nodes()
    listed = {"web-01": "123456789012", "app-01": "999999999999"}
    hosts = {
        name: {"node_id": ids[name], "region": "eu-central-1", "account": account} for name, account in listed.items()
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    modules = {
        "run_module": {"module": "ansible.builtin.ping", "bucket": BUCKET},
        "run_command": {"document": "AWS-RunShellScript", "parameters": {"commands": ["true"]}},
    }
    tasks = [
        {"name": "Run", f"patchwave.aws.{name}": given, "ignore_unreachable": True, "register": "own"}
        for name, given in modules.items()
    ]
    tasks = [
        step for task in tasks for step in (task, {"name": "Show", "ansible.builtin.debug": {"var": "own.reason"}})
    ]
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([{"name": "Play", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
    before = lab.calls()
    done = lab.run("ansible-playbook", path, "-i", tmp_path / "hosts.yml", check=False)
    assert done.stdout.count('"own.reason": "wrong_account"') == 2, done.stdout + done.stderr
    said = "the credentials belong to account 123456789012, the node to 999999999999"
    assert said in " ".join(done.stdout.split())
    calls = lab.calls() - before
    assert sum(count for (*dummy, operation), count in calls.items() if operation == "SendCommand") == 2
    assert sum(count for (*dummy, operation), count in calls.items() if operation == "GetCallerIdentity") == 2
