# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zip files of all sorts, read and written anew: zipfile, unzip and Java must find them as good as before."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import struct
import subprocess
import time
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import nested, zips
from ansible_collections.patchwave.aws.plugins.module_utils._node.nested import Replacement, Search
from ansible_collections.patchwave.aws.plugins.module_utils._node.zips import Budget, Exhausted, Limits, Unreadable, Zip

OLD, NEW = b"old library " * 500, b"the new library, " * 900
WANTED = "lib/lib-1.0.jar"
MANIFEST = b"Manifest-Version: 1.0\r\n\r\n"
SEARCH = Search("lib-*.jar", frozenset([hashlib.sha256(OLD).hexdigest()]))


class Pipe(io.BytesIO):
    """A target that cannot seek, as a program writes to that streams: its entries have descriptors."""

    def seekable(self) -> bool:
        return False

    def seek(self, *dummy: t.Any) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def info(name: str, method: int = zipfile.ZIP_DEFLATED, extra: bytes = b"") -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, (2021, 12, 9, 22, 0, 0))
    made.compress_type, made.extra, made.external_attr = method, extra, 0o640 << 16
    return made


def packed(target: io.BytesIO | None = None, method: int = zipfile.ZIP_DEFLATED, wide: bool = False) -> bytes:
    target = io.BytesIO() if target is None else target
    stamp = struct.pack("<HHBL", 0x5455, 5, 1, 1639000000)
    with zipfile.ZipFile(target, "w") as package:
        package.comment = b"a comment"
        for name, content in ("META-INF/MANIFEST.MF", MANIFEST), ("Grüße.txt", b"x" * 5000):
            with package.open(info(name, extra=stamp), "w", force_zip64=wide) as stream:
                stream.write(content)
        with package.open(info(WANTED, method, stamp), "w", force_zip64=wide) as stream:
            stream.write(OLD)
        package.writestr(info("z.bin", zipfile.ZIP_STORED), random.Random(1).randbytes(3000))
    return target.getvalue()


def unflagged() -> bytes:
    """A name in UTF-8 without the flag that says so, as Java before 7 and many tools write it."""
    content = bytearray(packed())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(mark, content.index(mark) + 1)
        content[at + place : at + place + 2] = b"\0\0"
    return bytes(content)


def numbered(base: int) -> bytes:
    """Behind a program that unpacks itself; its offsets count from C(base)."""
    program = b"#!/bin/sh\nexec java -jar $0\n"
    buffer = io.BytesIO(program if base else b"")
    if base:
        return program + packed()
    buffer.write(program)
    with zipfile.ZipFile(buffer, "a") as package:
        package.writestr(info("META-INF/MANIFEST.MF"), MANIFEST)
        package.writestr(info(WANTED), OLD)
    return buffer.getvalue()


def wide_end() -> bytes:
    """A ZIP64 end, and offsets and sizes in ZIP64 fields that would fit without, as some tools always write them."""
    content = packed()
    end = content.rindex(b"PK\x05\x06")
    count, start = struct.unpack("<HxxxxL", content[end + 10 : end + 20])
    directory, place, made = content[start:end], 0, b""
    while place < len(directory):
        header = bytearray(directory[place : place + 46])
        name, extra, comment = struct.unpack("<3H", header[28:34])
        packed_size, size = struct.unpack("<LL", header[20:28])
        rest = directory[place + 46 : place + 46 + name + extra + comment]
        field = struct.pack("<HHQQQ", 1, 24, size, packed_size, struct.unpack("<L", header[42:46])[0])
        header[20:28] = b"\xff" * 8
        header[42:46] = b"\xff" * 4
        header[30:32] = struct.pack("<H", extra + len(field))
        made += bytes(header) + rest[: name + extra] + field + rest[name + extra :]
        place += 46 + name + extra + comment
    record = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, count, count, len(made), start)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, start + len(made), 1)
    tail = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 9) + b"a comment"
    return content[:start] + made + record + locator + tail


