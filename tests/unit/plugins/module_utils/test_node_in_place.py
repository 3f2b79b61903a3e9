# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive whose files take the place of those in one folder, beside files that are none of its business."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import folders
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk

from .test_node_folders import acl
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


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to own files of others")


def before_switch(act: t.Callable[[], object]) -> Disk:
    """A disk that does something before the journal says that the switch begins: after fetch, stage and save."""
    seen: list[str] = []

    def checkpoint(label: str) -> None:
        seen.append(label)
        if label.startswith("replace ") and sum(one.startswith("replace ") for one in seen) == 4:
            act()

    return Disk(checkpoint)


def test_what_a_program_writes_last_is_what_comes_back(application: Application) -> None:
    """As one that replaces a file of its state when it stops, after the old one was kept."""

    def act() -> None:
        (application.dest / "tool").unlink()
        (application.dest / "tool").write_text("1.0 again")

    result = application.run(application.wanted("sick"), disk=before_switch(act))
    assert result["outcome"] == "rolled_back", result
    assert (application.dest / "tool").read_text() == "1.0 again"
    assert application.leftovers() == set()


def test_undo_touches_only_what_is_not_as_it_was(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*args: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)  # so that the old files are copies, and back only by a rename
    before = application.tree()
    inodes = {path: path.lstat().st_ino for path in application.opt.rglob("*")}
    labels: list[str] = []

    def checkpoint(label: str) -> None:
        labels.append(label)
        if label.startswith("switch ") and label.endswith("core.jar"):
            raise OSError(16, "Device or resource busy")

    result = application.run(application.wanted(), disk=Disk(checkpoint))
    assert result["outcome"] in ("rolled_back", "failed"), result
    after = {path: path.lstat().st_ino for path in application.opt.rglob("*")}
    changed = {str(path) for path in inodes if inodes[path] != after.get(path)}
    assert application.tree() == before
    busy = next(number for number, label in enumerate(labels) if label.endswith("core.jar") and "switch" in label)
    assert changed <= {label.partition(" ")[2] for label in labels[:busy] if label.startswith("switch ")}
    assert not [label for label in labels[busy + 1 :] if label.endswith("core.jar")]


@root_only
@pytest.mark.parametrize("text", ["", "sick"])
def test_what_an_administrator_gave_to_a_file_stays(application: Application, text: str) -> None:
    capability = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
    tool, folder = application.dest / "tool", application.dest / "lib"
    os.chown(tool, 1000, 1001)
    os.setxattr(tool, "security.capability", capability)
    os.setxattr(tool, "user.note", b"kept")
    os.chown(folder, 1000, 1001)
    os.setxattr(folder, "system.posix_acl_default", acl(1234))
    tool.chmod(0o751)
    result = application.run(application.wanted(text))
    assert result["outcome"] == ("rolled_back" if text else "patched"), result
    info = tool.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (1000, 1001, 0o751)
    assert (os.getxattr(tool, "security.capability"), os.getxattr(tool, "user.note")) == (capability, b"kept")
    if not text:
        new = folder / "core-1.2.jar"
        assert (new.stat().st_uid, new.stat().st_gid) == (1000, 1001)
        assert struct.pack("<HHI", 2, 6, 1234) in os.getxattr(new, "system.posix_acl_access")
        assert new.stat().st_mode & 0o022 == 0


@root_only
@pytest.mark.parametrize("swapped", [False, True])
def test_no_file_gets_rights_where_others_may_choose_which(
    application: Application, swapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(application.dest, 1000, 1000)
    (application.dest / "tool").chmod(0o4755)
    if swapped:  # after the name was looked at
        monkeypatch.setattr(folders.Folder, "require_replaceable", lambda *dummy: None)
    before = application.tree()
    result = application.run(application.wanted())
    assert (result["outcome"], result["reason"]) == ("failed", "unsafe_folder"), result
    assert application.tree() == before
    assert application.leftovers() == set()


@root_only
@pytest.mark.parametrize(("owner", "refused"), [(0, True), (1000, False)])
def test_others_do_not_choose_the_folder(application: Application, owner: int, refused: bool) -> None:
    home = application.opt / "home"
    home.mkdir()
    (home / "app").symlink_to(application.dest)
    os.chown(home, 1000, 1000)
    os.chown(application.dest, owner, owner)
    result = application.run(dict(application.wanted(), dest=str(home / "app")))
    assert (result["reason"] == "unsafe_folder") == refused, result


@pytest.mark.parametrize("phase", ["stage", "switch", "commit"])
def test_a_run_of_an_older_release_is_put_right(application: Application, phase: str) -> None:
    """It kept files below dest."""
    before, staging = application.tree(), application.dest / ".staging-tool"
    (staging / "saved").mkdir(parents=True)
    (staging / "tree").mkdir()
    if phase != "stage":
        os.link(application.dest / "tool", staging / "saved" / "0")
        (application.dest / "tool").unlink()
        (application.dest / "tool").write_text("1.2")
        (application.dest / "extra").mkdir()
        (application.dest / "extra/new").write_text("new")
    changes = [["tool", True, True], ["extra/new", False, True], ["lib/driver.jar", True, True]]
    undo = {"dest": str(application.dest), "staging": str(staging), "created": [], "folders": ["extra"]}
    entry = {"schema": 1, "kind": "in_place", "name": "tool", "phase": phase, "before": "1.0", "target": "1.2"}
    application.state.mkdir()
    journal = dict(entry, undo=dict(undo, changes=changes), run="1-1", services=[])
    (application.state / "tool.journal.json").write_text(json.dumps(journal))
    application.run(dict(application.wanted(sha256="0" * 64)))
    assert not staging.exists()
    assert application.leftovers() == set()
    if phase != "commit":
        assert application.tree() == before


@pytest.mark.parametrize(("preserve", "there"), [("webapps", False), ("webapps/manager", True), ("webapps/*", True)])
def test_what_was_removed_from_a_preserved_folder_stays_so(
    application: Application, preserve: str, there: bool
) -> None:
    """As an administrator removes the manager of Tomcat; what is named itself and is not there comes."""
    (application.dest / "webapps/app").mkdir(parents=True)
    entries = {"webapps/manager/index": "x", "webapps/app/index": "x"}
    assert application.run(application.wanted(entries=entries, preserve=[preserve]))["outcome"] == "patched"
    assert (application.dest / "webapps/manager").exists() == there
    assert (application.dest / "webapps/app/index").exists() == (preserve == "webapps/manager")


def test_a_folder_where_a_file_was_does_not_stop_the_way_back(application: Application) -> None:
    """Who owns dest makes one while the new version is tried."""

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        tool = application.dest / "tool"
        if argv[-1] == "health" and "1.2" in tool.read_text():
            answer = pretend(argv, **options)
            other = application.dest / "lib/core.jar"
            other.unlink()
            (other / "x").mkdir(parents=True)
            return answer
        return pretend(argv, **options)

    result = application.run(dict(application.wanted("sick"), health=health(application)), run_command=run_command)
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    assert os.readlink(application.dest / "lib/core.jar") == "core-1.0.jar"
    assert [path.name for path in (application.dest / "lib").glob("*.left")]


def health(application: Application) -> dict[str, t.Any]:
    return {"command": [str(application.dest / "tool"), "health"], "retries": 0, "delay": 0, "timeout": 5}


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
