# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a roll back of a package brings back, and what is refused because it could not be brought back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from .conftest import Node, to_rpm
from .test_package_file import BY_HAND, CONTROL, FOLDERS, deb, definition, rpm, state

#: The new version does not work, so it is rolled back.
SICK: dict[str, t.Any] = {"health": {"command": ["grep", "-q", "1.9", "/opt/pw-tool/tool"], "retries": 0}}
OLD_ONLY: dict[str, t.Any] = {"health": {"command": ["grep", "-qx", "1.9", "/opt/pw-tool/version"], "retries": 0}}

#: What an administrator does to files that are no configuration: content, mode, owner, capabilities, an ACL, absence.
CHANGES = r"""
import os, struct
os.chdir("/opt/pw-tool")
with open("tool", "a") as stream:
    stream.write("# changed\n")
os.chown("tool", 12, 13)
os.chmod("tool", 0o750)
os.setxattr("tool", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
os.chmod("data", 0o640)
os.setxattr("data", "system.posix_acl_access", struct.pack("<I" + "HHI" * 5, 2, 1, 6, 2**32 - 1, 2, 4, 33,
    4, 4, 2**32 - 1, 16, 4, 2**32 - 1, 32, 0, 2**32 - 1))
os.chown("sub", 12, 13)
os.chmod("sub", 0o2770)
os.unlink("unwanted")
os.unlink("link")
os.symlink("data", "link")
"""
#: All of it, with extended attributes, but for times.
SEEN = r"""
import os, sys
for top in sys.argv[1:]:
    for folder, folders, files in os.walk(top):
        for name in [".", *sorted(files), *(name for name in folders if os.path.islink(os.path.join(folder, name)))]:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else "" if name == "." else open(path).read()
            attributes = {key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)}
            print(path, oct(info.st_mode), info.st_uid, info.st_gid, repr(content), attributes)
"""
SERVICE = {
    "name": "worker",
    "start": ["sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 & echo $! > /var/worker.pid"],
    "stop": ["sh", "-c", "kill $(cat /var/worker.pid); rm /var/worker.pid"],
    "status": ["sh", "-c", "kill -0 $(cat /var/worker.pid)"],
}
#: What happens between the last check and the package manager, so that nothing can know it before.
BETWEEN = {
    "room": "head -c 100M /dev/zero > /opt/pw-tool/filler || true",
    "prerm": "true",
    "lock": 'setsid python3 -c \'import fcntl, time; lock = open("/var/lib/dpkg/lock", "w");'
    " fcntl.lockf(lock, fcntl.LOCK_EX); time.sleep(100)' > /dev/null 2>&1 & sleep 0.5",
}


def prepared(folder: Path, version: str, size: int = 10, fields: str = "") -> Path:
    """Add to the tree of a package what CHANGES changes."""
    tree = folder / f"tree-{version}/opt/pw-tool"
    (tree / "sub").mkdir(parents=True)
    (tree / "data").write_text("x" * size)
    for name in ("unwanted", "sub/deep"):
        (tree / name).write_text(f"{name} of {version}")
    (tree / "link").symlink_to("tool")
    return deb(folder, version, fields=fields)


def database(node: Node) -> str:
    """All that dpkg knows of the package."""
    info = node.sh("cd /var/lib/dpkg; ls updates; for file in info/pw-tool.*; do echo $file; sort $file; done")
    return info + node.run("dpkg-query", "-s", "pw-tool")


def seen(node: Node, *folders: str) -> str:
    return node.run("python3", "-c", SEEN, *folders)


def service(node: Node, between: str = "true") -> dict[str, t.Any]:
    node.run(*SERVICE["start"])
    return dict(SERVICE, stop=["sh", "-c", f"{SERVICE['stop'][2]}; {between}"])


