# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import time
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import archive, unpacked
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Entry = tuple[str, bytes, str]  # name, type, content or link target


def tar(path: Path, *entries: Entry, mode: int = 0o644, compress: str = "gz") -> str:
    with tarfile.open(path, "w:" + compress) as file:  # type: ignore[call-overload]
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, mode
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content
            file.addfile(info, io.BytesIO(content.encode()))
    return str(path)


def unpack(packed: str, tmp_path: Path, **options: t.Any) -> Path:
    tree = tmp_path / "tree"
    archive.unpack(packed, str(tree), Disk(), **options)
    return tree


@pytest.mark.parametrize("compress", ["", "gz", "bz2", "xz"])
def test_every_tar_keeps_content_links_and_executables(tmp_path: Path, compress: str) -> None:
    packed = tar(
        tmp_path / "a",
        ("top/", tarfile.DIRTYPE, ""),
        ("top/bin/tool", tarfile.REGTYPE, "run"),
        ("top/tool", tarfile.SYMTYPE, "bin/tool"),
        ("top/bin/up", tarfile.SYMTYPE, "../bin/tool"),
        ("top/hard", tarfile.LNKTYPE, "top/bin/tool"),
        mode=0o6777,
        compress=compress,
    )
    tree = unpack(packed, tmp_path, strip=1)
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == [
        "bin",
        "bin/tool",
        "bin/up",
        "hard",
        "tool",
    ]
    assert (tree / "tool").read_text() == (tree / "bin/up").read_text() == (tree / "hard").read_text() == "run"
    assert stat.S_IMODE((tree / "bin/tool").stat().st_mode) == 0o755


