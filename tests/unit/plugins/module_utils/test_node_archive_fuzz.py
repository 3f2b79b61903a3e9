# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random archives, well made, odd and damaged: nothing leads outside, nothing is too large, and no error is unforeseen.

A few seconds with a fixed seed; C(make fuzz) goes on with others, see PATCHWAVE_FUZZ_SECONDS.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import stat
import struct
import tarfile
import time
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import archive
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError

SECONDS = float(os.environ.get("PATCHWAVE_FUZZ_SECONDS", "4"))
SEED = os.environ.get("PATCHWAVE_FUZZ_SEED", "issue 12")
LIMITS = archive.Limits(
    members=60, tree_bytes=2**20, ratio=50, ratio_floor=2**18, name_bytes=2**16, seconds=2, reserve=0
)
REASONS = {"bad_archive", "unsafe_archive", "no_space"}
PLACES = archive.Places(("/opt/tool/current",), ("/etc/allowed/*",))

PARTS = [
    "a",
    "b",
    "c",
    "a",
    "b",
    "..",
    ".",
    "",
    "bin",
    "x\\y",
    "C:",
    "é",
    "a\nb",
    "\udce9",
    "n" * 255,
    "n" * 256,
    "-rf",
]
ODD = [
    "/etc/passwd",
    "/opt/tool/current/a",
    "/etc/allowed/x",
    "a\0b",
    "..\\..\\out",
    "\\\\host\\x",
    "a/" * 300,
    "",
    "/",
    "./",
]
TYPES = [
    tarfile.REGTYPE,
    tarfile.REGTYPE,
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    tarfile.CONTTYPE,
    tarfile.AREGTYPE,
    tarfile.GNUTYPE_SPARSE,
    b"V",
    b"Z",
    b"D",
]


