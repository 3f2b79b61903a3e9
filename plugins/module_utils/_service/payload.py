# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Objects in S3 that nodes read by a presigned URL."""

from __future__ import annotations

import contextlib
import typing as t

from .._aws import s3 as s3_api
from .._aws.errors import AwsError
from .._aws.sessions import Sessions


def presigned_url(sessions: Sessions, bucket: str, key: str, seconds: int) -> str:
    """Return a URL by which anybody can read an object for so many seconds (a secret)."""
    return str(s3_api.presigned_get(sessions.client("s3"), bucket, key, seconds))


def delete(sessions: Sessions, objects: list[tuple[str, str]]) -> None:
    """Delete objects, each a bucket and a key. One that stays is not worth the results of a whole batch."""
    for bucket, key in objects:
        with contextlib.suppress(AwsError):
            s3_api.delete_object(sessions.client("s3"), bucket, key)


@contextlib.contextmanager
def stored(sessions: Sessions, bucket: str, key: str, payload: bytes, seconds: int) -> t.Iterator[t.Callable[[], str]]:
    """Store a payload, yield what makes URLs to it, and delete it.

    Each URL is good for so many seconds from its making, and a secret: anybody can read the payload by it.

    Raises:
        AwsError: it could not be stored.
    """
    s3 = sessions.client("s3")
    s3_api.put_object(s3, bucket, key, payload)
    try:
        yield lambda: str(s3_api.presigned_get(s3, bucket, key, seconds))
    finally:
        delete(sessions, [(bucket, key)])
