"""The inventory against the lab: several accounts and regions, what cannot be read, cache, names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from inventory_listing import plain

OTHER = "arn:aws:iam::210987654321:role/patchwave"
REGIONS = ["eu-central-1", "us-east-1"]


def source(tmp_path: Path, **options: Any) -> Path:
    path = tmp_path / "patch_groups.yml"
    path.write_text(yaml.safe_dump({"plugin": "patchwave.aws.patch_groups", "regions": REGIONS, **options}))
    return path


def listing(lab: Any, path: Path, **environment: str) -> tuple[dict[str, Any], str]:
    done = lab.run("ansible-inventory", "-i", path, "--list", "--export", **environment)
    return plain(json.loads(done.stdout)), done.stderr


def refused(lab: Any, path: Path, **environment: str) -> str:
    strict = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", **environment}
    done = lab.run("ansible-inventory", "-i", path, "--list", check=False, **strict)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    text = " ".join(done.stderr.split())
    match = re.search(r"patchwave\.aws\.patch_groups: (.*?) (?:Failed to parse|Origin)", text)
    assert match, text
    return match.group(1)


def test_accounts_and_regions_are_read_in_the_fewest_calls(lab: Any, tmp_path: Path) -> None:
    before = lab.calls()
    found, errors = listing(lab, source(tmp_path, accounts=[{}, {"role_arn": OTHER}]))
    assert len(found["_meta"]["hostvars"]) == 24
    assert errors == ""
    made = lab.calls() - before
    assert max(made.values()) == 1
    assert {operation for _, _, operation in made} == {
        "AssumeRole",
        "GetCallerIdentity",
        "DescribeInstances",
        "DescribeInstanceProperties",
        "GetResources",
    }


def test_a_node_that_cannot_be_patched_now_has_a_group(lab: Any, tmp_path: Path) -> None:
    found, _ = listing(lab, source(tmp_path))
    assert found["not_patchable_agent_offline"]["hosts"] == [lab.nodes()["app-04"]]


def test_a_pattern_of_regions_asks_for_what_is_enabled(lab: Any, tmp_path: Path) -> None:
    found, _ = listing(lab, source(tmp_path, regions=["eu-central-*"]))
    assert {host["region"] for host in found["_meta"]["hostvars"].values()} == {"eu-central-1"}


def test_a_region_that_is_none_is_named_with_what_was_meant(lab: Any, tmp_path: Path) -> None:
    line = refused(lab, source(tmp_path, regions=["eu-centrall-1"]))
    assert line.startswith(
        "account 123456789012, region eu-centrall-1: regions: 'eu-centrall-1' is no region that is enabled"
    )
    assert line.endswith("did you mean 'eu-central-1'?")
    found, errors = listing(lab, source(tmp_path, regions=["us-east-1", "eu-centrall-1", "mars-*"], on_error="warn"))
    assert {host["region"] for host in found["_meta"]["hostvars"].values()} == {"us-east-1"}
    assert " ".join(errors.split()).count("its nodes are not in the inventory") == 2


def test_what_cannot_be_read_is_left_out_where_the_user_chose_so_and_never_silently(lab: Any, tmp_path: Path) -> None:
    bad = {"profile": "no-such-profile", "on_error": "warn"}
    found, errors = listing(lab, source(tmp_path, accounts=[{}, bad]))
    (host, *_) = found["_meta"]["hostvars"].values()
    assert host["node_id"]
    assert "no-such-profile" in errors
    assert "its nodes are not in the inventory" in " ".join(errors.split())
    assert found["all"]["vars"]["unread"][0]["account"] == "of profile no-such-profile"
    assert any(group.startswith("unread_") for group in found["all"]["children"])
    quiet, errors = listing(lab, source(tmp_path, accounts=[{}, {**bad, "on_error": "skip"}]))
    assert errors == ""
    assert quiet["all"]["vars"]["unread"]
    assert "no-such-profile" in refused(lab, source(tmp_path, accounts=[{}, {**bad, "on_error": "fail"}]))


def test_select_and_host_name_are_jmespath_over_the_variables(lab: Any, tmp_path: Path) -> None:
    path = source(tmp_path, select="patch_group == 'web' && !not_patchable", host_name="node_name")
    found, _ = listing(lab, path)
    assert sorted(found["_meta"]["hostvars"]) == ["web-01", "web-02", "web-05", "web-06"]
    beside = source(tmp_path, select="node_name == 'web-01'", host_name="join('_', [node_name, node_id])")
    found, _ = listing(lab, beside)
    assert list(found["_meta"]["hostvars"]) == [f"web-01_{lab.nodes()['web-01']}"]
    assert refused(lab, source(tmp_path, select="a ||| b")).startswith("select: is not JMESPath")


def test_out_of_scope_nodes_come_only_when_asked_for(lab: Any, tmp_path: Path) -> None:
    found, _ = listing(lab, source(tmp_path, include_out_of_scope=True, host_name="node_name"))
    assert found["_meta"]["hostvars"]["bastion"]["patch_group"] == ""
    assert found["out_of_scope"] == {"hosts": ["bastion"]}
    assert "bastion" not in found["managed_nodes"]["hosts"]


def test_full_variables_are_all_that_aws_says(lab: Any, tmp_path: Path) -> None:
    found, _ = listing(lab, source(tmp_path, hostvars="full", host_name="node_name"))
    host = found["_meta"]["hostvars"]["web-01"]
    assert host["instance"]["instance_id"] == host["node_id"]
    assert host["ssm"]["platform_name"]


def test_compose_groups_and_keyed_groups_work_as_users_know_them(lab: Any, tmp_path: Path) -> None:
    path = source(
        tmp_path,
        compose={"site": "account ~ '/' ~ region"},
        groups={"hybrid": "node_id.startswith('mi-')"},
        keyed_groups=[{"key": "node_tags.Environment", "prefix": "env"}],
    )
    found, _ = listing(lab, path)
    assert {host["site"] for host in found["_meta"]["hostvars"].values()} == {
        "123456789012/eu-central-1",
        "123456789012/us-east-1",
    }
    assert len(found["hybrid"]["hosts"]) == 2
    assert {"env_staging", "env_production"} <= set(found)


def test_the_cache_spares_aws_and_holds_no_credentials(lab: Any, tmp_path: Path) -> None:
    cache = {
        "ANSIBLE_INVENTORY_CACHE": "true",
        "ANSIBLE_INVENTORY_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(tmp_path / "cache"),
    }
    path = source(tmp_path, accounts=[{}, {"role_arn": OTHER}])
    first, _ = listing(lab, path, **cache)
    before = lab.calls()
    second, _ = listing(lab, path, **cache)
    assert second == first
    assert lab.calls() == before
    (file,) = (tmp_path / "cache").iterdir()
    secrets = [value for key, value in lab.environment.items() if key.startswith("AWS_") and "KEY" in key]
    assert not any(secret in file.read_text() for secret in secrets)
    source(tmp_path, accounts=[{}])  # another question than the one that was cached
    third, _ = listing(lab, path, **cache)
    assert len(third["_meta"]["hostvars"]) < 24
    before = lab.calls()
    lab.run("ansible-inventory", "-i", path, "--list", "--flush-cache", **cache)
    assert lab.calls() != before


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"filter": {"tag:Environment": ["production"]}}, "filter: unknown key; did you mean 'filters'?"),
        ({"accounts": [{"rolearn": "x"}]}, "accounts[0].rolearn: unknown key; did you mean 'role_arn'?"),
        ({"organization": {"units": []}}, "organization.units: names no organizational unit"),
        ({"compose": {"x": "1 // 0"}, "strict": True}, "Could not set x for host"),
        ({"on_error": "wrn"}, "Invalid value"),
    ],
)
def test_a_mistake_in_the_file_is_named(lab: Any, tmp_path: Path, options: dict[str, Any], line: str) -> None:
    assert refused(lab, source(tmp_path, **options)).startswith(line)


def test_every_way_to_give_a_credential_is_a_known_key(lab: Any, tmp_path: Path) -> None:
    own = lab.environment
    keys = {"aws_access_key": own["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": own["AWS_SECRET_ACCESS_KEY"]}
    path = source(tmp_path, use_extra_vars=True, aws_region="us-east-1", **keys)
    found, _ = listing(lab, path, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert found["_meta"]["hostvars"]


def test_a_filter_may_be_a_number_and_an_account_is_read_once(lab: Any, tmp_path: Path) -> None:
    own = {"role_arn": "arn:aws:iam::123456789012:role/patchwave"}
    before = lab.calls()
    found, errors = listing(lab, source(tmp_path, accounts=[{}, own], filters={"tag:PatchWave": 1}))
    assert errors == ""
    nodes = found["_meta"]["hostvars"].values()
    assert {node["patch_wave"] for node in nodes if node["node_id"].startswith("i-")} == {"1"}
    assert not any("assume_role_arn" in node for node in nodes)
    made = lab.calls() - before
    assert {made[("123456789012", region, "DescribeInstances")] for region in REGIONS} == {1}


def test_a_host_is_never_taken_for_a_group(lab: Any, tmp_path: Path) -> None:
    options = {"regions": REGIONS[:1], "on_error": "skip", "select": "node_name == 'web-01'"}
    node = lab.nodes()["web-01"]
    for name in ("'all'", "'unread_x'"):
        found, errors = listing(lab, source(tmp_path, host_name=name, **options))
        assert list(found["_meta"]["hostvars"]) == [node], name
        assert f"name {name} is a group's; named by its id" in " ".join(errors.split())
    # The same of a group of the user's, and of one that only then comes into being: the name could be a node's own.
    keyed = [{"key": "platform", "prefix": "", "separator": ""}]
    for clash in ({"groups": {"linux": "true"}}, {"keyed_groups": keyed, "groups": {"other": "true"}}):
        found, errors = listing(lab, source(tmp_path, host_name="platform", **clash, **options))
        assert "hostvars" not in found["_meta"] or found["_meta"]["hostvars"] == {}
        assert [one["node_id"] for one in found["all"]["vars"]["left_out"]] == [node]
        assert "left out: its name 'linux' is also a group's" in " ".join(errors.split())


def test_a_tag_is_never_a_template(lab: Any, tmp_path: Path) -> None:
    node = lab.nodes()["web-01"]
    script = (
        "import boto3;"
        f"boto3.client('ec2').create_tags(Resources=['{node}'], Tags=[dict(Key='Evil', Value='{{{{ 7 * 191 }}}}')])"
    )
    lab.run("python", "-c", script)
    path = source(tmp_path)
    shown = lab.run("ansible", node, "-i", path, "-m", "ansible.builtin.debug", "-a", "msg={{ node_tags.Evil }}").stdout
    assert "{{ 7 * 191 }}" in shown
    assert "1337" not in shown


def keys(lab: Any, **names: str) -> str:
    """Return a file of profiles, each with the lab's own keys."""
    mine = "\n".join(
        f"{name} = {lab.environment[name.upper()]}" for name in ("aws_access_key_id", "aws_secret_access_key")
    )
    return "".join(f"[{name}]\n{mine}\n{more}\n" for name, more in names.items())


