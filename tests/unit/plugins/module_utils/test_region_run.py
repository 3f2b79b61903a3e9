"""The engine of one account and region against a Systems Manager of ten lines, where an answer can be lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import region_run
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control
from ansible_collections.patchwave.aws.plugins.module_utils._service.run_command_types import (
    Command,
    Reply,
    Sent,
    Target,
)
from botocore.exceptions import ClientError, ReadTimeoutError

NODES = ["i-0000000a", "i-0000000b"]


class FakeSsm:
    """Takes commands, ends them at once, and loses or refuses answers as told."""

    def __init__(self, losses: list[str] | None = None) -> None:
        self.losses = losses or []
        self.commands: dict[str, dict[str, Any]] = {}
        self.sends = 0

    def send_command(self, **request: Any) -> dict[str, Any]:
        self.sends += 1
        loss = self.losses.pop(0) if self.losses else ""
        if loss == "throttled":
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "SendCommand")
        if loss != "request":
            self.commands[f"c-{self.sends}"] = request
        if loss:
            raise ReadTimeoutError(endpoint_url="https://x")
        return {"Command": {"CommandId": f"c-{self.sends}"}}

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **request: [getattr(self, operation)(**request)])

    def describe_instance_properties(self, **dummy: Any) -> dict[str, Any]:
        return {"InstanceProperties": [{"InstanceId": node, "PingStatus": "Online"} for node in NODES]}

    def list_commands(self, **dummy: Any) -> dict[str, Any]:
        listed = [
            {"CommandId": key, "Comment": sent["Comment"], "CompletedCount": len(sent["InstanceIds"])}
            for key, sent in self.commands.items()
        ]
        return {"Commands": listed}

    def list_command_invocations(self, CommandId: str, **dummy: Any) -> dict[str, Any]:
        found = [
            {
                "InstanceId": node,
                "Status": "Success",
                "StatusDetails": "Success",
                "CommandPlugins": [{"Output": f"{CommandId} {node}"}],
            }
            for node in self.commands[CommandId]["InstanceIds"]
        ]
        return {"CommandInvocations": found}


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_run.time, "sleep", lambda seconds: None)


def run(ssm: FakeSsm, earlier: list[Sent] | None = None, hosts: list[str] = NODES, places: int = 0) -> dict[str, Reply]:
    targets = [Target(f"host-{node}", node, "123456789012", Account(), "eu-west-1") for node in hosts]
    made: list[str] = []

    def fresh() -> dict[str, list[str]]:
        made.append(f"url-{len(made)}")
        return {"commands": [made[-1]]}

    command = Command("AWS-RunShellScript", fresh, "token", 600, 600, lambda reply: False, True)
    control = Control(places, 0, lambda: False)
    clients = region_run.Clients(ssm, ssm)
    return region_run.RegionRun(clients, targets, command, control, lambda kind, event: None, earlier or []).run()


def test_a_sending_whose_answer_was_lost_is_found_and_not_repeated() -> None:
    ssm = FakeSsm(losses=["answer"])
    replies = run(ssm)
    assert ssm.sends == 1
    assert {reply.output for reply in replies.values()} == {f"c-1 {node}" for node in NODES}


def test_a_sending_that_never_arrived_is_repeated_once() -> None:
    ssm = FakeSsm(losses=["request"])
    assert {reply.outcome for reply in run(ssm).values()} == {None}
    assert ssm.sends == 2


def test_two_lost_sendings_leave_the_nodes_unknown() -> None:
    ssm = FakeSsm(losses=["request", "request"])
    replies = run(ssm)
    assert ssm.sends == 2
    assert {(reply.outcome, reply.reason) for reply in replies.values()} == {("unknown", "api_error")}


def test_a_throttled_sending_is_made_again() -> None:
    ssm = FakeSsm(losses=["throttled", "throttled"])
    assert {reply.outcome for reply in run(ssm).values()} == {None}
    assert ssm.sends == 3


def test_what_an_earlier_run_sent_is_adopted() -> None:
    ssm = FakeSsm()
    ssm.commands["c-9"] = {"Comment": "token 1", "InstanceIds": [NODES[0]]}
    replies = run(ssm, [Sent("token 1", (f"host-{NODES[0]}",), 0.0)])
    assert ssm.sends == 1
    assert replies[f"host-{NODES[0]}"].output == f"c-9 {NODES[0]}"
    assert replies[f"host-{NODES[1]}"].output == f"c-1 {NODES[1]}"


def test_an_intent_that_was_never_sent_is_sent_now() -> None:
    ssm = FakeSsm()
    assert {reply.outcome for reply in run(ssm, [Sent("token 1", (f"host-{NODES[0]}",), 0.0)]).values()} == {None}
    assert ssm.sends == 1


def test_a_node_that_systems_manager_does_not_know_costs_nobody_else() -> None:
    ssm = FakeSsm()
    replies = run(ssm, hosts=[*NODES, "i-0000000c"])
    assert replies["host-i-0000000c"].reason == "not_managed"
    assert [reply.outcome for reply in replies.values()].count(None) == 2


def test_a_node_that_waited_for_its_place_gets_parameters_of_its_own() -> None:
    ssm = FakeSsm()
    run(ssm, places=1)
    assert [request["Parameters"]["commands"] for request in ssm.commands.values()] == [["url-0"], ["url-1"]]
