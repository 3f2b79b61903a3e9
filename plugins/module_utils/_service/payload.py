# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Objects in S3 that nodes read by a presigned URL."""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import typing as t

from .._aws import s3 as s3_api
from .._aws.errors import AwsError
from .._aws.sessions import Sessions

#: Hours after which a payload that was kept is stored anew, so that a lifecycle rule of one day does not take it away
#: under a batch.
_KEPT_HOURS = 12


def signer(sessions: Sessions) -> t.Callable[[str, str, int], str]:
    """Return what makes a URL by which anybody can read (bucket, key) for so many seconds (a secret)."""
    s3 = sessions.client("s3")
    return lambda bucket, key, seconds: str(s3_api.presigned_get(s3, bucket, key, seconds))


def delete(sessions: Sessions, objects: list[tuple[str, str]]) -> None:
    """Delete objects, each a bucket and a key. One that stays is not worth the results of a whole batch."""
    for bucket, key in objects:
        with contextlib.suppress(AwsError):
            s3_api.delete_object(sessions.client("s3"), bucket, key)


@contextlib.contextmanager
def stored(sessions: Sessions, place: tuple[str, str], payload: bytes, keep: bool) -> t.Iterator[t.Callable[[], None]]:
    """Have a payload lie at (bucket, key) meanwhile; what the block is given waits until it does.

    With keep it stays, and is not stored again for half a day. Where the block breaks off, it stays for the commands
    under way, and a journal names it for the next run.

    Raises:
        AwsError: it could not be stored; what waits raises it too.
    """
    s3 = sessions.client("s3")
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
        storing = pool.submit(_store, s3, place, payload, keep)
        yield storing.result
        storing.result()
    if not keep:
        delete(sessions, [place])


def _store(s3: t.Any, place: tuple[str, str], payload: bytes, keep: bool) -> None:
    if keep and _lies_there(s3, place, payload):
        return
    try:
        s3_api.put_object(s3, *place, payload)
    except AwsError as error:
        raise AwsError(f"bucket '{place[0]}': {error}") from None


def _lies_there(s3: t.Any, place: tuple[str, str], payload: bytes) -> bool:
    found = s3_api.head_object(s3, *place)
    if not found or found["ContentLength"] != len(payload):
        return False
    age = datetime.datetime.now(datetime.timezone.utc) - found["LastModified"]
    return bool(age < datetime.timedelta(hours=_KEPT_HOURS))
