# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package_file kind against dpkg and rpm themselves, with packages that the tests build."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

from .conftest import Node, to_rpm

CONTROL = """Package: pw-tool
Version: {}
Architecture: all
Maintainer: t <t@example.com>
Description: test
 two
"""
HOLD = """import fcntl, sys
lock = open('/var/lib/dpkg/lock-frontend', 'w')
fcntl.lockf(lock, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""
FOLDERS = ("/opt/pw-tool", "/etc/pw-tool", "/usr/lib/pw-tool")
SPEC = """
Name: pw-tool
Version: {version}
Release: 1
Summary: test
License: none
BuildArch: noarch
%description
test
%install
mkdir -p %{{buildroot}}/opt/pw-tool/of-{version} %{{buildroot}}/etc/pw-tool
touch %{{buildroot}}/opt/pw-tool/of-{version}/caf\u00e9
echo {version} > %{{buildroot}}/opt/pw-tool/version
truncate -s {size} %{{buildroot}}/opt/pw-tool/zeros
for name in tool kept gone; do echo of {version} > %{{buildroot}}/etc/pw-tool/$name.conf; done
%files
/opt/pw-tool
%config /etc/pw-tool/tool.conf
%config /etc/pw-tool/gone.conf
%config(noreplace) /etc/pw-tool/kept.conf
%pre -p <lua>
{script}
"""


#: What an administrator does to the files of the RPM package.
BY_HAND = "cd /etc/pw-tool; echo mine > tool.conf; chmod 600 tool.conf; echo mine > kept.conf; rm gone.conf"

#: A package manager that is killed while it works for the first time, when some files are there and the database
#: does not know it. What only asks, and all that comes after, is done by the true one. One call can be spared.
KILLED = """#!/bin/sh
case " $* " in
*" --test "* | *" --no-act "*) ;;
*" -U "* | *" --install "*)
    if ! rmdir /var/spare && mkdir /var/killed; then
        cd /opt && mkdir -p pw-tool/{0} && cd pw-tool && touch {1} && kill -9 $$
    fi ;;
