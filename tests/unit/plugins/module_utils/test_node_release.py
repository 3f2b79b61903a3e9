# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions side by side on nodes that people have worked on: their data, links, rights and owners."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import stat
import struct
import tarfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import outside, processes, software
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk

from .test_node_transaction import Node, pretend

APP = 12345
CAPABILITY, ACL = "security.capability", "system.posix_acl_access"
LOW_PORTS = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
SETUID = struct.pack("<5I", 0x02000001, 1 << 7, 0, 0, 0)
#: user::rwx, user:APP:r-x, group::r-x, mask::r-x, other::r-x
LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 7, 2**32 - 1), (2, 5, APP), (4, 5, 2**32 - 1), (16, 5, 2**32 - 1), (32, 5, 2**32 - 1))
)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to others")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(processes, "_pids", list)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node").install("1.0")


def holding(
    node: Node, version: str, text: str = "", entries: t.Sequence[str] = (), **changes: t.Any
) -> dict[str, t.Any]:
    """Return a definition of an archive that holds more than the program; names with a slash at the end are folders."""
    params = node.params(version, text, **changes)
    packed = Path(params["archive"]["url"])
    with tarfile.open(packed, "w") as file:
        for name, content in {"tool": f"{version} {text}", **{name: "of " + version for name in entries}}.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mode = 0o755
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content.encode()))
    params["archive"]["sha256"] = hashlib.sha256(packed.read_bytes()).hexdigest()
    return params


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# -- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_a_version_made_by_hand_keeps_its_data_for_ever(node: Node, keep: int) -> None:
    for name in ("data/db", "conf/server.xml", "tool.bak", "lib/core.jar"):
        put(node.dest / "1.0" / name, "of the administrator")
    (node.dest / "1.0/empty").mkdir()
    before = {name: text for name, (dummy, text) in node.tree().items() if name.startswith("tool/1.0/")}
    said = []
    for version in ("1.1", "1.2", "1.3", "1.4"):
        result = node.run(holding(node, version, entries=["conf/server.xml", "lib/core.jar"], keep=keep))
        assert result["outcome"] == "patched"
        said.append(result["msg"])
    assert {name: text for name, (dummy, text) in node.tree().items() if name.startswith("tool/1.0/")} == before
    assert sum("1.0 stays, since this module did not make it" in text for text in said) == 1
    versions = ["1.0", "1.1", "1.2", "1.3", "1.4"]
    assert sorted(os.listdir(node.dest)) == ["1.0", *versions[len(versions) - 1 - keep :], "current"]


def test_of_a_version_of_ours_what_was_made_or_changed_since_stays_and_is_told(node: Node) -> None:
    entries = ["conf/a.xml", "conf/b.xml", "logs/", "lib/m.py", "sub/x"]
    node.run(holding(node, "1.1", entries=entries))
    folder = node.dest / "1.1"
    for name in ("logs/tool.log", "conf/a.xml", "new/file", "lib/__pycache__/m.cpython-311.pyc", "sub/link"):
        put(folder / name, "made since")
    (folder / "sub/x").unlink()
    (folder / "sub/x").symlink_to("/etc/passwd")
    outside_file = put(node.opt / "outside/x")
    (folder / "lib/m.py").rename(node.opt / "outside/m.py")
    (folder / "lib/m.py").symlink_to(node.opt / "outside/m.py")
    node.run(node.params("1.2"))
    result = node.run(node.params("1.3"))
    assert result["outcome"] == "patched"
    assert "1.1 stays with what no archive brought: conf/a.xml, " in result["msg"]
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    assert left == ["conf/a.xml", "lib/m.py", "logs/tool.log", "new/file", "sub/link", "sub/x"]
    assert outside_file.exists()
    assert (node.opt / "outside/m.py").exists()


def test_nothing_is_removed_through_a_folder_that_became_a_link(node: Node) -> None:
    node.run(holding(node, "1.1", entries=["data/x", "data/y"]))
    (node.dest / "1.1/data").rename(node.opt / "moved")
    (node.dest / "1.1/data").symlink_to(node.opt / "moved")
    node.run(node.params("1.2"))
    node.run(node.params("1.3"))
    assert sorted(os.listdir(node.opt / "moved")) == ["x", "y"]
    assert os.listdir(node.dest / "1.1") == ["data"]


