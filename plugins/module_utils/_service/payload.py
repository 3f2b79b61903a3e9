# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Objects in S3 that nodes read by a presigned URL."""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import threading
import typing as t

from .._aws import s3 as s3_api
from .._aws.errors import AwsError
from .._aws.sessions import Sessions

#: Hours after which a payload that was kept is stored anew, so that a lifecycle rule of one day does not take it away
#: under a batch.
_KEPT_HOURS = 12
#: Objects that are stored or deleted side by side.
_SIDE_BY_SIDE = 8


class Payload(t.NamedTuple):
    """An object to store, whether it stays in the bucket after the batch, and whose bucket it must be (an account)."""

    bucket: str
    key: str
    content: bytes
    keep: bool
    owner: t.Optional[str] = None


class Leftover(t.NamedTuple):
    """An object that could not be deleted, and why."""

    bucket: str
    key: str
    error: str

    def __str__(self) -> str:
        """Return what to do about it, in one line."""
        todo = "delete it or let a lifecycle rule clear the prefix; it holds the module's arguments"
        return f"payload s3://{self.bucket}/{self.key} could not be deleted: {self.error}; {todo}"


class Sign(t.Protocol):
    """Makes a URL by which anybody can read an object for so many seconds (a secret)."""

    def __call__(self, bucket: str, key: str, seconds: int, owner: str | None = None) -> str: ...


def signer(sessions: Sessions) -> Sign:
    """Return what presigns URLs, each for the region in which its bucket lies."""

    def sign(bucket: str, key: str, seconds: int, owner: str | None = None) -> str:
        return str(s3_api.presigned_get(sessions.s3(bucket), bucket, key, seconds, owner))

    return sign


def delete(
    sessions: Sessions, objects: t.Iterable[tuple[str, str]], owners: t.Mapping[str, str | None] | None = None
) -> list[Leftover]:
    """Delete objects, each a bucket and a key; return those that stay. `owners` says whose bucket it must be."""
    places = list(dict.fromkeys(objects))
    if not places:
        return []

    def gone(place: tuple[str, str]) -> Leftover | None:
        try:
            s3_api.delete_object(sessions.s3(place[0]), *place, (owners or {}).get(place[0]))
        except AwsError as error:
            return Leftover(*place, str(error))
        return None

    with concurrent.futures.ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return [left for left in pool.map(gone, places) if left]


@contextlib.contextmanager
def stored(
    sessions: Sessions, payloads: t.Sequence[Payload], then: t.Callable[[], None] = lambda: None
) -> t.Iterator[t.Callable[[], None]]:
    """Store payloads side by side; what the block is given waits until all are there, and does `then`.

    One that is kept is not stored again for half a day. They stay when the block ends: delete() takes them away. Where
    the block breaks off, they stay for the commands under way, and a journal names them for the next run.

    Raises:
        AwsError: one could not be stored, or `then` raised it; what waits raises it too. Those that could be stored are
            deleted again.
    """
    if not payloads:
        yield lambda: None
        return
    with concurrent.futures.ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        yield from _waited(sessions, payloads, [pool.submit(_store, sessions, payload) for payload in payloads], then)


def _waited(
    sessions: Sessions,
    payloads: t.Sequence[Payload],
    storing: list[concurrent.futures.Future[None]],
    then: t.Callable[[], None],
) -> t.Iterator[t.Callable[[], None]]:
    may_send = threading.Event()

    def ready() -> None:
        concurrent.futures.wait(storing)
        for one in storing:
            one.result()
        then()
        may_send.set()

    try:
        yield ready
        ready()
    except AwsError as error:
        if may_send.is_set():
            raise
        # Nothing was sent, for what waited was told; so nobody needs the others.
        done = [one for one, future in zip(payloads, storing, strict=True) if future.exception() is None]
        left = delete(sessions, [one[:2] for one in done if not one.keep], owners(payloads))
        raise AwsError("; ".join([str(error), *map(str, left)])) from None


def owners(payloads: t.Iterable[Payload]) -> dict[str, str | None]:
    """Return whose bucket each bucket must be."""
    return {payload.bucket: payload.owner for payload in payloads}


def _store(sessions: Sessions, payload: Payload) -> None:
    s3 = sessions.s3(payload.bucket)
    if payload.keep and _lies_there(s3, payload):
        return
    try:
        s3_api.put_object(s3, payload.bucket, payload.key, payload.content, payload.owner)
    except AwsError as error:
        whose = f" (or it is not account {payload.owner}'s)" if payload.owner and error.code == "AccessDenied" else ""
        raise AwsError(f"bucket '{payload.bucket}': {error}{whose}") from None


def _lies_there(s3: t.Any, payload: Payload) -> bool:
    found = s3_api.head_object(s3, payload.bucket, payload.key, payload.owner)
    if not found or found["ContentLength"] != len(payload.content):
        return False
    age = datetime.datetime.now(datetime.timezone.utc) - found["LastModified"]
    return bool(age < datetime.timedelta(hours=_KEPT_HOURS))