esac
exec $0.true "$@"
"""


def killed(node: Node, program: str, *left: str) -> None:
    """Have a package manager killed in a node, after it has made a folder and files."""
    script = 'true=$(command -v $1); mv $true $true.true; printf %s "$2" > $true; chmod 755 $true'
    node.sh(script, program, KILLED.format(*left))


def deb(folder: Path, version: str, script: str = "exit 0", fields: str = "") -> Path:
    """Build a package with a program, a configuration file, a link, odd modes and maintainer scripts."""
    tree = folder / f"tree-{version}"
    for name in ("DEBIAN", "opt/pw-tool", "etc/pw-tool", "usr/lib/pw-tool"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "opt/pw-tool/tool").write_text(f"#!/bin/sh\necho {version}\n")
    (tree / "opt/pw-tool/tool").chmod(0o4755)
    (tree / "opt/pw-tool" / f"only-in-{version}").write_text(version)
    (tree / "usr/lib/pw-tool/link").symlink_to("../../../opt/pw-tool/tool")
    (tree / "etc/pw-tool/tool.conf").write_text(f"default of {version}\n")
    (tree / f"etc/pw-tool/{version}.conf").write_text("only in this version\n")
    (tree / "DEBIAN/conffiles").write_text(f"/etc/pw-tool/tool.conf\n/etc/pw-tool/{version}.conf\n")
    (tree / "DEBIAN/control").write_text(CONTROL.format(version) + fields)
    (tree / "DEBIAN/postinst").write_text(f"#!/bin/sh\necho configured >> /opt/pw-tool/log\n{script}\n")
    (tree / "DEBIAN/postinst").chmod(0o755)
    for path in tree.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    made = folder / f"pw-tool_{version}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, made], check=True, capture_output=True)
    return made


def rpm(folder: Path, version: str, script: str = "", fields: str = "", size: int = 0) -> Path:
    spec = folder / f"{version}.spec"
    spec.write_text(fields + SPEC.format(version=version, script=script, size=size))
    command = ["rpmbuild", "-bb", f"--define=_topdir {folder}/rpm", "--define=_rpmdir " + str(folder), spec]
    home = dict(os.environ, HOME=str(folder))  # where rpm would leave a database
    subprocess.run([str(word) for word in command], check=True, capture_output=True, env=home)
    return folder / "noarch" / f"pw-tool-{version}-1.noarch.rpm"


def definition(package: Path, version: str, **changes: t.Any) -> dict[str, t.Any]:
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    source = {"url": str(package), "sha256": sha256, "version": version, "format": package.suffix[1:]}
    return {"name": "pw-tool", "fixed_in": version, "package_file": source, **changes}


def state(node: Node) -> str:
    return node.tree(*FOLDERS) + node.run("dpkg-query", "-W", "-f", "${Status} ${Version}", "pw-tool")


@pytest.fixture
def packages(tmp_path: Path, node: Node) -> tuple[Path, Path]:
    """Install version 1.9 in the node, with a configuration file that its administrator changed."""
    old, new = deb(tmp_path, "1.9-1"), deb(tmp_path, "1.10-1~deb12u1")
    node.run("dpkg", "--install", old)
    node.sh("echo changed by hand > /etc/pw-tool/tool.conf; rm /opt/pw-tool/log")
    return old, new


def test_a_deb_is_installed_once(node: Node, packages: tuple[Path, Path]) -> None:
    args = definition(packages[1], "1.10-1~deb12u1")
    before = state(node)
    promised = node.patch(args, check_mode=True)
    assert state(node) == before
    done = node.patch(args)
    assert (done["outcome"], done["reason"]) == (promised["outcome"], promised["reason"]) == ("patched", "upgraded")
    assert (done["version_before"], done["version_after"]) == ("1.9-1", "1.10-1~deb12u1")
    assert node.run("/opt/pw-tool/tool") == "1.10-1~deb12u1\n"
    assert node.run("cat", "/etc/pw-tool/tool.conf") == "changed by hand\n"
    assert node.patch(args)["outcome"] == "current"
    assert node.sh("ls /var/lib/patchwave/pw-tool.packages") == "installed.deb\n"


@pytest.mark.parametrize("script", ["exit 1", "echo changed > /opt/pw-tool/tool"])
def test_a_deb_that_fails_leaves_the_node_as_before(
    node: Node, packages: tuple[Path, Path], tmp_path: Path, script: str
) -> None:
    before = state(node)
    bad = deb(tmp_path, "1.11-1", script)
    health = {"command": ["/opt/pw-tool/tool"], "retries": 0, "delay": 0.0}
    result = node.patch(definition(bad, "1.11-1", health=health))
    assert result["outcome"] == "rolled_back", result
    assert result["reason"] == ("install_failed" if script == "exit 1" else "health_failed")
    assert ("post-installation script subprocess returned error exit status 1" in result["msg"]) == (script == "exit 1")
    node.sh("rm -f /opt/pw-tool/log")  # maintainer scripts ran again
    assert state(node) == before
    assert node.patch(definition(packages[1], "1.10-1~deb12u1"))["outcome"] == "patched"


def test_a_deb_of_another_name_or_version_is_not_installed(node: Node, packages: tuple[Path, Path]) -> None:
    before = state(node)
    assert node.patch(definition(packages[1], "1.12-1"))["reason"] == "wrong_package"
    other = definition(packages[1], "1.10-1~deb12u1", name="dpkg-none", install_missing=True)
    assert node.patch(other)["reason"] == "wrong_package"
    strange = definition(packages[1], "1.10.0", versioning="semver")
    for check_mode in (True, False):
        result = node.patch(strange, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("failed", "probe_failed"), result
        assert "1.9-1, which is no version of semver" in result["msg"]
    assert state(node) == before


def test_a_deb_of_many_files_comes_back_whole(node: Node, tmp_path: Path) -> None:
    """Also those that an administrator keeps elsewhere, and those whose names are no text."""
    folder = tmp_path / "tree-1.9-1/opt/pw-tool"
    folder.mkdir(parents=True)
    for name in (*(b"%0200d" % number for number in range(500)), b"caf\xe9"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).touch()
    node.run("dpkg", "--install", deb(tmp_path, "1.9-1"))
    node.sh("rm /opt/pw-tool/log; dpkg-divert --local --rename --divert /opt/pw-tool/theirs --add /opt/pw-tool/tool")
    node.sh("echo ours > /opt/pw-tool/tool")
    before = state(node)
    result = node.patch(definition(deb(tmp_path, "1.10-1", "rm /opt/pw-tool/log; exit 1"), "1.10-1"))
    assert (result["outcome"], result["reason"]) == ("rolled_back", "install_failed"), result
    node.sh("rm -f /opt/pw-tool/log")
    assert state(node) == before


@pytest.mark.parametrize("family", ["deb", "rpm"])
def test_a_package_manager_that_is_killed_halfway_leaves_nothing(node: Node, tmp_path: Path, family: str) -> None:
    """Neither folders nor files that only the new version has, nor the package manager's own."""
    if family == "rpm":
        to_rpm(node)
        old, new, program = rpm(tmp_path, "1.9"), rpm(tmp_path, "1.10"), "rpm"
        left = "of-1.10/caf\u00e9 'version;5f3c2a10' 'of-1.10/caf\u00e9;5f3c2a10'"
    else:
        (tmp_path / "tree-1.10/opt/pw-tool/of-1.10").mkdir(parents=True)
        (tmp_path / "tree-1.10/opt/pw-tool/of-1.10/caf\u00e9").touch()
        old, new, program = deb(tmp_path, "1.9"), deb(tmp_path, "1.10"), "dpkg"
        left = "of-1.10/caf\u00e9 only-in-1.10.dpkg-new tool.dpkg-tmp"
    args = dict(definition(new, "1.10"), install_missing=True)
    killed(node, program, "of-1.10", left)
    for before in ("", "1.9"):
        if before:
            assert node.patch(dict(definition(old, before), install_missing=True))["outcome"] == "patched"
            node.sh("rm -fr /opt/pw-tool/log /var/killed")
        was = node.sh("find /opt /etc/pw-tool || true")
        result = node.patch(args)
        assert (result["outcome"], result["reason"]) == ("rolled_back", "install_failed"), result
        node.sh("rm -f /opt/pw-tool/log")
        assert node.sh("find /opt /etc/pw-tool || true") == was