def test_a_folder_of_the_new_version_s_name_is_not_lost(node: Node) -> None:
    put(node.dest / "1.2/data/db", "precious")
    before = node.tree()
    assert node.run(node.params("1.2", "sick"))["outcome"] == "rolled_back"
    assert node.tree() == before
    result = node.run(node.params("1.2"))
    assert "1.2.left has what no archive brought" in result["msg"]
    assert (node.dest / "1.2.left/data/db").read_text() == "precious"
    assert mode(node.dest / "1.2.left") == 0o700
    put(node.dest / "1.0/more")
    node.run(node.params("1.0", allow_downgrade=True))
    assert node.run(node.params("1.2", "again"))["outcome"] == "patched"  # all in 1.2 was of the archive
    assert sorted(os.listdir(node.dest)) == ["1.0", "1.0.left", "1.2", "1.2.left", "current"]


@pytest.mark.parametrize("used", [False, True])
def test_a_new_version_that_ran_for_days_after_a_kill_keeps_its_data(node: Node, used: bool) -> None:
    params = node.params("1.2")

    def checkpoint(label: str) -> None:
        if "journal" in label and label.startswith("write") and os.readlink(node.dest / "current") == "1.2":
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            software.patch_software(params, pretend, disk=Disk(checkpoint))
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    written = put(node.dest / "1.2/data/db", "orders")
    if used:
        os.utime(written, (time.time() + 90000,) * 2)
    assert node.run(params)["outcome"] == "patched"
    assert sorted(os.listdir(node.dest)) == ["1.0", "1.2", *(["1.2.left"] if used else []), "current"]
    assert os.listdir(node.dest / "1.2") == ["tool"]
    assert not used or (node.dest / "1.2.left/data/db").read_text() == "orders"


# -- links -----------------------------------------------------------------------------------------------------------


def by_hand(node: Node, *names: str) -> None:
    """Make a layout without C(current): links to a version, as people make them."""
    (node.dest / "current").unlink()
    (node.opt / "bin").mkdir()
    for name in names:
        (node.opt / name).symlink_to(node.dest / "1.0" / ("tool" if "bin/" in name else ""))


def linked(node: Node, version: str, *names: str, text: str = "") -> dict[str, t.Any]:
    params = node.params(version, text, archive={"links": [str(node.opt / name) for name in names]})
    params["probe"]["command"] = [str(node.opt / "bin/tool")]
    params["health"]["command"] = [str(node.opt / "bin/tool"), "health"]
    return params


def test_links_that_are_asked_for_move_and_move_no_more(node: Node) -> None:
    by_hand(node, "bin/tool", "bin/other", "latest")
    names = ("bin/tool", "latest", "bin/none")
    before = node.tree()
    assert node.run(linked(node, "1.2", *names, text="sick"))["outcome"] == "rolled_back"
    assert node.tree() == before
    assert node.run(linked(node, "1.2", *names))["outcome"] == "patched"
    current = str(node.dest / "current")
    links = {name: os.readlink(node.opt / name) for name in ("bin/tool", "latest", "bin/other")}
    assert links == {"bin/tool": current + "/tool", "latest": current, "bin/other": str(node.dest / "1.0/tool")}
    assert sorted(os.listdir(node.opt / "bin")) == ["other", "tool"]
    assert node.run(linked(node, "1.3", *names))["version_before"] == "1.2"
    assert {name: os.readlink(node.opt / name) for name in ("bin/tool", "latest")} == {
        "bin/tool": current + "/tool",
        "latest": current,
    }


def test_a_version_elsewhere_is_found_by_its_link(node: Node) -> None:
    by_hand(node, "bin/tool")
    (node.dest / "1.0").rename(node.opt / "tool-1.0")
    node.dest.rmdir()
    (node.opt / "bin/tool").unlink()
    (node.opt / "bin/tool").symlink_to("../tool-1.0/tool")
    (node.opt / "tool-1.0").chmod(0o751)
    before = node.tree()
    assert node.run(linked(node, "1.2", "bin/tool"))["outcome"] == "patched"
    assert os.readlink(node.opt / "bin/tool") == str(node.dest / "current/tool")
    assert mode(node.dest / "1.2") == 0o751
    assert node.tree()["tool-1.0/tool"] == before["tool-1.0/tool"]