@pytest.mark.parametrize("why", list(BETWEEN))
def test_dpkg_refuses_before_it_changes_anything(node: Node, tmp_path: Path, why: str) -> None:
    """The undo does not try again what has just failed: the service runs, and nothing else is different."""
    (tmp_path / "tree-1.9-1/DEBIAN").mkdir(parents=True)
    if why == "prerm":
        (tmp_path / "tree-1.9-1/DEBIAN/prerm").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "tree-1.9-1/DEBIAN/prerm").chmod(0o755)
    node.sh("mkdir /opt/pw-tool; mount -t tmpfs -o size=60m tmpfs /opt/pw-tool")
    node.run("dpkg", "--install", prepared(tmp_path, "1.9-1"))
    node.run("python3", "-c", CHANGES)
    node.sh("rm -f /opt/pw-tool/log; echo mine > /etc/pw-tool/tool.conf")
    wanted = definition(prepared(tmp_path, "1.10-1", 20 * 2**20), "1.10-1", services=[service(node, BETWEEN[why])])
    before = seen(node, *FOLDERS), database(node)
    inode = node.run("stat", "-c", "%i", "/opt/pw-tool/tool")
    result = node.patch(wanted)
    assert result["outcome"] == "rolled_back", result
    assert result["reason"] == ("package_locked" if why == "lock" else "install_failed"), result
    node.run(*SERVICE["status"])
    node.sh("rm -f /opt/pw-tool/log /opt/pw-tool/filler")
    assert (seen(node, *FOLDERS), database(node)) == before
    assert node.run("stat", "-c", "%i", "/opt/pw-tool/tool") == inode


@pytest.mark.parametrize("family", ["deb", "rpm"])
def test_room_for_both_versions_is_needed_where_their_files_are(node: Node, tmp_path: Path, family: str) -> None:
    node.sh("mkdir /opt/pw-tool; mount -t tmpfs -o size=60m tmpfs /opt/pw-tool")
    if family == "rpm":
        to_rpm(node)
        old, new = rpm(tmp_path, "1.9"), rpm(tmp_path, "1.10", size=50 * 2**20)
    else:
        old, new = prepared(tmp_path, "1.9"), prepared(tmp_path, "1.10", 50 * 2**20)
    assert node.patch(definition(old, "1.9", install_missing=True))["outcome"] == "patched"
    before, wanted = seen(node, "/opt/pw-tool"), definition(new, "1.10", services=[service(node)])
    pid = node.run("cat", "/var/worker.pid")
    result = node.patch(wanted)
    assert (result["outcome"], result["reason"]) == ("failed", "no_space"), result
    assert "/opt/pw-tool" in result["msg"]
    assert (seen(node, "/opt/pw-tool"), node.run("cat", "/var/worker.pid")) == (before, pid)
    node.run("mount", "-o", "remount,size=200m", "/opt/pw-tool")
    assert node.patch(wanted)["outcome"] == "patched"


def test_installed_size_counts_for_what_scripts_make(node: Node, tmp_path: Path) -> None:
    node.sh("mkdir /opt/pw-tool; mount -t tmpfs -o size=60m tmpfs /opt/pw-tool")
    node.run("dpkg", "--install", deb(tmp_path, "1.9"))
    made = prepared(tmp_path, "1.10", size=1000, fields="Installed-Size: 60000\n")
    result = node.patch(definition(made, "1.10"))
    assert (result["outcome"], result["reason"]) == ("failed", "no_space"), result