def test_an_rpm_that_is_killed_as_the_old_version_comes_back(node: Node, tmp_path: Path) -> None:
    """What it has unpacked in a folder that only the old version has is not in the database by then."""
    to_rpm(node)
    old, new = (definition(rpm(tmp_path, version), version) for version in ("1.9", "1.10"))
    assert node.patch(dict(old, install_missing=True))["outcome"] == "patched"
    before = node.sh("find /opt /etc/pw-tool")
    killed(node, "rpm", "of-1.9", "'of-1.9/caf\u00e9;5f3c2a10'")
    node.sh("mkdir /var/spare")
    old_only = {"command": ["grep", "-qx", "1.9", "/opt/pw-tool/version"], "retries": 0, "delay": 0.0}
    args = dict(new, health=old_only)
    assert node.patch(args)["reason"] == "rollback_failed"
    assert ";5f3c2a10" in node.sh("find /opt")
    result = node.patch(args)
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    assert node.sh("find /opt /etc/pw-tool") == before


def test_a_deb_that_needs_other_packages_changed_is_refused_before(
    node: Node, packages: tuple[Path, Path], tmp_path: Path
) -> None:
    """One that needs another, and one of which another needs the old version."""
    before = state(node)
    greedy = definition(deb(tmp_path, "1.11-1", fields="Depends: pw-none (>= 2)\n"), "1.11-1")
    user = f"Package: pw-user\n{CONTROL.format('1').partition(chr(10))[2]}Depends: pw-tool (= 1.9-1)\n"
    for args, why in ((greedy, "pw-none (>= 2)"), (definition(packages[1], "1.10-1~deb12u1"), "pw-user")):
        result = node.patch(args)
        assert (result["outcome"], result["reason"]) == ("failed", "install_failed"), result
        assert why in result["msg"]
        assert "needs other packages changed" in result["msg"]
        assert state(node) == before
        node.sh('cd /var/tmp; mkdir -p u/DEBIAN; printf %s "$1" > u/DEBIAN/control; dpkg-deb -b u u.deb', user)
        node.run("dpkg", "--install", "/var/tmp/u.deb")
    node.run("dpkg", "--force-depends", "--purge", "pw-tool")  # from here on the node's packages are broken already
    result = node.patch(dict(args, install_missing=True))
    assert (result["outcome"], result["version_after"]) == ("patched", "1.10-1~deb12u1"), result


def test_a_first_installation_that_fails_leaves_nothing(node: Node, tmp_path: Path) -> None:
    bad = deb(tmp_path, "1.11-1", "exit 1")
    assert node.patch(definition(bad, "1.11-1"))["reason"] == "not_installed"
    result = node.patch(definition(bad, "1.11-1", install_missing=True))
    assert (result["outcome"], result["reason"]) == ("rolled_back", "install_failed")
    assert "pw-tool" not in node.run("dpkg-query", "-W")


