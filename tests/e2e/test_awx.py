"""The example project as AWX runs it: by ansible-runner, in an empty home, with an inventory that was imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BIN, BUCKET, OVERRIDE, ROOT
from test_versions import SITE

EXAMPLE = ROOT / "docs" / "examples" / "awx"


@pytest.fixture
def data(lab: Any, software: dict[str, Any], tmp_path: Path) -> Path:
    """Make a private data directory."""
    folder = tmp_path / "data"
    shutil.copytree(EXAMPLE, folder / "project")
    variables = {"patch_software_bucket": BUCKET, "patch_software_catalog": {"tool": software}}
    (folder / "project" / "group_vars" / "managed_nodes.yml").write_text(yaml.safe_dump(variables))
    (folder / "inventory").mkdir()
    listed = lab.run("ansible-inventory", "-i", ROOT / "inventory", "--list", "--export").stdout
    (folder / "inventory" / "listed.json").write_text(listed)
    script = folder / "inventory" / "hosts"
    script.write_text('#!/bin/sh\ncat "$(dirname "$0")/listed.json"\n')
    script.chmod(0o755)
    (folder / "env").mkdir()
    return folder


def job(lab: Any, data: Path, limit: str, **survey: str) -> subprocess.CompletedProcess[str]:
    answers = {"patch_software_name": "tool", "gate_override": json.dumps(OVERRIDE), "patchwave_hosts": "", **survey}
    (data / "env" / "extravars").write_text(json.dumps(answers))
    home = data.parent / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in lab.environment.items() if name.startswith("AWS_")}
    environment = {
        **kept,
        "HOME": str(home),
        "PATH": f"{BIN}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.collections'}:{SITE}",
    }
    command = ["ansible-runner", "run", str(data), "-p", "patch_software.yml", "--limit", limit]
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=data,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert os.listdir(home) in ([], [".ansible"])
    return done


def test_a_node_is_patched_with_the_variables_of_the_project(
    lab: Any, install: Callable[..., None], data: Path
) -> None:
    install("web-01")
    host = lab.nodes()["web-01"]
    done = job(lab, data, host)
    assert done.returncode == 0, done.stdout
    assert f"changed: [{host}]" in done.stdout
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 2.0.0\n"


def test_a_playbook_that_imports_that_of_the_collection_would_not_see_them(lab: Any, data: Path) -> None:
    (data / "project" / "patch_software.yml").write_text("- import_playbook: patchwave.aws.patch_software\n")
    done = job(lab, data, lab.nodes()["web-01"])
    assert done.returncode
    assert "patch_software_catalog" in done.stdout


def test_a_misspelt_wave_is_no_green_job(lab: Any, data: Path) -> None:
    done = job(lab, data, "all", patchwave_hosts="wave_9")
    assert done.returncode
    assert "'wave_9' matches no host" in done.stdout + done.stderr


def test_the_import_refuses_two_values_of_which_it_would_lose_one(lab: Any, tmp_path: Path) -> None:
    source = tmp_path / "estate" / "patch_groups.yml"
    web = source.parent / "group_vars" / "wave_1"
    web.mkdir(parents=True)
    source.write_text((ROOT / "inventory" / "patch_groups.yml").read_text())
    for file in ("a.yml", "b.yml"):
        (web / file).write_text("patch_freezes: []\n")
    unparsed = {"ANSIBLE_INVENTORY_UNPARSED_FAILED": "true"}  # as AWX sets it
    done = lab.run("ansible-inventory", "-i", source, "--list", "--export", check=False, **unparsed)
    assert done.returncode != 0
    assert f"{web / 'b.yml'}: patch_freezes is also in {web / 'a.yml'}" in " ".join(done.stderr.split())
    lab.run("ansible-inventory", "-i", source, "--list", **unparsed)


def test_the_import_keeps_what_an_enabled_variable_compares(lab: Any, data: Path) -> None:
    hosts = json.loads((data / "inventory" / "listed.json").read_text())["_meta"]["hostvars"]
    states = {known["ssm"]["ping_status"] for known in hosts.values()}
    assert "Online" in states
    assert states <= {"Online", "ConnectionLost", "Inactive", ""}


def test_the_example_is_the_playbook_and_its_catalog_is_one(tmp_path: Path) -> None:
    assert (EXAMPLE / "patch_software.yml").read_text() == (ROOT / "playbooks" / "patch_software.yml").read_text()
    variables = yaml.safe_load((EXAMPLE / "group_vars" / "managed_nodes.yml").read_text())
    (tmp_path / "software.yml").write_text(yaml.safe_dump(variables["patch_software_catalog"]))
    (tmp_path / "hosts.yml").touch()
    rollout = {"schema": 1, "name": "x", "inventory": "hosts.yml", "catalog": "software.yml", "software": "just"}
    (tmp_path / "r.yml").write_text(yaml.safe_dump({**rollout, "waves": ["a"], "bucket": "b"}))
    from patchwave.rollout_file import read_rollout

    assert set(read_rollout(tmp_path / "r.yml").software) == {"just"}
