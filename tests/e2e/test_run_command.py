"""Plain documents over the batch: what each node says, what is refused before anything is sent, and check mode."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible_collections.patchwave.aws.plugins.action import run_command as action
from ansible_collections.patchwave.aws.plugins.modules import run_command
from conftest import BUCKET, ROOT

ACCOUNTS = ["123456789012", "210987654321"]
WHERE = "account 123456789012, region eu-central-1"
OWN = {
    "schemaVersion": "2.2",
    "parameters": {
        "word": {"type": "String", "allowedValues": ["hello", "bye"]},
        "code": {"type": "String", "default": "0"},
    },
    "mainSteps": [
        {"action": "aws:runShellScript", "name": "First", "inputs": {"runCommand": ["echo {{ word }}"]}},
        {
            "action": "aws:runShellScript",
            "name": "Last",
            "inputs": {"runCommand": ["echo oops >&2; seq 1 2000; exit {{ code }}"]},
        },
    ],
}


@pytest.fixture(scope="module")
def mixed(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    tags = {"PatchGroup": "all"}
    nodes: list[dict[str, Any]] = [
        {"name": "linux-01", "tags": tags},
        {"name": "linux-02", "tags": tags, "account": ACCOUNTS[1]},
        {"name": "win-01", "tags": tags, "platform": "Windows", "virtual": {"run": 0.1}},
        {"name": "off-01", "tags": tags, "agent": "off"},
    ]
    content = {"accounts": ACCOUNTS, "regions": ["eu-central-1", "us-east-1"], "buckets": [BUCKET], "nodes": nodes}
    path = tmp_path_factory.mktemp("scenario") / "scenario.yml"
    path.write_text(yaml.safe_dump(content))
    lab = make_lab("documents", path)
    session = boto3.Session(lab.environment["AWS_ACCESS_KEY_ID"], lab.environment["AWS_SECRET_ACCESS_KEY"])
    ssm = session.client("ssm", endpoint_url=lab.environment["AWS_ENDPOINT_URL"], region_name="eu-central-1")
    ssm.create_document(Name="Own", DocumentType="Command", Content=json.dumps(OWN))
    return lab


@pytest.fixture
def send(mixed: Any, tmp_path: Path) -> Callable[..., Any]:
    """Send a document to all nodes; return each node's result by name, or the output where the task fails."""

    def run(*options: str, **task: Any) -> Any:
        path, kept = tmp_path / "play.yml", tmp_path / "results.json"
        keep = {"content": "{{ batch.results | to_json }}", "dest": str(kept)}
        tasks = [
            {"name": "Send", "patchwave.aws.run_command": task, "register": "batch", "run_once": True},
            {
                "name": "Keep",
                "ansible.builtin.copy": keep,
                "run_once": True,
                "delegate_to": "localhost",
                "check_mode": False,
            },
        ]
        play = {"name": "Play", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks}
        path.write_text(yaml.safe_dump([play]))
        done = mixed.run("ansible-playbook", path, "-i", ROOT / "inventory", *options, check=False)
        assert "Traceback" not in done.stdout + done.stderr
        if done.returncode:
            return done.stdout + done.stderr
        names = {node: name for name, node in mixed.nodes().items()}
        return {names[host]: result for host, result in json.loads(kept.read_text()).items()}

    return run


def sends(lab: Any) -> int:
    return sum(count for (_, _, operation), count in lab.calls().items() if operation == "SendCommand")


def test_a_batch_of_linux_and_windows_gets_a_document_for_linux(mixed: Any, send: Any) -> None:
    before = sends(mixed)
    script = ["echo out", "echo err >&2", "test ! -e /opt/sick"]
    mixed.exec("linux-02", "touch", "/opt/sick")
    found = send(document="AWS-RunShellScript", parameters={"commands": script}, max_errors="1")
    ids = {found[name].pop("command_id") for name in ("linux-01", "linux-02")}
    assert len(ids) == 2
    assert found["linux-01"] == {"changed": True, "rc": 0, "status": "Success", "stdout": "out\n", "stderr": "err\n"}
    failed = found["linux-02"]
    assert (failed["failed"], failed["changed"], failed["rc"], failed["status"]) == (True, True, 1, "Failed")
    assert failed["msg"].startswith("AWS-RunShellScript ended Failed, exit code 1: err")
    assert (found["win-01"]["outcome"], found["win-01"]["changed"]) == ("unsupported", False)
    msg = f"{WHERE}: AWS-RunShellScript is for Linux, MacOS, and the node runs Windows; nothing was sent"
    assert found["win-01"]["msg"] == msg
    assert (found["off-01"]["outcome"], found["off-01"]["reason"]) == ("unreachable", "agent_offline")
    assert sends(mixed) - before == 2


