# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real programs with a service, killed at every step and at random instants while they are patched.

Some steps and instants here; `make kills` does some thousand. One more run must then end at one version, with the
service up, the administrator's changes there, and nothing left over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tarfile
import typing as t
import zipfile
from pathlib import Path

import pytest

from .conftest import Node, to_rpm
from .test_applications import source
from .test_crashes import disturb
from .test_distribution_packages import Offered
from .test_distribution_packages import rpm as build_rpm
from .test_package_file import definition as of_package
from .test_programs import wheel

#: Random instants for each program.
KILLS = int(os.environ.get("PATCHWAVE_TEST_NODE_KILLS", "2"))
#: Of the steps, every third, or all.
STRIDE = 5 if KILLS < 10 else 1
STATE = "/var/lib/patchwave"
SERVICE = """#!/bin/sh
pid=$(cat /var/pw-service.pid 2>/dev/null)
alive() { test -n "$pid" && kill -0 $pid 2>/dev/null; }
case $1 in
  status) alive ;;
  stop) alive && kill -9 $pid; while alive; do sleep 0.01; done; rm -f /var/pw-service.pid ;;
  start) alive || { setsid COMMAND > /dev/null 2>&1 < /dev/null & echo $! > /var/pw-service.pid; } ;;
esac
"""


def service(node: Node, folder: Path, command: str) -> list[dict[str, t.Any]]:
    """Start a service by commands in a node; return its definition."""
    path = folder / "ctl"
    path.write_text(SERVICE.replace("COMMAND", command))
    path.chmod(0o755)
    node.run(path, "start")
    return [{"name": "web", **{verb: [str(path), verb] for verb in ("start", "stop", "status")}}]


def killed(node: Node, args: dict[str, t.Any], folders: list[str], ask: str, files: t.Sequence[str] = ()) -> None:
    """Kill runs of a definition; nothing may be mixed, lost or down."""
    status = " ".join(args["services"][0]["status"]) if args.get("services") else "true"
    command = ["sh", "-c", f"{ask}; {status} && echo up"]
    found = disturb(
        node, "crash", args, [*folders, STATE], command, files=list(files), seed=12, stride=STRIDE, random=KILLS
    )
    assert found["faults"] == [], json.dumps(found["faults"][:3])[:4000]
    assert (found["clean"], found["kills"] > 9) == ("patched", True), found
    print(f"{args['name']}: {found['kills']} kills at steps, {KILLS} instants, {found['seconds']:.2f} s a run")


def needs(control: str, field: str) -> set[str]:
    """Return the packages that a field of a stanza names, of alternatives the first."""
    line = next((line for line in control.split("\n") if line.startswith(field + ":")), "")
    return {word.split()[0].partition(":")[0] for word in line.partition(":")[2].split(",") if word.strip()}


def only_what_it_needs(node: Node, name: str) -> None:
    """Leave dpkg's database of a node with one package and all that it depends on: it makes dpkg many times quicker."""
    stanzas = {text.split("\n")[0][9:]: text for text in node.run("cat", "/var/lib/dpkg/status").split("\n\n") if text}
    left, kept = [name], set()
    while left:
        one = left.pop()
        if one in stanzas and one not in kept:
            kept.add(one)
            left += needs(stanzas[one], "Depends") | needs(stanzas[one], "Pre-Depends")
    text = "\n\n".join(stanzas[one].rstrip("\n") for one in sorted(kept)) + "\n"
    node.sh(
        'cd /var/lib/dpkg; printf %s "$1" > status; mkdir keep; mv info/$2.* keep; rm -rf info; mv keep info; '
        "for p in $3; do : > info/$p.list; done; rm -f /etc/dpkg/dpkg.cfg.d/*",
        text,
        name,
        " ".join(kept - {name}),
    )


def rsync(node: Node, folder: Path) -> list[tuple[str, Path]]:
    """Download the released and the fixed version with apt, as any user would."""
    if not shutil.which("apt-get"):
        pytest.skip("needs apt")
    for dummy in range(2):
        lines = node.run("apt-cache", "madison", "rsync").splitlines()
        versions = list(dict.fromkeys(line.split("|")[1].strip() for line in reversed(lines)))
        if len(versions) > 1:
            break
        node.run("apt-get", "update", "-qq")
    found = []
    for number, version in enumerate((versions[0], versions[-1])):
        place = folder / f"{number}"
        place.mkdir()
        node.sh('cd "$1"; apt-get download -qq "rsync=$2"; dpkg-deb -x *.deb tree', place, version)
        found.append((version, next(place.glob("*.deb"))))
    return found


def paths_of(packages: list[tuple[str, Path]]) -> list[str]:
    """Return the files of packages in folders that are not theirs alone."""
    trees = [path.parent / "tree" for dummy, path in packages]
    found = {f"/{path.relative_to(tree)}" for tree in trees for path in tree.rglob("*") if not path.is_dir()}
    return sorted(name for name in found if not name.startswith(DOCS))


DOCS = "/usr/share/doc/rsync"


