# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders of other users: what they put in the way is neither followed, waited for, read nor given rights."""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import attributes, folders
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError
from ansible_collections.patchwave.aws.plugins.module_utils._node.folders import Folder

USER = 1000
BIND_LOW_PORTS, BECOME_ANYBODY = 1 << 10, 1 << 7
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to own files of others")


def capability(bits: int) -> bytes:
    return struct.pack("<5I", 0x02000001, bits, 0, 0, 0)


def acl(user: int) -> bytes:
    entries = [
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 6, user),
        (0x04, 4, 0xFFFFFFFF),
        (0x10, 6, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "app"
    path.mkdir()
    (path / "file").write_text("text")
    if os.geteuid() == 0:
        os.chown(path, USER, USER)
        os.chown(path / "file", USER, USER)
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "ours"
    path.mkdir(0o700)
    return path


@pytest.mark.parametrize("part", ["app", "app/lib", "app/lib/deep"])
def test_no_part_of_a_path_may_be_a_link(tmp_path: Path, part: str) -> None:
    top = tmp_path.resolve()
    (top / "app/lib/deep").mkdir(parents=True)
    with Folder.at(f"{top}/app/lib/deep", Disk()):
        pass
    (top / part).rename(top / "elsewhere")
    (top / part).symlink_to(top / "elsewhere")
    with pytest.raises(OSError, match="Not a directory"):
        Folder.at(f"{top}/app/lib/deep", Disk())


def test_a_folder_stays_the_one_that_was_opened(theirs: Path, ours: Path) -> None:
    with Folder.at(str(theirs), Disk()) as app, Folder.at(str(ours), Disk()) as scratch:
        theirs.rename(theirs.parent / "moved")
        theirs.symlink_to("/etc")
        os.close(scratch.create("new"))
        scratch.move("new", app, "file", "x")
    assert (theirs.parent / "moved/file").read_text() == ""
    assert not os.path.lexists("/etc/file")


@pytest.mark.parametrize("planted", ["link", "fifo", "folder", "swapped"])
def test_only_regular_files_are_read_and_nothing_is_waited_for(
    theirs: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = theirs / "planted"
    if planted == "link":
        path.symlink_to("/etc/passwd")
    elif planted == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    if planted == "swapped":  # after it was looked at
        seen = os.stat(theirs / "file")
        monkeypatch.setattr(os, "stat", lambda *dummy, **options: seen)
    with Folder.at(str(theirs), Disk()) as app, pytest.raises(OSError, match="not a regular file") as error:
        app.open("planted")
    assert error.value.errno == errno.EINVAL


def test_a_lease_does_not_hold_us_up(theirs: Path) -> None:
    """A user may make every open() of a file wait for 45 seconds."""
    script = "import fcntl, sys, time; f = open(sys.argv[1], 'r+b'); fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)"
    script += "; import signal; signal.signal(signal.SIGIO, signal.SIG_IGN); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", script, str(theirs / "file")], stdout=subprocess.PIPE)
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            start = time.monotonic()
            with Folder.at(str(theirs), Disk()) as app, pytest.raises(BlockingIOError):
                app.open("file")
            assert time.monotonic() - start < 5
        finally:
            holder.kill()


@root_only
def test_all_that_a_file_has_is_carried(theirs: Path, ours: Path) -> None:
    old = theirs / "file"
    old.chmod(0o4750)
    os.setxattr(old, "user.note", b"kept")
    os.setxattr(old, attributes.CAPABILITY, capability(BIND_LOW_PORTS))
    os.setxattr(old, "system.posix_acl_access", acl(1234))
    with Folder.at(str(theirs), Disk()) as app, Folder.at(str(ours), Disk()) as scratch:
        source, target = app.open("file"), scratch.create("new")
        attributes.carry(source, target)
        first, second = os.fstat(source), os.fstat(target)
        assert (first.st_uid, first.st_gid, first.st_mode) == (second.st_uid, second.st_gid, second.st_mode)
        assert stat.S_IMODE(second.st_mode) & stat.S_ISUID
        assert attributes.read(source) == attributes.read(target)
        assert len(attributes.read(target)) == 3
        os.close(source)
        os.close(target)


@root_only
def test_an_acl_that_only_the_folder_has_is_not_given(theirs: Path, ours: Path) -> None:
    os.setxattr(ours, "system.posix_acl_default", acl(1234))
    with Folder.at(str(theirs), Disk()) as app, Folder.at(str(ours), Disk()) as scratch:
        source, target = app.open("file"), scratch.create("new")
        attributes.carry(source, target)
        assert attributes.read(target) == {}
        os.close(source)
        os.close(target)
        with scratch.make("inner") as inner:
            assert os.fstat(inner.handle).st_mode & 0o777 == 0o700
            os.close(inner.create("x"))
            assert os.stat(ours / "inner/x").st_mode & 0o777 == 0o600


