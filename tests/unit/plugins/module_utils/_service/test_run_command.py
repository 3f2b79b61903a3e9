"""Accounts and regions run side by side."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import run_command
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control


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
    command: Any = None  # nobody sends
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
