"""Each mistake is one line that says where, exits non-zero, and sends nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT


def sends(lab: Any) -> int:
    return sum(count for (_, _, operation), count in lab.calls().items() if operation == "SendCommand")


def refused(lab: Any, path: Path, **environment: str) -> str:
    before = sends(lab)
    done = lab.run("patchwave", "apply", path, check=False, **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert sends(lab) == before
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return str(line)


def test_a_missing_checksum(lab: Any, rollout: Callable[..., Path], software: dict[str, Any]) -> None:
    archive = {key: value for key, value in software["archive"].items() if key != "sha256"}
    path = rollout(catalog={"tool": {**software, "archive": archive}})
    line = refused(lab, path)
    assert line == f"patchwave: {path.parent}/software.yml: tool.archive.sha256: is required and missing"


def test_an_unknown_software_name(lab: Any, rollout: Callable[..., Path]) -> None:
    path = rollout(software="tooool")
    wanted = f"software: 'tooool' is not in {path.parent}/software.yml; known programs: tool"
    assert refused(lab, path) == f"patchwave: {path}: {wanted}"


def test_a_wave_that_no_node_is_in(lab: Any, rollout: Callable[..., Path]) -> None:
    path = rollout(waves=["wave_1", "wave_9"])
    wanted = "waves[1]: no node in scope is in 'wave_9'; waves with nodes: wave_1, wave_2, wave_3"
    assert refused(lab, path) == f"patchwave: {path}: {wanted}"


def test_a_misspelt_key(lab: Any, rollout: Callable[..., Path]) -> None:
    path = rollout(eror_budget=2)
    assert refused(lab, path) == f"patchwave: {path}: eror_budget: unknown key; did you mean 'error_budget'?"


def test_an_expired_credential(lab: Any, rollout: Callable[..., Path]) -> None:
    line = refused(
        lab, rollout(), AWS_ACCESS_KEY_ID="ASIALABEXPIRED000000", AWS_SECRET_ACCESS_KEY="x", AWS_SESSION_TOKEN="y"
    )
    assert "patch_groups.yml" in line
    assert "account of the credentials, region eu-central-1, us-east-1: " in line
    assert "expired" in line
    assert "renew the credentials" in line


def test_no_credentials(lab: Any, rollout: Callable[..., Path], tmp_path: Path) -> None:
    line = refused(
        lab,
        rollout(),
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=str(tmp_path / "none"),
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "none"),
    )
    assert "set AWS_PROFILE or AWS_ACCESS_KEY_ID" in line


def test_an_unreachable_endpoint(lab: Any, rollout: Callable[..., Path]) -> None:
    line = refused(lab, rollout(), AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in line
    assert "check the network" in line


def test_a_misspelt_key_of_the_inventory_names_file_and_key(
    lab: Any, rollout: Callable[..., Path], tmp_path: Path
) -> None:
    inventory = tmp_path / "bad_patch_groups.yml"
    inventory.write_text("plugin: patchwave.aws.patch_groups\naccounts: [{role_ran: x}]\nregions: [us-east-1]\n")
    line = refused(lab, rollout(inventory=str(inventory)))
    assert line.endswith("bad_patch_groups.yml: accounts[0].role_ran: unknown key; did you mean 'role_arn'?")


def test_a_bucket_that_is_not_there_is_told_with_the_wave(lab: Any, rollout: Callable[..., Path]) -> None:
    path = rollout(bucket="no-such-bucket", waves=["wave_1", "wave_2"])
    line = refused(lab, path)
    start = f"patchwave: {path}: wave_1: nothing was sent to its 4 nodes: bucket 'no-such-bucket': Failed to upload"
    assert line.startswith(start)
    assert line.count("NoSuchBucket") == 1
    assert line.endswith("; see wave_1.log")
    report = json.loads((path.parent / "urgent" / "report.json").read_text())
    assert {node["outcome"] for node in report["nodes"]} == {"skipped"}


@pytest.mark.parametrize("value", ["many", "101%"])
def test_a_budget_that_is_none(lab: Any, rollout: Callable[..., Path], value: str) -> None:
    path = rollout(error_budget=value)
    assert refused(lab, path) == (
        f"patchwave: {path}: error_budget: must be a number of nodes or a percentage such as 5%, not '{value}'"
    )


def test_a_key_that_is_there_twice(lab: Any, rollout: Callable[..., Path]) -> None:
    path = rollout()
    path.write_text(f"error_budget: 1\n{path.read_text()}error_budget: 5\n")
    lines = len(path.read_text().splitlines())
    wanted = "key 'error_budget' is there twice, first in line 1; keep one"
    assert refused(lab, path) == f"patchwave: {path}:{lines}:1: {wanted}"


def inventory_with(folder: Path, **files: str) -> Path:
    """Copy the example inventory, with more files in `group_vars`."""
    shutil.copytree(ROOT / "inventory", folder)
    for name, text in files.items():
        (folder / "group_vars" / f"{name}.yml").write_text(text)
    return folder


def test_a_key_that_is_twice_in_group_vars(lab: Any, rollout: Callable[..., Path], tmp_path: Path) -> None:
    folder = inventory_with(tmp_path / "inventory", all="patch_freezes: [x]\npatch_freezes: []\n")
    wanted = "key 'patch_freezes' is there twice, first in line 1; keep one"
    assert refused(lab, rollout(inventory=str(folder))) == f"patchwave: {folder}/group_vars/all.yml:2:1: {wanted}"


def test_so_it_is_in_a_file_that_only_ansible_can_read(lab: Any, rollout: Callable[..., Path], tmp_path: Path) -> None:
    folder = inventory_with(tmp_path / "inventory", all="a: [x]\na: []\n")
    password = tmp_path / "password"
    password.write_text("secret")
    file = folder / "group_vars" / "all.yml"
    lab.run("ansible-vault", "encrypt", "--vault-password-file", password, file)
    line = refused(lab, rollout(inventory=str(folder)), ANSIBLE_VAULT_PASSWORD_FILE=str(password))
    assert str(file) in line
    assert "uplicate" in line


def test_a_file_of_variables_for_nobody_is_a_warning(lab: Any, rollout: Callable[..., Path], tmp_path: Path) -> None:
    folder = inventory_with(tmp_path / "inventory", wave1="patch_freezes: []\n")
    path = rollout(inventory=str(folder), bucket="no-such-bucket")
    done = lab.run("patchwave", "apply", path, check=False)
    wanted = f"{folder}/group_vars/wave1.yml: no group with hosts is called 'wave1', so nothing reads it"
    assert f"Warning: {wanted}; did you mean 'wave_1'?" in " ".join(done.stdout.split())
    report = json.loads((path.parent / "urgent" / "report.json").read_text())
    assert report["rollout"]["inventory_warnings"] == [f"{wanted}; did you mean 'wave_1'?"]


def test_variables_beside_the_rollout_file_are_a_warning_and_a_freeze_there_is_refused(
    lab: Any, rollout: Callable[..., Path], tmp_path: Path
) -> None:
    folder = inventory_with(tmp_path / "inventory")
    path = rollout(inventory=str(folder / "patch_groups.yml"), bucket="no-such-bucket")
    file = tmp_path / "group_vars" / "all.yml"
    file.parent.mkdir()
    file.write_text("a: 1\n")
    done = lab.run("patchwave", "apply", path, check=False)
    what = f"{tmp_path}/group_vars: NOT READ: Ansible reads the group_vars beside the inventory, {folder}/group_vars"
    assert f"Warning: {what}; move there what counts here" in " ".join(done.stdout.split())
    report = json.loads((path.parent / "urgent" / "report.json").read_text())
    assert report["rollout"]["inventory_warnings"] == [f"{what}; move there what counts here"]
    file.write_text("patch_freezes: []\n")
    why = f"for of {tmp_path}/group_vars Ansible reads nothing; move it to {folder}/group_vars, beside the inventory"
    assert refused(lab, path) == f"patchwave: {file}:1: 'patch_freezes' would not be in force, {why}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b: &b {patch_freezes: []}\n<<: *b\npatch_freezes: [x]\n", ":3:1: key 'patch_freezes' is there twice to "),
        ("!unsafe patch_freezes: [x]\npatch_freezes: []\n", ":2:1: key 'patch_freezes' is there twice to "),
        ("a: !odd 1\n", ":1:4: is not YAML: could not determine a constructor for the tag '!odd'"),
    ],
)
def test_what_ansibles_loader_refuses_names_its_file(
    lab: Any, rollout: Callable[..., Path], tmp_path: Path, text: str, said: str
) -> None:
    folder = inventory_with(tmp_path / "inventory", all=text)
    assert refused(lab, rollout(inventory=str(folder))).startswith(f"patchwave: {folder}/group_vars/all.yml{said}")


@pytest.mark.parametrize("text", ["", "all: {children: {wave_1: }}\n"])
def test_an_inventory_without_hosts_is_named_and_no_wave_is_blamed(
    lab: Any, rollout: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text(text)
    line = refused(lab, rollout(inventory=str(file)))
    assert line.startswith(f"patchwave: {file}: ")
    assert "waves" not in line


def test_so_is_one_whose_nodes_are_all_out_of_scope(lab: Any, rollout: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "none.patch_groups.yml"
    options = {"regions": ["eu-central-1"], "select": "node_name == 'nobody'"}
    file.write_text(json.dumps({"plugin": "patchwave.aws.patch_groups", **options}))
    assert refused(lab, rollout(inventory=str(file))).startswith(f"patchwave: {file}: the inventory has no host: ")


def test_a_broken_ansible_cfg_is_named(lab: Any, rollout: Callable[..., Path], tmp_path: Path) -> None:
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults\nforks = 1\n")
    line = refused(lab, rollout(), ANSIBLE_CONFIG=str(config))
    assert line.startswith(f"patchwave: Error reading config file ({config}): File contains no section headers.")
    config.write_text("[defaults]\nvault_password_file = /nowhere\n")
    line = refused(lab, rollout(), ANSIBLE_CONFIG=str(config))
    assert line == "patchwave: The vault password file /nowhere was not found"


def test_an_inventory_that_no_plugin_takes_says_how_it_must_be_called(
    lab: Any, rollout: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "aws.yml"
    shutil.copy(ROOT / "inventory" / "patch_groups.yml", file)
    wanted = "the name of such a file must end in patch_groups.yml or patch_groups.yaml; rename it"
    assert refused(lab, rollout(inventory=str(file))) == f"patchwave: {file}: plugin: {wanted}"
    done = lab.run("ansible-inventory", "-i", file, "--list", check=False)
    assert f"patchwave.aws.patch_groups: {wanted}" in " ".join(done.stderr.split())


def test_what_ansible_passes_over_in_an_inventory_is_a_warning(
    lab: Any, rollout: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("all: {children: {wave_1: {hosts: {a: {node_id: i-0a}}, var: {patch_freezes: []}}}}\n")
    path = rollout(inventory=str(file), bucket="no-such-bucket")
    done = lab.run("patchwave", "apply", path, check=False)
    assert "Warning: Skipping unexpected key (var) in group (wave_1)" in " ".join(done.stdout.split())
