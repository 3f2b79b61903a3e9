"""A payload lies in the bucket for as long as somebody may need it."""

from __future__ import annotations

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import payload
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    bucket: dict[str, bytes] = {}

    def put(s3: object, name: str, key: str, body: bytes, owner: str | None) -> None:
        if key.startswith("refused"):
            raise AwsError("AccessDenied")
        bucket[key] = body

    def delete(s3: object, name: str, key: str, owner: str | None) -> None:
        if key.startswith("stuck"):
            raise AwsError("AccessDenied")
        bucket.pop(key)

    monkeypatch.setattr(payload.s3_api, "put_object", put)
    monkeypatch.setattr(payload.s3_api, "head_object", lambda s3, name, key, owner: None)
    monkeypatch.setattr(Sessions, "s3", lambda self, bucket: None)
    monkeypatch.setattr(payload.s3_api, "delete_object", delete)
    return bucket


SESSIONS = Sessions({"region": "eu-central-1"})


def test_payloads_are_there_when_what_waits_goes_on(bucket: dict[str, bytes]) -> None:
    with payload.stored(
        SESSIONS, [payload.Payload("b", key, b"program", key == "kept") for key in ("k", "kept")]
    ) as ready:
        ready()
        assert set(bucket) == {"k", "kept"}
    assert payload.delete(SESSIONS, [("b", "k")]) == []
    assert set(bucket) == {"kept"}


@pytest.mark.parametrize("asked", [True, False])
def test_what_waits_is_told_why_one_cannot_be_stored_and_the_others_go(bucket: dict[str, bytes], asked: bool) -> None:
    payloads = [payload.Payload("b", key, b"program", key == "kept") for key in ("k", "refused", "kept")]
    told = pytest.raises(AwsError, match=r"^bucket 'b': AccessDenied$")
    with told, payload.stored(SESSIONS, payloads) as ready:
        if asked:
            ready()
    assert set(bucket) == {"kept"}


def test_one_that_cannot_go_is_named(bucket: dict[str, bytes]) -> None:
    payloads = [payload.Payload("b", key, b"program", False) for key in ("stuck", "refused")]
    told = pytest.raises(AwsError, match=r"payload s3://b/stuck could not be deleted: AccessDenied; delete it or let")
    with told, payload.stored(SESSIONS, payloads) as ready:
        ready()
    assert payload.delete(SESSIONS, [("b", "stuck"), ("b", "stuck")]) == [
        payload.Leftover("b", "stuck", "AccessDenied")
    ]


def test_they_stay_where_the_batch_breaks_off(bucket: dict[str, bytes]) -> None:
    with pytest.raises(InterruptedError), payload.stored(SESSIONS, [payload.Payload("b", "k", b"program", False)]):
        raise InterruptedError
    assert set(bucket) == {"k"}
