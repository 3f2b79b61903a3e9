# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import stat
import tarfile
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import archive
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
    "backslash": [("a\\..\\out", tarfile.REGTYPE, "x")],
    "link out": [("a", tarfile.SYMTYPE, "../out")],
    "absolute link": [("a", tarfile.SYMTYPE, "/etc/passwd")],
    "link through a link": [("a", tarfile.SYMTYPE, "."), ("b", tarfile.SYMTYPE, "a/..")],
    "file through a link": [("a", tarfile.SYMTYPE, "b"), ("a/out", tarfile.REGTYPE, "x")],
    "file through a later link": [("a/out", tarfile.REGTYPE, "x"), ("a", tarfile.SYMTYPE, "b")],
    "file over a link": [("a", tarfile.SYMTYPE, "b"), ("a", tarfile.REGTYPE, "x")],
    "hard link out": [("a", tarfile.LNKTYPE, "/etc/passwd")],
    "hard link to parent": [("a", tarfile.LNKTYPE, "../out")],
    "hard link to a link": [("a", tarfile.SYMTYPE, "b"), ("c", tarfile.LNKTYPE, "a")],
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
    with pytest.raises(PatchError, match="outside"):
        unpack(packed, tmp_path, strip=1)


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
