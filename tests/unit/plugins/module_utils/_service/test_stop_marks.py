"""Marks that stop a rollout from outside: who sees them when, and what they say."""

from __future__ import annotations

import io
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import stop_marks
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError
from botocore.exceptions import ClientError

PLACE = stop_marks.Place("b", "p/")


class Bucket:
    """A bucket with marks; `refuse` is the code with which it refuses to list."""

    def __init__(self, **marks: Any) -> None:
        self.objects = {f"p/stop/{name}": body for name, body in marks.items()}
        self.refuse = ""
        self.lists = 0

    def s3(self, bucket: str) -> Bucket:
        return self

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=self._list)

    def _list(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        self.lists += 1
        if self.refuse:
            raise ClientError({"Error": {"Code": self.refuse, "Message": "no"}}, "ListObjectsV2")
        return [{"Contents": [{"Key": key} for key in self.objects if key.startswith(Prefix)]}]

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "403" if self.refuse else "404", "Message": "no"}}, "HeadObject")
        return {}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "no"}}, "GetObject")
        body = self.objects[Key]
        return {"Body": io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    time = SimpleNamespace(now=0.0)
    monkeypatch.setattr(stop_marks.time, "monotonic", lambda: time.now)
    return time


def watch(bucket: Any) -> stop_marks.Watch:
    return stop_marks.Watch(bucket, [PLACE], "mine")


ADA = {"by": "Ada", "time": "2026-11-27T22:00:00+00:00", "reason": "it hangs"}
TOLD = "stopped by Ada at 2026-11-27T22:00:00+00:00: it hangs"


@pytest.mark.parametrize("name", ["mine", "all"])
def test_its_own_mark_and_that_of_all_stop_a_rollout(name: str) -> None:
    found = watch(Bucket(**{name: ADA}))
    found.begin()
    assert found.stopped() == (TOLD if name == "mine" else TOLD.replace("stopped", "stopped with all rollouts"))


@pytest.mark.parametrize("name", ["min", "mine2", "allied", "Mine"])
def test_the_mark_of_another_does_not(name: str) -> None:
    found = watch(Bucket(**{name: ADA}))
    found.begin()
    assert found.stopped() == ""


def test_it_is_looked_for_again_now_and_then(clock: SimpleNamespace) -> None:
    bucket = Bucket()
    found, told = watch(bucket), []
    found.heard = told.append
    found.begin()
    for clock.now in (1.0, 1.9):
        assert found.stopped() == ""
    assert bucket.lists == 1
    bucket.objects["p/stop/mine"] = ADA
    clock.now = 2.1
    assert found.stopped() == TOLD
    clock.now = 60.0
    bucket.objects.clear()  # a stop that was heard is not unsaid
    assert found.stopped() == TOLD
    assert told == [TOLD]
    assert bucket.lists == 2


def test_without_a_bucket_there_is_none() -> None:
    nobody: Any = None
    found = stop_marks.Watch(nobody, [], "mine")
    found.begin()
    assert found.stopped() == ""


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b"1", b"null", b"\xff", b'{"by": "' + b"x" * 20_000, b"[" * 9_000],
)
def test_a_mark_that_cannot_be_read_stops_all_the_same(body: bytes) -> None:
    found = watch(Bucket(mine=body))
    found.begin()
    assert found.stopped() == "stopped by somebody"


def test_what_a_mark_says_is_a_short_line() -> None:
    found = watch(Bucket(mine={"by": "A\nda\x1b[31m", "reason": "x" * 5000, "time": ["?"]}))
    found.begin()
    assert found.stopped().isprintable()
    assert "A da" in found.stopped()
    assert len(found.stopped()) < 700


@pytest.mark.parametrize("name", ["mine", "all"])
def test_whoever_may_not_list_the_bucket_hears_of_a_stop_all_the_same(name: str, clock: SimpleNamespace) -> None:
    bucket = Bucket()
    bucket.refuse = "AccessDenied"
    found = watch(bucket)
    found.begin()
    assert found.stopped() == ""
    bucket.objects[f"p/stop/{name}"] = ADA
    clock.now = 10.0
    assert "by Ada at" in found.stopped()


def test_a_node_that_finds_no_payload_is_believed_once_the_payload_is_gone(clock: SimpleNamespace) -> None:
    bucket = Bucket()
    bucket.objects["p/run/mine/1"] = b""
    found = watch(bucket)
    found.stored = [("b", "p/run/mine/1", None)]
    found.begin()
    found.doubt()  # whatever a node says
    assert found.stopped() == ""
    del bucket.objects["p/run/mine/1"]
    found.doubt()
    assert found.stopped() == "stopped by somebody: s3://b/p/run/mine/1 was taken away"


def test_where_nobody_can_tell_whether_it_is_gone_it_is_no_stop(clock: SimpleNamespace) -> None:
    bucket = Bucket()
    bucket.refuse = "AccessDenied"  # S3 answers 403 then, whether the object is there or not
    found = watch(bucket)
    found.stored = [("b", "p/run/mine/1", None)]
    found.begin()
    found.doubt()
    assert found.stopped() == ""


def test_a_folder_that_a_console_makes_is_a_mark() -> None:
    bucket = Bucket()
    bucket.objects["p/stop/mine/"] = b""
    found = watch(bucket)
    found.begin()
    assert found.stopped() == "stopped by somebody"


def test_nothing_is_sent_where_nobody_can_tell_and_later_the_old_answer_holds(clock: SimpleNamespace) -> None:
    bucket = Bucket()
    bucket.refuse = "SlowDown"
    found = watch(bucket)
    with pytest.raises(AwsError, match="SlowDown"):
        found.begin()
    bucket.refuse = ""
    found.begin()
    bucket.refuse = "SlowDown"
    clock.now = 10.0
    assert found.stopped() == ""


def test_while_one_thread_looks_the_others_go_on(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, free, asked = Bucket(), threading.Event(), threading.Event()
    found = watch(bucket)
    found.begin()

    def slow(Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        asked.set()
        assert free.wait(10)
        return []

    monkeypatch.setattr(bucket, "_list", slow)
    clock.now = 10.0
    thread = threading.Thread(target=found.stopped)
    thread.start()
    assert asked.wait(10)
    assert found.stopped() == ""
    free.set()
    thread.join()