def many() -> bytes:
    """More entries than a short number holds."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr(info("META-INF/MANIFEST.MF"), MANIFEST)
        for number in range(66000):
            package.writestr(f"{number}", b"")
        package.writestr(info(WANTED), OLD)
    return buffer.getvalue()


def aligned() -> bytes:
    """Bytes of no entry between two, and a signature block before the directory, as Android has them."""
    content = packed(method=zipfile.ZIP_STORED)
    end = content.rindex(b"PK\x05\x06")
    length, start = struct.unpack("<LL", content[end + 12 : end + 20])
    directory, block = bytearray(content[start : start + length]), b"signature block" * 50
    tail = bytearray(content[end:])
    tail[16:20] = struct.pack("<L", start + len(block))
    return content[:start] + block + bytes(directory) + bytes(tail)


SORTS: dict[str, t.Callable[[], bytes]] = {
    "plain": packed,
    "stored": lambda: packed(method=zipfile.ZIP_STORED),
    "descriptors": lambda: packed(Pipe()),
    "zip64 sizes": lambda: packed(wide=True),
    "zip64 descriptors": lambda: packed(Pipe(), wide=True),
    "zip64 end": wide_end,
    "unflagged names": unflagged,
    "prefix that is counted": lambda: numbered(0),
    "prefix that is not counted": lambda: numbered(1),
    "many entries": many,
    "gaps": aligned,
}


def replaced(content: bytes, tmp_path: Path, search: Search = SEARCH, name: str = "app.jar") -> bytes | None:
    target = io.BytesIO()
    by = Replacement(search, io.BytesIO(NEW), str(tmp_path), Limits())
    changed = nested.replace(io.BytesIO(content), name, len(content), target, by)
    return target.getvalue() if changed else None


def faults(content: bytes) -> list[str]:
    """Walk all records by the specification; say where one does not follow the other, or a ZIP64 field does not fit.

    JDK 25 refuses a ZIP64 field without a number that needs it, or with more or fewer bytes than those need.
    """
    found, end = [], content.rindex(b"PK\x05\x06")
    length, start = struct.unpack("<LL", content[end + 12 : end + 20])
    if content[end - 20 : end - 16] == b"PK\x06\x07":
        length, start = struct.unpack("<QQ", content[end - 36 : end - 20])
        end = struct.unpack("<Q", content[end - 12 : end - 4])[0]
    base, place, order = content.index(b"PK\x03\x04"), start, []
    base = 0 if content[start : start + 4] == b"PK\x01\x02" else base
    for _ in range(0, 10**6):
        header = content[base + place : base + place + 46]
        if header[:4] != b"PK\x01\x02":
            break
        name, extra, comment = struct.unpack("<3H", header[28:34])
        numbers = [*reversed(struct.unpack("<LL", header[20:28])), *struct.unpack("<L", header[42:46])]
        fields, rest = {}, content[base + place + 46 + name : base + place + 46 + name + extra]
        while len(rest) >= 4:
            number, size = struct.unpack("<HH", rest[:4])
            fields[number], rest = rest[4 : 4 + size], rest[4 + size :]
        full = [index for index, value in enumerate(numbers) if value == 0xFFFFFFFF]
        if len(fields.get(1, b"")) != 8 * len(full) or (1 in fields) != bool(full):
            found.append(f"ZIP64 field of {header!r}")
        for number, index in enumerate(full):
            numbers[index] = struct.unpack_from("<Q", fields[1], 8 * number)[0]
        order.append((numbers[2], numbers[1], numbers[0], struct.unpack("<H", header[8:10])[0]))
        place += 46 + name + extra + comment
    if place != start + length or base + place != end:
        found.append("the end of the directory")
    for (offset, packed_size, size, flags), (following, *_) in zip(sorted(order), sorted(order)[1:], strict=False):
        name, extra = struct.unpack("<HH", content[base + offset + 26 : base + offset + 30])
        after = base + offset + 30 + name + extra + packed_size
        local = content[base + offset : base + offset + 30 + name + extra]
        has_field = b"\1\0\x10\0" in local[30 + name :]
        found += [f"ZIP64 field of {local!r}"] * ((b"\xff" * 4 in local[18:26]) != has_field)
        if flags & 8:
            wide = content[after + 8 : after + 24] == struct.pack("<QQ", packed_size, size)
            after += 24 if wide else 16
        found += [] if after == base + following else [f"between entries at {after}"]
    return found


@pytest.mark.parametrize("sort", SORTS)
def test_every_record_follows_the_one_before(sort: str, tmp_path: Path) -> None:
    before = SORTS[sort]()
    assert faults(before) == []
    assert faults(replaced(before, tmp_path) or b"") == []


@pytest.mark.parametrize("sort", SORTS)
def test_only_the_wanted_entry_changes(sort: str, tmp_path: Path) -> None:
    before = SORTS[sort]()
    after = replaced(before, tmp_path)
    assert after is not None
    (old, old_bytes), (new, new_bytes) = ((zipfile.ZipFile(io.BytesIO(one)), one) for one in (before, after))
    assert new.testzip() is None
    assert new.comment == old.comment
    assert new.namelist() == old.namelist()
    first = min(one.header_offset for one in old.infolist())
    assert new_bytes[:first] == old_bytes[:first]
    for one, other in zip(old.infolist(), new.infolist(), strict=True):
        for key in ("orig_filename", "date_time", "compress_type", "comment", "create_system", "external_attr"):
            assert getattr(one, key) == getattr(other, key)
        if one.filename == WANTED:
            assert new.read(other) == NEW
            assert other.flag_bits & 8 == 0
        else:
            extras = [extra.extra[:20] if sort == "zip64 end" else extra.extra for extra in (one, other)]
            assert (one.flag_bits, extras[0], one.CRC) == (other.flag_bits, extras[1], other.CRC)
            length = 30 + len(one.orig_filename.encode()) + one.compress_size
            ours, theirs = other.header_offset, one.header_offset
            assert new_bytes[ours : ours + length] == old_bytes[theirs : theirs + length]
    again = Zip(io.BytesIO(after), Budget(len(after), Limits()))
    assert [entry.name for entry in again.entries][-2:] == old.namelist()[-2:] or sort == "unflagged names"
    assert nested.find(io.BytesIO(after), "app.jar", SEARCH, len(after), Limits()) == (
        set(),
        [(WANTED, f"its checksum {hashlib.sha256(NEW).hexdigest()} is not known")],
        False,
    )


@pytest.mark.parametrize("sort", SORTS)
def test_unzip_finds_no_fault(sort: str, tmp_path: Path) -> None:
    if not shutil.which("unzip"):
        pytest.skip("needs unzip (make system)")
    before = SORTS[sort]()
    codes = []
    for number, content in enumerate((before, replaced(before, tmp_path))):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content or b"")
        codes.append(subprocess.run(["unzip", "-tqq", path], capture_output=True, check=False).returncode)
    assert codes[1] == codes[0] <= 1  # 1: bytes before the first entry


def java_takes_what_it_took_before(tmp_path: Path) -> None:
    """Java has refused ZIP64 fields that do not fit since 17.0.8."""
    said = {}
    for sort in SORTS:
        before = SORTS[sort]()
        for number, content in enumerate((before, replaced(before, tmp_path))):
            path = tmp_path / f"{number}.jar"
            path.write_bytes(content or b"")
            # The program that starts Java cannot read offsets in ZIP64 fields, which Java itself can.
            command = ["jar", "--list", "--file", path] if sort == "zip64 end" else ["java", "-jar", path]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said[sort, number] = (done.stdout + done.stderr).replace(str(path), "X")
    assert {sort: said[sort, 1] for sort in SORTS} == {sort: said[sort, 0] for sort in SORTS}
    assert said.pop(("zip64 end", 1)).split()[-2:] == [WANTED, "z.bin"]
    said.pop(("zip64 end", 0))
    assert set(said.values()) == {"no main manifest attribute, in X\n"}


if shutil.which("java") and shutil.which("jar"):  # too large to be installed for one test
    test_java_takes_what_it_took_before = java_takes_what_it_took_before


def test_a_library_in_archives_in_archives(tmp_path: Path) -> None:
    def around(content: bytes, name: str) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as package:
            package.writestr(info(name, zipfile.ZIP_STORED if name.endswith("war") else zipfile.ZIP_DEFLATED), content)
            package.writestr("other.jar", b"no zip")
        return buffer.getvalue()

    made = around(around(packed(Pipe()), "a.jar"), "b.war")
    after = replaced(made, tmp_path)
    assert after is not None
    inner = zipfile.ZipFile(io.BytesIO(after)).read("b.war")
    with zipfile.ZipFile(io.BytesIO(zipfile.ZipFile(io.BytesIO(inner)).read("a.jar"))) as package:
        assert package.testzip() is None
        assert package.read(WANTED) == NEW


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_are_judged_or_told_and_never_more(seed: int, tmp_path: Path) -> None:
    """No exception but one that is meant, no size out of bounds, and no doubt that is lost."""
    chance, sorts = random.Random(seed), [SORTS[sort]() for sort in SORTS if sort != "many entries"]
    for _ in range(150):
        content = bytearray(chance.choice(sorts))
        for _ in range(chance.randrange(1, 6)):
            way, at = chance.randrange(4), chance.randrange(len(content))
            if way == 0:
                content[at] = chance.randrange(256)
            elif way == 1:
                content = content[: max(at, 50)]
            elif way == 2:
                end = max(content.rfind(b"PK\x05\x06"), 0)
                content[end + chance.randrange(4, 20) % max(1, len(content) - end)] ^= 1 << chance.randrange(8)
            else:
                content[at : at + 4] = b"\xff" * 4
        finding = nested.find(io.BytesIO(content), "app.jar", SEARCH, len(content), Limits())
        try:
            after = replaced(bytes(content), tmp_path)
        except Unreadable:
            continue
        assert (after is not None) == bool(finding.known)
        if after is not None:
            assert len(after) < len(content) + 2 * len(NEW)
            assert not nested.find(io.BytesIO(after), "app.jar", SEARCH, len(after), Limits()).known


def bomb() -> bytes:
    """A few kilobytes that hold, in zip files in zip files, 640 GB."""
    content, name = b"\0" * 2**26, "lib-x.jar"
    for number, copies in enumerate((16, 16, 16, 16)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
            for copy in range(copies):
                package.writestr(f"{copy}{name}", content)
        content, name = buffer.getvalue(), f"{number}.jar"
    return content


def test_a_bomb_costs_seconds_and_is_told(tmp_path: Path) -> None:
    content, start = bomb(), time.monotonic()
    assert len(content) < 100000
    finding = nested.find(io.BytesIO(content), "bomb.jar", SEARCH, len(content), Limits())
    assert (finding.known, finding.doubts[-1], finding.exhausted) == (
        set(),
        ("", "it unpacks to more than is sane"),
        True,
    )
    with pytest.raises(Unreadable, match="more than is sane"):
        replaced(content, tmp_path)
    assert time.monotonic() - start < 15


def test_each_limit_is_told() -> None:
    content = packed()

    def look(**limits: t.Any) -> nested.Finding:
        return nested.find(io.BytesIO(content), "app.jar", SEARCH, len(content), Limits(**limits))

    assert look().known
    assert look(seconds=-1.0).exhausted
    assert look(entries=2).exhausted
    assert look(directory=100).exhausted
    assert look(file=1000).exhausted
    assert look(floor=1000, ratio=0).exhausted
    deep = look(depth=0)
    assert (deep.known, [why for path, why in deep.doubts]) == (set(), ["it is nested too deep"])


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jar", packed()[:-40], "it is cut short"),
        ("a.jar", b"#!/bin/sh\n" * 500 + packed()[:-40], "it is cut short"),
        ("a.war", packed().replace(b"PK\x01\x02", b"PK\x01\x03"), "its directory is damaged"),
        ("a.nar", packed()[300:], "it is damaged"),
        ("lib-1.jar", b"anything", "its checksum"),
    ],
)
def test_what_is_no_whole_zip_file_is_told(name: str, content: bytes, why: str) -> None:
    finding = nested.find(io.BytesIO(content), name, SEARCH, len(content), Limits())
    assert finding.known == set()
    assert [doubt[1].startswith(why) for doubt in finding.doubts] == [True], finding


@pytest.mark.parametrize("content", [b"", b"text", b"Rar!\x1a\x07\x00" + b"x" * 5000, b"PK"])
def test_what_is_no_zip_file_at_all_holds_nothing(content: bytes) -> None:
    assert nested.find(io.BytesIO(content), "a.rar", SEARCH, len(content), Limits()) == (set(), [], False)


@pytest.mark.parametrize(("flags", "method", "why"), [(1, 8, "it is encrypted"), (0, 12, "it is packed by method 12")])
def test_an_entry_that_cannot_be_unpacked_is_told_and_others_are_replaced(
    flags: int, method: int, why: str, tmp_path: Path
) -> None:
    content = bytearray(packed())
    with zipfile.ZipFile(io.BytesIO(content), "r") as package:
        package.testzip()
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as package:
        package.writestr(info("other/lib-2.jar"), b"secret")
    content = bytearray(buffer.getvalue())
    at = content.rindex(b"PK\x01\x02")
    content[at + 8 : at + 12] = struct.pack("<HH", flags, method)
    finding = nested.find(io.BytesIO(content), "app.jar", SEARCH, len(content), Limits())
    assert (len(finding.known), finding.doubts) == (1, [("other/lib-2.jar", why)])
    after = replaced(bytes(content), tmp_path)
    assert after is not None
    assert zipfile.ZipFile(io.BytesIO(after)).read(WANTED) == NEW


def test_names_of_windows_and_accepted_checksums() -> None:
    content = packed().replace(WANTED.encode(), WANTED.replace("/", "\\").encode())
    assert nested.find(io.BytesIO(content), "app.ZIP", SEARCH, len(content), Limits()).known
    accepted = Search("lib-*.jar", frozenset(), SEARCH.checksums)
    assert nested.find(io.BytesIO(content), "app.jar", accepted, len(content), Limits()) == (set(), [], False)


def test_a_reader_that_seeks_reads_the_same() -> None:
    content, chance = random.Random(3).randbytes(5000) * 200, random.Random(4)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr(info("a"), content)
        package.writestr(info("b", zipfile.ZIP_STORED), content)
    package = Zip(buffer, Budget(10**9, Limits()))
    for entry in package.entries:
        with package.open(entry) as stream:
            for _ in range(60):
                at, size = chance.randrange(len(content) + 10), chance.randrange(400000)
                stream.seek(at)
                assert stream.read(size) == content[at : at + size]


def test_limits_are_of_one_file_with_all_in_it() -> None:
    budget = Budget(10, Limits(floor=100, ratio=1))
    budget.spend(100)
    with pytest.raises(Exhausted):
        budget.spend(1)
    assert zips.Limits().depth == 5
