"""The policies in docs/aws.md against the API calls that the lab saw."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from conftest import BUCKET, ROOT

from patchwave_lab.access import action

#: Needed at times: to read a result that was cut, for many nodes at once, and when a batch is stopped.
AT_TIMES = {"ssm:GetCommandInvocation", "ssm:ListCommands", "ssm:CancelCommand"}
ACCOUNTS = ["123456789012", "210987654321"]
#: More nodes than fit into two pages, one that fails late and at length, and one whose agent has just gone.
NODES: list[dict[str, Any]] = [
    {"name": "many", "count": 100, "virtual": {"run": 4}},
    {"name": "wordy", "virtual": {"run": 3, "answers": [{"exit_code": 1, "stdout": "no " * 1000}]}},
    {"name": "off", "virtual": True},
]


def documented(what: str = "policy") -> set[str]:
    text = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    actions: set[str] = set()
    for block in re.findall(rf"<!-- {what}: \w+ -->\n```json\n(.*?)```", text, re.DOTALL):
        for statement in json.loads(block)["Statement"]:
            found = statement["Action"]
            actions.update([found] if isinstance(found, str) else found)
    return actions


def used(before: Counter[str], after: Counter[str]) -> set[str]:
    # Asking who one is needs no permission.
    return {action for action in after - before if action != "sts:GetCallerIdentity"}


def calls(lab: Any) -> Counter[str]:
    lines = (lab.folder / "api.jsonl").read_text(encoding="utf-8").splitlines()
    return Counter(action(entry["service"], entry["operation"]) for entry in map(json.loads, lines))


def test_a_rollout_uses_what_the_documented_policies_allow_and_no_more(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install("web-01", "app-01", "db-01", "batch-01")
    before = calls(lab)
    done = lab.run("patchwave", "apply", rollout(), "--output", rollout().parent / "out", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert used(before, calls(lab)) == documented() - AT_TIMES


@pytest.fixture(scope="module")
def crowd(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    content = {
        "accounts": ACCOUNTS,
        "regions": ["eu-central-1", "us-east-1"],
        "buckets": [BUCKET],
        "nodes": [{**node, "tags": {"PatchGroup": "all"}} for node in NODES],
        "settings": {"undeliverable_seconds": None},
        "faults": [{"name": "agent-off", "nodes": ["off"]}],
    }
    path = tmp_path_factory.mktemp("policy") / "scenario.yml"
    path.write_text(yaml.safe_dump(content))
    return make_lab("policy", path)


def test_what_is_needed_at_times_is_used_then(crowd: Any, tmp_path: Path) -> None:
    before = calls(crowd)
    run = {"module": "ansible.builtin.ping", "bucket": BUCKET, "max_errors": 0}
    tasks = [{"name": "Ping", "patchwave.aws.run_module": run, "run_once": True}]
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([{"name": "Play", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks}]))
    done = crowd.run("ansible-playbook", path, "-i", ROOT / "inventory", check=False)
    assert "Traceback" not in done.stdout + done.stderr
    assert used(before, calls(crowd)) >= AT_TIMES
    assert used(before, calls(crowd)) <= documented()


def test_a_stop_from_outside_needs_no_more(crowd: Any) -> None:
    before = calls(crowd)
    for state in ("present", "absent"):
        given = {"patchwave_rollout": "x", "patchwave_bucket": BUCKET, "patchwave_stop_state": state}
        crowd.run("ansible-playbook", "-i", ROOT / "inventory", "patchwave.aws.stop", "-e", json.dumps(given))
    assert used(before, calls(crowd)) >= {"s3:ListBucket", "s3:PutObject", "s3:DeleteObject", "ssm:ListCommands"}
    assert used(before, calls(crowd)) <= documented()


def test_an_organization_and_patterns_of_regions_need_what_is_documented(crowd: Any, tmp_path: Path) -> None:
    keys = {name: crowd.environment[name.upper()] for name in ("aws_access_key_id", "aws_secret_access_key")}
    endpoint = crowd.environment["AWS_ENDPOINT_URL"]
    organizations = boto3.client("organizations", region_name="us-east-1", endpoint_url=endpoint, **keys)
    organizations.create_organization(FeatureSet="ALL")
    root = organizations.list_roots()["Roots"][0]["Id"]
    unit = organizations.create_organizational_unit(ParentId=root, Name="all")["OrganizationalUnit"]["Id"]
    made = organizations.create_account(Email="a@example.com", AccountName="a")["CreateAccountStatus"]["AccountId"]
    organizations.move_account(AccountId=made, SourceParentId=root, DestinationParentId=unit)
    path = tmp_path / "patch_groups.yml"
    content = {"plugin": "patchwave.aws.patch_groups", "organization": {"units": [unit]}, "regions": ["eu-central-1*"]}
    path.write_text(yaml.safe_dump(content))
    before = calls(crowd)
    crowd.run("ansible-inventory", "-i", path, "--list")
    further = documented("organization") | documented("regions")
    assert further <= used(before, calls(crowd)) <= further | documented()


def test_the_bucket_is_made_with_what_its_documented_policy_allows_and_no_more(lab: Any) -> None:
    before = calls(lab)
    lab.run("ansible-playbook", "patchwave.aws.bucket", "-e", "patchwave_bucket=example-policy")
    assert used(before, calls(lab)) == documented("bucket")


def test_every_playbook_has_a_policy_that_is_tried() -> None:
    tried = {"patch_software": "policy", "bucket": "bucket", "stop": "policy"}
    assert {path.stem for path in (ROOT / "playbooks").glob("*.yml")} == set(tried)
    assert all(map(documented, tried.values()))


def test_a_role_s_trust_asks_for_the_external_id() -> None:
    assert documented("trust") == {"sts:AssumeRole"}