def test_a_process_of_the_old_package_is_found(node: Node, packages: tuple[Path, Path]) -> None:
    node.sh("cp /bin/sleep /opt/pw-tool/tool.new; mv /opt/pw-tool/tool.new /opt/pw-tool/tool")
    node.sh("mv /opt/pw-tool /opt/elsewhere; ln -s elsewhere /opt/pw-tool")  # as /lib leads to /usr/lib
    args = definition(packages[1], "1.10-1~deb12u1")
    with node.start("sh", "-c", "echo $$ > /var/old.pid; exec /opt/pw-tool/tool 60"):
        result = node.patch(args)
        assert (result["outcome"], result["reason"]) == ("rolled_back", "old_process"), result
        assert "/opt/elsewhere/tool" in result["msg"]
        node.sh("kill $(cat /var/old.pid)")
    assert node.patch(args)["outcome"] == "patched"


def test_another_package_manager_is_waited_for(node: Node, packages: tuple[Path, Path]) -> None:
    args = definition(packages[1], "1.10-1~deb12u1")
    args["package_file"]["lock_timeout"] = 1
    before = state(node)
    with node.start("python3", "-c", HOLD, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        result = node.patch(args)
        assert (result["outcome"], result["reason"]) == ("failed", "package_locked")
        assert state(node) == before
        args["package_file"]["lock_timeout"] = 60
        end = threading.Timer(1.5, holder.stdin.close)
        end.start()
        assert node.patch(args)["outcome"] == "patched"
        end.join()


@pytest.mark.parametrize("family", ["deb", "rpm"])
def test_check_mode_looks_at_a_node_that_cannot_be_written(node: Node, tmp_path: Path, family: str) -> None:
    if family == "rpm":
        to_rpm(node)
        args = definition(rpm(tmp_path, "1.9"), "1.9", install_missing=True)
    else:
        args = definition(deb(tmp_path, "1.9-1"), "1.9-1", install_missing=True)
    assert node.patch(args)["outcome"] == "patched"
    script = 'for dir in etc opt root usr var; do mount -o "remount,$1" /$dir; done; mount -o remount,$1 /mnt'
    folders = ("/opt/pw-tool", "/var/lib/patchwave", "/var/lib/dpkg", "/var/lib/rpm", "/var/log")
    before = node.tree(*folders)
    node.sh(script, "ro")
    result = node.patch(args, check_mode=True)
    assert result["outcome"] == "current", result
    newer = {**args, "fixed_in": "2", "package_file": {**args["package_file"], "version": "2"}}
    assert node.patch(newer, check_mode=True)["reason"] == "not_writable"
    node.sh(script, "rw")
    assert node.tree(*folders) == before
    assert node.patch(newer, check_mode=True)["outcome"] == "patched"
    assert node.tree(*folders) == before


def test_an_rpm_needs_and_keeps_a_way_back(node: Node, tmp_path: Path) -> None:
    to_rpm(node)
    first, second, bad = rpm(tmp_path, "1.9"), rpm(tmp_path, "1.10"), rpm(tmp_path, "1.11", 'error("no")')
    worse = rpm(tmp_path, "1.10.1")
    result = node.patch(definition(first, "1.9-1", install_missing=True))
    assert (result["outcome"], result["version_after"]) == ("patched", "1.9-1"), result
    result = node.patch(definition(second, "1.10"))
    assert (result["outcome"], result["version_before"]) == ("patched", "1.9-1"), result
    node.sh(BY_HAND)
    verified = node.run("rpm", "-V", "pw-tool", check=False)
    before = node.tree("/opt/pw-tool", "/etc/pw-tool")
    sick = {"command": ["grep", "-qx", "1.10", "/opt/pw-tool/version"], "retries": 0}
    for args in (definition(worse, "1.10.1", health=sick), definition(bad, "1.11")):
        result = node.patch(args)
        reason = "health_failed" if "health" in args else "install_failed"
        assert (result["outcome"], result["reason"]) == ("rolled_back", reason), result
        assert node.tree("/opt/pw-tool", "/etc/pw-tool") == before
        assert node.run("rpm", "-V", "pw-tool", check=False) == verified
    greedy = definition(rpm(tmp_path, "1.12", fields="Requires: pw-none\n"), "1.12")
    result = node.patch(greedy)
    assert (result["outcome"], result["reason"]) == ("failed", "install_failed"), result
    assert "pw-none" in result["msg"]
    assert node.tree("/opt/pw-tool", "/etc/pw-tool") == before
    node.sh("rm -rf /var/lib/patchwave")
    assert node.patch(definition(bad, "1.11"))["reason"] == "no_way_back"
