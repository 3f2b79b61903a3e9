# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Read a zip file by its central directory within limits, and write it anew with other content of a few entries.

Everything else is copied byte for byte: what stands before the first entry, local headers, data, descriptors, comments
and headers in the directory, of which only the offsets change. So names in whatever encoding, extra fields and ZIP64
records stay as the program that wrote them made them. The numbers are those of APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import io
import struct
import time
import typing as t
import zlib

_LOCAL, _ENTRY, _END, _DESCRIPTOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x07\x08"
_END64, _LOCATOR = b"PK\x06\x06", b"PK\x06\x07"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _HAS_DESCRIPTOR = 1, 8
_ZIP64 = 0x0001
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_CHUNK = 256 * 1024
_COMMENT = 65535


class Unreadable(Exception):
    """A zip file or an entry cannot be judged: why, in a few words."""


class Endless(Unreadable):
    """A file has no end of a zip file: it is cut short, or is none."""


class Exhausted(Exception):
    """A file takes more than its share; nothing more of it is read."""


class Limits(t.NamedTuple):
    """What one file on the node may cost, with all that is in it."""

    #: How deep zip files in zip files are looked into.
    depth: int = 5
    entries: int = 2000000
    #: Bytes of one directory of entries, and of one file or entry that is read whole.
    directory: int = 32 * 1024**2
    file: int = 2 * 1024**3
    #: Bytes unpacked for each byte of the file, where it is more than C(floor), and at most.
    ratio: int = 100
    floor: int = 256 * 1024**2
    unpacked: int = 32 * 1024**3
    seconds: float = 300.0


class Budget:
    """Count what one file costs.

    Args:
        size: bytes of the file.
        limits: what it may cost.
    """

    def __init__(self, size: int, limits: Limits) -> None:
        self.limits = limits
        self._bytes = min(max(limits.floor, limits.ratio * size), limits.unpacked)
        self._entries = limits.entries
        self._end = time.monotonic() + limits.seconds

    def spend(self, size: int = 0, entries: int = 0) -> None:
        """Raise Exhausted when it was too much."""
        self._bytes -= size
        self._entries -= entries
        if self._bytes < 0 or self._entries < 0:
            raise Exhausted("it unpacks to more than is sane")
        if time.monotonic() > self._end:
            raise Exhausted("it takes longer than {0:.0f} s".format(self.limits.seconds))


class Entry(t.NamedTuple):
    """One entry: its header in the directory, and what that says. C(offset) counts from the start of the file."""

    header: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int

    @property
    def is_stored(self) -> bool:
        """Whether it is not packed."""
        return self.method == _STORED


