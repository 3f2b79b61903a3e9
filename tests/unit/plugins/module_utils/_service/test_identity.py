"""Whose credentials they are is known before anything is sent with them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._aws import sessions as aws_sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service import documents, identity
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.run_command import Target

MINE, OTHER = "123456789012", "210987654321"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def caller_account(sts: Any) -> str:
        asked.append(sts.meta.region_name)
        if sts.meta.region_name == "us-west-1":
            raise AwsError("no answer")
        return MINE

    monkeypatch.setattr(aws_sessions, "caller_account", caller_account)
    return asked


@pytest.fixture
def sessions(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    (tmp_path / "config").write_text("[profile other]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return Sessions({"access_key": "x", "secret_key": "x"})


def test_aws_is_asked_once_for_each_way_in(asked: list[str], sessions: Sessions) -> None:
    for region in ("eu-west-1", "us-east-1"):
        identity.check(sessions, Account(), MINE, region)
        with pytest.raises(
            identity.WrongAccount, match=f"^the credentials belong to account {MINE}, the node to {OTHER};"
        ):
            identity.check(sessions, Account(), OTHER, region)
    with pytest.raises(identity.WrongAccount, match=f"^profile other belongs to account {MINE}, the node to {OTHER};"):
        identity.check(sessions, Account(profile="other"), OTHER, "eu-west-1")
    assert asked == ["eu-west-1", "eu-west-1"]


def test_a_role_says_itself_whose_it_is(asked: list[str], sessions: Sessions) -> None:
    role = Account(f"arn:aws-cn:iam::{OTHER}:role/patchwave")
    identity.check(sessions, role, OTHER, "cn-north-1")
    with pytest.raises(identity.WrongAccount, match=f"^the role arn:.*belongs to account {OTHER}, the node to {MINE};"):
        identity.check(sessions, role, MINE, "cn-north-1")
    assert asked == []


@pytest.mark.parametrize("account", ["", "lab", "12345678901", "of the credentials"])
def test_an_account_that_is_not_known_is_not_compared(asked: list[str], sessions: Sessions, account: str) -> None:
    identity.check(sessions, Account(), account, "eu-west-1")
    assert asked == []


def test_a_question_without_an_answer_proves_nothing_and_is_asked_again(asked: list[str], sessions: Sessions) -> None:
    identity.check(sessions, Account(), OTHER, "us-west-1")
    with pytest.raises(identity.WrongAccount):
        identity.check(sessions, Account(), OTHER, "eu-west-1")


def test_a_document_is_not_looked_for_in_another_account(asked: list[str], sessions: Sessions) -> None:
    node = Target("web", "i-0123456789abcdef0", OTHER, Account(), "eu-west-1")
    (found,) = documents.look(sessions, [documents.Wanted([node], "d", "", {})])
    assert (found.ready, found.refused["web"].outcome, found.refused["web"].reason) == (
        [],
        "unreachable",
        "wrong_account",
    )