@pytest.mark.parametrize("second", [False, True])
def test_dpkg_still_knows_what_an_administrator_has_changed(node: Node, tmp_path: Path, second: bool) -> None:
    """After a roll back, with the package made again or with the kept one, as if there had been no patch."""
    old = prepared(tmp_path, "1.9-1")
    if second:
        assert node.patch(definition(old, "1.9-1", install_missing=True))["outcome"] == "patched"
    else:
        node.run("dpkg", "--install", old)
    node.run("python3", "-c", CHANGES)
    node.sh(
        "rm /opt/pw-tool/log; cd /etc/pw-tool; rm 1.9-1.conf; echo default of 1.10-1 > tool.conf;"
        "echo x > tool.conf.dpkg-dist"
    )
    before = seen(node, *FOLDERS), database(node)
    for version in ("1.10-1", "1.11-1"):
        result = node.patch(definition(prepared(tmp_path, version), version, **SICK))
        assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
        node.sh("rm -f /opt/pw-tool/log")
        assert seen(node, *FOLDERS) == before[0]
        assert database(node) == before[1]
    assert node.run("dpkg", "--audit") == ""
    node.sh("echo mine > /etc/pw-tool/tool.conf; rm /etc/pw-tool/tool.conf.dpkg-dist")
    node.patch(definition(tmp_path / "pw-tool_1.10-1.deb", "1.10-1", **SICK))
    node.run("dpkg", "--force-confdef", "--force-confold", "--install", tmp_path / "pw-tool_1.11-1.deb")
    conf = node.sh("cd /etc/pw-tool; head *")
    assert "==> tool.conf <==\nmine\n" in conf
    assert "==> tool.conf.dpkg-dist <==\ndefault of 1.11-1\n" in conf
    assert "==> 1.9-1.conf" not in conf


@pytest.mark.parametrize("family", ["deb", "rpm"])
def test_what_the_last_release_left_halfway_is_put_right(node: Node, tmp_path: Path, family: str) -> None:
    """Its journal says less, and there are no such files beside it."""
    build = deb if family == "deb" else rpm
    if family == "rpm":
        to_rpm(node)
    assert node.patch(definition(build(tmp_path, "1.9"), "1.9", install_missing=True))["outcome"] == "patched"
    node.sh("cd /etc/pw-tool; echo mine > tool.conf; rm -f /opt/pw-tool/log")
    before = seen(node, *FOLDERS[:2])
    wanted = definition(build(tmp_path, "1.10"), "1.10")
    killed = {"health": {"command": ["sh", "-c", "kill -9 $PPID"], "retries": 0, "delay": 0.0}}
    subprocess.run(
        node.module(wanted),
        input=json.dumps({"ANSIBLE_MODULE_ARGS": dict(wanted, **killed)}).encode(),
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        check=False,
    )
    node.sh("cd /var/lib/patchwave; rm pw-tool.packages/files.json; touch /etc/pw-tool/tool.conf.patchwave")
    journal = json.loads(node.run("cat", "/var/lib/patchwave/pw-tool.journal.json"))
    old = ("package", "before", "folder", "new", "old", "strays", "changed")
    journal["undo"] = {key: value for key, value in journal["undo"].items() if key in old}
    journal["undo"]["changed"] = [path for path in journal["undo"]["changed"] if family == "rpm"]
    node.sh('printf %s "$1" > /var/lib/patchwave/pw-tool.journal.json', json.dumps(journal))
    node.sh("test $1 = rpm || rm -r /var/lib/patchwave/pw-tool.packages/changed /etc/pw-tool/*.patchwave", family)
    result = node.patch(dict(wanted, **(SICK if family == "deb" else OLD_ONLY)))
    assert result["outcome"] == "rolled_back", result
    node.sh("rm -f /opt/pw-tool/log")
    assert seen(node, *FOLDERS[:2]) == before


def test_a_version_whose_removal_fails_is_still_rolled_back(node: Node, tmp_path: Path) -> None:
    """dpkg would not go down: it has no other script to try."""
    node.run("dpkg", "--install", deb(tmp_path, "1.9-1"))
    node.sh("rm /opt/pw-tool/log")
    before = state(node), database(node)
    for part in ("prerm", "postrm"):
        (tmp_path / "tree-1.10-1/DEBIAN").mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree-1.10-1/DEBIAN" / part).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "tree-1.10-1/DEBIAN" / part).chmod(0o755)
    result = node.patch(definition(deb(tmp_path, "1.10-1"), "1.10-1", **SICK))
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    node.sh("rm -f /opt/pw-tool/log")
    assert (state(node), database(node)) == before