class Zip:
    """A zip file that is open to read; it must be seekable.

    Raises:
        Unreadable: it is none, or is damaged.
        Exhausted: it is too large.
    """

    def __init__(self, stream: t.Any, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self._find_end()
        self.entries = list(self._entries())

    def _at(self, offset: int, size: int) -> bytes:
        if offset < 0:
            raise Unreadable("it is damaged")
        self._stream.seek(offset)
        data = self._stream.read(size)
        if len(data) != size:
            raise Unreadable("it is cut short")
        return bytes(data)

    # -- the directory -------------------------------------------------------------------------------------------

    def _find_end(self) -> None:
        """Find the records at the end, which say where the directory is."""
        size = self._stream.seek(0, io.SEEK_END)
        tail = self._at(max(0, size - _COMMENT - 22), min(size, _COMMENT + 22))
        place = _last_end(tail)
        if place < 0:
            raise Endless("it is cut short")
        end = size - len(tail) + place
        disk, first, here, count, length, offset = struct.unpack("<4H2L", tail[place + 4 : place + 20])
        self._end, self._end64 = end, None  # type: t.Tuple[int, t.Optional[int]]
        locator = self._at(end - 20, 20) if end >= 20 else b""
        if locator[:4] == _LOCATOR:
            self._end64 = self._place64(end, struct.unpack("<Q", locator[8:16])[0])
            record = self._at(self._end64, 56)
            disk, first, here, count, length, offset = struct.unpack("<2L4Q", record[16:56])
        if disk or first or here != count:
            raise Unreadable("it is one of several parts")
        self._count = count
        self._start = (end if self._end64 is None else self._end64) - length
        #: What stands before it and is not counted by its offsets, as in a program that unpacks itself.
        self._base = self._start - offset
        if self._base < 0 or self._start < 0:
            raise Unreadable("it is damaged")
        if length > self._budget.limits.directory:
            raise Exhausted("it has too many entries")

    def _place64(self, end: int, said: int) -> int:
        for place in (end - 20 - 56, said):
            if 0 <= place <= end - 76 and self._at(place, 4) == _END64:
                return place
        raise Unreadable("it is damaged")

    def _entries(self) -> t.Iterator[Entry]:
        length = (self._end if self._end64 is None else self._end64) - self._start
        self._budget.spend(length, length // 46)
        directory, place, count = self._at(self._start, length), 0, 0
        while directory[place : place + 4] == _ENTRY:
            fixed, count = directory[place : place + 46], count + 1
            if len(fixed) < 46:
                raise Unreadable("its directory is damaged")
            sizes = struct.unpack("<3H", fixed[28:34])
            header = directory[place : place + 46 + sum(sizes)]
            if len(header) < 46 + sum(sizes):
                raise Unreadable("its directory is damaged")
            yield self._entry(header, *sizes[:2])
            place += len(header)
        if (count - self._count) % (_FULL16 + 1):  # more entries than a short number holds are counted from 0 again
            raise Unreadable("its directory is damaged")

    def _entry(self, header: bytes, name: int, extra: int) -> Entry:
        flags, method, dummy, crc, packed, size = struct.unpack("<HHL3L", header[8:28])
        wide = dict(_wide_fields(header, name, extra))
        packed, size = wide.get("packed", packed), wide.get("size", size)
        offset = self._base + wide.get("offset", struct.unpack("<L", header[42:46])[0])
        # The name may be in any encoding; what is looked for is ASCII.
        text = header[46 : 46 + name].decode("utf-8", "surrogateescape")
        return Entry(header, text, flags, method, crc, packed, size, offset)

    # -- content -------------------------------------------------------------------------------------------------

    def open(self, entry: Entry) -> t.BinaryIO:
        """Return the content of an entry, to read and seek, as long as this zip file is open.

        What is read at its end raises Unreadable unless the checksum fits.
        """
        if entry.flags & _ENCRYPTED:
            raise Unreadable("it is encrypted")
        if entry.method not in (_STORED, _DEFLATED):
            raise Unreadable("it is packed by method {0}".format(entry.method))
        if entry.size > self._budget.limits.file:
            raise Exhausted("it unpacks to more than is sane")
        start = self._data(entry)
        if start + entry.packed > self._start or (entry.method == _STORED and entry.packed != entry.size):
            raise Unreadable("it is damaged")
        return io.BufferedReader(_Content(self._stream, entry, start, self._budget), _CHUNK)

    def _data(self, entry: Entry) -> int:
        header = self._at(entry.offset, 30)
        if header[:4] != _LOCAL:
            raise Unreadable("it is damaged")
        return entry.offset + 30 + int(sum(struct.unpack("<2H", header[26:30])))

    # -- write ---------------------------------------------------------------------------------------------------

    def write(self, target: t.BinaryIO, contents: t.Mapping[int, t.BinaryIO]) -> None:
        """Write this zip file at the end of C(target) with other content of some entries.

        Args:
            target: a file to write, seek and tell in.
            contents: by the offset of the entry; entries of one offset share it.
        """
        moved, made = {}, {}  # type: t.Dict[int, int], t.Dict[int, t.Tuple[int, int, int]]
        entries = {entry.offset: entry for entry in self.entries}
        offsets = sorted(entries)
        place, origin = 0, target.tell()
        for number, offset in enumerate(offsets, 1):
            following = offsets[number] if number < len(offsets) else self._start
            if not place <= offset <= following <= self._start:
                raise Unreadable("its entries overlap")
            self._copy(target, place, offset)
            moved[offset], place = target.tell() - origin, offset
            if offset in contents:
                place = self._beyond(entries[offset])
                if place > following:
                    raise Unreadable("its entries overlap")
                made[offset] = self._write_entry(target, entries[offset], contents[offset])
        self._copy(target, place, self._start)
        start = target.tell() - origin
        for entry in self.entries:
            target.write(_new_header(entry, moved[entry.offset] - self._base, made.get(entry.offset)))
        self._write_end(target, start, target.tell() - origin - start)

    def _copy(self, target: t.BinaryIO, start: int, end: int) -> None:
        self._stream.seek(start)
        while start < end:
            chunk = self._stream.read(min(_CHUNK, end - start))
            if not chunk:
                raise Unreadable("it is cut short")
            self._budget.spend(len(chunk))
            target.write(chunk)
            start += len(chunk)

    def _beyond(self, entry: Entry) -> int:
        """Return where an entry ends, with the descriptor that may follow its data."""
        end = self._data(entry) + entry.packed
        if not entry.flags & _HAS_DESCRIPTOR:
            return end
        self._stream.seek(end)
        found = self._stream.read(24)
        mark = 4 if found[:4] == _DESCRIPTOR else 0
        wide = found[mark + 4 : mark + 20] == struct.pack("<QQ", entry.packed, entry.size)
        return end + mark + (20 if wide else 12)

    def _write_entry(self, target: t.BinaryIO, entry: Entry, content: t.BinaryIO) -> t.Tuple[int, int, int]:
        """Write local header and data; return checksum and sizes."""
        header = bytearray(self._at(entry.offset, self._data(entry) - entry.offset))
        name = struct.unpack("<H", header[26:28])[0]
        extra = _without_zip64(bytes(header[30 + name :]))
        start = target.tell()
        target.write(bytes(30 + name) + extra)
        values = _pack(content, target, entry.method)
        end = target.tell()
        if max(values[1:]) >= _FULL32:
            raise Unreadable("what takes its place is too large")
        header[6:8] = struct.pack("<H", entry.flags & ~_HAS_DESCRIPTOR)
        header[14:26] = struct.pack("<3L", *values)
        header[28:30] = struct.pack("<H", len(extra))
        target.seek(start)
        target.write(bytes(header[: 30 + name]) + extra)
        target.seek(end)
        return values

    def _write_end(self, target: t.BinaryIO, start: int, length: int) -> None:
        self._stream.seek(self._end if self._end64 is None else self._end64)
        tail = bytearray(self._stream.read())
        offset, end = start - self._base, 0
        if self._end64 is not None:
            end = self._end - self._end64
            tail[40:56] = struct.pack("<QQ", length, offset)
            tail[end - 12 : end - 4] = struct.pack("<Q", start + length - self._base)
        for place, value in ((end + 12, length), (end + 16, offset)):
            if tail[place : place + 4] != b"\xff" * 4 or self._end64 is None:
                if value >= _FULL32:
                    raise Unreadable("it would become too large")
                tail[place : place + 4] = struct.pack("<L", value)
        target.write(tail)


def _last_end(tail: bytes) -> int:
    """Return where the record at the end begins: the last whose comment fills the file, else the last that fits."""
    fits, place = -1, tail.rfind(_END)
    while place >= 0:
        if len(tail) - place >= 22:
            left = len(tail) - place - 22 - struct.unpack("<H", tail[place + 20 : place + 22])[0]
            if left == 0:
                return place
            if left > 0 and fits < 0:
                fits = place
        place = tail.rfind(_END, 0, place + 3)
    return fits


def _fields(extra: bytes) -> t.Iterator[t.Tuple[int, int, bytes]]:
    """Give number, place and data of each extra field; what is no field at the end is left out."""
    place = 0
    while place + 4 <= len(extra):
        number, size = struct.unpack("<2H", extra[place : place + 4])
        yield number, place, extra[place + 4 : place + 4 + size]
        place += 4 + size


def _wide_fields(header: bytes, name: int, extra: int) -> t.Iterator[t.Tuple[str, int]]:
    """Give the numbers that stand in the ZIP64 field since they have no room in the header."""
    names = (("size", 24), ("packed", 20), ("offset", 42))
    full = [key for key, place in names if header[place : place + 4] == b"\xff" * 4]
    for number, dummy, data in _fields(header[46 + name : 46 + name + extra]) if full else ():
        if number == _ZIP64:
            if len(data) < 8 * len(full):
                raise Unreadable("its directory is damaged")
            yield from ((key, struct.unpack_from("<Q", data, 8 * place)[0]) for place, key in enumerate(full))
            return


def _without_zip64(extra: bytes) -> bytes:
    for number, place, data in _fields(extra):
        if number == _ZIP64:
            return extra[:place] + _without_zip64(extra[place + 4 + len(data) :])
    return extra


def _new_header(entry: Entry, offset: int, made: t.Optional[t.Tuple[int, int, int]]) -> bytes:
    """Return an entry's header in the directory at its new offset, and with its new sizes."""
    header = bytearray(entry.header)
    name, extra = struct.unpack("<2H", header[28:32])
    wide = header[42:46] == b"\xff" * 4
    if made is None and wide:
        # The offset is the last but the number of a disk, which nobody writes, and follows as many as are full.
        before = sum(header[place : place + 4] == b"\xff" * 4 for place in (20, 24))
        for number, place, data in _fields(bytes(header[46 + name : 46 + name + extra])):
            if number == _ZIP64 and len(data) >= 8 * (before + 1):
                at = 46 + name + place + 4 + 8 * before
                header[at : at + 8] = struct.pack("<Q", offset)
                return bytes(header)
        return bytes(header)
    if offset >= _FULL32:
        raise Unreadable("it would become too large")
    header[42:46] = struct.pack("<L", offset)
    if made is not None:
        header[8:10] = struct.pack("<H", entry.flags & ~_HAS_DESCRIPTOR)
        header[16:28] = struct.pack("<3L", *made)
        kept = _without_zip64(bytes(header[46 + name : 46 + name + extra]))
        header[30:32] = struct.pack("<H", len(kept))
        header[46 + name : 46 + name + extra] = kept
    return bytes(header)


def _pack(content: t.BinaryIO, target: t.BinaryIO, method: int) -> t.Tuple[int, int, int]:
    """Write content as an entry has it; return checksum, packed and plain size."""
    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -15) if method == _DEFLATED else None
    crc = size = 0
    start = target.tell()
    content.seek(0)
    for chunk in iter(lambda: content.read(_CHUNK), b""):
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        target.write(packer.compress(chunk) if packer else chunk)
    if packer:
        target.write(packer.flush())
    return crc, target.tell() - start, size


class _Content(io.RawIOBase):
    """The content of an entry. To seek in a packed one backwards is to unpack it from its start again."""

    def __init__(self, stream: t.Any, entry: Entry, start: int, budget: Budget) -> None:
        super().__init__()
        self._stream, self._entry, self._start, self._budget = stream, entry, start, budget
        self._rewind()

    def _rewind(self) -> None:
        self._read = self._place = self._crc = 0
        self._summed = True
        self._unpacker = zlib.decompressobj(-15) if self._entry.method == _DEFLATED else None
        self._left = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + (0, self._place, self._entry.size)[whence]
        if not self._unpacker:
            self._summed = self._summed and target == self._place
            if target == 0:
                self._rewind()
            self._read = self._place = max(0, target)
            return self._place
        if target < self._place:
            self._rewind()
        while self._place < min(target, self._entry.size) and self.read(min(_CHUNK, target - self._place)):
            pass
        self._place = max(0, target)
        return self._place

    def readinto(self, buffer: t.Any) -> int:
        size = min(len(buffer), self._entry.size - self._place)
        if size <= 0:
            self._check()
            return 0
        data = self._inflate(self._unpacker, size) if self._unpacker else self._packed(size)
        if not data:
            raise Unreadable("it is cut short")
        self._budget.spend(len(data))
        self._crc = zlib.crc32(data, self._crc) if self._summed else 0
        self._place += len(data)
        buffer[: len(data)] = data
        if self._place >= self._entry.size:
            self._check()
        return len(data)

    def _packed(self, size: int) -> bytes:
        """Read packed bytes; others may have moved the place in the stream."""
        size = min(size, self._entry.packed - self._read)
        self._stream.seek(self._start + self._read)
        data = bytes(self._stream.read(size)) if size > 0 else b""
        self._read += len(data)
        return data

    def _inflate(self, unpacker: t.Any, size: int) -> bytes:
        while True:
            packed = self._left or self._packed(_CHUNK)
            try:
                data = unpacker.decompress(packed, size)
            except zlib.error:
                raise Unreadable("it is damaged") from None
            self._left = unpacker.unconsumed_tail
            if data or (not packed and not self._left) or unpacker.eof:
                return bytes(data)
            self._budget.spend()

    def _check(self) -> None:
        if self._summed and self._place == self._entry.size and self._crc != self._entry.crc:
            raise Unreadable("its checksum is wrong")
