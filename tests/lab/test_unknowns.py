"""What nobody knows of AWS is a setting: each is tried under both of its values (aws.md 9)."""

from collections import Counter

import pytest
from botocore.exceptions import ClientError

from patchwave_lab import scenario

NODES = """
nodes:
  - {name: bad, count: 10, virtual: {delivery: 0, run: 50, reply: 0, answers: [{exit_code: 1}]}, tags: {Group: bad}}
  - {name: win, virtual: true, platform: Windows, tags: {Group: win}}
  - {name: halted, virtual: true}
  - {name: quick, virtual: {delivery: 0, run: 0, reply: 0}}
  - {name: far, region: us-east-1, virtual: true}
"""
VALUES = {
    "usual": "undeliverable_seconds: 0.1, ",
    "other": "percent_rounding: up, terminated_status: Failed, invalid_platform_status: Cancelled, "
    "stopped_nodes: refused, pending_quota: 12, undeliverable_seconds: null, access_denied_status: Cancelled, "
    "alarm_details: Terminated, unified_console: present, instance_properties: withdrawn, "
    "connection_lost_seconds: 60, ",
}


@pytest.fixture(scope="module", params=VALUES)
def either(request, new_lab, tmp_path_factory):
    """A lab under one set of values, and which."""
    file = tmp_path_factory.mktemp("scenario") / "unknowns.yml"
    settings = f"settings: {{{VALUES[request.param]}consistency_seconds: 0, acknowledge_seconds: 0.01}}"
    file.write_text(f'accounts: ["111111111111"]\nregions: [eu-west-1, us-east-1]\n{settings}\n{NODES}')
    lab = new_lab()
    lab.must("up", "--scenario", str(file))
    return lab, request.param == "other"


def test_how_percentages_are_rounded_and_what_terminated_is(either):  # aws.md 1.2, 1.3, 1.4
    lab, other = either
    targets = [{"Key": "tag:Group", "Values": ["bad"]}]
    # 15 % of 10 nodes are 1.5 at once and 1.5 errors that are allowed. Two at once: one runs when the third has failed.
    command_id = lab.send([], "x", Targets=targets, MaxConcurrency="15%", MaxErrors="15%")

    def running():
        listed = lab.client("ssm").list_command_invocations(CommandId=command_id)["CommandInvocations"]
        return sum(each["Status"] == "InProgress" for each in listed)

    lab.eventually(lambda: running() == (2 if other else 1))
    lab.eventually(lambda: lab.advance(51) or lab.command(command_id)["CompletedCount"] == 10)
    found = lab.finished(command_id)
    failed = 4 if other else 2
    assert Counter((each["Status"], each["StatusDetails"]) for each in found.values()) == {
        ("Failed", "Failed"): failed,
        ("Failed" if other else "Cancelled", "Terminated"): 10 - failed,
    }


def test_what_the_coarse_status_of_a_wrong_platform_is(either):  # aws.md 1.4
    lab, other = either
    (found,) = lab.finished(lab.send([], "x", Targets=[{"Key": "tag:Group", "Values": ["win"]}])).values()
    assert (found["Status"], found["StatusDetails"]) == ("Cancelled" if other else "Failed", "InvalidPlatform")


def test_whether_a_stopped_instance_can_be_named(either):  # aws.md 1.5
    lab, other = either
    ids = lab.ids("halted")
    lab.client("ec2").stop_instances(InstanceIds=ids)
    if other:
        with pytest.raises(ClientError, match=f"Instances .*{ids[0]}.* not in a valid state"):
            lab.send(ids, "x")
    else:
        (found,) = lab.run(ids, "x").values()
        assert found["StatusDetails"] == "Undeliverable"
    lab.client("ec2").start_instances(InstanceIds=ids)


def test_how_many_invocations_may_be_pending(either):  # aws.md 1.4
    lab, other = either
    everyone = [{"Key": "tag-key", "Values": ["Name"]}]
    command = lab.command(lab.send([], "x", Targets=everyone))
    if other:
        assert (command["StatusDetails"], command["TargetCount"]) == ("RateExceeded", 0)
    else:
        assert command["TargetCount"] == 13
    lab.client("ssm").cancel_command(CommandId=command["CommandId"])


def test_what_the_coarse_status_of_a_denied_access_is(either):  # aws.md 1.4
    lab, other = either
    lab.tell("fault", add={"name": "access-denied", "nodes": ["quick"]})
    (found,) = lab.run(lab.ids("quick"), "x").values()
    lab.tell("fault", clear="access-denied")
    assert (found["Status"], found["StatusDetails"]) == ("Cancelled" if other else "Failed", "AccessDenied")


def test_what_becomes_of_nodes_that_an_alarm_keeps_waiting(either):  # aws.md 1.8
    lab, other = either
    (found,) = lab.run(lab.ids("quick"), "x", AlarmConfiguration={"Alarms": [{"Name": "nobody"}]}).values()
    expected = ("Failed", "Terminated") if other else ("Cancelled", "Cancelled")
    assert (found["Status"], found["StatusDetails"]) == expected


def test_when_a_lost_connection_shows(either):  # aws.md 3
    lab, other = either
    lab.tell("fault", add={"name": "agent-off", "nodes": ["quick"]})
    lab.advance(100)
    listed = lab.client("ssm").describe_instance_information(
        Filters=[{"Key": "InstanceIds", "Values": lab.ids("quick")}]
    )
    lab.tell("fault", clear="agent-off")
    assert listed["InstanceInformationList"][0]["PingStatus"] == ("ConnectionLost" if other else "Online")


def test_whether_the_consoles_own_listing_can_be_had(either):  # aws.md 3
    lab, other = either
    if other:
        with pytest.raises(ClientError, match="UnknownOperationException"):
            lab.client("ssm").describe_instance_properties()
    else:
        assert len(lab.client("ssm").describe_instance_properties()["InstanceProperties"]) == 13


def test_whether_a_sync_of_all_accounts_and_regions_is_there(either):  # aws.md 3
    lab, other = either
    ask = lab.client("ssm").list_nodes
    if other:
        found = ask(SyncName="AWS-QuickSetup-ManagedNode")["Nodes"]
        assert {each["Region"] for each in found} == {"eu-west-1", "us-east-1"}
        assert len(found) == len(ask()["Nodes"]) + 1
    else:
        with pytest.raises(ClientError, match="ResourceDataSyncNotFoundException"):
            ask(SyncName="AWS-QuickSetup-ManagedNode")


def test_every_setting_that_is_a_word_is_tried_with_all_of_its_values():
    for name, words in scenario.WORDS.items():
        others = set(words[1:])
        assert others == {word for word in others if f"{name}: {word}" in VALUES["other"]}, name
