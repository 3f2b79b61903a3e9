# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Read a compressed file as a stream that ends with an error where it grows beyond its bounds."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import time
import typing as t

from .errors import PatchError

#: First bytes of a compressed file, the module that reads it, and the name of its reader.
_FORMS = (
    (b"\x1f\x8b", "gzip", "GzipFile"),
    (b"BZh", "bz2", "BZ2File"),
    (b"\xfd7zXZ\0", "lzma", "LZMAFile"),
    (b"\x5d\0\0", "lzma", "LZMAFile"),
    (b"\x28\xb5\x2f\xfd", "compression.zstd", "ZstdFile"),
)
_ZSTD = _FORMS[-1][1]
_CHUNK = 1024**2
#: Bytes of headers that one member may have; names and extended attributes of real ones take far less.
_HEADERS = 64 * 1024


class TooMuch(Exception):
    """What is read grows beyond its bounds."""


class Deadline:
    """The time until which an archive may be read."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise TooMuch when it has passed."""
        if time.monotonic() > self._end:
            raise TooMuch("it takes too long to unpack")


def require_zstd(path: str) -> None:
    """Raise PatchError C(command_missing) if a file of this name cannot be read on this node."""
    if path.endswith((".zst", ".tzst")) and _module(_ZSTD) is None and shutil.which("zstd") is None:
        raise _missing("zstd", "the program zstd")


def _missing(form: str, what: str) -> PatchError:
    message = (
        "{0} is not on this node, which an archive compressed by {1} needs; install it or pack the archive by gzip"
    )
    return PatchError("command_missing", message.format(what, form))


def _module(name: str) -> t.Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def reader_errors() -> t.Tuple[t.Any, ...]:
    """Return what the readers on this node raise for damaged input, beside the errors that every Python has."""
    names = (("zlib", "error"), ("lzma", "LZMAError"), (_ZSTD, "ZstdError"))
    modules = [(_module(module), name) for module, name in names]
    return tuple(getattr(module, name) for module, name in modules if module is not None)


def _opened(path: str) -> t.Any:
    with open(path, "rb") as stream:
        begin = stream.read(6)
    for magic, name, reader in _FORMS:
        if begin.startswith(magic):
            module = _module(name)
            if module is None and name == _ZSTD:
                return _Piped(path)
            if module is None:
                raise _missing(name, "the module {0} of Python".format(name))
            return getattr(module, reader)(path)
    return open(path, "rb")


class _Piped:
    """What the node's own zstd unpacks."""

    def __init__(self, path: str) -> None:
        program = shutil.which("zstd")
        if program is None:
            raise _missing("zstd", "the program zstd")
        self._process = subprocess.Popen(
            [program, "-dcq", "--", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )

    def read(self, size: int) -> bytes:
        chunk = self._process.stdout.read(size) if self._process.stdout else b""
        if len(chunk) < size and self._process.wait() != 0:
            raise EOFError("zstd cannot unpack it")
        return chunk

    def close(self) -> None:
        if self._process.stdout:
            self._process.stdout.close()
        self._process.kill()
        self._process.wait()


class Unpacked:
    """A file for tarfile: it is read forward, and from the start again.

    Args:
        path: the file, compressed or not.
        most: bytes that may be read of what it unpacks to.
        deadline: until when.
    """

    def __init__(self, path: str, most: int, deadline: Deadline) -> None:
        self._path = path
        self._most = most
        self._deadline = deadline
        self._stream = _opened(path)
        self._position = self._headers = 0
        self._listing = True
        self.last = b""

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def tell(self) -> int:
        """Return how much has been read."""
        return self._position

    def seekable(self) -> bool:
        """Say that seek() is there."""
        return True

    def next_member(self) -> None:
        """Begin to count headers anew."""
        self._headers = 0

    def listed(self) -> None:
        """Allow to go back."""
        self._listing = False

    def seek(self, position: int) -> int:
        """Go to a position; back only after listed(), since only a made-up header leads back."""
        if position < self._position:
            if self._listing:
                raise ValueError("a header leads back")
            self._stream.close()
            self._stream, self._position = _opened(self._path), 0
        while self._position < position and self._forward(min(position - self._position, _CHUNK)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer at the end; while members are listed all of them are headers."""
        if self._listing:
            self._headers += size
            if self._headers > _HEADERS or size < 0:
                raise TooMuch("its headers are larger than is sane")
        self.last = self._forward(size)
        return self.last

    def _forward(self, size: int) -> bytes:
        self._deadline.check()
        chunks = []  # type: t.List[bytes]
        while size > 0:
            chunk = self._stream.read(size)
            if not chunk:
                break
            chunks.append(chunk)
            size -= len(chunk)
            self._position += len(chunk)
        if self._position > self._most:
            raise TooMuch("it unpacks to more than is sane")
        return b"".join(chunks)
