"""Credentials that cannot be."""

from __future__ import annotations

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions


@pytest.mark.parametrize("options", [{"access_key": "x"}, {"secret_key": "x"}, {"access_key": "", "secret_key": "x"}])
def test_half_a_pair_of_keys_is_one_line(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AwsError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together"):
        Sessions(options)
    Sessions({"access_key": "x", "secret_key": "y"})
    Sessions({})