@pytest.mark.parametrize("family", ["deb", "rpm"])
def test_an_old_version_that_lacked_another_package_comes_back(node: Node, tmp_path: Path, family: str) -> None:
    """Somebody removed what it needs, or it was never there; the new version does not need it any more."""
    if family == "rpm":
        to_rpm(node)
        old = rpm(tmp_path, "1.9", fields="Requires: pw-none\n")
        node.run("rpm", "-i", "--nodeps", old)
        node.sh(
            "mkdir -p /var/lib/patchwave/pw-tool.packages; cp $1 /var/lib/patchwave/pw-tool.packages/installed.rpm", old
        )
        args = definition(rpm(tmp_path, "1.10"), "1.10", **OLD_ONLY)
        shown = ["rpm", "-qa"]
    else:
        node.run("dpkg", "--force-depends", "--install", deb(tmp_path, "1.9-1", fields="Depends: pw-none\n"))
        args = definition(deb(tmp_path, "1.10-1"), "1.10-1", **SICK)
        shown = ["dpkg-query", "-W", "-f", "${Status} ${Version}", "pw-tool"]
    before = node.run(*shown)
    result = node.patch(args)
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    assert node.run(*shown) == before


def test_configuration_of_a_removed_package_outlives_a_failed_installation(node: Node, tmp_path: Path) -> None:
    node.run("dpkg", "--install", deb(tmp_path, "1.9-1"))
    node.sh("echo mine > /etc/pw-tool/tool.conf; dpkg --remove pw-tool; rm -rf /opt/pw-tool")
    asked = ("dpkg-query", "-W", "-f", "${Status} ${Conffiles}", "pw-tool")
    before = seen(node, "/etc/pw-tool"), node.run(*asked)
    result = node.patch(definition(deb(tmp_path, "1.10-1", "exit 1"), "1.10-1", install_missing=True))
    assert result["outcome"] == "rolled_back", result
    assert (seen(node, "/etc/pw-tool"), node.run(*asked)) == before


def test_files_of_another_package_are_not_taken(node: Node, tmp_path: Path) -> None:
    node.run("dpkg", "--install", deb(tmp_path, "1.9-1"))
    other = f"Package: pw-other\n{CONTROL.format('1').partition(chr(10))[2]}"
    node.sh('cd /var/tmp; mkdir -p u/DEBIAN u/opt; echo x > u/opt/theirs; printf %s "$1" > u/DEBIAN/control', other)
    node.sh("cd /var/tmp; dpkg-deb -b u u.deb; dpkg --install u.deb; rm /opt/pw-tool/log")
    (tmp_path / "tree-1.10-1/opt").mkdir(parents=True)
    (tmp_path / "tree-1.10-1/opt/theirs").write_text("ours")
    before = state(node)
    result = node.patch(definition(deb(tmp_path, "1.10-1", fields="Replaces: pw-other\n"), "1.10-1"))
    assert (result["outcome"], result["reason"]) == ("failed", "install_failed"), result
    assert "pw-other" in result["msg"]
    assert (state(node), node.run("cat", "/opt/theirs")) == (before, "x\n")


def test_a_file_of_nobody_comes_back(node: Node, tmp_path: Path) -> None:
    node.run("dpkg", "--install", deb(tmp_path, "1.9-1"))
    node.sh("cd /opt/pw-tool; echo mine > only-in-1.10-1; chmod 600 only-in-1.10-1; rm log")
    before = state(node)
    assert node.patch(definition(deb(tmp_path, "1.10-1"), "1.10-1", **SICK))["outcome"] == "rolled_back"
    node.sh("rm -f /opt/pw-tool/log")
    assert state(node) == before