def daemon() -> str:
    """Return the command of a daemon with a port of its own: nodes share the network."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"rsync --daemon --no-detach --port={free.getsockname()[1]} --config=/etc/pw-rsyncd.conf"


PROVEN = {"command": ["sh", "-c", "rsync --version > /dev/null"], "retries": 0, "delay": 0.0}


def test_a_deb(node: Node, tmp_path: Path) -> None:
    (before, old), (after, new) = packages = rsync(node, tmp_path)
    node.run("dpkg", "--force-downgrade", "--force-depends", "--install", old)
    only_what_it_needs(node, "rsync")
    node.sh(
        "echo '# by hand' >> /etc/default/rsync; chmod 640 /etc/default/rsync; setcap cap_net_raw+ep /usr/bin/rsync"
    )
    node.sh("echo 'use chroot = no' > /etc/pw-rsyncd.conf")
    args = of_package(new, after, name="rsync", health=PROVEN, services=service(node, tmp_path, daemon()))
    ask = "dpkg-query -W -f '${Package} ${Status} ${Version} ${Conffiles}\n' rsync; dpkg --audit"
    killed(node, args, [DOCS, "/var/lib/dpkg"], ask, paths_of(packages))
    assert before != after


def as_rpm(version: str, deb: Path) -> Path:
    """Pack the files of a Debian package as RPM, with the same version."""
    return build_rpm(Offered(version, "", deb), "rsync")


def test_an_rpm(node: Node, tmp_path: Path) -> None:
    packages = rsync(node, tmp_path)
    (before, old), (after, new) = [(version.replace("+", "."), path) for version, path in packages]
    node.run("dpkg", "--purge", "--force-all", "rsync")
    to_rpm(node)
    first = of_package(as_rpm(before, old), before, name="rsync", install_missing=True)
    assert node.patch(first)["outcome"] == "patched"
    node.sh("echo '# by hand' >> /etc/default/rsync; echo 'use chroot = no' > /etc/pw-rsyncd.conf")
    args = of_package(as_rpm(after, new), after, name="rsync", health=PROVEN)
    args["services"] = service(node, tmp_path, daemon())
    killed(node, args, [DOCS, "/var/lib/rpm"], "rpm -qa | sort; rpm -V rsync", paths_of(packages))


@pytest.mark.parametrize("layout", ["versions", "in_place"])
def test_an_archive(node: Node, tmp_path: Path, layout: str) -> None:
    packages = rsync(node, tmp_path)
    (before, after), made = (re.match(r"[0-9.]+", version)[0] for version, dummy in packages), tmp_path / "new.tar.gz"
    with tarfile.open(made, "w:gz") as tar:
        tar.add(packages[1][1].parent / "tree", ".", filter=lambda info: None if "/usr/share" in info.name else info)
    home = "/opt/pw-rsync/current" if layout == "versions" else "/opt/pw-rsync"
    folder = f"/opt/pw-rsync/{before}" if layout == "versions" else home
    node.sh("mkdir -p $1; cp -a $2/. $1; echo mine > $1/data", folder, packages[0][1].parent / "tree")
    node.sh("chown -R daemon: $1/etc; echo 'use chroot = no' > /etc/pw-rsyncd.conf", folder)
    if layout == "versions":
        node.run("ln", "-s", before, home)
    args = {
        "name": "rsync",
        "fixed_in": after,
        "archive": source(made, after, layout=layout),
        "dest": "/opt/pw-rsync",
        "probe": {"command": [f"{home}/usr/bin/rsync", "--version"], "pattern": r"version (\S+)"},
        "services": service(node, tmp_path, f"{home}/usr/bin/{daemon()}"),
    }
    killed(node, args, ["/opt/pw-rsync"], f"cat {folder}/data")


def test_files_in_files(node: Node, tmp_path: Path) -> None:
    """A real jar, on its own, in a war, and in a zip in that."""
    jars = []
    for version in ("0.10.9.5", "0.10.9.7"):
        with zipfile.ZipFile(wheel(tmp_path, "py4j", version)) as package:
            name = next(name for name in package.namelist() if name.endswith(".jar"))
            (tmp_path / version).mkdir()
            jars.append(Path(package.extract(name, tmp_path / version)))
    war = tmp_path / "app.war"
    with zipfile.ZipFile(war, "w") as made:
        made.write(jars[0], "WEB-INF/lib/py4j0.10.9.jar")
        made.writestr("WEB-INF/web.xml", "<web-app/>")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as made:
        made.write(war, "deep/app.war")
    node.sh(
        "mkdir -p /opt/pw-app/lib; cp $1 /opt/pw-app/lib/py4j.jar; cp $2 $3 /opt/pw-app",
        jars[0],
        war,
        tmp_path / "all.zip",
    )
    node.sh("chown -R daemon:daemon /opt/pw-app; chmod 640 /opt/pw-app/app.war")
    args = {
        "name": "py4j",
        "fixed_in": "0.10.9.7",
        "files": {
            **source(jars[1], "0.10.9.7"),
            "paths": ["/opt/pw-app"],
            "name": "py4j*.jar",
            "vulnerable": [{"sha256": source(jars[0], "")["sha256"], "version": "0.10.9.5"}],
        },
        "services": service(node, tmp_path, "sleep 1000"),
    }
    killed(node, args, ["/opt/pw-app"], "true")
