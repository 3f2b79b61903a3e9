"""Accounts and regions run side by side."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import run_command
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> dict[Account, str]:
    """Say whose credentials are; nobody's where they are not named."""
    known: dict[Account, str] = {}

    def account_id(self: Sessions, account: Account, region: str | None = None) -> str:
        asked.append(account)
        if account not in known:
            raise AwsError("no answer")
        return known[account]

    asked: list[Account] = []
    monkeypatch.setattr(Sessions, "account_id", account_id)
    return known


def test_nobody_waits_for_the_slots_of_a_region_that_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Run:
        def __init__(self, clients: Any, works: Any, control: Control, *others: Any) -> None:
            self.region, self.control = works[0][1][0].region, control

        def run(self) -> Any:
            if self.region == "us-east-1":
                self.control.exchange(0, 1)
                raise InterruptedError
            deadline = time.monotonic() + 30
            while not self.control.stop_reason():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            return {}

    monkeypatch.setattr(run_command, "RegionRun", Run)
    targets = [
        run_command.Target(region, "i-0", "123456789012", Account(), region) for region in ("eu-west-1", "us-east-1")
    ]
    sessions = Sessions({"access_key": "x", "secret_key": "x"})
    command = run_command.Command("d", dict, "t", 600, 600, lambda host, reply: False, True)
    with pytest.raises(InterruptedError):
        run_command.fan_out(sessions, [(command, targets)], Control(1, 0, lambda: False), lambda kind, event: None)


def test_what_an_earlier_run_sent_to_where_nobody_gets_in_keeps_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, tuple[str | None, str]] = {}

    def ended(host: str, reply: run_command.Reply) -> bool:
        found[host] = (reply.outcome, reply.reason)
        return False

    gone = Account(profile="gone")
    targets = [run_command.Target(host, f"i-{host}", "123456789012", gone, "eu-west-1") for host in "ab"]
    command = run_command.Command("d", dict, "t", 600, 600, ended, True)
    control = Control(1, 0, lambda: False)
    earlier = [run_command.Sent("t 1", ("a",), time.time())]
    run_command.fan_out(Sessions({}), [(command, targets)], control, lambda kind, event: None, earlier)
    assert found == {"a": ("unknown", "api_error"), "b": ("unreachable", "api_error")}
    assert control.exchange(0, 1) == 0


@pytest.mark.parametrize("earlier", [(), (run_command.Sent("t 1", ("mine", "other"), time.time()),)])
def test_nothing_is_sent_with_the_credentials_of_another_account(
    monkeypatch: pytest.MonkeyPatch, accounts: dict[Account, str], earlier: Any
) -> None:
    class Run:
        def __init__(self, clients: Any, works: Any, *others: Any) -> None:
            sent.extend(target.host for dummy, targets in works for target in targets)

        def run(self) -> None:
            pass

    def ended(host: str, reply: run_command.Reply) -> bool:
        found[host] = (reply.outcome, reply.reason, reply.msg)
        return False

    sent: list[str] = []
    found: dict[str, tuple[str | None, str, str]] = {}
    monkeypatch.setattr(run_command, "RegionRun", Run)
    accounts[Account()] = "123456789012"
    targets = [
        run_command.Target("mine", "i-0", "123456789012", Account(), "eu-west-1"),
        run_command.Target("other", "i-1", "210987654321", Account(), "eu-west-1"),
        run_command.Target("nobody knows", "i-2", "", Account(), "eu-west-1"),
    ]
    command = run_command.Command("d", dict, "t", 600, 600, ended, True)
    sessions = Sessions({"access_key": "x", "secret_key": "x"})
    run_command.fan_out(sessions, [(command, targets)], Control(0, 0, lambda: False), lambda kind, event: None, earlier)
    assert sent == ["mine", "nobody knows"]
    (ended_,) = found.items()
    host, (outcome, reason, msg) = ended_
    # What an earlier run sent, when the credentials were others, may work still.
    assert (host, outcome, reason) == (
        "other",
        *(("unknown", "api_error") if earlier else ("unreachable", "wrong_account")),
    )
    assert "the credentials belong to account 123456789012, the node to 210987654321; nothing was sent: set" in msg
