"""What the inventory says when a part of the estate cannot be read, and that the rest of it is intact."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from inventory_listing import plain

HERE, OTHER = "123456789012", "210987654321"
REGIONS = ["eu-central-1", "us-east-1"]
ENTERED = f"arn:aws:iam::{OTHER}:role/patchwave"
READ = ["ec2:DescribeInstances", "ssm:DescribeInstanceProperties", "tag:GetResources"]


@pytest.fixture(scope="module")
def estate(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two accounts and two regions with a virtual node in each."""
    path = tmp_path_factory.mktemp("estate") / "scenario.yml"
    places = [(account, region) for account in (HERE, OTHER) for region in REGIONS]
    nodes = [
        {"name": f"n-{index}", "account": account, "region": region, "virtual": True, "tags": {"PatchGroup": "web"}}
        for index, (account, region) in enumerate(places)
    ]
    path.write_text(yaml.safe_dump({"accounts": [HERE, OTHER], "regions": REGIONS, "nodes": nodes}))
    return make_lab("estate", path)


def client(estate: Any, service: str, region: str = "us-east-1", **keys: str) -> Any:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    credentials = keys or {name.lower(): estate.environment[name] for name in names}
    endpoint = estate.environment["AWS_ENDPOINT_URL"]
    return boto3.client(service, region_name=region, endpoint_url=endpoint, **credentials)


def listing(estate: Any, folder: Path, **options: Any) -> tuple[list[tuple[str, str]], list[dict[str, str]], list[str]]:
    """Return account and region of each host, the variable `unread`, and the warnings of the plugin."""
    path = folder / "patch_groups.yml"
    content = {"plugin": "patchwave.aws.patch_groups", "regions": REGIONS, "on_error": "warn", **options}
    path.write_text(yaml.safe_dump(content))
    done = estate.run("ansible-inventory", "-i", path, "--list", "--export")
    found = plain(json.loads(done.stdout))
    known = found.get("_meta", {}).get("hostvars", {}).values()
    unread = found["all"].get("vars", {}).get("unread", [])
    for one in unread:
        raw = "_".join((one["account"], one["region"]))
        assert f"unread_{re.sub(r'[^A-Za-z0-9_]', '_', raw)}" in found["all"]["children"]
    text = " ".join(done.stderr.split())
    warnings = re.findall(r"patchwave\.aws\.patch_groups: (.*?); its nodes are not in the inventory", text)
    assert "Traceback" not in text
    return sorted((host["account"], host["region"]) for host in known), unread, warnings


@contextmanager
def fault(estate: Any, *arguments: str) -> Iterator[None]:
    estate.run("patchwave", "lab", "fault", "--name", estate.name, *arguments)
    try:
        yield
    finally:
        estate.run("patchwave", "lab", "fault", "--name", estate.name, "--clear")


@contextmanager
def iam(estate: Any, allowed: list[str]) -> Iterator[None]:
    """Enforce IAM, with a role `patchwave` in the other account that may do so much."""
    session = client(estate, "sts").assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/admin", RoleSessionName="test")
    pairs = ("AccessKeyId", "aws_access_key_id"), ("SecretAccessKey", "aws_secret_access_key")
    keys = {name: session["Credentials"][key] for key, name in (*pairs, ("SessionToken", "aws_session_token"))}
    roles = client(estate, "iam", **keys)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}]}
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
    roles.create_role(RoleName="patchwave", AssumeRolePolicyDocument=json.dumps(trust))
    roles.put_role_policy(RoleName="patchwave", PolicyName="p", PolicyDocument=json.dumps(allow))
    estate.run("patchwave", "lab", "switch", "--name", estate.name, "--iam")
    try:
        yield
    finally:
        estate.run("patchwave", "lab", "switch", "--name", estate.name, "--no-iam")
        roles.delete_role_policy(RoleName="patchwave", PolicyName="p")
        roles.delete_role(RoleName="patchwave")


BOTH = [{}, {"role_arn": ENTERED}]


def test_the_region_that_is_asked_first_is_down(estate: Any, tmp_path: Path) -> None:
    with fault(estate, "region-down", "--region", "eu-central-1"):
        found, unread, warnings = listing(estate, tmp_path, accounts=BOTH)
    assert found == [(HERE, "us-east-1"), (OTHER, "us-east-1")]
    assert sorted((one["account"], one["region"]) for one in unread) == [(HERE, REGIONS[0]), (OTHER, REGIONS[0])]
    assert sorted(line.partition(": ")[0] for line in warnings) == [
        f"account {HERE}, region eu-central-1",
        f"account {OTHER}, region eu-central-1",
    ]
    assert "Service is unable to handle request" in warnings[0]


def test_what_every_region_knows_is_asked_of_another_one(estate: Any, tmp_path: Path) -> None:
    asked_first = estate.environment["AWS_REGION"]
    with fault(estate, "region-down", "--region", asked_first):
        found, unread, _ = listing(estate, tmp_path, accounts=[{}], regions=["us-east-*"])
    assert (asked_first, found, unread) == ("eu-central-1", [(HERE, "us-east-1")], [])


