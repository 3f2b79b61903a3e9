# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that is one file, replaced where it is."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import check_definition

from .test_node_transaction import Node

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)


class Program(Node):
    """A node with C(bin/tool) at 1.0, and a link to it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.file = self.opt / "bin/tool"
        self.file.parent.mkdir()
        self.file.write_text("1.0")
        self.file.chmod(0o750)
        (self.opt / "link").symlink_to("bin/tool")

    def wanted(self, text: str = "", dest: str = "bin/tool", **changes: t.Any) -> dict[str, t.Any]:
        (self.root / "new").write_text("1.2 " + text)
        sha256 = hashlib.sha256((self.root / "new").read_bytes()).hexdigest()
        params = self.params("1.2", **changes)
        params.update(archive=None, binary={"url": str(self.root / "new"), "sha256": sha256, "version": "1.2"})
        params.update(dest=str(self.opt / dest))
        params["probe"]["command"], params["health"]["command"] = [params["dest"]], [params["dest"], "health"]
        return params


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "node")


@pytest.mark.parametrize("dest", ["bin/tool", "link"])
def test_it_is_replaced_where_it_is_with_all_that_the_old_one_had(program: Program, dest: str) -> None:
    if os.geteuid() == 0:
        os.chown(program.file, 12345, 12346)
        os.setxattr(program.file, "security.capability", CAPABILITY)
    os.setxattr(program.file, "user.note", b"by hand")
    before, info = program.tree(), program.file.stat()
    assert program.run(program.wanted("sick", dest))["outcome"] == "rolled_back"
    assert program.tree() == before
    assert program.run(program.wanted("", dest), check_mode=True)["outcome"] == "patched"
    assert program.tree() == before
    result = program.run(program.wanted("", dest))
    assert (result["outcome"], result["version_after"]) == ("patched", "1.2")
    assert program.tree() == {**before, "bin/tool": (info.st_mode, "1.2 ")}
    after = program.file.stat()
    assert (after.st_uid, after.st_gid) == (info.st_uid, info.st_gid)
    assert os.getxattr(program.file, "user.note") == b"by hand"
    assert os.geteuid() != 0 or os.getxattr(program.file, "security.capability") == CAPABILITY
    assert program.leftovers() == set()
    assert program.run(program.wanted("", dest))["outcome"] == "current"


def test_it_is_installed_only_when_asked_and_executable(program: Program) -> None:
    assert program.run(program.wanted(dest="sbin/tool"))["reason"] == "not_installed"
    params = program.wanted(dest="sbin/tool", install_missing=True)
    assert program.run(params)["outcome"] == "patched"
    assert stat.S_IMODE((program.opt / "sbin/tool").stat().st_mode) == 0o755
    before = program.tree()
    gone = program.wanted("sick", dest="lib/tool", install_missing=True)
    assert program.run(gone)["outcome"] == "rolled_back"
    assert program.tree() == before


def test_a_folder_in_its_place_is_told(program: Program) -> None:
    params = program.wanted()
    params["dest"] = str(program.opt / "bin")
    for check_mode in (True, False):
        result = program.run(params, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("failed", "dest_conflict"), result
    assert program.file.read_text() == "1.0"


def test_its_definition_needs_a_path_and_a_probe() -> None:
    source = {"url": "/new", "sha256": "a" * 64, "version": "1.2"}
    keys = [key for key, dummy in check_definition("tool", {"fixed_in": "1.2", "binary": source})]
    assert keys == ["dest", "probe"]
