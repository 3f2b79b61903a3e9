"""What the controller asks of AWS, counted in the lab's API log."""

from __future__ import annotations

import base64
import concurrent.futures
import datetime
import io
import json
import lzma
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from conftest import BUCKET, ROOT

NODES = 60
ACCOUNTS = ("123456789012", "210987654321")
#: Calls that name a single node.
PER_NODE = {"GetCommandInvocation", "GetConnectionStatus", "ListTagsForResource"}


NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
#: A module that wants a reboot and counts its runs.
NEEDS_REBOOT = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({}, supports_check_mode=True)
if not module.check_mode:
    open("/opt/runs", "a").write("x")
module.exit_json(changed=True, reboot_required=True)
"""


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


def test_nothing_is_sent_once_the_window_has_closed(lab: Any, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(batch("ansible.builtin.ping", {}, stop_at="2026-01-01T04:00+01:00"))
    before = lab.calls()
    done = lab.run("ansible-playbook", play, "-i", ROOT / "inventory", "--limit", lab.nodes()["web-01"])
    assert "the run was asked to stop, or its time was up" in done.stdout
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_an_unknown_option_of_the_action_is_named(lab: Any, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(batch("ansible.builtin.ping", {}, max_error="1"))
    done = lab.run("ansible-playbook", play, "-i", ROOT / "inventory", check=False)
    assert done.returncode != 0
    assert "max_error" in done.stdout


def results(lab: Any, folder: Path, names: str, module: str, *command: str, **options: Any) -> dict[str, Any]:
    """Run a module on nodes, with the modules in folder/library; return their results by name."""
    args = options.pop("args", {})
    run = {"module": module, "args": args, "bucket": BUCKET, **options}
    keep = {"content": "{{ batch.results | to_json }}", "dest": str(folder / "results.json")}
    tasks = [
        {"name": "Run", "patchwave.aws.run_module": run, "register": "batch", "run_once": True},
        {
            "name": "Keep",
            "ansible.builtin.copy": keep,
            "run_once": True,
            "delegate_to": "localhost",
            "check_mode": False,
        },
    ]
    path = folder / "results.yml"
    path.write_text(
        yaml.safe_dump([{"name": "Batch", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks}])
    )
    ids = {lab.nodes()[name]: name for name in names.split()}
    done = lab.run("ansible-playbook", path, "-i", ROOT / "inventory", "--limit", ",".join(ids), *command, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "X-Amz-Signature" not in done.stdout + done.stderr
    return {ids[host]: result for host, result in json.loads((folder / "results.json").read_text()).items()}


def s3(lab: Any) -> Any:
    session = boto3.Session(lab.environment["AWS_ACCESS_KEY_ID"], lab.environment["AWS_SECRET_ACCESS_KEY"])
    return session.client("s3", endpoint_url=lab.environment["AWS_ENDPOINT_URL"], region_name="eu-central-1")


def test_a_payload_that_is_kept_is_stored_once(lab: Any, tmp_path: Path) -> None:
    options = {"keep_payload": True, "prefix": "mine/", "args": {"data": "kept"}}
    before = lab.calls()
    first = results(lab, tmp_path, "web-01", "ansible.builtin.ping", **options)
    second = results(lab, tmp_path, "app-01 db-01", "ansible.builtin.ping", **options)
    assert {one["ping"] for one in [*first.values(), *second.values()]} == {"kept"}
    made = {operation: count for (_, _, operation), count in (lab.calls() - before).items()}
    # The payload once; and of each play what no node begins without.
    assert (made["PutObject"], made["HeadObject"], made["DeleteObject"]) == (1 + 2, 2, 2)
    (key,) = (entry["Key"] for entry in s3(lab).list_objects_v2(Bucket=BUCKET, Prefix="mine/")["Contents"])
    assert re.fullmatch(r"mine/kept/[0-9a-f]{64}", key)
    # The documentation says why there must be a bucket: where this fails, small modules could travel in the command.
    (packed,) = re.findall(rb"[A-Za-z0-9+/]{1000,}=*", s3(lab).get_object(Bucket=BUCKET, Key=key)["Body"].read())
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(packed)))
    content = b"".join(archive.read(name) for name in archive.namelist())
    assert len(base64.b64encode(lzma.compress(content, preset=9))) > 64 * 1024


def test_the_playbook_makes_a_bucket_that_serves(lab: Any, tmp_path: Path) -> None:
    name = "example-made"
    for changed in (2, 0):
        done = lab.run("ansible-playbook", "patchwave.aws.bucket", "-e", f"patchwave_bucket={name}")
        assert f"changed={changed} " in done.stdout
    client = s3(lab)
    assert set(client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    rules = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert {(rule["Expiration"]["Days"], rule["Status"]) for rule in rules} == {(1, "Enabled")}
    # Marks that stop a rollout lie elsewhere, and stay.
    assert {rule["Filter"]["Prefix"] for rule in rules} == {"patchwave/run/", "patchwave/kept/"}
    (statement,) = json.loads(client.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_any_source_of_any_kind_may_lie_in_s3(
    lab: Any, install: Callable[..., None], software: dict[str, Any], tmp_path: Path
) -> None:
    install("web-01")
    archive = {**software["archive"], "url": f"s3://{BUCKET}/gone", "mirrors": [software["archive"]["url"]]}
    args = {"name": "tool", **software, "archive": archive}
    (found,) = results(lab, tmp_path, "web-01", "patchwave.aws.software_patch", args=args).values()
    assert (found["outcome"], found["reason"]) == ("failed", "download_failed")
    assert "presign=true" in found["msg"]
    (found,) = results(lab, tmp_path, "web-01", "patchwave.aws.software_patch", args=args, presign=True).values()
    assert found["outcome"] == "patched", found


def test_nothing_is_started_after_the_latest_start(lab: Any, tmp_path: Path) -> None:
    before = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    args = {"argv": ["touch", "/opt/late"]}
    found = results(lab, tmp_path, "web-01 db-02", "ansible.builtin.command", args=args, latest_start=before)
    assert {(one["outcome"], one["reason"]) for one in found.values()} == {("skipped", "too_late")}
    assert "late" not in lab.exec("web-01", "ls", "/opt")


@pytest.fixture(scope="module")
def rebooting(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    content = {
        "accounts": [ACCOUNTS[0]],
        "regions": ["eu-central-1"],
        "buckets": [BUCKET],
        "settings": {"reboot_seconds": 20},
        "nodes": [{"name": "real", "count": 2, "tags": {"PatchGroup": "all"}}],
    }
    path = tmp_path_factory.mktemp("scenario") / "scenario.yml"
    path.write_text(yaml.safe_dump(content))
    return make_lab("rebooting", path)


def test_a_node_reboots_where_its_module_asks_for_it(rebooting: Any, tmp_path: Path) -> None:
    lab = rebooting
    lab.exec("real-01", "mkdir", "/var/lib/patchwave-reboots")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "needs_reboot.py").write_text(NEEDS_REBOOT)
    work = {"reboot": "if_required", "token": "reboot", "journal": str(tmp_path / "journal")}
    checked = results(lab, tmp_path, "real-01", "needs_reboot", "--check", **work)["real-01"]
    assert (checked["reboot_required"], "rebooted" in checked) == (True, False)
    never = results(lab, tmp_path, "real-02", "needs_reboot")["real-02"]
    assert (never["reboot_required"], "rebooted" in never) == (True, False)
    boot = lab.exec("real-01", "cat", "/proc/sys/kernel/random/boot_id").strip()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(results, lab, tmp_path, "real-01", "needs_reboot", **work)  # not what was checked
        while not running.done() and not lab.exec("real-01", "find", "/var/lib/patchwave-reboots", "-type", "f"):
            time.sleep(0.2)
        for _ in range(3):  # the minute of grace, then the reboot
            time.sleep(0.5)
            lab.run("patchwave", "lab", "clock", "--name", lab.name, "--advance", 30)
        found = running.result()["real-01"]
    assert (found["changed"], found["rebooted"], found["boot_id_before"]) == (True, True, boot), found
    assert found["boot_id"] == lab.exec("real-01", "cat", "/proc/sys/kernel/random/boot_id").strip() != boot
    assert 0 < found["uptime"] < 60
    assert lab.exec("real-01", "cat", "/opt/runs") == "x"
    assert lab.exec("real-01", "ls", "/var/lib/patchwave-reboots") == ""


@pytest.mark.parametrize(
    ("module", "options", "environment", "message"),
    [
        ("no.such.module", {}, {}, "no.such.module"),
        ("ansible.windows.win_ping", {}, {}, "run_module ships Python modules; ansible.windows.win_ping is not one"),
        ("ansible.builtin.ping", {"latest_start": "tomorrow"}, {}, "latest_start: must be a moment with its zone"),
        ("ansible.builtin.ping", {"delivery_timeout": 5}, {}, "delivery_timeout: must be 30 to 2592000 seconds, not 5"),
        (
            "ansible.builtin.ping",
            {"execution_timeout": 172_700, "reboot": "if_required"},
            {},
            "at most 172,800 seconds",
        ),
        ("ansible.builtin.ping", {"max_errors": "many"}, {}, "max_errors: must be a number of nodes"),
        ("ansible.builtin.ping", {"token": "x" * 71}, {}, "token: must have at most 70 characters"),
        ("ansible.builtin.ping", {"bucket": None}, {}, "bucket"),
        ("ansible.builtin.ping", {}, NO_CREDENTIALS, "set AWS_PROFILE or AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_sent(
    lab: Any, tmp_path: Path, module: str, options: dict[str, Any], environment: dict[str, str], message: str
) -> None:
    before = lab.calls()
    host = lab.nodes()["web-01"]
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump({"managed_nodes": {"hosts": {host: {"region": "eu-central-1", "ansible_connection": "local"}}}})
    )
    (tmp_path / "play.yml").write_text(batch(module, {}, **options))
    done = lab.run("ansible-playbook", tmp_path / "play.yml", "-i", tmp_path / "hosts.yml", check=False, **environment)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_a_node_does_not_speak_in_the_engine_s_name_over_its_own_connection(lab: Any, tmp_path: Path) -> None:
    said = {"changed": True, "unreachable": True, "source": "engine", "command_id": "c", "msg": "the window has closed"}
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "evil.py").write_text(f"#!/usr/bin/python3\nprint({json.dumps(json.dumps(said))})\n")
    run = {"module": "evil", "transport": "connection", "journal": str(tmp_path / "journal")}
    tasks = [{"name": "Run", "patchwave.aws.run_module": run, "register": "one"}]
    tasks += [{"name": "Show", "ansible.builtin.copy": {"content": "{{ one }}", "dest": str(tmp_path / "one.json")}}]
    play = {"name": "Play", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    lab.run("ansible-playbook", tmp_path / "play.yml", "-e", "ansible_python_interpreter=/usr/bin/python3")
    (result,) = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines() if '"result"' in line]
    assert (result["source"], result["outcome"], result["changed"]) == ("node", "patched", True)
    assert not {"unreachable", "source", "command_id"} & json.loads((tmp_path / "one.json").read_text()).keys()
