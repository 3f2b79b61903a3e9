"""Each mistake is one line that says where, exits non-zero, and sends nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


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