@root_only
def test_no_moment_has_a_file_of_root_that_runs_as_root(
    theirs: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theirs / "file").chmod(0o4755)
    order: list[str] = []
    for name in ("fchown", "fchmod", "setxattr"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (order.append(name), real(*args))[1])
    with Folder.at(str(theirs), Disk()) as app, Folder.at(str(ours), Disk()) as scratch:
        source, target = app.open("file"), scratch.create("new")
        attributes.carry(source, target)
        os.close(source)
        os.close(target)
    assert order == ["fchown", "fchmod"]


@root_only
@pytest.mark.parametrize(
    ("owner", "mode", "bits", "refused"),
    [
        (0, 0o4755, 0, True),
        (USER, 0o4755, 0, False),
        (USER, 0o755, BIND_LOW_PORTS, False),
        (0, 0o755, BECOME_ANYBODY, True),
        (0, 0o644, 0, False),
    ],
)
def test_rights_are_not_given_to_a_name_that_others_may_change(
    theirs: Path, owner: int, mode: int, bits: int, refused: bool
) -> None:
    file = theirs / "file"
    os.chown(file, owner, owner)
    file.chmod(mode)
    if bits:
        os.setxattr(file, attributes.CAPABILITY, capability(bits))
    with Folder.at(str(theirs), Disk()) as app:
        if refused:
            with pytest.raises(PatchError) as error:
                app.require_replaceable("file")
            assert error.value.reason == "unsafe_folder"
        else:
            app.require_replaceable("file")


@root_only
def test_a_folder_that_others_may_rename_is_none_of_ours(
    tmp_path: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path.resolve()
    assert folders.is_guarded(str(top))
    assert not folders.is_guarded(str(theirs))
    (theirs / "below").mkdir(0o700)
    assert not folders.is_guarded(f"{theirs}/below")
    assert folders.is_guarded(f"{theirs}/below", USER)
    assert folders.place_for(str(theirs), str(top / "state")) == str(top / "state")
    with pytest.raises(PatchError) as error:
        folders.place_for(str(top), f"{theirs}/state")
    assert error.value.reason == "unsafe_folder"
    (top / "state").mkdir(0o700)
    monkeypatch.setattr(folders, "_mount_at", lambda path: "2" if path.startswith(str(theirs)) else "1")
    assert folders.place_for(str(theirs), str(top / "state")) == str(top / "state")
    monkeypatch.setattr(
        folders, "_mount_at", lambda path: "2" if path.startswith(str(top)) and "state" not in path else "1"
    )
    assert folders.place_for(str(theirs), str(top / "state")) == str(top)


@pytest.mark.parametrize("linked", [False, True])
def test_between_file_systems_a_file_is_copied_with_all_it_has(
    theirs: Path, ours: Path, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    real = os.rename
    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(
        os, "rename", lambda *a, **o: fail() if o.get("src_dir_fd") != o.get("dst_dir_fd") else real(*a, **o)
    )
    if linked:
        (theirs / "file").rename(theirs / "real")
        (theirs / "file").symlink_to("real")
    else:
        (theirs / "file").chmod(0o4711)
        os.utime(theirs / "file", ns=(5, 7))
    before = os.lstat(theirs / "file")
    with Folder.at(str(theirs), Disk()) as app, Folder.at(str(ours), Disk()) as scratch:
        app.keep("file", scratch, "kept")
        app.remove("file")
        scratch.move("kept", app, "file", "unguessable")
    after = os.lstat(theirs / "file")
    same: t.Any = ("st_mode", "st_uid", "st_gid", "st_size")
    assert [getattr(before, name) for name in same] == [getattr(after, name) for name in same]
    assert linked or after.st_mtime_ns == 7
    assert sorted(os.listdir(theirs)) == (["file", "real"] if linked else ["file"])
    assert os.listdir(ours) == []


def test_a_file_that_changes_while_it_is_copied_is_no_copy(
    theirs: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        (theirs / "file").write_text("text")
        raise OSError(errno.EPERM, "Operation not permitted")

    real = attributes.carry
    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(
        attributes, "carry", lambda *a, **o: (real(*a, **o), (theirs / "file").write_text("other text"))
    )
    with Folder.at(str(theirs), Disk()) as app, Folder.at(str(ours), Disk()) as scratch:
        with pytest.raises(OSError, match="changed while") as error:
            app.keep("file", scratch, "kept")
        assert error.value.errno == errno.EAGAIN


def test_neither_fifo_nor_folder_is_kept_or_removed(theirs: Path, ours: Path) -> None:
    os.mkfifo(theirs / "fifo")
    (theirs / "folder").mkdir()
    (theirs / "folder/x").write_text("")
    with Folder.at(str(theirs), Disk()) as app, Folder.at(str(ours), Disk()) as scratch:
        for name in ("fifo", "folder"):
            with pytest.raises(OSError, match="a"):
                app.keep(name, scratch, "kept")
        app.remove("folder")
        app.remove_empty("folder")
        app.remove("absent")
        app.remove_empty("absent")
    assert (theirs / "folder/x").exists()
    assert os.listdir(ours) == []
