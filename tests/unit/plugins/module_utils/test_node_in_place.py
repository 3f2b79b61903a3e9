# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive whose files take the place of those in one folder, beside files that are none of its business."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk

from .test_node_transaction import Node, pretend

#: What an archive holds; the program says its version.
ENTRIES = {
    "bin/extra": "new",
    "conf/server.xml": "default of new",
    "conf/new.xml": "default of new",
    "lib/core-1.2.jar": "core",
    "lib/deep/er/file": "deep",
}


class Application(Node):
    """A node with a program at 1.0 whose files lie in one folder, one of them changed by hand."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        files = {
            "tool": "1.0",
            "conf/server.xml": "changed by hand",
            "lib/core-1.0.jar": "old core",
            "lib/driver.jar": "of the administrator",
            "data/db": "data",
        }
        for name, text in files.items():
            path = self.dest / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.dest / "tool").chmod(0o750)
        (self.dest / "lib/core.jar").symlink_to("core-1.0.jar")

    def wanted(self, text: str = "", entries: dict[str, str] | None = None, **changes: t.Any) -> dict[str, t.Any]:
        packed = self.root / "new.tar"
        with tarfile.open(packed, "w") as file:
            for name, content in {"tool": "1.2 " + text, **(ENTRIES if entries is None else entries)}.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content.encode()))
            link = tarfile.TarInfo("lib/core.jar")
            link.type, link.linkname = tarfile.SYMTYPE, "core-1.2.jar"
            file.addfile(link)
        params = self.params("1.2")
        command = [str(self.dest / "tool")]
        params["probe"]["command"], params["health"]["command"] = command, [*command, "health"]
        params["archive"].update(url=str(packed), sha256=hashlib.sha256(packed.read_bytes()).hexdigest())
        params["archive"].update(layout="in_place", preserve=["conf/server.xml"], remove=["lib/core-*.jar"])
        params["archive"].update(changes)
        return params


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return Application(tmp_path / "node")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def test_files_are_replaced_added_removed_and_preserved(application: Application) -> None:
    before = application.tree()
    params = application.wanted()
    promised = application.run(params, check_mode=True)
    assert (application.tree(), application.state.exists()) == (before, False)
    done = application.run(params)
    assert (promised["outcome"], done["outcome"], done["version_after"]) == ("patched", "patched", "1.2"), done
    after = application.tree()
    assert after["tool/tool"] == (before["tool/tool"][0], "1.2 ")
    for name in ("conf/server.xml", "lib/driver.jar", "data/db"):
        assert after["tool/" + name] == before["tool/" + name]
    for name in ("bin/extra", "conf/new.xml", "lib/core-1.2.jar", "lib/deep/er/file"):
        assert after["tool/" + name][1] == ENTRIES[name]
    assert "tool/lib/core-1.0.jar" not in after
    assert after["tool/lib/core.jar"][1] == "core-1.2.jar"
    assert application.leftovers() == set()
    assert application.run(params)["outcome"] == "current"
    assert application.tree() == after


@pytest.mark.parametrize("text", ["sick", "liar 1.1", "silent"])
def test_a_failure_puts_every_file_back_as_it_was(application: Application, text: str) -> None:
    before = application.tree()
    inodes = {path: path.lstat().st_ino for path in application.opt.rglob("*")}
    result = application.run(application.wanted(text))
    assert result["outcome"] == "rolled_back", result
    assert application.tree() == before
    assert {path: path.lstat().st_ino for path in application.opt.rglob("*")} == inodes
    assert application.leftovers() == set()
    assert application.run(application.wanted())["outcome"] == "patched"


@pytest.mark.parametrize("entry", ["data", "lib/core-1.0.jar/x", "outside/x"])
def test_what_stands_in_the_way_is_left_alone(application: Application, entry: str) -> None:
    (application.dest / "outside").symlink_to("/tmp")
    before = application.tree()
    result = application.run(application.wanted(entries={entry: "x"}))
    assert (result["outcome"], result["reason"]) == ("failed", "dest_conflict"), result
    assert application.tree() == before
    assert application.leftovers() == set()


def test_a_link_of_the_node_stays_with_all_behind_it(application: Application) -> None:
    """As of an application whose configuration is below /etc."""
    elsewhere = application.opt / "elsewhere"
    (application.dest / "conf").rename(elsewhere)
    (application.dest / "conf").symlink_to(elsewhere)
    before = application.tree()
    assert application.run(application.wanted())["reason"] == "dest_conflict"
    assert application.tree() == before
    assert application.run(application.wanted(preserve=["conf"]))["outcome"] == "patched"
    after = application.tree()
    assert {name for name in after if "conf" in name or "elsewhere" in name} == {
        name for name in before if "conf" in name or "elsewhere" in name
    }
    assert after["elsewhere/server.xml"] == before["elsewhere/server.xml"]


@pytest.mark.parametrize("what", ["lib", "tool"])
def test_what_cannot_be_replaced_is_told_before(
    application: Application, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A folder that is mounted read-only, and a file that even root must not touch (chattr +i)."""
    before, real = application.tree(), os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(application.dest / what) and real(path, mode))
    if what == "tool":
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "lchown", lambda *owner: None)
    result = application.run(application.wanted())
    assert (result["outcome"], result["reason"]) == ("failed", "not_writable"), result
    assert str(application.dest / what) in result["msg"]
    assert application.tree() == before
    assert application.leftovers() == set()


