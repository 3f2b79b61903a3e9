"""Credentials that cannot be."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize(("options", "attempts"), [({}, 5), ({"aws_config": {"retries": {"max_attempts": 8}}}, 9)])
def test_no_option_makes_botocore_repeat_what_must_not_be_repeated(options: dict[str, Any], attempts: int) -> None:
    sessions = Sessions({"access_key": "x", "secret_key": "y", "region": "eu-central-1", **options})
    found = [sessions.client("ssm", retries=again).meta.config.retries["total_max_attempts"] for again in (True, False)]
    assert found == [attempts, 1]
