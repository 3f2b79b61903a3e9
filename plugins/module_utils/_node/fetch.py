# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Read a file from the first of its sources that gives it, and check that it is the promised one."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import socket
import ssl
import stat
import time
import typing as t
import urllib.error
import urllib.parse

from ansible.module_utils.urls import ConnectionError as UrlConnectionError
from ansible.module_utils.urls import open_url

from . import s3_urls
from .alarm import alarm
from .disk import Disk
from .errors import PatchError
from .platforms import Platform

#: Largest file in bytes.
MAX_BYTES = 2 * 1024**3
#: Seconds without a byte, and for the whole file, from whichever URL.
STALL_SECONDS = 30
TOTAL_SECONDS = 900
#: How often one URL is tried without coming further; at most so many seconds before the first time again, and later on.
#: The pause doubles each time and is drawn at random, or a thousand nodes would come back at once.
TRIES = 6
PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 20.0
#: Bytes that stay free on the file system.
RESERVE = 16 * 1024**2

_CHUNK = 1024**2
_PARTIAL, _NO_SUCH_RANGE = 206, 416
#: What a server answers that is busy or being replaced (S3 says 503 SlowDown, others 429), not wrong.
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class Source(t.NamedTuple):
    """Where a file is: C(urls) in the order in which they are tried, and what it must be."""

    urls: t.Sequence[str]
    sha256: str
    proxy: t.Optional[str] = None
    ca_path: t.Optional[str] = None
    signature: t.Optional[str] = None


def source_of(options: t.Mapping[str, t.Any], node: Platform) -> Source:
    """Return the source that a definition's kind gives for this node: its first fitting variant, else itself.

    Raises:
        PatchError: C(download_failed), no node can read this URL.
    """
    urls, sha256 = [options["url"], *(options.get("mirrors") or [])], options["sha256"]
    signature = options.get("signature")
    for variant in options.get("variants") or []:
        if node.fits(variant.get("architecture"), variant.get("platform")):
            urls, sha256, signature = [variant["url"]], variant["sha256"], variant.get("signature")
            break
    urls = [s3_urls.readable(url) for url in urls]
    return Source(urls, sha256, options.get("proxy"), options.get("ca_path"), signature)


def fetch(source: Source, path: str, disk: Disk, limit: int = MAX_BYTES) -> int:
    """Stream a source to the file C(path) and compare its checksum.

    Each URL is tried in turn, again when its server is busy or not to be reached; a download that breaks off is
    resumed, also one that a killed run has begun.

    Args:
        source: https, http or file URLs, or absolute paths. They are secret: no message holds one.
        path: where to write; may hold the beginning of the file.
        disk: how to write.
        limit: largest size in bytes.

    Returns:
        int: bytes written.

    Raises:
        PatchError: C(download_failed), C(checksum_mismatch) or C(no_space).
        OSError: C(path) cannot be written.
    """
    disk.step("download " + path)
    deadline = time.monotonic() + TOTAL_SECONDS
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "r+b") as target, _proxied(source.proxy):
        problem = _failed("no URL")
        for number, url in enumerate(source.urls):
            try:
                room = disk.free(os.path.dirname(path)) - RESERVE
                size = _Download(url, source, target, room, limit, deadline).run(go_on=number == 0)
            except PatchError as error:
                problem = error
                continue
            disk.step("sync " + path)
            target.flush()
            os.fsync(target.fileno())
            return size
    raise problem