def test_it_is_installed_only_when_asked(tmp_path: Path) -> None:
    node = Application(tmp_path / "node")
    node.dest.rename(node.root / "gone")
    assert node.run(node.wanted())["reason"] == "not_installed"
    assert node.run(dict(node.wanted("sick"), install_missing=True))["outcome"] == "rolled_back"
    assert node.tree() == {}
    assert node.run(dict(node.wanted(), install_missing=True))["outcome"] == "patched"
    assert (node.dest / "tool").read_text() == "1.2 "


def test_without_hard_links_old_files_are_copied(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*args: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    before = application.tree()
    assert application.run(application.wanted("sick"))["outcome"] == "rolled_back"
    assert application.tree() == before
    assert application.run(application.wanted())["outcome"] == "patched"


def test_nothing_is_replaced_before_the_old_file_is_safe(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("sync " + os.readlink(f"/proc/self/fd/{handle}")))
    application.run(application.wanted(), disk=Disk(done.append), run_command=pretend)
    done = [re.sub(r"/[.]patchwave-[0-9a-f]{16}", "/STAGING", label) for label in done]
    switch = next(number for number, label in enumerate(done) if label.startswith("switch "))
    staging = str(application.state / "STAGING")
    for label in (f"save {application.dest}/tool", f"sync {staging}/saved", f"sync {staging}/tree/tool"):
        assert label in done[:switch]
    assert f"sync {application.dest}/lib" in done[switch:]


@pytest.mark.parametrize("target", ["conf/new.xml", "/etc/pki/x", "/etc/shadow"])
def test_absolute_links_lead_to_dest_or_where_it_is_allowed(application: Application, target: str) -> None:
    params = application.wanted(outside_links=["/etc/pki/*"])
    target = target if target.startswith("/") else str(application.dest / target)
    with tarfile.open(params["archive"]["url"], "a") as file:
        link = tarfile.TarInfo("absolute")
        link.type, link.linkname = tarfile.SYMTYPE, target
        file.addfile(link)
    params["archive"]["sha256"] = hashlib.sha256(Path(params["archive"]["url"]).read_bytes()).hexdigest()
    result = application.run(params)
    assert result["reason"] == ("unsafe_archive" if target == "/etc/shadow" else "upgraded"), result
    assert os.path.lexists(application.dest / "absolute") == (target != "/etc/shadow")
