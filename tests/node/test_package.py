# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package kind against apt and dnf, with signed repositories that nginx serves on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from .conftest import Node, to_rpm
from .test_crashes import DEB_FOLDERS, DPKG, RPM, RPM_FOLDERS, disturb, small
from .test_package_file import deb, rpm, state
from .test_package_file import definition as of_file

NGINX = """
daemon off; error_log stderr; pid {folder}/nginx.pid; user root;
events {{}}
http {{ access_log off; server {{ listen 127.0.0.1:{port}; root {folder}/www; }} }}
"""
NEEDED = ("nginx", "gpg", "apt-ftparchive", "createrepo_c", "rpmsign", "dnf", "zypper")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [program for program in NEEDED if not shutil.which(program)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'no more'} (make system)")
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(scope="module")
def server(folder: Path) -> t.Iterator[str]:
    (folder / "www").mkdir()
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    with subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL) as nginx:
        for dummy in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        nginx.terminate()


class Keys:
    """A key ring with one key to sign with."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        self.home = home
        self.gpg("--quick-gen-key", "Vendor <vendor@example.com>", "rsa2048", "sign", "never")
        self.public = self.gpg("--armor", "--export")

    def gpg(self, *options: object) -> str:
        command = ["gpg", "--homedir", self.home, "--batch", "--passphrase", "", *options]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture(scope="module")
def keys(folder: Path) -> t.Iterator[tuple[Keys, Keys]]:
    made = Keys(folder / "keys"), Keys(folder / "other")
    yield made
    for ring in made:
        subprocess.run(["gpgconf", "--homedir", ring.home, "--kill", "all"], check=False)


@pytest.fixture(scope="module")
def apt(folder: Path, server: str, keys: tuple[Keys, Keys]) -> str:
    """Serve versions 1.9-1 to 1.11-1 for apt; return the URL."""
    root = folder / "www" / "deb"
    binary = root / "dists/stable/main/binary-amd64"
    binary.mkdir(parents=True)
    for version, script in (("1.9-1", ""), ("1.10-1", ""), ("1.11-1", "exit 1")):
        shutil.copy(deb(folder, version, script or "exit 0"), root)
    packages = subprocess.run(["apt-ftparchive", "packages", "."], cwd=root, capture_output=True, check=True).stdout
    (binary / "Packages").write_bytes(packages)
    command = ["apt-ftparchive", "-o", "APT::FTPArchive::Release::Suite=stable"]
    command += [
        "-o",
        "APT::FTPArchive::Release::Components=main",
        "-o",
        "APT::FTPArchive::Release::Architectures=amd64",
    ]
    dists = root / "dists/stable"
    release = subprocess.run([*command, "release", "."], cwd=dists, capture_output=True, check=True).stdout
    (dists / "Release").write_bytes(release)
    keys[0].gpg("--clearsign", "--output", dists / "InRelease", dists / "Release")
    return f"{server}/deb"


@pytest.fixture(scope="module")
def dnf(folder: Path, server: str, keys: tuple[Keys, Keys]) -> str:
    """Serve versions 1.9 and 1.10 for dnf; return the URL."""
    root = folder / "www" / "rpm"
    root.mkdir()
    for version in ("1.9", "1.10"):
        made = shutil.copy(rpm(folder, version), root)
        macros = ("_gpg_name Vendor", f"_gpg_path {keys[0].home}", f"__gpg {shutil.which('gpg')}")
        sign = ["rpmsign", *(f"--define={macro}" for macro in macros), "--addsign", made]
        subprocess.run(sign, check=True, capture_output=True)
    subprocess.run(["createrepo_c", "-q", root], check=True)
    return f"{server}/rpm"


def definition(url: str, version: str, keys: Keys, **changes: t.Any) -> dict[str, t.Any]:
    package = {"version": version, "repository": {"url": url, "key": keys.public}}
    return {"name": "pw-tool", "fixed_in": version, "package": package, **changes}


def test_apt_installs_the_pinned_version_of_a_signed_repository(
    node: Node, folder: Path, apt: str, keys: tuple[Keys, Keys]
) -> None:
    node.run("dpkg", "--install", folder / "pw-tool_1.9-1.deb")
    node.sh("rm /opt/pw-tool/log")
    before, sources = state(node), node.tree("/etc/apt", "/var/lib/apt")
    refused = node.patch(definition(apt, "1.10-1", keys[1]))
    assert (refused["outcome"], refused["reason"]) == ("failed", "bad_signature"), refused
    missing = node.patch(definition(apt, "1.12-1", keys[0]))
    assert (missing["outcome"], missing["reason"]) == ("failed", "download_failed"), missing
    assert state(node) == before
    failed = node.patch(definition(apt, "1.11-1", keys[0]))
    assert (failed["outcome"], failed["reason"]) == ("rolled_back", "install_failed"), failed
    node.sh("rm -f /opt/pw-tool/log")
    assert state(node) == before
    args = definition(apt, "1.10-1", keys[0])
    promised = node.patch(args, check_mode=True)
    done = node.patch(args)
    assert (done["outcome"], done["version_after"]) == ("patched", "1.10-1"), done
    assert promised["outcome"] == done["outcome"]
    assert node.patch(args)["outcome"] == "current"
    assert node.tree("/etc/apt", "/var/lib/apt") == sources


@pytest.mark.parametrize("manager", ["dnf", "zypper"])
def test_an_rpm_of_a_pinned_version_from_a_signed_repository(
    node: Node, folder: Path, dnf: str, keys: tuple[Keys, Keys], manager: str
) -> None:
    to_rpm(node)
    if manager == "zypper":
        node.sh("rm /usr/bin/dnf /etc/os-release; printf 'ID=sles\nID_LIKE=suse\n' > /etc/os-release")
    assert node.patch(definition(dnf, "1.9-1", keys[0]))["reason"] == "not_installed"
    first = node.patch(definition(dnf, "1.9-1", keys[0], install_missing=True))
    assert (first["outcome"], first["version_after"]) == ("patched", "1.9-1"), first
    before = node.tree("/opt/pw-tool", "/var/lib/patchwave/pw-tool.packages")
    refused = node.patch(definition(dnf, "1.10-1", keys[1]))
    assert (refused["outcome"], refused["reason"]) == ("failed", "bad_signature"), refused
    missing = node.patch(definition(dnf, "1.12-1", keys[0]))
    assert (missing["outcome"], missing["reason"]) == ("failed", "download_failed"), missing
    down = node.patch({**definition(dnf, "1.9-1", keys[0]), "fixed_in": "1.8-1"})
    assert (down["outcome"], down["reason"]) == ("current", "already_fixed")
    promised = node.patch(definition(dnf, "1.10-1", keys[0]), check_mode=True, diff=True)
    assert node.tree("/opt/pw-tool", "/var/lib/patchwave/pw-tool.packages") == before
    done = node.patch(definition(dnf, "1.10-1", keys[0]), diff=True)
    assert (done["outcome"], done["version_before"], done["version_after"]) == ("patched", "1.9-1", "1.10-1"), done
    for key in ("outcome", "reason", "changed", "version_before", "version_after", "diff"):
        assert promised[key] == done[key], key
    assert done["diff"] == {"before": "pw-tool 1.9-1\n", "after": "pw-tool 1.10-1\n"}
    assert node.run("cat", "/opt/pw-tool/version") == "1.10\n"
    again = node.patch(definition(dnf, "1.10-1", keys[0]))
    assert (again["outcome"], again["changed"]) == ("current", False)


def test_one_dead_source_of_the_node_does_not_matter(
    node: Node, folder: Path, apt: str, keys: tuple[Keys, Keys]
) -> None:
    """Unless nobody else has the package; then the message tells of it."""
    node.run("dpkg", "--install", folder / "pw-tool_1.9-1.deb")
    node.sh('rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*; printf %s "$1" > /etc/vendor.asc', keys[0].public)
    dead = "deb [trusted=yes] http://localhost:9/deb stable main\n"
    node.sh('printf %s "$1" > /etc/apt/sources.list', dead)
    args = {"name": "pw-tool", "fixed_in": "1.10-1", "package": {"version": "1.10-1"}}
    result = node.patch(args)
    assert (result["outcome"], result["reason"]) == ("failed", "download_failed"), result
    assert "localhost:9" in result["msg"]
    node.sh('printf %s "$1" > /etc/apt/sources.list', f"{dead}deb [signed-by=/etc/vendor.asc] {apt} stable main\n")
    result = node.patch(args)
    assert (result["outcome"], result["version_after"]) == ("patched", "1.10-1"), result


def test_apt_is_not_talked_into_a_repository_that_nobody_signed(
    node: Node, folder: Path, apt: str, keys: tuple[Keys, Keys]
) -> None:
    node.run("dpkg", "--install", folder / "pw-tool_1.9-1.deb")
    lax = "Acquire::AllowInsecureRepositories yes;\nAPT::Get::AllowUnauthenticated yes;\n"
    node.sh('printf %s "$1" > /etc/apt/apt.conf.d/99lax', lax)
    refused = node.patch(definition(apt, "1.10-1", keys[1]))
    assert (refused["outcome"], refused["reason"]) == ("failed", "bad_signature"), refused


@pytest.mark.parametrize("manager", ["dnf", "zypper"])
def test_the_way_back_of_an_rpm_comes_from_the_nodes_repositories(
    node: Node, folder: Path, dnf: str, manager: str, tmp_path: Path
) -> None:
    """Another one of them is dead, and a package of the same version that was built anew is not the installed one."""
    to_rpm(node)
    if manager == "zypper":
        node.sh("rm /usr/bin/dnf /etc/os-release; printf 'ID=sles\nID_LIKE=suse\n' > /etc/os-release")
    repos = "/etc/zypp/repos.d" if manager == "zypper" else "/etc/yum.repos.d"
    text = "".join(
        f"[{name}]\nname={name}\nbaseurl={url}\nenabled=1\ngpgcheck=0\nautorefresh=1\n"
        for name, url in (("dead", "http://127.0.0.1:9/rpm"), ("vendor", dnf))
    )
    node.sh('mkdir -p $1; printf %s "$2" > $1/node.repo', repos, text)
    wanted = of_file(folder / "www/rpm/pw-tool-1.10-1.noarch.rpm", "1.10")
    wanted["health"] = {"command": ["grep", "-qx", "1.9", "/opt/pw-tool/version"], "retries": 0, "delay": 0.0}
    node.run("rpm", "-i", "--nosignature", rpm(tmp_path, "1.9", fields="Vendor: other\n"))
    result = node.patch(wanted)
    assert (result["outcome"], result["reason"]) == ("failed", "no_way_back"), result
    node.sh("rpm -e pw-tool; rpm -i --nosignature $1", folder / "www/rpm/pw-tool-1.9-1.noarch.rpm")
    before = node.tree("/opt/pw-tool", "/etc/pw-tool")
    result = node.patch(wanted)
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    assert node.tree("/opt/pw-tool", "/etc/pw-tool") == before


@pytest.mark.parametrize("manager", ["apt", "dnf", "zypper"])
def test_killed_at_one_step_after_the_other(
    node: Node, folder: Path, apt: str, dnf: str, keys: tuple[Keys, Keys], manager: str
) -> None:
    health = {"command": ["grep", "-q", "1.10", "/opt/pw-tool/version"], "retries": 0, "delay": 0.0}
    if manager == "apt":
        small(node)
        node.run("dpkg", "--force-all", "--install", folder / "pw-tool_1.9-1.deb")
        health["command"] = ["/opt/pw-tool/tool"]
        place: tuple[str, list[str], list[str]] = (apt, DEB_FOLDERS, DPKG)
    else:
        to_rpm(node)
        node.sh("rm /usr/bin/dnf" if manager == "zypper" else "rm /usr/bin/zypper")
        assert node.patch(definition(dnf, "1.9-1", keys[0], install_missing=True))["outcome"] == "patched"
        place = (dnf, RPM_FOLDERS, RPM)
    args = definition(place[0], "1.10-1", keys[0], health=health)
    found = disturb(node, "chain", args, *place[1:], stride=2 if manager == "dnf" else 1)
    assert found["faults"] == []
    assert (found["clean"], found["kills"] > 9) == ("patched", True), found
