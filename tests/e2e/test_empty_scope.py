"""The playbook fails where it would patch nobody, unless that was asked for. No node is reached here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import BIN, ROOT

GROUPS = {"managed_nodes": "abc", "wave_1": "ab", "wave_2": "c", "not_patchable_held": "c"}
#: What is patched is not given, so a play that has hosts fails there.
BEGAN = "patch_software_catalog"


def play(folder: Path, *options: str, hosts: str = "abc") -> tuple[int, str]:
    groups = {name: {"hosts": dict.fromkeys(members)} for name, members in GROUPS.items()}
    inventory = folder / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(hosts), "children": groups if hosts else {}}}))
    command = [BIN / "ansible-playbook", "patchwave.aws.patch_software", "-i", inventory, *options]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-e", "patchwave_hosts=wave_9"], "'wave_9' matches no host; did you mean 'wave_2'?"),
        (["-e", "patchwave_hosts=wave_1,wave_9"], "'wave_9' matches no host"),
        (["-e", '{"patchwave_hosts": ["wave_1", "xyz"]}'], "'xyz' matches no host; groups with hosts: managed_nodes, "),
        (["-e", "patchwave_hosts=wave_1:&wave_9"], "'&wave_9' matches no host"),
        (["-e", "patchwave_hosts=wave_1:!managed_nodes"], "leaves no host"),
        (["-e", "patchwave_hosts=wave_2"], "a tag holds all 1 hosts of 'wave_2'"),
        (["-e", "patchwave_hosts=wave_1", "--limit", "c"], "the limit leaves no host of 'wave_1'"),
    ],
)
def test_a_scope_without_a_host_fails_and_says_why(tmp_path: Path, options: list[str], why: str) -> None:
    code, output = play(tmp_path, *options)
    assert code
    assert why in output
    assert "nothing was patched; set patchwave_allow_empty=true where that is meant" in output
    assert BEGAN not in output


@pytest.mark.parametrize("options", [[], ["--limit", "nobody"]])
def test_so_does_an_inventory_without_hosts(tmp_path: Path, options: list[str]) -> None:
    code, output = play(tmp_path, *options, hosts="")
    assert code
    assert "the inventory has no host" in output


@pytest.mark.parametrize("value", ["true", "yes", "1"])
def test_an_empty_scope_may_be_asked_for(tmp_path: Path, value: str) -> None:
    code, output = play(tmp_path, "-e", "patchwave_hosts=wave_9", "-e", f"patchwave_allow_empty={value}")
    assert code == 0, output
    assert "no hosts matched" in output


@pytest.mark.parametrize("value", ["", "false"])
def test_an_empty_answer_of_a_survey_is_the_default(tmp_path: Path, value: str) -> None:
    code, output = play(tmp_path, "-e", f"patchwave_hosts='' patchwave_allow_empty='{value}' patchwave_transport=''")
    assert code
    assert BEGAN in output
    assert "fatal: [a]" in output
    assert "fatal: [c]" not in output  # held


def test_a_playbook_that_is_only_looked_at_has_no_scope(tmp_path: Path) -> None:
    assert play(tmp_path, "-e", "patchwave_hosts=wave_9", "--syntax-check")[0] == 0
