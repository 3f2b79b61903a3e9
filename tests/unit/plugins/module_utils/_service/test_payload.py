"""A payload lies in the bucket for as long as somebody may need it."""

from __future__ import annotations

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import payload
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions


@pytest.mark.parametrize(("keep", "breaks_off", "left"), [(False, False, 0), (False, True, 1), (True, False, 1)])
def test_it_goes_in_the_end_unless_it_is_kept_or_the_batch_broke_off(
    monkeypatch: pytest.MonkeyPatch, keep: bool, breaks_off: bool, left: int
) -> None:
    bucket: dict[str, bytes] = {}
    monkeypatch.setattr(payload.s3_api, "put_object", lambda s3, name, key, body: bucket.update({key: body}))
    monkeypatch.setattr(payload.s3_api, "head_object", lambda s3, name, key: None)
    monkeypatch.setattr(payload.s3_api, "delete_object", lambda s3, name, key: bucket.pop(key))
    sessions = Sessions({"region": "eu-central-1"})
    try:
        with payload.stored(sessions, ("b", "k"), b"program", keep) as ready:
            ready()
            assert bucket == {"k": b"program"}
            if breaks_off:
                raise InterruptedError
    except InterruptedError:
        pass
    assert len(bucket) == left


def test_what_waits_for_it_is_told_why_it_cannot_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(s3: object, name: str, key: str, body: bytes) -> None:
        raise AwsError("AccessDenied")

    monkeypatch.setattr(payload.s3_api, "put_object", refuse)
    sessions = Sessions({"region": "eu-central-1"})
    for asked in (True, False):
        told = pytest.raises(AwsError, match=r"^bucket 'b': AccessDenied$")
        with told, payload.stored(sessions, ("b", "k"), b"program", False) as ready:
            if asked:
                ready()
