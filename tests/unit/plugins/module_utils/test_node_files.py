# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files kind: copies of a library on their own, in an application and in an application in an archive."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import DEFINITION
from ansible_collections.patchwave.aws.plugins.module_utils._node import nested
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk

from .test_node_transaction import Node, killed_at

OLD, OLDER, NEW = b"old library " * 50, b"older", b"new library, of another size"
STAMP = (2021, 12, 9, 22, 0, 0)
NAME = "log4j-core-2.14.1.jar"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def packed(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.comment = b"a comment"
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, STAMP)
            info.external_attr = 0o640 << 16
            package.writestr(info, content, zipfile.ZIP_STORED if name.endswith(".jar") else method)
    return buffer.getvalue()


class Java(Node):
    """A node with three copies of the old library, and much that looks like one."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        app = packed({"META-INF/MANIFEST.MF": b"x" * 900, "lib/": b"", "lib/" + NAME: OLD, "lib/other.jar": b"no zip"})
        self.write("plain/" + NAME, OLD)
        self.write("app/app.jar", b"#!/bin/sh\nexec java -jar $0\n" + app)
        self.write("ear/all.ear", packed({"web.war": packed({"WEB-INF/lib/" + NAME: OLDER, "index.html": b"hello"})}))
        self.write("plain/renamed.jar", OLD)
        self.write("plain/nothing.jar", b"no zip file")
        self.write("excluded/" + NAME, OLD)
        (self.opt / "link.jar").symlink_to("plain/" + NAME)
        (self.opt / "app" / "app.jar").chmod(0o750)

    def write(self, name: str, content: bytes) -> None:
        path = self.opt / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def wanted(self, **changes: t.Any) -> dict[str, t.Any]:
        new = self.root / "new.jar"
        new.write_bytes(NEW)
        filled = {key: option.get("default") for key, option in DEFINITION.items()}
        options = {key: option.get("default") for key, option in DEFINITION["files"]["options"].items()}
        options.update(url=str(new), sha256=sha256(NEW), version="2.17.1", paths=[str(self.root / "op*")])
        options.update(name="log4j-core-*.jar", exclude=[str(self.opt / "excluded")])
        options["vulnerable"] = [
            {"sha256": sha256(OLD).upper(), "version": "2.14.1"},
            {"sha256": sha256(OLDER), "version": "2.9"},
        ]
        filled.update(name="tool", fixed_in="2.17.1", files=dict(options, **changes), state_dir=str(self.state))
        return filled

    def tree(self) -> dict[str, tuple[int, str]]:
        found = {}
        for path in sorted(self.opt.rglob("*")):
            text = os.readlink(path) if path.is_symlink() else sha256(path.read_bytes()) if path.is_file() else ""
            found[str(path.relative_to(self.opt))] = (path.lstat().st_mode, text)
        return found


@pytest.fixture
def java(tmp_path: Path) -> Java:
    return Java(tmp_path / "node")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def test_every_copy_is_replaced_and_nothing_else(java: Java) -> None:
    before = java.tree()
    promised = java.run(java.wanted(), check_mode=True)
    assert java.tree() == before
    done = java.run(java.wanted())
    for result in (promised, done):
        assert (result["outcome"], result["reason"]) == ("patched", "upgraded"), result
        assert (result["version_before"], result["version_after"]) == ("2.9", "2.17.1")
    after = java.tree()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"plain/" + NAME, "app/app.jar", "ear/all.ear"}
    assert before.keys() == after.keys()
    assert (java.opt / "plain" / NAME).read_bytes() == NEW
    assert after["app/app.jar"][0] == stat.S_IFREG | 0o750
    assert java.run(java.wanted())["outcome"] == "current"
    assert java.leftovers() == set()


def test_vulnerable_versions_without_an_order_among_them_are_replaced(java: Java) -> None:
    versions = {OLD: "2.14.1.jre7", OLDER: "2.14.1.jre8"}
    vulnerable = [{"sha256": sha256(content), "version": version} for content, version in versions.items()]
    done = java.run(java.wanted(vulnerable=vulnerable))
    assert (done["outcome"], done["version_before"]) == ("patched", "2.14.1.jre7")


def test_a_zip_file_keeps_all_but_the_library(java: Java) -> None:
    java.run(java.wanted())
    assert (java.opt / "app/app.jar").read_bytes().startswith(b"#!/bin/sh\nexec java -jar $0\nPK")
    with zipfile.ZipFile(java.opt / "app/app.jar") as package:
        assert package.testzip() is None
        assert package.comment == b"a comment"
        names = ["META-INF/MANIFEST.MF", "lib/", "lib/" + NAME, "lib/other.jar"]
        assert package.namelist() == names
        for info in package.infolist():
            assert (info.date_time, info.external_attr) == (STAMP, 0o640 << 16)
            assert info.flag_bits & 8 == 0
            assert info.compress_type == (
                zipfile.ZIP_STORED if info.filename.endswith(".jar") else zipfile.ZIP_DEFLATED
            )
        assert [package.read(name) for name in names] == [b"x" * 900, b"", NEW, b"no zip"]
    with zipfile.ZipFile(java.opt / "ear/all.ear") as ear, zipfile.ZipFile(io.BytesIO(ear.read("web.war"))) as war:
        assert {name: war.read(name) for name in war.namelist()} == {
            "WEB-INF/lib/" + NAME: NEW,
            "index.html": b"hello",
        }


def test_a_node_without_a_copy_is_current(java: Java) -> None:
    before = java.tree()
    result = java.run(java.wanted(name="struts-*.jar"))
    assert (result["outcome"], result["reason"]) == ("current", "not_installed")
    assert java.tree() == before


@pytest.mark.parametrize("bad", ["health", "checksum"])
def test_a_failure_leaves_every_copy_as_before(java: Java, bad: str) -> None:
    params = java.wanted(**({"sha256": "0" * 64} if bad == "checksum" else {}))
    if bad == "health":
        params["health"] = {"command": ["false"], "retries": 0, "delay": 0, "timeout": 5}
    before = java.tree()
    inodes = [path.stat().st_ino for path in sorted(java.opt.rglob("*"))]

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        return 1, "", ""

    result = java.run(params, run_command=run_command)
    # `false` is unhealthy with the old copies too, which the roll back says
    expected = ("failed", "rollback_failed") if bad == "health" else ("failed", "checksum_mismatch")
    assert (result["outcome"], result["reason"]) == expected, result
    assert java.tree() == before
    assert [path.stat().st_ino for path in sorted(java.opt.rglob("*"))] == inodes
    assert java.leftovers() == set()


def test_killed_anywhere_the_next_run_replaces_every_copy(tmp_path: Path) -> None:
    clean = Java(tmp_path / "clean")
    clean.run(clean.wanted())
    expected = {name: entry for name, entry in clean.tree().items() if not name.endswith(("jar", "ear"))}
    number = 0
    while True:
        java = Java(tmp_path / str(number))
        params = java.wanted()
        if not killed_at(java, params, number):
            break
        result = java.run(params)
        assert result["outcome"] in ("patched", "current"), (number, result)
        assert java.tree().keys() == clean.tree().keys(), number
        assert {name: entry for name, entry in java.tree().items() if name in expected} == expected
        assert java.tree() == clean.tree(), number
        assert java.leftovers() == set()
        number += 1
    assert number > 15


def test_a_full_disk_at_any_step_leaves_old_or_new(tmp_path: Path) -> None:
    number = 0
    while True:
        seen: list[str] = []

        def checkpoint(label: str, seen: list[str] = seen, number: int = number) -> None:
            seen.append(label)
            if len(seen) == number + 1:
                raise OSError(errno.ENOSPC, "No space left on device")

        java = Java(tmp_path / str(number))
        params = java.wanted()
        before = java.tree()
        result = java.run(params, disk=Disk(checkpoint))
        if len(seen) <= number:
            return
        if result["outcome"] != "patched" and not java.leftovers():
            assert java.tree() == before, seen[-1]
        assert java.run(params)["outcome"] in ("patched", "current")
        assert not [name for name in java.tree() if ".patchwave-" in name]
        number += 1


@pytest.mark.parametrize("place", ["file", "folder"])
def test_what_cannot_be_looked_into_is_not_taken_for_harmless(
    java: Java, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    real_find, real_scan = nested.find, os.scandir

    def find(stream: t.Any, called: str, *rest: t.Any) -> nested.Finding:
        if called == "app.jar":
            raise OSError(errno.EIO, "Input/output error")
        return real_find(stream, called, *rest)

    def scandir(path: str) -> t.Any:
        if str(path).endswith("/ear"):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real_scan(path)

    params, ways = java.wanted(), {"file": (nested, "find", find), "folder": (os, "scandir", scandir)}
    with monkeypatch.context() as context:
        context.setattr(*ways[place])
        for check_mode in (True, False):
            result = java.run(params, check_mode=check_mode)
            assert (result["outcome"], result["unknown_copies"]["count"]) == ("patched", 1), result
            assert "Input/output error" in result["msg"]
    before = java.tree()
    with monkeypatch.context() as context:
        context.setattr(*ways[place])
        for check_mode in (True, False):
            result = java.run(params, check_mode=check_mode)
            assert (result["outcome"], result["reason"], result["changed"]) == ("failed", "unknown_copies", False)
    assert java.tree() == before


def damaged() -> bytes:
    content = bytearray(packed({"lib/first.jar": b"PK\x03\x04 damaged", "lib/" + NAME: OLDER}))
    content[content.index(b" damaged")] ^= 1  # its checksum is wrong now
    return bytes(content)


def test_a_damaged_entry_hides_nothing_and_stays_as_it_is(java: Java) -> None:
    java.write("app/damaged.jar", damaged())
    assert java.run(java.wanted(), check_mode=True)["version_before"] == "2.9"
    result = java.run(java.wanted())
    assert (result["outcome"], result["unknown_copies"]["count"]) == ("patched", 1), result
    assert "damaged.jar!lib/first.jar (its checksum is wrong)" in result["msg"]
    with zipfile.ZipFile(java.opt / "app/damaged.jar") as package:
        assert package.read("lib/" + NAME) == NEW
    assert java.run(java.wanted())["reason"] == "unknown_copies"


def test_without_room_for_temporary_files_every_copy_is_found(java: Java, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested, "_IN_MEMORY", 10)
    monkeypatch.setattr(nested.tempfile, "tempdir", "/no/such/folder")
    assert java.run(java.wanted(), check_mode=True)["version_before"] == "2.9"
