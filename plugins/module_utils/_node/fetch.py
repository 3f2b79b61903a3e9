# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Read an archive into a file and check that it is the promised one."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import ssl
import stat
import time
import typing as t
import urllib.error
import urllib.parse

from ansible.module_utils.urls import ConnectionError as UrlConnectionError
from ansible.module_utils.urls import open_url

from .disk import Disk
from .errors import PatchError

#: Largest archive in bytes.
MAX_BYTES = 2 * 1024**3
#: Seconds without a byte, and for the whole archive.
STALL_SECONDS = 30
TOTAL_SECONDS = 900
#: Bytes that stay free on the file system.
RESERVE = 16 * 1024**2

_CHUNK = 1024**2


def fetch(url: str, sha256: str, path: str, disk: Disk, limit: int = MAX_BYTES) -> int:
    """Stream C(url) to the new file C(path) and compare its checksum.

    Args:
        url: https, http or file URL, or an absolute path; never s3, which the controller presigns. It is a secret: no
            message holds it.
        sha256: 64 hexadecimal digits.
        path: where to write; must not exist.
        disk: how to write.
        limit: largest size in bytes.

    Returns:
        int: bytes written.

    Raises:
        PatchError: C(download_failed), C(checksum_mismatch) or C(no_space).
        OSError: C(path) cannot be written.
    """
    check_url(url)
    try:
        stream, length = _open(url)
    except (OSError, http.client.HTTPException, UrlConnectionError, ValueError) as error:
        raise _failed(_explain(error)) from None
    with stream:
        if length is not None and length > limit:
            raise _failed("the archive has {0} bytes, more than {1}".format(length, limit))
        if length is not None and length + RESERVE > disk.free(os.path.dirname(path)):
            message = "the archive needs {0} bytes in {1}; free some and run again".format(
                length, os.path.dirname(path)
            )
            raise PatchError("no_space", message)
        size, digest = _copy(stream, path, disk, limit)
    if length is not None and size != length:
        raise _failed("the download ended after {0} of {1} bytes".format(size, length))
    if digest != sha256.lower():
        message = "the archive's sha256 is {0}..., not {1}...; check the definition and the upload".format(
            digest[:12], sha256.lower()[:12]
        )
        raise PatchError("checksum_mismatch", message)
    return size


def check_url(url: str) -> None:
    """Raise PatchError for a URL that no node can read."""
    if url.lower().startswith("s3:"):
        raise _failed("s3:// needs AWS rights; the role patch_software presigns it on the controller")


def local_path(url: str) -> t.Optional[str]:
    """Return the path that a file URL or an absolute path names, or None for another URL."""
    if url.startswith("/"):
        return url
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.unquote(parts.path) if parts.scheme == "file" else None


def _open(url: str) -> t.Tuple[t.Any, t.Optional[int]]:
    path = local_path(url)
    if path is None:
        # Neither .netrc (it would break a presigned URL) nor decompression (the checksum is of the stored bytes).
        response = open_url(url, timeout=STALL_SECONDS, http_agent="patchwave", decompress=False, use_netrc=False)
        length = response.headers.get("Content-Length")
        return response, int(length) if length and length.isdigit() else None
    stream = open(path, "rb")  # noqa: SIM115 - the caller closes it
    info = os.fstat(stream.fileno())
    if not stat.S_ISREG(info.st_mode):
        stream.close()
        raise ValueError("not a regular file")
    return stream, info.st_size


def _copy(stream: t.Any, path: str, disk: Disk, limit: int) -> t.Tuple[int, str]:
    digest, size, deadline = hashlib.sha256(), 0, time.monotonic() + TOTAL_SECONDS
    disk.step("download " + path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as target:
        while True:
            try:
                chunk = stream.read(_CHUNK)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _failed(_explain(error)) from None
            if not chunk:
                break
            size += len(chunk)
            if size > limit:
                raise _failed("the archive has more than {0} bytes".format(limit))
            if time.monotonic() > deadline:
                raise _failed("the archive took longer than {0} s".format(TOTAL_SECONDS))
            digest.update(chunk)
            target.write(chunk)
        disk.step("sync " + path)
        target.flush()
        os.fsync(target.fileno())
    return size, digest.hexdigest()


def _failed(why: str) -> PatchError:
    return PatchError("download_failed", "cannot read archive.url: {0}".format(why))


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