class Maker:
    """Makes archives from one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def path(self) -> str:
        if self.chance.random() < 0.08:
            return self.chance.choice(ODD)
        text = "/".join(
            self.chance.choice(PARTS[: self.chance.choice([3, 7, 17])]) for dummy in range(self.size(5) + 1)
        )
        return ("/" + text) if self.chance.random() < 0.03 else text

    def size(self, most: int) -> int:
        return int(self.chance.random() ** 3 * most)

    def content(self) -> bytes:
        begin = self.chance.choice([b"", b"#!/bin/sh\n", b"\x7fELF"])
        return begin + self.chance.choice([b"\0", b"text"]) * self.size(2**17 if self.chance.random() < 0.1 else 600)

    def tar(self) -> bytes:
        made = io.BytesIO()
        form = self.chance.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
        with tarfile.open(fileobj=made, mode="w", format=form) as file:
            for dummy in range(self.size(80) + 1):
                info = tarfile.TarInfo(self.path())
                info.type, info.mode = self.chance.choice(TYPES), self.chance.randrange(0o10000)
                content = self.content() if info.isreg() else b""
                info.size = len(content)
                if info.issym() or info.islnk():
                    info.linkname = self.path()
                if form == tarfile.PAX_FORMAT and self.chance.random() < 0.2:
                    info.pax_headers = self.pax()
                try:
                    file.addfile(info, io.BytesIO(content))
                except (ValueError, struct.error):
                    continue
        return made.getvalue()

    def pax(self) -> dict[str, str]:
        keys = [
            "path",
            "linkpath",
            "size",
            "SCHILY.xattr.user.x",
            "GNU.sparse.major",
            "GNU.sparse.realsize",
            "hdrcharset",
        ]
        values = ["1", "0", "-5", "99999999999", "../x", "/etc/x", "x" * 5000, "BINARY", "1.0"]
        return {self.chance.choice(keys): self.chance.choice(values) for dummy in range(2)}

    def zip(self) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as file:
            for dummy in range(self.size(80) + 1):
                info = zipfile.ZipInfo(self.path().encode("utf-8", "replace").decode())
                kind = self.chance.choice([0, stat.S_IFREG, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO])
                info.create_system = self.chance.choice([0, 3, 3, 3, 10, 19])
                info.external_attr = (kind | self.chance.randrange(0o10000)) << 16 | self.chance.choice([0, 0x10])
                method = self.chance.choice(
                    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
                )
                content = self.path().encode("utf-8", "replace") if kind == stat.S_IFLNK else self.content()
                file.writestr(info, content, method)
        return made.getvalue()

    def mutated(self, data: bytes) -> bytes:
        """Change, cut, double or move bytes; of a tar often with right checksums of the headers again."""
        changed = bytearray(data)
        for dummy in range(self.size(6) + 1):
            place = self.chance.randrange(len(changed) + 1)
            how = self.chance.randrange(5)
            if how == 0:
                changed[place : place + 1] = bytes([self.chance.randrange(256)])
            elif how == 1:
                changed[place : place + self.size(600)] = b""
            elif how == 2:
                changed[place:place] = changed[place : place + 512 * self.size(4)]
            elif how == 3:
                number = self.chance.choice([0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1])
                changed[place : place + 4] = struct.pack("<L", number)
            else:
                changed[place : place + 12] = self.chance.choice(
                    [b"77777777777\0", b"\x80" + b"\xff" * 11, b"-0000000001\0"]
                )
        return bytes(changed[: 2**20])

    def sums(self, data: bytes) -> bytes:
        fixed = bytearray(data)
        for start in range(0, len(fixed) - 511, 512):
            if fixed[start + 257 : start + 262] == b"ustar":
                fixed[start + 148 : start + 156] = b" " * 8
                fixed[start + 148 : start + 156] = b"%06o\0 " % sum(fixed[start : start + 512])
        return bytes(fixed)

    def any(self) -> bytes:
        data = self.zip() if self.chance.random() < 0.4 else self.tar()
        if self.chance.random() < 0.5:
            data = self.mutated(data)
            data = self.sums(data) if self.chance.random() < 0.7 else data
        if data[:2] != b"PK":
            data = self.chance.choice([bytes, bytes, gzip.compress, bz2.compress, lzma.compress])(data)
        return self.mutated(data) if self.chance.random() < 0.1 else data


def surroundings(folder: Path, tree: Path) -> dict[str, t.Any]:
    """All below a folder but the tree."""
    found = {}
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(root, name) != tree]
        for name in folders + names:
            info = os.lstat(os.path.join(root, name))
            content = () if stat.S_ISDIR(info.st_mode) else (info.st_size, info.st_mtime_ns)
            found[os.path.join(root, name)] = (info.st_mode, info.st_uid, content)
    return found


def judge(tree: Path) -> None:
    """Look at what was unpacked: only files, folders and links, none leading outside, and no more than allowed."""
    total = 0
    for root, folders, names in os.walk(tree):
        for path in (os.path.join(root, name) for name in folders + names):
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                target = os.readlink(path)
                if target.startswith("/"):
                    assert target.startswith(("/opt/tool/current", "/etc/allowed/")), target
                    assert ".." not in target.split("/") or target.startswith("/opt/tool/current")
                elif not os.path.realpath(path).startswith("/etc/allowed/"):
                    real = os.path.realpath(path)
                    assert real == str(tree) or real.startswith((str(tree) + "/", "/opt/tool/current")), (path, target)
                continue
            assert stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode), path
            assert info.st_mode & 0o7022 == 0, oct(info.st_mode)
            total += info.st_size if stat.S_ISREG(info.st_mode) else 0
    assert total <= LIMITS.tree_bytes


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_archive_finds_a_path_size_or_time_out_of_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside/file").write_text("not the archive's")
    home = tmp_path / "home"
    home.mkdir()
    packed, tree = home / "packed", home / "tree"
    end, number, outcomes = time.monotonic() + SECONDS, 0, {"unpacked": 0, "refused": 0}
    while time.monotonic() < end or number < 200:
        maker = Maker(random.Random(f"{SEED} {number}"))
        packed.write_bytes(maker.any())
        before, start = surroundings(tmp_path, tree), time.monotonic()
        try:
            archive.unpack(str(packed), str(tree), Disk(), "auto", maker.size(3), LIMITS, PLACES)
        except PatchError as error:
            outcomes["refused"] += 1
            assert error.reason in REASONS, number  # noqa: PT017 - either is right
        else:
            outcomes["unpacked"] += 1
            judge(tree)
        assert time.monotonic() - start < LIMITS.seconds + 2, number
        assert surroundings(tmp_path, tree) == before, number
        shutil.rmtree(tree, ignore_errors=True)
        number += 1
    assert min(outcomes.values()) > number / 20, outcomes