def test_a_zip_keeps_content_links_and_executables(tmp_path: Path) -> None:
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, mode, content in (
            ("bin/tool", 0o104755, "run"),
            ("doc", 0o100666, "read"),
            ("link", 0o120777, "bin/tool"),
        ):
            info = zipfile.ZipInfo(name)
            info.external_attr, info.create_system = mode << 16, 3
            file.writestr(info, content)
        file.writestr(zipfile.ZipInfo("empty/"), "")
    tree = unpack(str(packed), tmp_path)
    assert (tree / "link").read_text() == "run"
    assert (tree / "empty").is_dir()
    assert stat.S_IMODE((tree / "bin/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "doc").stat().st_mode) == 0o644


UNSAFE: dict[str, list[Entry]] = {
    "parent": [("../out", tarfile.REGTYPE, "x")],
    "inner parent": [("a/../../out", tarfile.REGTYPE, "x")],
    "absolute": [("/tmp/out", tarfile.REGTYPE, "x")],
    "link out": [("a", tarfile.SYMTYPE, "../out")],
    "absolute link": [("a", tarfile.SYMTYPE, "/etc/passwd")],
    "link through a link": [("a", tarfile.SYMTYPE, "."), ("b", tarfile.SYMTYPE, "a/..")],
    "file through a link": [("a", tarfile.SYMTYPE, "b"), ("a/out", tarfile.REGTYPE, "x")],
    "file through a later link": [("a/out", tarfile.REGTYPE, "x"), ("a", tarfile.SYMTYPE, "b")],
    "link outside that is replaced by one": [("a", tarfile.SYMTYPE, "b"), ("a", tarfile.SYMTYPE, "../b")],
    "link through a later link": [("a", tarfile.SYMTYPE, "b/.."), ("b", tarfile.SYMTYPE, ".")],
    "links in a circle": [("a", tarfile.SYMTYPE, "b"), ("b", tarfile.SYMTYPE, "a/c")],
    "folder over a link": [("a", tarfile.SYMTYPE, "b"), ("a", tarfile.DIRTYPE, "")],
    "folder over a file": [("a", tarfile.REGTYPE, "x"), ("a", tarfile.DIRTYPE, "")],
    "file over a folder": [("a/b", tarfile.REGTYPE, "x"), ("a", tarfile.REGTYPE, "x")],
    "link to nothing": [("a", tarfile.SYMTYPE, "")],
    "long name": [("a" * 256, tarfile.REGTYPE, "x")],
    "deep name": [("a/" * 200 + "b", tarfile.REGTYPE, "x")],
    "hard link out": [("a", tarfile.LNKTYPE, "/etc/passwd")],
    "hard link to parent": [("a", tarfile.LNKTYPE, "../out")],
    "hard link to a link, which leads outside there": [
        ("a/b/c", tarfile.SYMTYPE, "../../d"),
        ("c", tarfile.LNKTYPE, "a/b/c"),
    ],
    "hard link to a later file": [("c", tarfile.LNKTYPE, "a"), ("a", tarfile.REGTYPE, "x")],
    "device": [("a", tarfile.CHRTYPE, "")],
    "pipe": [("a", tarfile.FIFOTYPE, "")],
    "file below a file": [("a", tarfile.REGTYPE, "x"), ("a/b", tarfile.REGTYPE, "x")],
}


@pytest.mark.parametrize("entries", UNSAFE.values(), ids=UNSAFE.keys())
def test_an_archive_that_could_write_elsewhere_is_refused_before_a_byte_is_written(
    tmp_path: Path, entries: list[Entry]
) -> None:
    packed = tar(tmp_path / "a.tgz", ("first", tarfile.REGTYPE, "x"), *entries)
    with pytest.raises(PatchError) as caught:
        unpack(packed, tmp_path)
    assert caught.value.reason == "unsafe_archive"
    assert os.listdir(tmp_path) == ["a.tgz"]


def test_strip_does_not_hide_an_absolute_path(tmp_path: Path) -> None:
    packed = tar(tmp_path / "a.tgz", ("/top/file", tarfile.REGTYPE, "x"))
    with pytest.raises(PatchError, match="absolute"):
        unpack(packed, tmp_path, strip=1)


def seen(tree: Path) -> dict[str, str]:
    """Files and links below a folder: content, or target behind an arrow."""
    paths = [path for path in tree.rglob("*") if path.is_symlink() or path.is_file()]
    return {str(p.relative_to(tree)): "->" + os.readlink(p) if p.is_symlink() else p.read_text() for p in paths}


REAL: dict[str, tuple[list[Entry], dict[str, str]]] = {
    "path with a parent inside": ([("a/../b/./c", tarfile.REGTYPE, "x")], {"b/c": "x"}),
    "link with a parent inside": (
        [("a/x", tarfile.REGTYPE, "x"), ("l", tarfile.SYMTYPE, "a/../a/x")],
        {"a/x": "x", "l": "->a/../a/x"},
    ),
    "hard link to a link": (
        [("a", tarfile.REGTYPE, "x"), ("l", tarfile.SYMTYPE, "a"), ("h", tarfile.LNKTYPE, "l")],
        {"a": "x", "l": "->a", "h": "->a"},
    ),
    "two files of a name": ([("a", tarfile.REGTYPE, "old"), ("a", tarfile.REGTYPE, "x")], {"a": "x"}),
    "file over a link": (
        [("b", tarfile.REGTYPE, "b"), ("a", tarfile.SYMTYPE, "b"), ("a", tarfile.REGTYPE, "x")],
        {"a": "x", "b": "b"},
    ),
    "link over a file": (
        [("b", tarfile.REGTYPE, "b"), ("a", tarfile.REGTYPE, "x"), ("a", tarfile.SYMTYPE, "b")],
        {"a": "->b", "b": "b"},
    ),
    "file over one that has a hard link": (
        [("a", tarfile.REGTYPE, "1"), ("h", tarfile.LNKTYPE, "a"), ("a", tarfile.REGTYPE, "2")],
        {"a": "2", "h": "1"},
    ),
    "hard link to itself": ([("a", tarfile.REGTYPE, "1"), ("a", tarfile.LNKTYPE, "./a")], {"a": "1"}),
    "backslash in a tar": ([("dev\\x2d.device", tarfile.REGTYPE, "x")], {"dev\\x2d.device": "x"}),
    "absolute link to its own place": (
        [("a", tarfile.REGTYPE, "1"), ("l", tarfile.SYMTYPE, "/opt/tool/current/a")],
        {"a": "1", "l": "->/opt/tool/current/a"},
    ),
    "absolute link that is allowed": (
        [("a", tarfile.REGTYPE, "1"), ("lib/cacerts", tarfile.SYMTYPE, "/etc/pki/java/cacerts")],
        {"a": "1", "lib/cacerts": "->/etc/pki/java/cacerts"},
    ),
    "label of a tar": ([("label", b"V", ""), ("a", tarfile.REGTYPE, "1")], {"a": "1"}),
}
PLACES = archive.Places(("/opt/tool/current", "/opt/tool/1.2"), ("/etc/pki/*",))


@pytest.mark.parametrize(("entries", "expected"), REAL.values(), ids=REAL.keys())
def test_what_real_archives_hold_is_unpacked_as_tar_does(
    tmp_path: Path, entries: list[Entry], expected: dict[str, str]
) -> None:
    tree = unpack(tar(tmp_path / "a.tgz", *entries), tmp_path, places=PLACES)
    assert seen(tree) == expected
    if not any("/opt" in target or "/etc" in target for target in expected.values()):
        (tmp_path / "by tar").mkdir()
        subprocess.run(["tar", "xPf", tmp_path / "a.tgz", "-C", tmp_path / "by tar"], check=True)
        assert seen(tmp_path / "by tar") == expected


@pytest.mark.parametrize(
    "target",
    ["/opt/tool/current/../../x", "/opt/tool", "/opt/tool/1.20/a", "/etc/pki/../shadow", "/etc/shadow", "//etc/pki/x"],
)
def test_an_absolute_link_elsewhere_is_refused_and_says_how_to_allow_it(tmp_path: Path, target: str) -> None:
    packed = tar(tmp_path / "a.tgz", ("a", tarfile.REGTYPE, "1"), ("l", tarfile.SYMTYPE, target))
    with pytest.raises(PatchError, match=r"outside.*\(l\)") as caught:
        unpack(packed, tmp_path, places=PLACES)
    assert caught.value.reason == "unsafe_archive"


def test_a_zip_of_windows_or_without_modes_is_what_it_was_there(tmp_path: Path) -> None:
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, system, attributes, content in (
            ("app\\", 0, 0, b""),
            ("app\\bin\\run.sh", 0, 0, b"#!/bin/sh\n"),
            ("app\\bin\\tool", 10, 0x20, b"\x7fELF..."),
            ("app\\empty", 0, 0x10, b""),
            ("app\\readme.txt", 0, 0, b"text"),
            ("unix\\name", 3, 0o100644 << 16, b"one name"),
            ("made/by/java", 3, 0o100000 << 16, b"#!/usr/bin/env java"),
            ("made/by/python", 3, 0o600 << 16, b"#!/usr/bin/env python3"),
        ):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = system, attributes
            file.writestr(info, content)
    tree = unpack(str(packed), tmp_path)
    assert (tree / "app/empty").is_dir()
    modes = {str(path.relative_to(tree)): stat.S_IMODE(path.stat().st_mode) for path in tree.rglob("*")}
    assert modes == {
        "app": 0o755,
        "app/bin": 0o755,
        "app/bin/run.sh": 0o755,
        "app/bin/tool": 0o755,
        "app/empty": 0o755,
        "app/readme.txt": 0o644,
        "made": 0o755,
        "made/by": 0o755,
        "made/by/java": 0o755,
        "made/by/python": 0o755,
        "unix\\name": 0o644,
    }


@pytest.mark.parametrize("name", ["..\\out", "a\\..\\..\\out", "\\out", "\\\\host\\out"])
def test_a_backslash_of_windows_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w") as file:
        info = zipfile.ZipInfo(name)
        info.create_system = 0
        file.writestr(info, "x")
    with pytest.raises(PatchError) as caught:
        unpack(str(packed), tmp_path)
    assert caught.value.reason == "unsafe_archive"
    assert os.listdir(tmp_path) == ["a.zip"]


def test_a_tar_of_zstd_is_read_by_the_node_s_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = Path(tar(tmp_path / "a.tar", ("a", tarfile.REGTYPE, "x" * 100000), compress=""))
    fake = tmp_path / "bin"
    fake.mkdir()
    monkeypatch.setenv("PATH", str(fake))
    (tmp_path / "b.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd rest")
    if sys.version_info < (3, 14):
        with pytest.raises(PatchError, match="install it or pack") as caught:
            unpack(str(tmp_path / "b.tar.zst"), tmp_path)
        assert caught.value.reason == "command_missing"
        with pytest.raises(PatchError, match="zstd"):
            unpacked.require_zstd("https://example.com/a.tar.zst")
    monkeypatch.undo()
    if not shutil.which("zstd"):
        pytest.skip("needs zstd (make system)")
    subprocess.run(["zstd", "-q", packed], check=True)
    unpacked.require_zstd("a.tar.zst")
    assert (unpack(f"{packed}.zst", tmp_path) / "a").stat().st_size == 100000
    whole = Path(f"{packed}.zst").read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PatchError) as caught:
        archive.unpack(str(packed), str(tmp_path / "cut"), Disk())
    assert caught.value.reason == "bad_archive"


names = st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a", "a/b/c", "c/d/e"])
targets = st.lists(st.sampled_from(["..", ".", "a", "b", "c", "d"]), min_size=1, max_size=4).map("/".join)
links = st.tuples(names, st.just(tarfile.SYMTYPE), targets)
files = st.tuples(names, st.just(tarfile.REGTYPE), st.just("x"))
folders = st.tuples(names, st.just(tarfile.DIRTYPE), st.just(""))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.one_of(links, files, folders), min_size=1, max_size=6))
def test_no_combination_of_links_resolves_outside(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]
) -> None:
    folder = tmp_path_factory.mktemp("links")
    packed = tar(folder / "a.tar", ("zz", tarfile.REGTYPE, "x"), *entries, compress="")
    try:
        tree = unpack(packed, folder)
    except PatchError as error:
        assert error.reason == "unsafe_archive"  # noqa: PT017 - either is right
        assert not (folder / "tree").exists()
        return
    for root, dirs, found in os.walk(tree):
        for name in dirs + found:
            real = os.path.realpath(os.path.join(root, name))
            assert real == str(tree) or real.startswith(str(tree) + os.sep)


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, form: str) -> None:
    zeros, packed = "\0" * 2_000_000, tmp_path / "a"
    if form == "tar":
        tar(packed, ("a", tarfile.REGTYPE, zeros))
    else:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a", zeros)
    for limits in (archive.Limits(ratio_floor=1_000_000), archive.Limits(tree_bytes=1_000_000)):
        with pytest.raises(PatchError) as caught:
            unpack(str(packed), tmp_path, limits=limits)
        assert caught.value.reason == "unsafe_archive"
    assert os.listdir(tmp_path) == ["a"]
    assert (unpack(str(packed), tmp_path) / "a").stat().st_size == 2_000_000  # small enough for the defaults