def test_a_held_deb_is_left_alone_unless_asked_for(node: Node, tmp_path: Path) -> None:
    node.run("dpkg", "--install", deb(tmp_path, "1.9-1"))
    node.run("apt-mark", "hold", "pw-tool")
    wanted = definition(deb(tmp_path, "1.10-1"), "1.10-1")
    before = state(node)
    for check_mode in (True, False):
        result = node.patch(wanted, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("failed", "held"), result
        assert "apt-mark hold" in result["msg"]
        assert state(node) == before
    wanted["package_file"]["ignore_hold"] = True
    result = node.patch(dict(wanted, **SICK))
    assert result["outcome"] == "rolled_back", result
    assert node.run("apt-mark", "showhold") == "pw-tool\n"
    assert node.patch(wanted)["outcome"] == "patched"
    assert node.run("apt-mark", "showhold") == "pw-tool\n"


@pytest.mark.parametrize("how", ["unpacked", "half-configured", "triggers-awaited"])
def test_a_deb_that_is_not_installed_to_the_end_is_not_current(node: Node, tmp_path: Path, how: str) -> None:
    made = deb(tmp_path, "1.10-1", "test ! -e /var/bad")
    if how == "unpacked":
        node.run("dpkg", "--unpack", made)
    elif how == "half-configured":
        node.sh("touch /var/bad; dpkg --install $1 || rm /var/bad", made)
    else:
        node.run("dpkg", "--install", made)
        node.sh(
            "sed -i '/^Package: pw-tool$/,/^$/s/^Status: .*/Status: install ok triggers-awaited\\n"
            "Triggers-Awaited: dpkg/' /var/lib/dpkg/status"
        )
    assert node.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "pw-tool") == how
    other = {**definition(made, "1.10-2"), "fixed_in": "1.10-1"}
    for check_mode in (True, False):
        result = node.patch(
            {**other, "package_file": {**other["package_file"], "version": "1.9-1"}, "fixed_in": "1.9-1"},
            check_mode=check_mode,
        )
        assert (result["outcome"], result["reason"]) == ("failed", "unfinished"), result
        assert how in result["msg"]
    result = node.patch(definition(made, "1.10-1"))
    assert result["outcome"] == "patched", result
    assert node.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "pw-tool") == "installed"
    assert node.patch(definition(made, "1.10-1"))["outcome"] == "current"


def scripted(folder: Path, version: str, section: str, fields: str = "") -> Path:
    """Build an RPM package with one more section."""
    return rpm(folder, version, section, "AutoReqProv: no\n" + fields)


@pytest.fixture
def old_rpm(node: Node, tmp_path: Path) -> str:
    """Install version 1.9 as the module does, and a shell for scripts; change its files; return what is seen."""
    to_rpm(node)
    assert node.patch(definition(rpm(tmp_path, "1.9"), "1.9", install_missing=True))["outcome"] == "patched"
    node.sh(BY_HAND)
    node.sh(
        "cd /opt/pw-tool; chmod 4711 version; chown 12:13 of-1.9; chmod 2770 of-1.9; setcap cap_net_raw+ep of-1.9/caf*"
    )
    return seen(node, "/opt/pw-tool", "/etc/pw-tool") + node.sh("rpm -qa | sort")


@pytest.mark.parametrize(
    "script", ["%post -p <lua>\nerror('no')", "%posttrans -p <lua>\nerror('no')", "%preun -p <lua>\nerror('no')"]
)
def test_a_script_of_an_rpm_that_fails_is_a_failure(node: Node, old_rpm: str, tmp_path: Path, script: str) -> None:
    """Of most of them rpm only warns; one that fails as it goes must not keep it from going."""
    args = definition(rpm(tmp_path, "1.10", f"\n{script}"), "1.10", **OLD_ONLY)
    if "post" in script:
        del args["health"]
    result = node.patch(args)
    assert (result["outcome"], result["reason"]) == (
        "rolled_back",
        "health_failed" if "health" in args else "install_failed",
    )
    assert ("%post" in result["msg"]) == ("post" in script)
    assert seen(node, "/opt/pw-tool", "/etc/pw-tool") + node.sh("rpm -qa | sort") == old_rpm


