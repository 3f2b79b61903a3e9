"""The policies in docs/aws.md against the API calls that the lab saw."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import ROOT

#: Operations whose permission has another name, or none (IAM service authorization reference).
PERMISSION = {
    "s3:GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListBucketInventoryConfigurations": "s3:GetInventoryConfiguration",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "tagging:GetResources": "tag:GetResources",
    "sts:GetCallerIdentity": None,
}
SERVICES = {"resourcegroupstaggingapi": "tagging"}
#: Needed only for what this test does not do: a result that was cut; many nodes, a lost answer, a run taken up.
UNUSED = {"ssm:GetCommandInvocation", "ssm:ListCommands"}


def documented(what: str = "policy") -> set[str]:
    text = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    actions: set[str] = set()
    for block in re.findall(rf"<!-- {what}: \w+ -->\n```json\n(.*?)```", text, re.DOTALL):
        for statement in json.loads(block)["Statement"]:
            found = statement["Action"]
            actions.update([found] if isinstance(found, str) else found)
    return actions


def used(before: Counter[str], after: Counter[str]) -> set[str]:
    return {permission for call in after - before if (permission := PERMISSION.get(call, call))}


def calls(lab: Any) -> Counter[str]:
    lines = (lab.folder / "api.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return Counter(f"{SERVICES.get(entry['service'], entry['service'])}:{entry['operation']}" for entry in entries)


def test_a_rollout_uses_what_the_documented_policies_allow_and_no_more(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path]
) -> None:
    install("web-01", "app-01", "db-01", "batch-01")
    before = calls(lab)
    done = lab.run("patchwave", "apply", rollout(), "--output", rollout().parent / "out", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert used(before, calls(lab)) == documented() - UNUSED


def test_the_bucket_is_made_with_what_its_documented_policy_allows_and_no_more(lab: Any) -> None:
    before = calls(lab)
    lab.run("ansible-playbook", "patchwave.aws.bucket", "-e", "patchwave_bucket=example-policy")
    assert used(before, calls(lab)) == documented("bucket")


def test_every_playbook_has_a_policy_that_is_tried() -> None:
    tried = {"patch_software": "policy", "bucket": "bucket"}
    assert {path.stem for path in (ROOT / "playbooks").glob("*.yml")} == set(tried)
    assert all(map(documented, tried.values()))
