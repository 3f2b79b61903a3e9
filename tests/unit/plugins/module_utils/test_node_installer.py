# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds command and installer: a program here is a file that holds its version."""

from __future__ import annotations

import hashlib
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import DEFINITION
from ansible_collections.patchwave.aws.plugins.module_utils._node import software

from . import test_node_transaction
from .test_node_transaction import Node, killed_at


class Host(Node):
    """A node with the program at 1.0 and a copy of it to undo with."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.program, self.kept = self.opt / "program", root / "kept"
        for path in (self.program, self.kept):
            path.write_text("1.0")

    def wanted(self, kind: str, text: str = "1.2", **changes: t.Any) -> dict[str, t.Any]:
        new = self.root / ("new " + text)
        new.write_text(text)
        undo = ["true", "write", str(self.kept), str(self.program)]
        options: dict[str, t.Any] = {"version": "1.2", "undo": undo, "timeout": 5}
        if kind == "command":
            options["command"] = ["true", "write", str(new), str(self.program)]
        else:
            options.update(url=str(new), sha256=hashlib.sha256(text.encode()).hexdigest(), mirrors=[], variants=[])
            options.update(interpreter=["true", "write"], arguments=[str(self.program)])
        filled = {key: option.get("default") for key, option in DEFINITION.items()}
        filled.update({"name": "tool", "fixed_in": "1.2", "state_dir": str(self.state), kind: {**options, **changes}})
        probe = {"command": [str(self.program)], "pattern": r"(\S+)", "timeout": 5}
        return dict(filled, probe=probe)

    def run(self, params: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        return super().run(params, run_command=install, **options)


def install(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
    """Copy a file, or say what one holds."""
    if argv[0] != "true":
        return 0, Path(argv[0]).read_text().split()[0], ""
    text = Path(argv[2]).read_text()
    Path(argv[3]).write_text(text)
    return (3, "", "it broke") if "broken" in text else (0, "", "")


@pytest.fixture(params=["command", "installer"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(test_node_transaction, "pretend", install)


def test_it_is_run_once(tmp_path: Path, kind: str) -> None:
    host = Host(tmp_path / "node")
    params = host.wanted(kind)
    promised, done = host.run(params, check_mode=True), host.run(params)
    assert (promised["outcome"], done["outcome"], done["version_after"]) == ("patched", "patched", "1.2"), done
    assert host.run(params)["outcome"] == "current"
    assert host.leftovers() == set()


@pytest.mark.parametrize(
    ("text", "reason"), [("1.2 broken", "install_failed"), ("1.1", "wrong_version"), ("none", "probe_failed")]
)
def test_a_failure_is_undone_by_the_definition(tmp_path: Path, kind: str, text: str, reason: str) -> None:
    host = Host(tmp_path / "node")
    before = host.tree()
    result = host.run(host.wanted(kind, text))
    assert (result["outcome"], result["reason"]) == ("rolled_back", reason), result
    assert host.tree() == before
    assert host.leftovers() == set()


def test_an_undo_that_fails_is_tried_again_by_the_next_run(tmp_path: Path, kind: str) -> None:
    host = Host(tmp_path / "node")
    host.kept.write_text("1.0 broken")
    result = host.run(host.wanted(kind, "1.1"))
    assert (result["outcome"], result["reason"]) == ("failed", "rollback_failed")
    assert host.run(host.wanted(kind))["reason"] == "rollback_failed"
    host.kept.write_text("1.0")
    assert host.run(host.wanted(kind))["outcome"] == "patched"
    assert host.leftovers() == set()


def test_a_missing_program_is_told_before(tmp_path: Path, kind: str) -> None:
    host = Host(tmp_path / "node")
    for check_mode in (True, False):
        result = host.run(host.wanted(kind, undo=["/no/such"]), check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("failed", "command_missing")


def test_an_installer_keeps_its_name(tmp_path: Path) -> None:
    host = Host(tmp_path / "node")
    params, seen = host.wanted("installer"), []

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        seen.append(os.path.basename(argv[2]) if len(argv) > 2 else "")
        return install(argv, **options)

    for name, kept in (("agent-7.60_linux+x64.run", ""), ("a b; reboot", "installer"), (".x", "installer")):
        path = host.root / name
        path.write_text("1.2")
        host.program.write_text("1.0")
        params["installer"]["url"] = str(path)
        assert software.patch_software(params, run_command)["outcome"] == "patched"
        assert (kept or name) in seen
    assert host.leftovers() == set()


@pytest.mark.parametrize("text", ["1.2", "1.2 broken", "1.1"])
def test_killed_anywhere_the_next_run_ends_as_if_nothing_had_happened(tmp_path: Path, kind: str, text: str) -> None:
    clean = Host(tmp_path / "clean")
    expected = clean.run(clean.wanted(kind, text))
    number = 0
    while True:
        host = Host(tmp_path / str(number))
        params = host.wanted(kind, text)
        if not killed_at(host, params, number):
            break
        result = host.run(params)
        assert result["outcome"] in (expected["outcome"], "current"), (number, result)
        assert host.tree() == clean.tree()
        assert host.leftovers() == set()
        number += 1
    assert number > 6
    assert software.kind_of(params) == kind
