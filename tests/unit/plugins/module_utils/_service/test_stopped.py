"""An instance that went down before anything was sent to it is no failure; one that went down later may be."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import run_command, stopped
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control
from ansible_collections.patchwave.aws.plugins.module_utils._service.run_command import Reply
from botocore.exceptions import ClientError

NODE = "i-0123456789abcdef0"
SENT = 1_795_000_000.0


def at(seconds: float, zone: str = "GMT") -> str:
    return f"User initiated ({time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))} {zone})"


class Ec2:
    """Answers DescribeInstances with the instances that are down; or refuses."""

    def __init__(self, reason: str | None, ahead: float = 0.0, refuses: bool = False) -> None:
        self.reason, self.ahead, self.refuses, self.calls = reason, ahead, refuses, 0

    def get_paginator(self, dummy: str) -> Ec2:
        return self

    def paginate(self, **request: Any) -> Any:
        self.calls += 1
        if self.refuses:
            raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "DescribeInstances")
        instances = [] if self.reason is None else [{"InstanceId": NODE, "StateTransitionReason": self.reason}]
        date = {"HTTPHeaders": {"date": formatdate(time.time() + self.ahead, usegmt=True)}}
        yield {"Reservations": [{"Instances": instances}], "ResponseMetadata": date}


def unclear(reason: str = "undeliverable") -> Reply:
    return Reply("unknown", reason, "the agent gave no sign", "c-1", "", "Undeliverable")


def judged(ec2: Ec2, reply: Reply | None = None, node: str = NODE) -> Reply:
    return stopped.Stopped(lambda: ec2, "account 1, region x", {"web": SENT}).judge("web", node, reply or unclear())


@pytest.mark.parametrize("reason", ["undeliverable", "delivery_timed_out", "no_answer"])
@pytest.mark.parametrize("why", [at(SENT - 1), at(SENT - 86_400, "UTC")])
def test_what_was_down_before_is_unreachable(reason: str, why: str) -> None:
    found = judged(Ec2(why), unclear(reason))
    assert (found.outcome, found.reason, found.command_id) == ("unreachable", "stopped", "c-1")
    assert found.msg == (
        f"account 1, region x: the instance was down before anything was sent: {why}; start it and run again"
    )


@pytest.mark.parametrize(
    "ec2",
    [
        Ec2(None),
        Ec2(at(SENT)),
        Ec2(at(SENT + 100)),
        Ec2(""),
        Ec2("Client.InstanceInitiatedShutdown: Instance initiated shutdown"),
        Ec2(at(SENT - 1), refuses=True),
    ],
    ids=["runs", "at once", "later", "no reason", "no time", "denied"],
)
def test_what_may_have_begun_stays_unknown(ec2: Ec2) -> None:
    assert judged(ec2) == unclear()


def test_times_are_compared_by_one_clock() -> None:
    assert judged(Ec2(at(SENT + 200), ahead=300)).reason == "stopped"
    assert judged(Ec2(at(SENT - 200), ahead=-300)).reason == "undeliverable"


@pytest.mark.parametrize("reason", ["execution_timed_out", "cancelled", "api_error"])
def test_other_ends_are_not_asked_about(reason: str) -> None:
    ec2 = Ec2(at(SENT - 1))
    assert judged(ec2, unclear(reason)) == unclear(reason)
    assert judged(ec2, node="mi-0123456789abcdef0") == unclear()
    assert ec2.calls == 0


def test_many_nodes_cost_one_question() -> None:
    ec2 = Ec2(at(SENT - 1))
    known = stopped.Stopped(lambda: ec2, "x", {"web": SENT})
    assert [known.judge("web", NODE, unclear()).reason for dummy in range(50)] == ["stopped"] * 50
    assert ec2.calls == 1


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("adopted", [True, False])
def test_a_batch_judges_each_node_by_its_first_sending(
    monkeypatch: pytest.MonkeyPatch, before: bool, adopted: bool
) -> None:
    now = time.time()
    ec2 = Ec2(at(now - 100) if before else at(now + 100))
    sent = [run_command.Sent("t 1", ("web",), now - (50 if before else 200))] if adopted else []

    class Run:
        def __init__(self, clients: Any, works: Any, control: Any, tell: Any, *others: Any) -> None:
            ((self.command, dummy),), self.tell = works, tell

        def run(self) -> None:
            self.tell("intent", {"comment": "t 2", "nodes": ["web"]})
            self.command.ended("web", unclear())

    def ended(host: str, reply: Reply) -> bool:
        found.append(reply.reason)
        return False

    found: list[str] = []
    monkeypatch.setattr(run_command, "RegionRun", Run)
    monkeypatch.setattr(Sessions, "client", lambda self, service, *others, **more: ec2)
    monkeypatch.setattr(Sessions, "account_id", lambda self, *others: "123456789012")
    targets = [run_command.Target("web", NODE, "123456789012", Account(), "eu-west-1")]
    command = run_command.Command("d", dict, "t", 600, 600, ended, True)
    control = Control(0, 0, lambda: False)
    run_command.fan_out(Sessions({}), [(command, targets)], control, lambda kind, event: None, sent)
    assert found == ["stopped" if before else "undeliverable"]
