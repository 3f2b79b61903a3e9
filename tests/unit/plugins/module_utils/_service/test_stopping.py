"""Stopping from outside: in which order, which commands, and what is told of what cannot be done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import stopping
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, Where
from ansible_collections.patchwave.aws.plugins.module_utils._service.stop_marks import Mark, Place
from botocore.exceptions import ClientError

PLACE = Place("b", "p/")
MARK = Mark("Ada", "2026-11-27T22:00:00+00:00", "it hangs")


class Aws:
    """One bucket, and Systems Manager in some regions; `done` has what was changed, in order."""

    def __init__(self) -> None:
        self.objects = {"p/run/web/1": b"", "p/run/web/2": b"", "p/run/web-2/1": b"", "p/stop/other": b"{}"}
        self.commands: dict[str, list[tuple[str, str, list[str]]]] = {"r1": [], "r2": []}
        self.late: dict[str, list[tuple[str, str, list[str]]]] = {}
        self.refuse: set[str] = set()
        self.done: list[Any] = []

    def s3(self, bucket: str) -> Any:
        return self

    def client(self, service: str, access: Account, region: str, **dummy: Any) -> Any:
        return Ssm(self, region)

    def get_paginator(self, operation: str) -> Any:
        def pages(Bucket: str, Prefix: str) -> list[dict[str, Any]]:
            if "list" in self.refuse:
                raise ClientError({"Error": {"Code": "SlowDown", "Message": "slow"}}, "ListObjectsV2")
            return [{"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}]

        return SimpleNamespace(paginate=pages)

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.objects[Key] = Body
        self.done.append(("put", Key))

    def delete_object(self, Bucket: str, Key: str) -> None:
        if Key in self.refuse:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteObject")
        del self.objects[Key]
        self.done.append(("delete", Key))


class Ssm:
    def __init__(self, aws: Aws, region: str) -> None:
        self.aws, self.region = aws, region

    def get_paginator(self, operation: str) -> Any:
        def commands(**dummy: Any) -> list[dict[str, Any]]:
            if self.region in self.aws.refuse:
                raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "old"}}, "ListCommands")
            found = [{"CommandId": one, "Comment": comment} for one, comment, dummy in self.aws.commands[self.region]]
            self.aws.commands[self.region] += self.aws.late.pop(self.region, [])
            return [{"Commands": found}]

        def invocations(CommandId: str, **dummy: Any) -> list[dict[str, Any]]:
            (states,) = (states for one, dummy, states in self.aws.commands[self.region] if one == CommandId)
            found = [{"InstanceId": f"{CommandId}-{at}", "Status": state} for at, state in enumerate(states)]
            return [{"CommandInvocations": found}]

        return SimpleNamespace(paginate=commands if operation == "list_commands" else invocations)

    def cancel_command(self, CommandId: str, InstanceIds: list[str]) -> None:
        self.aws.done.append(("cancel", CommandId, len(InstanceIds)))
        (states,) = (states for one, dummy, states in self.aws.commands[self.region] if one == CommandId)
        for node in InstanceIds:
            states[int(node.rpartition("-")[2])] = "Cancelled"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setattr(stopping, "LISTED_AFTER", 0.0)
    monkeypatch.setattr(stopping.identity, "check", lambda *dummy: None)
    return Aws()


REGIONS = [Where("1", name, Account()) for name in ("r1", "r2")]


def stop(aws: Any, name: str = "web", place: Place | None = PLACE, check_mode: bool = False) -> stopping.Stopped:
    return stopping.stop(aws, REGIONS, place, name, MARK, check_mode)


def lift(aws: Any, name: str, check_mode: bool = False) -> Mark | None:
    return stopping.lift_mark(aws, PLACE, name, check_mode)


def test_the_mark_comes_first_then_the_payloads_then_the_commands(aws: Aws) -> None:
    aws.commands["r1"] = [("c1", "patchwave web 0123456789ab", ["Pending", "InProgress", "Success", "Delayed"])]
    done = stop(aws)
    assert [what for what, *dummy in aws.done] == ["put", "delete", "delete", "cancel"]
    assert (done.changed, done.payloads, done.problems) == (True, 2, [])
    (command,) = done.commands
    assert (command["cancelled"], command["running"]) == (["c1-0", "c1-3"], ["c1-1"])
    assert "p/run/web-2/1" in aws.objects


def test_only_its_own_commands_are_cancelled_and_fifty_nodes_at_a_time(aws: Aws) -> None:
    aws.commands["r1"] = [("c1", "patchwave web-2 0123456789ab", ["Pending"]), ("c2", "", ["Pending"])]
    aws.commands["r2"] = [
        ("c3", "patchwave web 0123456789ab", ["Pending"] * 120),
        ("c4", "patchwave webby 0123456789ab", ["Pending"]),
    ]
    done = stop(aws)
    assert [each for each in aws.done if each[0] == "cancel"] == [("cancel", "c3", 50)] * 2 + [("cancel", "c3", 20)]
    assert [one["command_id"] for one in done.commands] == ["c3"]


def test_a_stop_of_all_takes_everything(aws: Aws) -> None:
    aws.commands["r1"] = [("c1", "patchwave web-2 0123456789ab", ["Pending"]), ("c2", "somebody's", ["Pending"])]
    done = stop(aws, "all")
    assert done.payloads == 3
    assert [one["command_id"] for one in done.commands] == ["c1"]
    assert "p/stop/all" in aws.objects


def test_a_command_that_is_listed_late_is_cancelled_as_well(aws: Aws) -> None:
    aws.late["r2"] = [("c1", "patchwave web 0123456789ab", ["Pending"])]
    assert stop(aws).commands[0]["cancelled"] == ["c1-0"]


def test_what_is_stopped_already_is_not_changed(aws: Aws) -> None:
    assert stop(aws).changed
    first = aws.objects["p/stop/web"]
    assert not stop(aws).changed
    assert aws.objects["p/stop/web"] == first


def test_what_would_be_done_is_said_and_not_done(aws: Aws) -> None:
    aws.commands["r1"] = [("c1", "patchwave web 0123456789ab", ["Pending"])]
    done = stop(aws, check_mode=True)
    assert (done.changed, done.payloads, done.commands[0]["cancelled"]) == (True, 2, ["c1-0"])
    assert aws.done == []
    aws.objects["p/stop/web"] = b"{}"
    assert lift(aws, "web", check_mode=True)
    assert "p/stop/web" in aws.objects


def test_what_cannot_be_done_is_a_line_each_and_the_rest_is_done(aws: Aws) -> None:
    aws.commands["r1"] = [("c1", "patchwave web 0123456789ab", ["Pending"])]
    aws.refuse = {"r2", "p/run/web/1"}
    done = stop(aws)
    assert done.commands[0]["cancelled"] == ["c1-0"]
    assert done.payloads == 1
    assert len(done.problems) == 2
    assert done.problems[0].startswith("payload s3://b/p/run/web/1 could not be deleted")
    assert "account 1, region r2" in done.problems[1]


def test_where_no_mark_can_be_set_commands_are_cancelled_all_the_same(aws: Aws) -> None:
    aws.commands["r1"] = [("c1", "patchwave web 0123456789ab", ["Pending"])]
    aws.refuse = {"list"}
    done = stop(aws)
    assert aws.done == [("cancel", "c1", 1)]
    assert done.problems[0].startswith("s3://b: no mark could be set, so a run that lives goes on sending: ")
    assert len(done.problems) == 2


def test_without_a_bucket_commands_are_cancelled_all_the_same(aws: Aws) -> None:
    aws.commands["r1"] = [("c1", "patchwave web 0123456789ab", ["Pending"])]
    done = stop(aws, place=None)
    assert (done.changed, done.payloads) == (True, 0)
    assert aws.done == [("cancel", "c1", 1)]


def test_a_stop_is_lifted_once(aws: Aws) -> None:
    stop(aws)
    assert lift(aws, "web-2") is None
    assert "p/stop/web" in aws.objects
    assert lift(aws, "web") is not None
    assert lift(aws, "web") is None


def test_a_folder_that_a_console_makes_is_lifted_too(aws: Aws) -> None:
    aws.objects["p/stop/web/"] = b""
    assert lift(aws, "web") is not None
    assert [key for key in aws.objects if key.startswith("p/stop/web")] == []
