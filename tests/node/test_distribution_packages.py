# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real package of the distribution in the two versions that apt offers: as released, and as fixed since."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from .conftest import Node
from .test_applications import walk
from .test_package_file import definition

NAME = "unzip"
PROGRAM = "usr/bin/unzip"
SHOWS = f"sha256sum < /{PROGRAM} | cut -c1-64"


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
