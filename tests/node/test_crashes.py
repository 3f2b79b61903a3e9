# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real package managers, killed hundreds of times and out of room at every page: the next run ends at one version."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest

from . import crashing
from .conftest import Node, to_rpm
from .test_applications import source
from .test_package_file import BY_HAND, deb, definition, rpm

TOOL = {"command": ["/opt/pw-tool/tool"], "retries": 0, "delay": 0.0}
DPKG = ["sh", "-c", "dpkg-query -W -f '${Package} ${Status} ${Version}\n${Conffiles}\n'; dpkg --audit"]
RPM = ["sh", "-c", "rpm -qa | sort; rpm -V pw-tool"]
DEB_FOLDERS = ["/opt/pw-tool", "/etc/pw-tool", "/usr/lib/pw-tool", "/var/lib/dpkg", "/var/lib/patchwave"]
RPM_FOLDERS = ["/opt/pw-tool", "/etc/pw-tool", "/var/lib/rpm", "/var/lib/patchwave"]


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
        timeout=300 + 10 * more.get("random", 0),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def old_deb(node: Node, tmp_path: Path) -> Node:
    small(node)
    node.run("dpkg", "--force-all", "--install", deb(tmp_path, "1.9-1"))
    node.sh("cd /etc/pw-tool; echo mine > tool.conf; chmod 600 tool.conf; rm 1.9-1.conf")
    node.sh("cd /opt/pw-tool; echo '# mine' >> tool; chown 12:13 tool; chmod 4710 tool; setcap cap_net_raw+ep tool")
    return node


@pytest.mark.parametrize(
    ("script", "outcome", "random"), [("exit 0", "patched", 12), ("rm /opt/pw-tool/tool", "rolled_back", 4)]
)
def test_a_deb(old_deb: Node, tmp_path: Path, script: str, outcome: str, random: int) -> None:
    wanted = definition(deb(tmp_path, "1.10-1", script), "1.10-1", health=TOOL)
    found = disturb(old_deb, "crash", wanted, DEB_FOLDERS, DPKG, seed=5, stride=2, random=random)
    assert found["faults"] == []
    assert (found["clean"], found["kills"] > 15) == (outcome, True), found


@pytest.fixture
def new_rpm(node: Node, tmp_path: Path) -> dict[str, t.Any]:
    """Install version 1.9 as the module does; return the definition of 1.10."""
    to_rpm(node)
    old, new = (definition(rpm(tmp_path, version), version) for version in ("1.9", "1.10"))
    assert node.patch(dict(old, install_missing=True))["outcome"] == "patched"
    node.sh(BY_HAND)
    return dict(new, health={"command": ["test", "-s", "/opt/pw-tool/version"], "retries": 0, "delay": 0.0})


def test_an_rpm(node: Node, new_rpm: dict[str, t.Any]) -> None:
    found = disturb(node, "crash", new_rpm, RPM_FOLDERS, RPM, seed=6, stride=2, random=8)
    assert found["faults"] == []
    assert (found["clean"], found["kills"] > 15) == ("patched", True), found


def test_an_rpm_while_it_is_unpacked(node: Node, new_rpm: dict[str, t.Any], tmp_path: Path) -> None:
    """Its files have names of rpm's own by then, which rpm neither removes nor writes over."""
    new = {**new_rpm, **definition(rpm(tmp_path, "1.10", size=2**26), "1.10")}
    found = disturb(node, "unpacking", new, RPM_FOLDERS, RPM, pattern="/opt/pw-tool/*;*")
    assert (found["clean"], bool(found["left"]), found["faults"]) == ("patched", True, []), found


