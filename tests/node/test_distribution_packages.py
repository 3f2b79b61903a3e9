# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real package of the distribution in the two versions that apt offers: as released, and as fixed since."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from .conftest import Node, to_rpm
from .test_applications import walk
from .test_package_file import definition

NAME = "unzip"
PROGRAM = "usr/bin/unzip"
SHOWS = f"sha256sum < /{PROGRAM} | cut -c1-64"

SPEC = """
%define debug_package %{{nil}}
%define __os_install_post %{{nil}}
Name: {name}
Version: {version}
Release: {release}
Summary: what Debian built
License: as in the package
AutoReqProv: no
%description
The files of Debian's package.
%install
cp -a {tree}/. %{{buildroot}}
%files
{files}
"""


class Offered(t.NamedTuple):
    """One version, the checksum of its program, and the package file."""

    version: str
    program: str
    deb: Path

    @property
    def seen(self) -> tuple[str, str]:
        return self.version, self.program


def offered(node: Node) -> list[str]:
    """Return the versions that apt can download, the oldest first."""
    versions = [line.split("|")[1].strip() for line in node.run("apt-cache", "madison", NAME).splitlines()]
    return list(dict.fromkeys(reversed(versions)))


@pytest.fixture
def debs(node: Node, tmp_path: Path) -> tuple[Offered, Offered]:
    """Download the oldest and the newest version with apt, as any user would; its lists are the node's own copy."""
    if not shutil.which("apt-get"):
        pytest.skip("needs apt")
    versions = offered(node)
    if len(versions) < 2:
        node.run("apt-get", "update", "-qq")
        versions = offered(node)
    if len(versions) < 2:
        pytest.skip(f"apt offers {NAME} in {len(versions)} versions here, not two")
    found = []
    for version in (versions[0], versions[-1]):
        folder = tmp_path / version
        folder.mkdir()
        node.sh('cd "$1"; apt-get download -qq "$2"; dpkg-deb -x *.deb tree', folder, f"{NAME}={version}")
        checksum = subprocess.check_output(["sha256sum", folder / "tree" / PROGRAM], text=True).split()[0]
        found.append(Offered(version, checksum, next(folder.glob("*.deb"))))
    return found[0], found[1]


def test_a_deb_of_the_distribution(node: Node, debs: tuple[Offered, Offered]) -> None:
    old, new = debs
    node.run("rm", "-f", "/var/lib/man-db/auto-update")  # the index of manual pages takes seconds each time
    node.run("dpkg", "--force-downgrade", "--install", old.deb)
    walk(node, definition(new.deb, new.version, name=NAME), SHOWS, old.seen, new.seen)
    assert node.run("dpkg", "--verify", NAME) == ""


def rpm(deb: Offered, name: str = NAME) -> Path:
    """Pack the files of a Debian package as RPM, with the same version."""
    folder = deb.deb.parent
    tree = folder / "tree"
    files = [f'"/{path.relative_to(tree)}"' for path in tree.rglob("*") if path.is_symlink() or path.is_file()]
    version, dummy, release = deb.version.rpartition("-")
    spec = folder / "package.spec"
    spec.write_text(SPEC.format(name=name, version=version, release=release, tree=tree, files="\n".join(files)))
    command = ["rpmbuild", "-bb", f"--define=_topdir {folder}/work", f"--define=_rpmdir {folder}", str(spec)]
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ, HOME=str(folder)))
    return next(folder.glob("*/*.rpm"))


def test_an_rpm_built_from_it(node: Node, debs: tuple[Offered, Offered]) -> None:
    to_rpm(node)
    old, new = debs
    before, after = rpm(old), rpm(new)
    done = node.patch(definition(before, old.version, name=NAME, install_missing=True))
    assert (done["outcome"], done["version_after"]) == ("patched", old.version), done
    walk(node, definition(after, new.version, name=NAME), SHOWS, old.seen, new.seen)
    assert node.run("rpm", "--verify", NAME) == ""