def test_the_profile_that_the_file_names_is_that_of_plays(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(keys(lab, mine=""))
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
    own = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    for name in ("profile", "aws_profile"):
        path = source(tmp_path, accounts=[{}, {"role_arn": OTHER}], **{name: "mine"})
        found, dummy = listing(lab, path, **nothing, **own)
        hosts = found["_meta"]["hostvars"].values()
        assert {host["assume_role_profile"] for host in hosts} == {"mine"}
        assert len(hosts) == 24
    found, dummy = listing(lab, source(tmp_path), **nothing, **own, AWS_PROFILE="mine")
    assert all("assume_role_profile" not in host for host in found["_meta"]["hostvars"].values())


def test_values_of_accounts_may_be_templates_or_vaulted(lab: Any, tmp_path: Path) -> None:
    path = source(tmp_path, accounts=[{"role_arn": "{{ lookup('env', 'THE_ROLE') }}"}])
    found, errors = listing(lab, path, THE_ROLE=OTHER)
    assert {host["assume_role_arn"] for host in found["_meta"]["hostvars"].values()} == {OTHER}
    assert errors == ""
    assert refused(lab, path, THE_ROLE="").startswith("accounts[0].role_arn: ")
    secret = tmp_path / "secret"
    secret.write_text("a")
    password = ("--vault-password-file", secret)
    vaulted = lab.run("ansible-vault", "encrypt_string", *password, "--name", "role_arn", OTHER).stdout
    head = f"plugin: patchwave.aws.patch_groups\nregions: {REGIONS}\naccounts:\n- "
    path.write_text(head + vaulted.replace("\n", "\n  ").rstrip() + "\n")
    done = lab.run("ansible-inventory", "-i", path, "--list", "--export", *password)
    hosts = plain(json.loads(done.stdout))["_meta"]["hostvars"].values()
    assert {host["assume_role_arn"] for host in hosts} == {OTHER}
    assert refused(lab, path).startswith("accounts[0].role_arn: cannot be evaluated: ")