def test_check_mode_says_who_would_get_it_and_sends_nothing(mixed: Any, send: Any) -> None:
    before = sends(mixed)
    found = send("--check", document="AWS-RunPowerShellScript", parameters={"commands": "Get-Date"})
    assert found["win-01"] == {"changed": True, "msg": "would send AWS-RunPowerShellScript"}
    assert {found[name]["outcome"] for name in ("linux-01", "linux-02")} == {"unsupported"}
    assert sends(mixed) == before
    found = send(document="AWS-RunPowerShellScript", parameters={"commands": "Get-Date"})
    assert (found["win-01"]["status"], found["win-01"]["rc"]) == ("Success", 0)


def test_an_own_document_of_several_steps(mixed: Any, send: Any) -> None:
    """In the other account there is none."""
    found = send(document="Own", document_version="1", parameters={"word": "hello", "code": 3}, output_bucket=BUCKET)
    one = found["linux-01"]
    assert (one["rc"], one["status"], one["failed"]) == (3, "Failed", True)
    assert one["stdout"].startswith("hello\n1\n2\n")
    assert one["stdout"].endswith("\n2000\n")  # more than ListCommandInvocations shows
    assert one["stderr"] == "oops\n"
    assert [(step["name"], step["code"]) for step in one["steps"]] == [("First", 0), ("Last", 3)]
    other = found["linux-02"]
    assert (other["outcome"], other["reason"]) == ("unsupported", "no_document")
    assert "210987654321" in other["msg"]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"document": "No-Such"}, "InvalidDocument"),
        (
            {"document": "AWS-RunShellScript", "parameters": {"comands": "x"}},
            "parameters: AWS-RunShellScript has no parameter 'comands'; did you mean 'commands'?",
        ),
        (
            {"document": "Own", "parameters": {"word": "hi"}},
            "parameters: word of Own is one of hello, bye, not 'hi'",
        ),
        ({"document": "AWS-RunShellScript"}, "parameters: AWS-RunShellScript needs commands"),
        (
            {"document": "AWS-RunShellScript", "parameters": {"commands": "x", "executionTimeout": "soon"}},
            "parameters: executionTimeout must be a number of seconds",
        ),
        (
            {"document": "AWS-RunShellScript", "parameters": {"commands": "x"}, "max_in_flight": -1},
            "max_in_flight: must be 0 (all at once) or more, not -1",
        ),
    ],
)
def test_a_mistake_is_one_line_in_check_mode_too(mixed: Any, send: Any, task: dict[str, Any], message: str) -> None:
    before = sends(mixed)
    said = send("--check", **task)
    assert message in said
    assert "nothing was sent to any node" in said
    assert sends(mixed) == before


def test_the_examples_run(mixed: Any, tmp_path: Path) -> None:
    """Those that the lab can run: it knows no other documents of AWS's."""
    tasks = yaml.safe_load(run_command.EXAMPLES)
    path = tmp_path / "play.yml"
    path.write_text(
        yaml.safe_dump([{"name": "Play", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks[:1]}])
    )
    linux = ",".join(node for name, node in mixed.nodes().items() if name.startswith("linux"))
    done = mixed.run("ansible-playbook", path, "-i", ROOT / "inventory", "--limit", linux)
    assert done.stdout.count("ok=1 ") == len(linux.split(","))
    assert "changed=1" not in done.stdout  # changed_when
    for task in tasks[1:]:
        assert set(task["patchwave.aws.run_command"]) <= set(action.ARGUMENT_SPEC)


def test_the_documented_policy_for_documents_is_what_is_used(mixed: Any, send: Any) -> None:
    for options in ((), ("--check",)):
        send(*options, document="Own", parameters={"word": "bye"})
    text = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- run_command: account -->\n```json\n(.*?)```", text, re.DOTALL)
    (account,) = re.findall(r"<!-- policy: account -->\n```json\n(.*?)```", text, re.DOTALL)
    actions = [set(re.findall(r"ssm:[A-Z]\w+", one)) for one in (block, account)]
    lines = (mixed.folder / "api.jsonl").read_text(encoding="utf-8").splitlines()
    used = {f"ssm:{call['operation']}" for call in map(json.loads, lines) if call["service"] == "ssm"}
    assert used - {"ssm:CreateDocument"} <= actions[0] | actions[1]
    assert actions[0] <= used