def of_files(node: Node, tmp_path: Path, kind: str) -> dict[str, t.Any]:
    """Put a small application at 1.0 into a node and return the definition of 1.2."""
    for version in ("1.0", "1.2"):
        for name, text in (("tool", f"#!/bin/sh\necho {version}\n"), ("lib/core.jar", version * 3000)):
            path = tmp_path / version / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
    dest = "/opt/pw-tool" if kind == "in_place" else "/opt/pw-tool/1.0"
    node.sh("mkdir -p $1; cp -a $2/. $1", dest, tmp_path / "1.0")
    if kind == "files":
        old, new = (tmp_path / version / "lib/core.jar" for version in ("1.0", "1.2"))
        vulnerable = [{"sha256": hashlib.sha256(old.read_bytes()).hexdigest(), "version": "1.0"}]
        files = {**source(new, "1.2"), "paths": ["/opt/pw-tool"], "name": "core.jar", "vulnerable": vulnerable}
        return {"name": "pw-tool", "fixed_in": "1.2", "files": files}
    packed = tmp_path / "new.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(tmp_path / "1.2", ".")
    archive = source(packed, "1.2", layout="in_place" if kind == "in_place" else "versions")
    program = "/opt/pw-tool/tool" if kind == "in_place" else "/opt/pw-tool/current/tool"
    if kind == "archive":
        node.run("ln", "-s", "1.0", "/opt/pw-tool/current")
    return {
        "name": "pw-tool",
        "fixed_in": "1.2",
        "archive": archive,
        "dest": "/opt/pw-tool",
        "probe": {"command": [program]},
    }


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize("kind", ["in_place", "files"])
def test_files_across_mounts(node: Node, tmp_path: Path, kind: str, mounted: bool) -> None:
    """What is kept is on another file system than the folder below dest, whose owner may rename all that is there."""
    wanted = of_files(node, tmp_path, kind)
    lib = "/opt/pw-tool/lib" if kind == "in_place" else "/opt/pw-tool/1.0/lib"
    node.sh("chown 1234:1234 $1 $1/core.jar; setcap cap_net_bind_service=ep $1/core.jar", lib)
    if kind == "in_place":
        wanted["probe"]["command"] = ["head", "-c", "3", lib + "/core.jar"]
    if mounted:
        node.sh("mkdir /mnt/lib; cp -a $1/. /mnt/lib; chown 1234 /mnt/lib; mount --bind /mnt/lib $1", lib)
        wanted.get("files", {}).update(paths=[lib])
    found = disturb(node, "crash", wanted, [lib, "/var/lib/patchwave"], ["getcap", lib + "/core.jar"], seed=7, random=8)
    assert found["faults"] == []
    assert (found["clean"], found["kills"] > 20) == ("patched", True), found
    assert "cap_net_bind_service=ep" in node.run("getcap", lib + "/core.jar")


@pytest.mark.parametrize("room", ["size", "nr_inodes"])
@pytest.mark.parametrize("kind", ["archive", "in_place", "files"])
def test_files_without_room(node: Node, tmp_path: Path, kind: str, room: str) -> None:
    wanted = of_files(node, tmp_path, kind)
    folders = ["/opt/pw-tool", "/var/lib/patchwave"]
    found = disturb(node, "fill", wanted, folders, ["true"], room=[4096 if room == "size" else 1, room])
    assert found["faults"] == []
    assert len(found["failures"]) > 5
    assert {outcome for outcome, reason in found["failures"]} == {"failed"}
    assert {reason for outcome, reason in found["failures"]} == {"no_space"}


@pytest.mark.parametrize("room", ["size", "nr_inodes"])
def test_an_rpm_without_room(node: Node, new_rpm: dict[str, t.Any], room: str) -> None:
    found = disturb(node, "fill", new_rpm, RPM_FOLDERS, RPM, room=[16384 if room == "size" else 1, room])
    assert found["faults"] == []
    assert ["failed", "no_space"] in found["failures"]


@pytest.mark.parametrize("kind", ["archive", "in_place", "files", "package_file"])
def test_a_read_only_opt_is_told_and_left_alone(node: Node, tmp_path: Path, kind: str) -> None:
    if kind == "package_file":
        node.run("dpkg", "--install", deb(tmp_path, "1.9-1"))
        wanted = definition(deb(tmp_path, "1.10-1"), "1.10-1")
    else:
        wanted = of_files(node, tmp_path, kind)
    node.sh("mount --bind /opt /opt; mount -o remount,bind,ro /opt")
    before = node.tree("/opt/pw-tool")
    for check_mode in (True, False):
        result = node.patch(wanted, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("failed", "not_writable"), result
        assert "/opt" in result["msg"]
    assert node.tree("/opt/pw-tool") == before
    assert node.sh("ls /var/lib/patchwave").split() == ["lock", "software_patch.log"]
    node.run("umount", "/opt")
    assert node.patch(wanted)["outcome"] == "patched"


@pytest.mark.parametrize("room", ["size", "nr_inodes"])
def test_a_deb_without_room(old_deb: Node, tmp_path: Path, room: str) -> None:
    wanted = definition(deb(tmp_path, "1.10-1"), "1.10-1", health=TOOL)
    found = disturb(old_deb, "fill", wanted, DEB_FOLDERS, DPKG, room=[4096 if room == "size" else 1, room])
    assert found["faults"] == []
    assert len(found["failures"]) > 10
    assert ["failed", "no_space"] in found["failures"]