@pytest.mark.parametrize("case", ["file", "gone from the archive", "folder of others"])
def test_a_link_that_cannot_move_is_told_before_anything_is_touched(node: Node, case: str) -> None:
    by_hand(node, "bin/tool", "bin/more")
    params = linked(node, "1.2", "bin/tool", "bin/more")
    (node.opt / "bin/more").unlink()
    if case == "file":
        put(node.opt / "bin/more")
    else:
        put(node.dest / "1.0/old-helper")
        (node.opt / "bin/more").symlink_to(node.dest / "1.0" / ("old-helper" if "gone" in case else "tool"))
    if case == "folder of others":
        (node.opt / "bin").chmod(0o777)
        params["probe"]["run_as"] = params["health"]["run_as"] = "root"
    before = node.tree()
    modes = (True, False) if case != "gone from the archive" else (False,)
    for check_mode in modes:
        result = node.run(params, check_mode=check_mode)
        assert result["reason"] == ("unsafe_folder" if case == "folder of others" else "dest_conflict"), result
        assert "bin/more" in result["msg"] or case == "folder of others"
        assert node.tree() == before


def test_links_and_units_that_still_lead_to_an_old_version_are_named(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [node.root / name for name in ("bin", "alternatives", "systemd", "cron")]
    monkeypatch.setattr(outside, "LINKS", tuple(map(str, places[:2])))
    monkeypatch.setattr(outside, "TEXTS", tuple(map(str, places[2:])))
    old = node.dest / "1.0"
    for place in places:
        place.mkdir()
    (places[0] / "stale").symlink_to(old / "tool")
    (places[0] / "moved").symlink_to(old / "tool")
    (places[0] / "through-moved").symlink_to("moved")
    (places[0] / "through-current").symlink_to(node.dest / "current/tool")
    (places[1] / "chain").symlink_to(places[0] / "stale")
    put(places[0] / "wrapper", f"#!/bin/sh\nexec {old}/tool\n")
    put(places[0] / "binary", f"\x7fELF {old}/tool\n")
    put(places[2] / "tool.service.d/override.conf", f"ExecStart={old}/tool serve\n")
    put(places[2] / "other.service", f"ExecStart={old}.1/tool\n")
    put(places[3] / "job", f"* * * * * root {node.dest}/current/tool\n")
    params = node.params("1.2", archive={"links": [str(places[0] / "moved")]})
    stale = [places[1] / "chain", places[0] / "stale", places[0] / "wrapper"]
    for result in (node.run(params), node.run(params), node.run(params, check_mode=True)):
        told = "an old version is still led to by {} and 1 more; see archive.links"
        assert told.format(", ".join(map(str, stale))) in result["msg"], result["msg"]
    assert result["outcome"] == "current"
    assert mode(old) == 0o755  # who still uses it must not be locked out
    for path in stale:
        path.unlink()
    (places[2] / "tool.service.d/override.conf").unlink()
    assert "led to" not in node.run(params)["msg"]
    node.run(node.params("1.3"))
    assert mode(old) == mode(node.dest / "1.2") == 0o700  # to which a link led through current


# -- owners and rights -----------------------------------------------------------------------------------------------


def caps(path: Path) -> bytes:
    return os.getxattr(path, CAPABILITY) if CAPABILITY in os.listxattr(path) else b""


@root_only
def test_what_an_administrator_gave_to_files_goes_to_the_same_paths_of_the_new_version(node: Node) -> None:
    old = node.dest / "1.0"
    for name in ("bin/server", "bin/plain", "conf/x"):
        put(old / name)
    for path in (old, old / "bin", old / "conf/x"):
        os.chown(path, APP, APP + 1)
    old.chmod(0o750)
    (old / "conf").chmod(0o2775)
    (old / "bin/server").chmod(0o711)
    os.chown(old / "bin/server", APP, APP)
    os.setxattr(old / "bin/server", CAPABILITY, LOW_PORTS)
    os.setxattr(old / "bin/plain", ACL, LIST)
    os.setxattr(old / "conf/x", "user.note", b"by hand")
    (old / "link").symlink_to("tool")
    os.lchown(old / "link", APP, APP)
    before = [(path, path.lstat(), caps(path)) for path in sorted(old.rglob("*")) if not path.is_symlink()]
    assert node.run(holding(node, "1.2", "sick", ["bin/server"]))["outcome"] == "rolled_back"
    assert [(path, path.lstat().st_mode, had) for path, info, had in before] == [
        (path, info.st_mode, caps(path)) for path, info, had in before
    ]
    entries = ["bin/server", "bin/plain", "bin/new", "conf/x", "lib/deep/new"]
    assert node.run(holding(node, "1.2", entries=entries))["outcome"] == "patched"
    new = node.dest / "1.2"
    owners = {
        name: (info.st_uid, info.st_gid)
        for name in (".", "bin", "bin/server", "bin/new", "lib", "lib/deep/new", "conf", "tool")
        for info in [(new / name).stat()]
    }
    app, mixed = (APP, APP), (APP, APP + 1)
    assert owners == {
        ".": mixed,
        "bin": mixed,
        "bin/server": app,
        "bin/new": mixed,
        "lib": mixed,
        "lib/deep/new": mixed,
        "conf": (0, 0),
        "tool": (0, 0),
    }
    assert [oct(mode(new / name)) for name in (".", "conf", "bin/server", "bin/new")] == [
        "0o750",
        "0o2775",
        "0o711",
        "0o755",
    ]
    assert caps(new / "bin/server") == LOW_PORTS
    assert os.getxattr(new / "bin/plain", ACL) == LIST
    assert os.getxattr(new / "conf/x", "user.note") == b"by hand"
    assert not caps(old / "bin/server")


@root_only
@pytest.mark.parametrize("case", ["of root", "of others", "of others, by an archive", "moved by others"])
def test_rights_are_not_carried_to_a_path_that_others_have_chosen(node: Node, case: str) -> None:
    entries = ["bin/helper", "bin/shell"]
    old = node.dest / "1.0"
    if "archive" in case or "moved" in case:
        node.run(holding(node, "1.1", entries=entries))
        old = node.dest / "1.1"
    else:
        put(old / "bin/helper", "x")
        put(old / "bin/shell", "xx")
    helper, shell = old / "bin/helper", old / "bin/shell"
    helper.chmod(0o4755)
    if case != "of root":
        os.chown(old / "bin", APP, APP)
    if case == "moved by others":
        put(shell, "of another size")
        shell.rename(old / "bin/tmp")
        helper.rename(shell)
        shell.with_name("tmp").rename(helper)
    result = node.run(holding(node, "1.2", entries=entries))
    assert result["outcome"] == "patched"
    new = node.dest / "1.2/bin"
    carried = case in ("of root", "of others, by an archive")
    if case == "moved by others":  # both were made at one moment, but are not of one size
        assert helper.stat().st_size != shell.stat().st_size
    assert mode(new / "helper") == (0o4755 if carried else 0o755)
    assert mode(new / "shell") & 0o6000 == 0
    assert ("were not carried" in result["msg"]) == (not carried)
    assert mode(helper) & 0o6000 == mode(shell) & 0o6000 == 0


@root_only
@pytest.mark.parametrize("text", ["", "sick"])
def test_a_version_that_is_kept_grants_nothing_and_comes_back_as_it_was(node: Node, text: str) -> None:
    old = node.dest / "1.0"
    put(old / "bin/helper").chmod(0o6755)
    put(old / "bin/net").chmod(0o755)
    os.setxattr(old / "bin/net", CAPABILITY, SETUID)
    put(old / "twice").chmod(0o4755)
    os.link(old / "twice", node.opt / "elsewhere")
    before = node.tree()
    result = node.run(holding(node, "1.2", text, ["bin/helper", "bin/net", "twice"]))
    if text:
        assert result["outcome"] == "rolled_back"
        assert node.tree() == before
        assert caps(old / "bin/net") == SETUID
        return
    assert result["outcome"] == "patched"
    assert [mode(old), mode(old / "bin/helper"), mode(old / "tool")] == [0o700, 0o755, mode(old / "tool")]
    assert not caps(old / "bin/net")
    assert mode(node.opt / "elsewhere") == 0o4755  # a file that has names elsewhere is not the version's alone
    assert mode(node.dest / "1.2") == 0o755
    assert mode(node.dest / "1.2/bin/helper") == 0o6755
    assert caps(node.dest / "1.2/bin/net") == SETUID
    (node.dest / "current").unlink()  # a person goes back and forgets to open it; the next version is open again
    (node.dest / "current").symlink_to("1.0")
    assert node.run(holding(node, "1.3", "", ["bin/helper"]))["outcome"] == "patched"
    assert [mode(node.dest / "1.3"), mode(node.dest / "1.3/bin/helper")] == [0o755, 0o6755]


def test_a_version_that_runs_again_is_no_more_what_it_was_before_it_was_closed(node: Node) -> None:
    node.run(node.params("1.1"))
    node.run(node.params("1.2"))
    node.run(node.params("1.1", allow_downgrade=True))
    (node.dest / "1.1").chmod(0o750)
    node.run(node.params("1.3"))
    assert mode(node.dest / "1.3") == 0o750


def test_folders_of_others_in_an_old_version_stay_open_and_its_programs_do_not(node: Node) -> None:
    old = node.dest / "1.0"
    for name in ("data/hooks/run", "lib/core.jar", "bin/program"):
        put(old / name).chmod(0o755)
    assert node.run(holding(node, "1.2", entries=["bin/program", "lib/core.jar"]))["outcome"] == "patched"
    assert [oct(mode(old / name)) for name in (".", "data", "data/hooks/run", "bin", "lib", "tool")] == [
        "0o755",
        "0o755",
        "0o755",
        "0o700",
        "0o700",
        "0o600",
    ]


def test_a_version_whose_processes_may_go_on_is_not_closed_under_them(node: Node) -> None:
    node.run(node.params("1.2", old_processes="ignore"))
    assert mode(node.dest / "1.0") == 0o755


def test_what_others_changed_after_it_was_closed_is_not_given_rights_again(node: Node) -> None:
    helper = put(node.dest / "1.0/helper")
    helper.chmod(0o4755)

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        if argv[-1] == "health":
            helper.unlink()
            put(helper, "of somebody else")
            helper.chmod(0o755)
        return pretend(argv, **options)

    assert node.run(holding(node, "1.2", "sick", ["helper"]), run_command=run_command)["outcome"] == "rolled_back"
    assert mode(helper) == 0o755


@root_only
def test_where_others_own_dest_nothing_is_unpacked_in_their_reach(node: Node) -> None:
    os.chown(node.dest, APP, APP)
    labels: list[str] = []
    assert node.run(node.params("1.2"), disk=Disk(labels.append))["outcome"] == "patched"
    assert f"mkdir {node.dest}/.staging-tool" not in labels
    assert f"mkdir {node.state}/.staging-tool" in labels
    assert os.listdir(node.state / ".staging-tool") == [] if (node.state / ".staging-tool").exists() else True
    assert node.leftovers() == set()


# -- journals of older releases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["place", "switch", "commit"])
def test_a_journal_of_an_older_release_is_settled(node: Node, phase: str) -> None:
    params = node.params("1.2")
    (node.dest / ".staging-tool").mkdir()
    put(node.dest / "1.2/tool", "1.2 ")
    if phase != "place":
        (node.dest / "current").unlink()
        (node.dest / "current").symlink_to("1.2")
    undo = {"dest": str(node.dest), "version": "1.2", "link": "1.0", "previous": str(node.dest / "1.0")}
    undo.update(existed=False, created=[], staging=str(node.dest / ".staging-tool"))
    entry = {"schema": 1, "kind": "archive", "name": "tool", "phase": phase, "before": "1.0", "target": "1.2"}
    node.state.mkdir()
    (node.state / "tool.journal.json").write_text(json.dumps(dict(entry, undo=undo, run="x-1", services=[])))
    result = node.run(params)
    assert (result["outcome"], result["version_after"]) == ("patched", "1.2"), result
    assert sorted(os.listdir(node.dest)) == ["1.0", "1.2", "current"]
    assert node.leftovers() == set()
    for version in ("1.3", "1.4", "1.5"):
        assert node.run(node.params(version))["outcome"] == "patched"


@pytest.mark.parametrize("how", ["deep", "link"])
def test_what_an_owner_makes_of_a_version_that_is_tried_is_no_hindrance(node: Node, how: str) -> None:
    """A tree deeper than Python can remove, or a link in the place of the version's folder."""
    service, before, done = node.service(), node.tree(), list[str]()
    new = node.dest / "1.2"

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        answer = pretend(argv, **options)
        if argv[-1] != "health" or done:
            return answer
        done.append(how)
        if how == "link":
            new.rename(node.opt / "elsewhere")
            new.symlink_to(node.opt / "elsewhere")
        else:
            handle = os.open(new, os.O_RDONLY)
            for dummy in range(3000):
                os.mkdir("d", dir_fd=handle)
                inner = os.open("d", os.O_RDONLY, dir_fd=handle)
                os.close(handle)
                handle = inner
            os.close(handle)
        return answer

    result = node.run(node.params("1.2", "sick", services=[service]), run_command=run_command)
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    assert Path(service["status"][2]).read_text() == "1.0 "
    if how == "link":
        shutil.rmtree(node.opt / "elsewhere")
    (node.opt / "server.state").unlink()
    before.pop("server.state")
    assert node.tree() == before