def test_what_was_left_out_is_in_the_cache_as_well_and_told_each_time(estate: Any, tmp_path: Path) -> None:
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    with fault(estate, "region-down", "--region", "eu-central-1"):
        first = listing(estate, tmp_path, **cache)
        assert (len(first[0]), len(first[1]), len(first[2])) == (1, 1, 1)
        calls = estate.calls()
        assert listing(estate, tmp_path, **cache) == first
        assert estate.calls() == calls


def test_a_pattern_of_regions_needs_one_more_permission(estate: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"accounts": [{"role_arn": ENTERED}], "regions": ["us-east-*"]}
    with iam(estate, READ):
        found, _, (warning,) = listing(estate, tmp_path, **options)
    assert found == []
    assert "ec2:DescribeRegions" in warning
    assert f"account {OTHER}, region us-east-*: " in warning
    with iam(estate, [*READ, "ec2:DescribeRegions"]):
        found, _, warnings = listing(estate, tmp_path, **options)
    assert (found, warnings) == ([(OTHER, "us-east-1")], [])


def test_a_throttled_account_is_read_in_the_end(estate: Any, tmp_path: Path) -> None:
    log = estate.folder / "api.jsonl"
    with ThreadPoolExecutor(1) as pool:
        with fault(estate, "throttle", "--set", "rate=0.001", "--set", "burst=1"):
            client(estate, "ec2", REGIONS[0]).describe_instances()  # somebody else has just used up the bucket
            listed, deadline = pool.submit(listing, estate, tmp_path, accounts=BOTH), time.monotonic() + 60
            while "RequestLimitExceeded" not in log.read_text(encoding="utf-8") and time.monotonic() < deadline:
                time.sleep(0.05)
        found, unread, warnings = listed.result()
    assert "RequestLimitExceeded" in log.read_text(encoding="utf-8")
    assert (len(found), unread, warnings) == (4, [], [])


def test_a_role_that_cannot_be_assumed(estate: Any, tmp_path: Path) -> None:
    absent = {"role_arn": f"arn:aws:iam::{OTHER}:role/absent"}
    with iam(estate, READ):
        found, unread, warnings = listing(estate, tmp_path, accounts=[{}, absent])
    assert found == [(HERE, "eu-central-1"), (HERE, "us-east-1")]
    ((line,), (one,)) = warnings, unread
    assert one["account"] == f"of {absent['role_arn']}"
    assert line.startswith(f"account of {absent['role_arn']}, region eu-central-1, us-east-1: ")
    assert f"not authorized to perform: sts:AssumeRole on resource: {absent['role_arn']}" in line


def test_a_role_that_may_not_read(estate: Any, tmp_path: Path) -> None:
    with iam(estate, [action for action in READ if action != "ec2:DescribeInstances"]):
        found, _, warnings = listing(estate, tmp_path, accounts=BOTH)
    assert found == [(HERE, "eu-central-1"), (HERE, "us-east-1")]
    assert len(warnings) == 2
    assert all("ec2:DescribeInstances" in line and f"account {OTHER}, region " in line for line in warnings)


def test_agents_are_known_without_the_console_only_call(estate: Any, tmp_path: Path) -> None:
    with iam(estate, ["ec2:DescribeInstances", "ssm:DescribeInstanceInformation", "tag:GetResources"]):
        found, _, warnings = listing(estate, tmp_path, accounts=[{"role_arn": ENTERED}], select="ssm.ping_status")
    assert (len(found), warnings) == (2, [])


def test_an_organization_is_read_by_its_units(estate: Any, tmp_path: Path) -> None:
    organizations = client(estate, "organizations")
    organizations.create_organization(FeatureSet="ALL")
    root = organizations.list_roots()["Roots"][0]["Id"]
    outer = organizations.create_organizational_unit(ParentId=root, Name="prod")["OrganizationalUnit"]["Id"]
    inner = organizations.create_organizational_unit(ParentId=outer, Name="eu")["OrganizationalUnit"]["Id"]

    def account(name: str, unit: str) -> str:
        made = organizations.create_account(Email=f"{name}@example.com", AccountName=name)
        found = str(made["CreateAccountStatus"]["AccountId"])
        organizations.move_account(AccountId=found, SourceParentId=root, DestinationParentId=unit)
        return found

    first, second, excluded = account("a", outer), account("b", inner), account("c", inner)
    gone = "ou-none-12345678"
    with iam(estate, READ):
        found, unread, warnings = listing(
            estate,
            tmp_path,
            accounts=[{}],
            organization={"units": [outer, gone], "exclude": [excluded], "role_name": "teams/patchwave"},
        )
    # None of the accounts has the role: what the inventory tried to enter is what it says it could not.
    assert found == [(HERE, "eu-central-1"), (HERE, "us-east-1")]
    assert {one["account"] for one in unread} == {f"of {gone}", first, second}
    assert any(f"arn:aws:iam::{second}:role/teams/patchwave" in line for line in warnings)
    assert any(line.startswith(f"account of {gone}, region eu-central-1, us-east-1: ") for line in warnings)
