# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders that users of the node own, and what they do in them while root patches."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from .conftest import Node
from .test_crashes import of_files

USER = "12345"
#: Swaps names in the folder it is started in, as fast as it can: files for links and pipes, folders for links.
ATTACKER = r"""
import itertools, os, sys
lib, name = sys.argv[1:]
aim = "/etc/secret-" + name
def swap(away, make):
    try:
        os.rename(away, away + ".kept")
        make(away)
    except OSError:
        pass
def back(away):
    try:
        if os.path.islink(away) or not os.path.isdir(away):
            os.unlink(away)
    except OSError:
        pass
    try:
        os.rename(away + ".kept", away)
    except OSError:
        pass
print("ready", flush=True)
for number in itertools.takewhile(lambda number: not os.path.exists("/opt/stop"), itertools.count()):
    way = number % 4
    if way == 0:
        swap(lib + "/" + name, lambda path: os.symlink(aim, path))
        back(lib + "/" + name)
    elif way == 1:
        swap(lib, lambda path: os.symlink("/etc/secret", path))
        back(lib)
    elif way == 2:
        swap(lib + "/" + name, os.mkfifo)
        back(lib + "/" + name)
    for entry in os.listdir("."):  # whatever root may have put here
        if entry.startswith("."):
            try:
                os.rename(entry, "stolen" + entry)
                os.symlink("/etc/secret", entry)
            except OSError:
                pass
"""


@pytest.mark.parametrize("kind", ["in_place", "files"])
def test_a_user_who_swaps_names_gets_nothing(node: Node, tmp_path: Path, kind: str) -> None:
    wanted = of_files(node, tmp_path, kind)
    top, lib, name = "/opt/pw-tool" if kind == "in_place" else "/opt/pw-tool/1.0", "lib", "core.jar"
    node.sh(
        "chown -R $1:$1 /opt/pw-tool; mkdir /etc/secret; chmod 700 /etc/secret; echo secret > /etc/secret/core.jar;"
        "cp /etc/secret/core.jar /etc/secret-core.jar; chmod 600 /etc/secret-core.jar; rm -rf /opt/kept;"
        "cp -a /opt/pw-tool /opt/kept; chmod 700 /opt/kept",
        USER,
    )
    before = node.tree("/etc")
    command = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "python3", "-c", ATTACKER, lib, name]
    with node.start("sh", "-c", 'cd $1; shift; exec "$@"', "sh", top, *command, stdout=subprocess.PIPE) as attacker:
        try:
            assert attacker.stdout is not None
            assert attacker.stdout.readline() == b"ready\n"
            outcomes = []
            for _ in range(6):
                result = node.patch(wanted)
                outcomes.append((result["outcome"], result["reason"]))
        finally:
            node.run("touch", "/opt/stop")
            attacker.wait(20)
    assert node.tree("/etc") == before
    assert node.sh("grep -rl secret /opt/pw-tool || true") == ""
    assert node.sh("find /opt /var/lib/patchwave -perm /6000 -path '*pw-tool*'") == ""
    assert node.sh("ls -d /opt/.patchwave-* /var/lib/patchwave/.patchwave-* 2>/dev/null || true") == ""
    assert {outcome for outcome, reason in outcomes} <= {"patched", "current", "failed", "rolled_back"}, outcomes
    # Left in peace, the node is patched.
    node.sh("rm -rf /opt/pw-tool; cp -a /opt/kept /opt/pw-tool")
    result = node.patch(wanted)
    assert result["outcome"] in ("patched", "current"), (outcomes, result)


def served(node: Node, wanted: dict[str, t.Any]) -> dict[str, t.Any]:
    """Add a service that tells in a file when it is stopped."""
    ctl = "/usr/local/sbin/ctl"
    script = "case $1 in start) touch /run/up;; stop) rm /run/up; echo x >> /var/stops;; *) test -e /run/up;; esac"
    node.sh("echo '#!/bin/sh' > $1; echo \"$2\" >> $1; chmod 755 $1; mkdir -p /run; $1 start", ctl, script)
    verbs = {verb: [ctl, verb] for verb in ("start", "stop", "status")}
    return dict(wanted, services=[{"name": "app", **verbs}])


@pytest.mark.parametrize("kind", ["in_place", "files"])
@pytest.mark.parametrize("way", ["mount", "append"])
def test_what_cannot_be_replaced_is_known_before_services_stop(node: Node, tmp_path: Path, kind: str, way: str) -> None:
    wanted = served(node, of_files(node, tmp_path, kind))
    file = "/opt/pw-tool/lib/core.jar" if kind == "in_place" else "/opt/pw-tool/1.0/lib/core.jar"
    if way == "mount" or node.sh("chattr +a $1 2>/dev/null && echo set || true", file).strip() != "set":
        node.sh("cp -a $1 /mnt/core.jar; mount --bind /mnt/core.jar $1", file)
    before = node.tree("/opt/pw-tool")
    result = node.patch(wanted)
    assert (result["outcome"], result["reason"]) == ("failed", "not_writable"), result
    assert file in result["msg"]
    assert node.sh("test -e /run/up; ls /var/stops 2>/dev/null || true") == ""
    assert node.tree("/opt/pw-tool") == before
    node.sh("umount $1 || chattr -a $1", file)
    assert node.patch(wanted)["outcome"] == "patched"


def test_a_file_that_is_mounted_after_the_switch_is_no_hindrance_to_the_way_back(node: Node, tmp_path: Path) -> None:
    """Undo compares first: what is as it was is not touched."""
    wanted = of_files(node, tmp_path, "in_place")
    node.sh("mkdir /opt/pw-tool/conf; echo old > /opt/pw-tool/conf/x")
    check = {"command": ["sh", "-c", "mount --bind /opt/pw-tool/conf/x /opt/pw-tool/conf/x; exit 1"]}
    before = node.sh("cat /opt/pw-tool/tool /opt/pw-tool/conf/x")
    result = node.patch(dict(wanted, health=dict(check, retries=0, delay=0.0)))
    assert result["outcome"] in ("rolled_back", "failed"), result
    assert node.sh("cat /opt/pw-tool/tool /opt/pw-tool/conf/x") == before


def test_a_destination_that_a_user_leads_elsewhere_is_refused(node: Node, tmp_path: Path) -> None:
    wanted = of_files(node, tmp_path, "in_place")
    node.sh(
        "cp -a /opt/pw-tool /etc/pw-tool; mkdir /opt/home; ln -s /etc/pw-tool /opt/home/app; chown -hR $1 /opt/home",
        USER,
    )
    before = node.tree("/etc/pw-tool")
    result = node.patch(dict(wanted, dest="/opt/home/app", probe={"command": ["/opt/home/app/tool"]}))
    assert (result["outcome"], result["reason"]) == ("failed", "unsafe_folder"), result
    assert node.tree("/etc/pw-tool") == before
    node.sh("chown -R $1 /etc/pw-tool", USER)
    assert (
        node.patch(dict(wanted, dest="/opt/home/app", probe={"command": ["/opt/home/app/tool"]}))["outcome"]
        == "patched"
    )
