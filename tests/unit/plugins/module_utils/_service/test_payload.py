"""A payload lies in the bucket for as long as somebody may need it."""

from __future__ import annotations

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import payload
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Sessions


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
        with payload.stored(sessions, ("b", "k"), b"program", keep):
            assert bucket == {"k": b"program"}
            if breaks_off:
                raise InterruptedError
    except InterruptedError:
        pass
    assert len(bucket) == left
