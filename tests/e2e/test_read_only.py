"""Every playbook and module once under --check while nothing may change: what changes something all the same fails.

`switch --read-only` refuses every API call that is not a read. Check mode over Run Command has to ask the node: there
`switch --check-only` lets just that pass, and whoever writes anything on a node fails and is noted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BUCKET, ROOT

INVENTORY = ROOT / "inventory"
NODE = "batch-02"
#: One program in version 1 for each kind; a lock as an earlier patch leaves it.
SETUP = """
mkdir -p /var/lib/patchwave /opt/cmd /opt/inst /srv/app /opt/tool/1.0.0
echo 99999 > /var/lib/patchwave/lock
echo 1.0.0 | tee /opt/cmd/version > /opt/inst/version
echo old > /srv/app/lib.jar
printf '#!/bin/sh\\necho tool 1.0.0\\n' > /opt/tool/1.0.0/tool
chmod 755 /opt/tool/1.0.0/tool
ln -sfn 1.0.0 /opt/tool/current
"""
PACKAGE = """
mkdir -p /tmp/p/DEBIAN
printf 'Package: pw-tool\\nVersion: 1.0-1\\nArchitecture: all\\nMaintainer: t <t@example.com>\\nDescription: t\\n' \
    > /tmp/p/DEBIAN/control