class Zeros(io.RawIOBase):
    """Bytes that take no room, to write much with little."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        size = min(len(buffer), self.left)
        buffer[:size] = bytes(size)
        self.left -= size
        return size


def bombs(folder: Path) -> t.Iterator[tuple[str, bytes]]:
    """Archives of little that make much, also while they are only listed."""
    info = tarfile.TarInfo("zeros")
    info.size = 200 * 1024**2
    packed = folder / "listed.tgz"
    with gzip.open(packed, "wb", 6) as stream:
        stream.write(info.tobuf())
        shutil.copyfileobj(Zeros(info.size), stream, 1024**2)
    yield "a large member", packed.read_bytes()
    device = tarfile.TarInfo("a")
    device.type = tarfile.CHRTYPE
    yield "padding behind the end", gzip.compress(device.tobuf() + bytes(100 * 1024**2), 1)
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 50 * 1024**2
    yield "a large header", gzip.compress(header.tobuf() + b"1" * header.size, 1)
    name = tarfile.TarInfo("name")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 10 * 1024**2
    yield "a long name", gzip.compress(name.tobuf() + b"n" * name.size, 1)
    sparse = tarfile.TarInfo("s")
    block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = tarfile.GNUTYPE_SPARSE
    block[483:495] = b"77777777777\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    yield "a sparse file", bytes(block) + bytes(1024)
    entry = io.BytesIO()
    with zipfile.ZipFile(entry, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(1024**2))
    yield "overlapping entries", overlapping(entry.getvalue(), 50)
    listed = io.BytesIO()
    with zipfile.ZipFile(listed, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a", bytes(50 * 1024**2))
    yield "another method", listed.getvalue()


def overlapping(packed: bytes, count: int) -> bytes:
    """Return a zip file whose list has one entry many times, under other names."""
    start = packed.rindex(b"PK\x01\x02")
    listed, end = packed[start : packed.rindex(b"PK\x05\x06")], packed[packed.rindex(b"PK\x05\x06") :]
    names = b"".join(listed[:46] + bytes([65 + number]) + listed[47:] for number in range(count))
    return packed[:start] + names + end[:8] + struct.pack("<HHL", count, count, len(names)) + end[16:]


def test_a_bomb_holds_nothing_up_and_fills_nothing(tmp_path: Path) -> None:
    for number, (what, content) in enumerate(list(bombs(tmp_path))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a").write_bytes(content)
        start = time.monotonic()
        with pytest.raises(PatchError) as caught:
            unpack(str(folder / "a"), folder)
        assert caught.value.reason in ("unsafe_archive", "bad_archive"), what
        assert time.monotonic() - start < 5, what
        assert os.listdir(folder) == ["a"], what


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_reading_ends_with_its_time(tmp_path: Path, form: str) -> None:
    packed = tmp_path / "a"
    if form == "tar":
        tar(packed, ("a", tarfile.REGTYPE, "x"))
    else:
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr("a", "x")
    with pytest.raises(PatchError, match="too long") as caught:
        unpack(str(packed), tmp_path, limits=archive.Limits(seconds=-1))
    assert caught.value.reason == "unsafe_archive"


def test_links_that_take_long_to_follow_are_refused(tmp_path: Path) -> None:
    links = [(f"l{number}", tarfile.SYMTYPE, f"l{number + 1}/../l{number + 1}") for number in range(30)]
    packed = tar(tmp_path / "a", ("l30", tarfile.DIRTYPE, ""), ("f", tarfile.REGTYPE, ""), *links)
    start = time.monotonic()
    with pytest.raises(PatchError, match="circle"):
        unpack(packed, tmp_path)
    assert time.monotonic() - start < 5


def test_a_tar_that_ends_in_the_middle_is_damaged_and_one_without_an_end_is_not(tmp_path: Path) -> None:
    whole = Path(
        tar(tmp_path / "a", ("f", tarfile.REGTYPE, "1"), ("g", tarfile.REGTYPE, "2"), compress="")
    ).read_bytes()
    for number, (content, good) in enumerate(
        [(whole[:2048], True), (whole[:1300], False), (whole[:1024] + b"x" * 512, False)]
    ):
        folder = tmp_path / f"t{number}"
        folder.mkdir()
        (folder / "a").write_bytes(content)
        if good:
            assert (unpack(str(folder / "a"), folder) / "g").exists()
        else:
            with pytest.raises(PatchError) as caught:
                unpack(str(folder / "a"), folder)
            assert caught.value.reason == "bad_archive"


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    packed = tar(tmp_path / "a", *[(f"f{index}", tarfile.REGTYPE, "") for index in range(5)])
    with pytest.raises(PatchError, match="more than is sane"):
        unpack(packed, tmp_path, limits=archive.Limits(members=4))


def test_a_tree_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    class Small(Disk):
        def free(self, path: str) -> int:
            return 100

    packed = tar(tmp_path / "a", ("f", tarfile.REGTYPE, "x"))
    with pytest.raises(PatchError) as caught:
        archive.unpack(packed, str(tmp_path / "tree"), Small())
    assert caught.value.reason == "no_space"


def damaged(tmp_path: Path) -> t.Iterator[bytes]:
    good = Path(tar(tmp_path / "a.tgz", ("f", tarfile.REGTYPE, "content" * 5000))).read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("f", "content" * 100)
    zipped = packed.getvalue()
    yield from (b"", b"not an archive", good[: len(good) // 2], good[:30], zipped[:50])
    yield zipped.replace(b"content", b"CONTENT", 1)
    yield b"\x1f\x8b" + b"\0" * 50
    yield zipped[:-10] + struct.pack("<LLH", 2**31, 2**31, 0)  # a list that begins before the file


def test_a_damaged_archive_is_an_answer_and_no_traceback(tmp_path: Path) -> None:
    for number, content in enumerate(list(damaged(tmp_path))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a").write_bytes(content)
        with pytest.raises(PatchError) as caught:
            unpack(str(folder / "a"), folder)
        assert caught.value.reason == "bad_archive", content[:20]


def test_stripping_everything_away_is_an_error_that_says_so(tmp_path: Path) -> None:
    packed = tar(tmp_path / "a", ("f", tarfile.REGTYPE, "x"))
    with pytest.raises(PatchError, match=r"strip=1; check archive\.strip"):
        unpack(packed, tmp_path, strip=1)
