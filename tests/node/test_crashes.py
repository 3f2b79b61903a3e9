# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real package managers, killed hundreds of times and out of room at every page: the next run ends at one version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from . import crashing
from .conftest import Node, to_rpm
from .test_package_file import deb, definition, rpm

TOOL = {"command": ["/opt/pw-tool/tool"], "retries": 0, "delay": 0.0}
DPKG = ["sh", "-c", "dpkg-query -W -f '${Package} ${Status} ${Version}\n'; dpkg --audit"]
RPM = ["sh", "-c", "rpm -qa | sort; rpm -V pw-tool"]
DEB_FOLDERS = ["/opt/pw-tool", "/etc/pw-tool", "/usr/lib/pw-tool", "/var/lib/dpkg", "/var/lib/patchwave"]
RPM_FOLDERS = ["/opt/pw-tool", "/var/lib/rpm", "/var/lib/patchwave"]


def small(node: Node) -> None:
    """Give a node an empty database of dpkg: it makes dpkg many times quicker."""
    node.sh("rm -rf /var/lib/dpkg; mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates; : > /var/lib/dpkg/status")


def disturb(node: Node, mode: str, args: dict[str, t.Any], folders: list[str], ask: list[str], **more: t.Any) -> t.Any:
    wanted = dict(mode=mode, args=args, folders=folders, ask=ask, **more)
    done = subprocess.run(
        [*node.enter, sys.executable, crashing.__file__],
        input=json.dumps(wanted),
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def old_deb(node: Node, tmp_path: Path) -> Node:
    small(node)
    node.run("dpkg", "--force-all", "--install", deb(tmp_path, "1.9-1"))
    return node


@pytest.mark.parametrize(
    ("script", "outcome", "random"), [("exit 0", "patched", 45), ("rm /opt/pw-tool/tool", "rolled_back", 20)]
)
def test_a_deb(old_deb: Node, tmp_path: Path, script: str, outcome: str, random: int) -> None:
    wanted = definition(deb(tmp_path, "1.10-1", script), "1.10-1", health=TOOL)
    found = disturb(old_deb, "crash", wanted, DEB_FOLDERS, DPKG, seed=5, random=random)
    assert found["faults"] == []
    assert (found["clean"], found["kills"] > 45) == (outcome, True), found


def test_an_rpm(node: Node, tmp_path: Path) -> None:
    if not shutil.which("rpmbuild"):
        pytest.skip("needs rpmbuild (apt install rpm, or make system)")
    to_rpm(node)
    old, new = (definition(rpm(tmp_path, version), version) for version in ("1.9", "1.10"))
    assert node.patch(dict(old, install_missing=True))["outcome"] == "patched"
    health = {"command": ["test", "-s", "/opt/pw-tool/version"], "retries": 0, "delay": 0.0}
    found = disturb(node, "crash", dict(new, health=health), RPM_FOLDERS, RPM, seed=6, random=45)
    assert found["faults"] == []
    assert (found["clean"], found["kills"] > 60) == ("patched", True), found


@pytest.mark.parametrize("room", ["size", "nr_inodes"])
def test_a_deb_without_room(old_deb: Node, tmp_path: Path, room: str) -> None:
    wanted = definition(deb(tmp_path, "1.10-1"), "1.10-1", health=TOOL)
    found = disturb(old_deb, "fill", wanted, DEB_FOLDERS, DPKG, room=[4096 if room == "size" else 1, room])
    assert found["faults"] == []
    assert len(found["failures"]) > 10
    assert ["failed", "no_space"] in found["failures"]
