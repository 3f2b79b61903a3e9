"""A lab for the whole session, a small program to patch, and ways to run our commands against them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
BUCKET = "patchwave-lab"
#: The example inventory has windows and freezes, and tests run at any time.
OVERRIDE = {"by": "a test", "reason": "it cannot wait"}
TOOL = "#!/bin/sh\necho tool {version}\n"


def heed_signals() -> None:
    """Hear what asks to stop, as preexec_fn of a child: whoever runs the tests may ignore it, which children inherit.

    A shell's background job ignores Ctrl-C, nohup a closed terminal; the driver obeys whom it runs for.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass(frozen=True)
class Lab:
    """A running lab."""

    name: str
    environment: dict[str, str]
    folder: Path

    def run(self, *command: object, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment in the checkout, pointed at the lab."""
        program, *arguments = map(str, command)
        return subprocess.run(
            [BIN / program, *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            check=check,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def calls(self) -> Counter[tuple[str, str, str]]:
        """Count the API calls so far by account, region and operation."""
        lines = (self.folder / "api.jsonl").read_text(encoding="utf-8").splitlines()
        return Counter((call["account"], call["region"], call["operation"]) for call in map(json.loads, lines))

    def nodes(self) -> dict[str, str]:
        """Return node ids by name."""
        status = self.run("patchwave", "lab", "status", "--name", self.name).stdout
        rows = [line.split() for line in status.splitlines() if line.startswith(("  i-", "  mi-"))]
        return {row[1]: row[0] for row in rows}

    def exec(self, node: str, *command: str) -> str:
        """Run a command in a node and return what it printed."""
        return self.run("patchwave", "lab", "exec", "--name", self.name, node, "--", *command).stdout


def start(name: str, *options: object) -> Lab:
    """Start a lab and return it."""
    # Ansible takes no other encoding.
    own = {"LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "true"}
    base = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **own}
    patchwave = BIN / "patchwave"
    subprocess.run([patchwave, "lab", "up", "--name", name, *options], check=True, env=base, capture_output=True)
    exports = subprocess.run(
        [patchwave, "lab", "env", "--name", name], check=True, capture_output=True, text=True
    ).stdout
    shell = subprocess.run(
        ["sh", "-c", f"{exports}\nexec env -0"], check=True, capture_output=True, text=True, env=base
    )
    environment = dict(entry.split("=", 1) for entry in shell.stdout.split("\0") if entry)
    status = subprocess.run([patchwave, "lab", "status", "--name", name], check=True, capture_output=True, text=True)
    return Lab(name, environment, Path(status.stdout.split("files: ")[1].splitlines()[0]))


def stop(name: str) -> None:
    subprocess.run([BIN / "patchwave", "lab", "down", "--name", name], check=True, capture_output=True)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    try:
        yield start(name)
    finally:
        stop(name)


@pytest.fixture(scope="session")
def make_lab() -> Iterator[Callable[..., Lab]]:
    """Start further labs: make_lab(name, scenario dict)."""
    started: list[str] = []

    def make(name: str, scenario: Path) -> Lab:
        started.append(f"{name}-{uuid.uuid4().hex[:8]}")
        return start(started[-1], "--scenario", scenario)

    try:
        yield make
    finally:
        for name in started:
            stop(name)


def packed(version: str) -> bytes:
    """Return an archive `tool-VERSION/bin/tool`, a program that prints its version."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        body = TOOL.format(version=version).encode()
        entry = tarfile.TarInfo(f"tool-{version}/tool")
        entry.size, entry.mode = len(body), 0o755
        tar.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


@pytest.fixture(scope="session")
def software(lab: Lab) -> dict[str, Any]:
    """Put version 2 of the tool into the bucket; return its definition."""
    archive = packed("2.0.0")
    session = boto3.Session(lab.environment["AWS_ACCESS_KEY_ID"], lab.environment["AWS_SECRET_ACCESS_KEY"])
    s3 = session.client(
        "s3", endpoint_url=lab.environment["AWS_ENDPOINT_URL"], region_name=lab.environment["AWS_REGION"]
    )
    s3.put_object(Bucket=BUCKET, Key="tool-2.0.0.tar.gz", Body=archive)
    return {
        "fixed_in": "2.0.0",
        "archive": {
            "url": f"s3://{BUCKET}/tool-2.0.0.tar.gz",
            "sha256": hashlib.sha256(archive).hexdigest(),
            "version": "2.0.0",
            "strip": 1,
        },
        "dest": "/opt/tool",
        "probe": {"command": ["/opt/tool/current/tool"]},
        "health": {
            "command": ["sh", "-c", "! test -e /opt/tool/sick || grep -q 1.0.0 /opt/tool/current/tool"],
            "retries": 0,
        },
    }


@pytest.fixture(scope="session")
def install(lab: Lab) -> Callable[..., None]:
    """Install version 1 of the tool on nodes, by hand, as new; `sick` makes any other version unhealthy there."""

    def install(*nodes: str, sick: bool = False) -> None:
        script = (
            'rm -rf /opt/tool /var/lib/patchwave; mkdir -p /opt/tool/1.0.0; printf %s "$1" > /opt/tool/1.0.0/tool;'
            "chmod 755 /opt/tool/1.0.0/tool; ln -s 1.0.0 /opt/tool/current" + ("; touch /opt/tool/sick" if sick else "")
        )
        for node in nodes:
            lab.exec(node, "sh", "-ec", script, "install", TOOL.format(version="1.0.0"))

    return install


@pytest.fixture
def variables(tmp_path: Path, software: dict[str, Any]) -> Path:
    """Write the extra variables with which the playbook patches the tool."""
    path = tmp_path / "vars.yml"
    content = {
        "patch_software_name": "tool",
        "patch_software_catalog": {"tool": software},
        "patch_software_bucket": BUCKET,
        "gate_override": OVERRIDE,
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture
def rollout(tmp_path: Path, software: dict[str, Any]) -> Callable[..., Path]:
    """Write a rollout file and its catalog: rollout(waves=[...], ...)."""

    def write(catalog: dict[str, Any] | None = None, **changes: Any) -> Path:
        (tmp_path / "software.yml").write_text(yaml.safe_dump(catalog or {"tool": software}), encoding="utf-8")
        content = {
            "schema": 1,
            "name": "urgent",
            "inventory": str(ROOT / "inventory" / "patch_groups.yml"),
            "catalog": "software.yml",
            "software": "tool",
            "waves": ["wave_1"],
            "bucket": BUCKET,
            "override": OVERRIDE,
            "not_in_waves": "allowed",
            **changes,
        }
        path = tmp_path / "rollout.yml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def ssh_inventory(lab: Any, tmp_path: Path) -> Path:
    """Open two nodes to ssh without a port: `sshd -i` inside the node is the other end of ssh's ProxyCommand."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text()
    setup = (
        'install -d -m 700 /root/.ssh; printf %s "$1" > /root/.ssh/authorized_keys; chmod 600 /root/.ssh/*;'
        "install -d -m 755 /run/sshd;"
        "printf '%s\\n' 'Subsystem sftp internal-sftp' 'HostKey /etc/ssh/lab_key' 'StrictModes no'"
        " > /etc/ssh/lab_config;"
        " test -e /etc/ssh/lab_key || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab_key"
    )
    hosts = {}
    for node in ("web-02", "db-02"):
        lab.exec(node, "sh", "-ec", setup, "setup", public)
        sshd = "/usr/sbin/sshd -i -f /etc/ssh/lab_config"
        proxy = f"{BIN / 'patchwave'} lab exec --name {lab.name} {node} -- {sshd}"
        options = (
            f"-F none -i {key} -o ProxyCommand='{proxy}' -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        )
        hosts[node] = {
            # The lab's name keeps Ansible's shared connection apart from that of another lab's node of this name.
            "ansible_host": f"{node}.{lab.name}",
            "ansible_user": "root",
            "ansible_ssh_common_args": f"{options} -o LogLevel=ERROR -o ControlMaster=no",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
    path = tmp_path / "ssh.yml"
    path.write_text(yaml.safe_dump({"managed_nodes": {"hosts": hosts}}))
    return path