class _Download:
    """One URL read into one open file."""

    def __init__(self, url: str, source: Source, target: t.BinaryIO, room: int, limit: int, deadline: float) -> None:
        self._url = url
        self._source = source
        self._target = target
        self._room = room
        self._limit = limit
        self._deadline = deadline
        self._digest, self._size = hashlib.sha256(), 0
        self._farthest = 0
        self._seen = set()  # type: t.Set[str]

    def _restart(self) -> None:
        self._digest, self._size = hashlib.sha256(), 0
        self._target.seek(0)
        self._target.truncate()

    def _go_on(self) -> None:
        """Take what is there for the beginning of the file."""
        self._target.seek(0)
        for chunk in iter(lambda: self._target.read(_CHUNK), b""):
            self._digest.update(chunk)
            self._size += len(chunk)

    def _is_right(self) -> bool:
        return self._digest.hexdigest() == self._source.sha256.lower()

    def run(self, go_on: bool) -> int:
        if go_on:
            self._go_on()
        else:
            self._restart()
        self._farthest = self._size
        tries = 0
        while not self._is_right():
            begun = self._size
            try:
                whole = self._attempt()
            except _BrokenOff as error:
                tries = 0 if self._size > self._farthest else tries + 1
                self._farthest = max(self._farthest, self._size)
                if tries == TRIES:
                    raise _failed(str(error)) from None
                self._pause(max(tries, 1), error.after)
                continue
            if not self._is_right():
                tries += 1
                self._judge(whole, begun, tries)
        return self._size

    def _judge(self, whole: bool, begun: int, tries: int) -> None:
        """Raise PatchError C(checksum_mismatch) when it is clear that this is another file, or start again."""
        digest = self._digest.hexdigest()
        # A file that was begun may have been another one, and one whose length nobody told may be cut short.
        if tries == TRIES or (not begun and (whole or digest in self._seen)):
            message = "the file's sha256 is {0}..., not {1}...; check the definition and the upload".format(
                digest[:12], self._source.sha256.lower()[:12]
            )
            raise PatchError("checksum_mismatch", message)
        self._seen.add(digest)
        self._restart()

    def _pause(self, tries: int, after: float) -> None:
        longest = min(PAUSE_SECONDS * 2.0 ** (tries - 1), MAX_PAUSE_SECONDS)
        pause = min(after, MAX_PAUSE_SECONDS) + random.uniform(0, longest)
        if time.monotonic() + pause > self._deadline:
            raise _late()
        time.sleep(pause)

    def _attempt(self) -> bool:
        """Read on; return whether the server said how long the file is."""
        try:
            with alarm(self._deadline - time.monotonic(), _late):
                stream, length, resumed = _open(self._url, self._size, self._source.ca_path)
        except urllib.error.HTTPError as error:
            if error.code == _NO_SUCH_RANGE and self._size:
                self._restart()
            elif error.code not in _BUSY:
                raise _failed(_explain(error)) from None
            raise _BrokenOff(_explain(error), _after(error.headers)) from None
        except (OSError, http.client.HTTPException, UrlConnectionError, ValueError) as error:
            raise (_BrokenOff(_explain(error)) if _passes(error, self._url) else _failed(_explain(error))) from None
        with stream:
            if not resumed:
                self._restart()
            whole = None if length is None else length + self._size
            if whole is not None and whole > self._limit:
                raise _failed("the file has {0} bytes, more than {1}".format(whole, self._limit))
            if length is not None and length > self._room:
                raise PatchError("no_space", "the file needs {0} bytes; free some and run again".format(length))
            self._copy(stream)
        if whole is not None and self._size != whole:
            raise _BrokenOff("the download ended after {0} of {1} bytes".format(self._size, whole))
        return whole is not None

    def _copy(self, stream: t.Any) -> None:
        while True:
            try:
                chunk = stream.read1(_CHUNK)  # what is there: to wait for a whole chunk may take for ever
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _BrokenOff(_explain(error)) from None
            if not chunk:
                return
            self._size += len(chunk)
            if self._size > self._limit:
                raise _failed("the file has more than {0} bytes".format(self._limit))
            if time.monotonic() > self._deadline:
                raise _late()
            self._digest.update(chunk)
            self._target.write(chunk)


class _BrokenOff(Exception):
    """A download ended early; another try may go on, not before C(after) seconds."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


def _passes(error: BaseException, url: str) -> bool:
    """Tell whether an error may pass: one of the network, and not that a certificate is not trusted."""
    cause = getattr(error, "reason", error)
    lasting = (ssl.SSLCertVerificationError, FileNotFoundError, UrlConnectionError)
    return (
        local_path(url) is None
        and isinstance(cause, (OSError, http.client.HTTPException))
        and not isinstance(cause, lasting)
    )


def _after(headers: t.Any) -> float:
    """Return the seconds that a server asks to be left alone, where it says so in seconds."""
    text = str(headers.get("Retry-After") or "") if headers is not None else ""
    return float(text) if text.isdigit() else 0.0


def _late() -> PatchError:
    return _failed("the file took longer than {0} s".format(TOTAL_SECONDS))


@contextlib.contextmanager
def _proxied(proxy: t.Optional[str]) -> t.Iterator[None]:
    """Use a proxy for what is read meanwhile."""
    names = ("http_proxy", "https_proxy") if proxy else ()
    kept = {name: os.environ.get(name) for name in names}
    os.environ.update({name: str(proxy) for name in names})
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def local_path(url: str) -> t.Optional[str]:
    """Return the path that a file URL or an absolute path names, or None for another URL."""
    if url.startswith("/"):
        return url
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.unquote(parts.path) if parts.scheme == "file" else None


def _open(url: str, start: int, ca_path: t.Optional[str]) -> t.Tuple[t.Any, t.Optional[int], bool]:
    """Return a stream, how many bytes it will give, and whether it begins at C(start) and not at 0."""
    path = local_path(url)
    if path is None:
        # Neither .netrc (it would break a presigned URL) nor decompression (the checksum is of the stored bytes).
        headers = {"Range": "bytes={0}-".format(start)} if start else None
        response = open_url(
            url,
            timeout=STALL_SECONDS,
            http_agent="patchwave",
            headers=headers,
            ca_path=ca_path,
            decompress=False,
            use_netrc=False,
        )
        length = response.headers.get("Content-Length")
        begins = response.headers.get("Content-Range") or "bytes {0}-".format(start)
        resumed = response.getcode() == _PARTIAL and begins.startswith("bytes {0}-".format(start))
        return response, int(length) if length and length.isdigit() else None, resumed
    stream = open(path, "rb")  # noqa: SIM115 - the caller closes it
    info = os.fstat(stream.fileno())
    if not stat.S_ISREG(info.st_mode):
        stream.close()
        raise ValueError("not a regular file")
    return stream, info.st_size, False


def _failed(why: str) -> PatchError:
    return PatchError("download_failed", "cannot download: {0}".format(why))


def _explain(error: BaseException) -> str:
    """Say what went wrong in words of our own: an exception's own text may hold the URL."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        hint = " (a presigned URL may have expired)" if error.code in (400, 403) else ""
        return "the server answered {0}{1}".format(error.code, hint)
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLError):
        return "no trusted TLS connection"
    if isinstance(cause, (TimeoutError, socket.timeout)):
        return "no answer within {0} s".format(STALL_SECONDS)
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    return type(cause).__name__