def test_what_an_rpm_would_remove_is_refused_before(node: Node, old_rpm: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    spec = rpm(tmp_path, "3.0").parent.parent / "3.0.spec"
    text = spec.read_text().replace("Name: pw-tool", "Name: pw-third").replace("/pw-tool", "/pw-third")
    spec.write_text(text)

    subprocess.run(
        ["rpmbuild", "-bb", f"--define=_topdir {tmp_path}/rpm", f"--define=_rpmdir {tmp_path}/other", spec],
        check=True,
        capture_output=True,
    )
    node.run("rpm", "-i", next((tmp_path / "other").rglob("*.rpm")))
    before = seen(node, "/opt/pw-tool", "/opt/pw-third", "/etc/pw-tool") + node.sh("rpm -qa | sort")
    for fields, refused in (
        ("Obsoletes: pw-third < 3\n", False),
        ("Obsoletes: pw-third\n", True),
        ("Conflicts: pw-third\n", True),
        ("Obsoletes: pw-third <= 3.0\n", True),
    ):
        result = node.patch(definition(rpm(tmp_path, "1.10", fields=fields), "1.10", **OLD_ONLY))
        if refused:
            assert (result["outcome"], result["reason"]) == ("failed", "install_failed"), result
            assert "pw-third" in result["msg"]
        else:
            assert result["outcome"] == "rolled_back", result
        assert seen(node, "/opt/pw-tool", "/opt/pw-third", "/etc/pw-tool") + node.sh("rpm -qa | sort") == before


def test_an_rpm_without_a_way_back_only_where_the_definition_says_so(node: Node, tmp_path: Path) -> None:
    to_rpm(node)
    node.run("rpm", "-i", rpm(tmp_path, "1.9"))
    before = seen(node, "/opt/pw-tool", "/opt/pw-third", "/etc/pw-tool")
    wanted = definition(rpm(tmp_path, "1.10"), "1.10", **OLD_ONLY)
    result = node.patch(wanted)
    assert (result["outcome"], result["reason"]) == ("failed", "no_way_back"), result
    assert seen(node, "/opt/pw-tool", "/opt/pw-third", "/etc/pw-tool") == before
    node.sh(
        "mkdir -p /var/cache/dnf/x/packages; cp $1 /var/cache/dnf/x/packages",
        tmp_path / "noarch/pw-tool-1.9-1.noarch.rpm",
    )
    result = node.patch(wanted)
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    assert seen(node, "/opt/pw-tool", "/opt/pw-third", "/etc/pw-tool") == before
    node.sh("rm -r /var/cache/dnf /var/lib/patchwave")
    wanted["package_file"]["way_back"] = "none"
    result = node.patch(wanted)
    assert (result["outcome"], result["reason"]) == ("failed", "rollback_failed"), result
    assert "way_back" in result["msg"]
    assert node.patch(wanted)["outcome"] == "current"
    assert node.run("rpm", "-q", "pw-tool") == "pw-tool-1.10-1.noarch\n"


def test_a_held_rpm(node: Node, old_rpm: str, tmp_path: Path) -> None:
    wanted = definition(rpm(tmp_path, "1.10"), "1.10")
    node.sh("mkdir -p /etc/dnf/plugins; echo 'pw-tool-0:1.9-1.*' > /etc/dnf/plugins/versionlock.list")
    result = node.patch(wanted)
    assert (result["outcome"], result["reason"]) == ("failed", "held"), result
    assert "versionlock.list" in result["msg"]
    wanted["package_file"]["ignore_hold"] = True
    assert node.patch(wanted)["outcome"] == "patched"