dpkg-deb --build /tmp/p /tmp/p.deb && dpkg --install /tmp/p.deb
"""
NEW = {"url": "https://packages.example.com/new", "sha256": "0" * 64}
KINDS: dict[str, dict[str, Any]] = {
    "installer": {
        "installer": {**NEW, "version": "2.0.0", "undo": ["false"]},
        "probe": {"command": ["cat", "/opt/inst/version"]},
    },
    "command": {
        "command": {"command": ["false"], "version": "2.0.0", "undo": ["false"]},
        "probe": {"command": ["cat", "/opt/cmd/version"]},
    },
    "files": {
        "files": {**NEW, "version": "2.0.0", "paths": ["/srv/app"], "name": "*.jar"},
    },
}
PACKAGES: dict[str, dict[str, Any]] = {
    "package_file": {"package_file": {**NEW, "version": "2.0-1", "package": "pw-tool", "format": "deb"}},
    "package": {"package": {"version": "2.0-1", "package": "pw-tool"}},
}
#: Names of playbooks and plugins that a test here runs.
COVERED: set[str] = set()


def covers(*names: str) -> Callable[[Any], Any]:
    COVERED.update(names)
    return lambda test: test


@contextmanager
def switched(lab: Any, word: str, back: str) -> Iterator[list[str]]:
    """Give a list that has, in the end, what was written on nodes."""
    written: list[str] = []
    lab.run("patchwave", "lab", "switch", "--name", lab.name, word)
    try:
        yield written
    finally:
        said = lab.run("patchwave", "lab", "switch", "--name", lab.name, back).stdout
        written += said.splitlines()[:-1]


@pytest.fixture
def read_only(lab: Any) -> Iterator[None]:
    with switched(lab, "--read-only", "--read-write"):
        yield


@pytest.fixture
def check_only(lab: Any) -> Iterator[None]:
    with switched(lab, "--check-only", "--no-check-only") as written:
        yield
    assert written == []


@pytest.fixture(scope="module")
def programs(lab: Any, software: dict[str, Any]) -> dict[str, Any]:
    """Install one program of each kind on a node; return their definitions."""
    lab.exec(NODE, "sh", "-ec", SETUP)
    jar = lab.exec(NODE, "sha256sum", "/srv/app/lib.jar").split()[0]
    KINDS["files"]["files"]["vulnerable"] = [{"sha256": jar, "version": "1.0.0"}]
    found = {"tool": software, **{name: {"fixed_in": "2.0.0", **each} for name, each in KINDS.items()}}
    if lab.exec(NODE, "id", "-un").strip() == "root" and lab.exec(NODE, "sh", "-c", "test -w /var/lib/dpkg && echo y"):
        lab.exec(NODE, "sh", "-ec", PACKAGE)
        found.update({name: {"fixed_in": "2.0-1", **each} for name, each in PACKAGES.items()})
    return found


@covers("patch_groups")
def test_the_inventory(lab: Any, read_only: None) -> None:
    found = json.loads(lab.run("ansible-inventory", "-i", INVENTORY, "--list").stdout)
    assert len(found["_meta"]["hostvars"]) == 24


def play(path: Path, tasks: list[dict[str, Any]], hosts: str = "managed_nodes") -> Path:
    path.write_text(yaml.safe_dump([{"name": "Play", "hosts": hosts, "gather_facts": False, "tasks": tasks}]))
    return path


@covers("presigned_url", "node_result", "gate")
def test_modules_that_send_nothing(lab: Any, read_only: None, tmp_path: Path) -> None:
    tasks: list[dict[str, Any]] = [
        {"name": "Presign", "patchwave.aws.presigned_url": {"url": f"s3://{BUCKET}/x"}, "register": "signed"},
        {"name": "Look", "ansible.builtin.assert": {"that": "'X-Amz-Signature' in signed.url"}, "no_log": True},
        {"name": "Take", "patchwave.aws.node_result": {"result": {"changed": False, "msg": "taken"}}},
        {"name": "Judge", "patchwave.aws.gate": {}},
    ]
    done = lab.run("ansible-playbook", play(tmp_path / "play.yml", tasks, "localhost"), "--check", "-v")
    assert "taken" in done.stdout


@covers("bucket")
def test_the_bucket(lab: Any, read_only: None) -> None:
    done = lab.run("ansible-playbook", "patchwave.aws.bucket", "-e", "patchwave_bucket=example-checked", "--check")
    assert "changed=0" in done.stdout


@covers("stop")
def test_a_stop_from_outside(lab: Any, read_only: None) -> None:
    given = {"patchwave_rollout": "x", "patchwave_bucket": BUCKET}
    done = lab.run("ansible-playbook", "-i", INVENTORY, "patchwave.aws.stop", "-e", json.dumps(given), "--check")
    assert "rollout x is stopped" in done.stdout


@covers("run_command")
def test_a_document(lab: Any, read_only: None, tmp_path: Path) -> None:
    run = {"document": "AWS-RunShellScript", "parameters": {"commands": "reboot"}}
    tasks = [
        {"name": "Send", "patchwave.aws.run_command": run, "register": "batch", "run_once": True},
        {"name": "Take", "patchwave.aws.node_result": {"result": "{{ batch.results[inventory_hostname] }}"}},
    ]
    options = ("-i", INVENTORY, "--limit", lab.nodes()[NODE], "--check", "-v")
    done = lab.run("ansible-playbook", play(tmp_path / "play.yml", tasks), *options)
    assert "would send AWS-RunShellScript" in done.stdout


@covers("run_module", "software_patch", "patch_software")
def test_every_kind_of_software_over_run_command(
    lab: Any, programs: dict[str, Any], check_only: None, tmp_path: Path
) -> None:
    role = {"name": "patchwave.aws.patch_software"}
    each = {"patch_software_name": "{{ item }}"}
    tasks = [{"name": "Patch", "ansible.builtin.include_role": role, "vars": each, "loop": list(programs)}]
    variables = tmp_path / "vars.yml"
    variables.write_text(yaml.safe_dump({"patch_software_catalog": programs, "patch_software_bucket": BUCKET}))
    path = play(tmp_path / "play.yml", tasks)
    options = ("-i", INVENTORY, "-e", f"@{variables}", "--limit", lab.nodes()[NODE], "--check", "-v")
    done = lab.run("ansible-playbook", path, *options, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"(\w+): would be upgraded", done.stdout.split("PLAY RECAP")[0]), done.stdout
    assert {name for name in programs if f"{name}: would be upgraded, 1.0" in done.stdout} == set(programs)


@covers("patch_software")
def test_the_playbook_over_run_command(lab: Any, programs: dict[str, Any], variables: Path, check_only: None) -> None:
    host = lab.nodes()[NODE]
    options = ("-i", INVENTORY, "-e", f"@{variables}", "--limit", host, "--check", "--diff", "-v")
    done = lab.run("ansible-playbook", "patchwave.aws.patch_software", *options, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be upgraded, 1.0.0 -> 2.0.0" in done.stdout


@pytest.mark.needs_root
@covers("patch_software")
def test_the_playbook_over_ssh(lab: Any, install: Callable[..., None], variables: Path, ssh_inventory: Path) -> None:
    install("web-02")
    options = ("-i", ssh_inventory, "-e", f"@{variables}", "-e", "patchwave_transport=connection", "--limit", "web-02")
    remote = {"ANSIBLE_REMOTE_TMP": "/tmp/ansible"}
    with switched(lab, "--check-only", "--no-check-only") as written:
        playbook = "patchwave.aws.patch_software"
        done = lab.run("ansible-playbook", playbook, *options, "--check", "-v", check=False, **remote)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be upgraded, 1.0.0 -> 2.0.0" in done.stdout
    assert written == []


def test_a_check_that_writes_fails_and_says_where(lab: Any, tmp_path: Path) -> None:
    run = {"module": "ansible.builtin.command", "args": {"argv": ["touch", "/opt/written"]}, "bucket": BUCKET}
    tasks = [
        # What a module would do that ignores check mode.
        {"name": "Write", "patchwave.aws.run_module": run, "check_mode": False, "register": "batch"},
        {"name": "Take", "patchwave.aws.node_result": {"result": "{{ batch.results[inventory_hostname] }}"}},
    ]
    options = ("-i", INVENTORY, "--limit", lab.nodes()[NODE], "--check")
    with switched(lab, "--check-only", "--no-check-only") as written:
        done = lab.run("ansible-playbook", play(tmp_path / "play.yml", tasks), *options, check=False)
    assert done.returncode != 0
    assert written == [f"{NODE}: the lab is check-only, but this was written: /opt/written"]


def test_no_playbook_module_or_inventory_is_forgotten() -> None:
    folders = ("playbooks/*.yml", "plugins/modules/*.py", "plugins/inventory/*.py")
    there = {path.stem for folder in folders for path in ROOT.glob(folder)}
    assert there - COVERED == set()
    assert COVERED - there == set()
