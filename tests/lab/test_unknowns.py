"""What nobody knows of AWS is a setting: each is tried under both of its values (aws.md 9)."""

from collections import Counter

import pytest
from botocore.exceptions import ClientError

NODES = """
nodes:
  - {name: bad, count: 10, virtual: {delivery: 0, run: 0, reply: 0, answers: [{exit_code: 1}]}, tags: {Group: bad}}
  - {name: win, virtual: true, platform: Windows, tags: {Group: win}}
  - {name: halted, virtual: true}
"""
VALUES = {
    "usual": "undeliverable_seconds: 0.1, ",
    "other": "percent_rounding: up, terminated_status: Failed, invalid_platform_status: Cancelled, "
    "stopped_nodes: refused, pending_quota: 11, undeliverable_seconds: null, ",
}


@pytest.fixture(scope="module", params=VALUES)
def either(request, new_lab, tmp_path_factory):
    """A lab under one set of values, and which."""
    file = tmp_path_factory.mktemp("scenario") / "unknowns.yml"
    settings = f"settings: {{{VALUES[request.param]}consistency_seconds: 0, acknowledge_seconds: 0.01}}"
    file.write_text(f'accounts: ["111111111111"]\nregions: [eu-west-1]\n{settings}\n{NODES}')
    lab = new_lab()
    lab.must("up", "--scenario", str(file))
    return lab, request.param == "other"


def test_how_a_percentage_of_errors_is_rounded_and_what_terminated_is(either):
    lab, other = either
    targets = [{"Key": "tag:Group", "Values": ["bad"]}]
    # 15 % of 10 nodes are 1.5 errors that are allowed.
    found = lab.finished(lab.send([], "x", Targets=targets, MaxConcurrency="1", MaxErrors="15%"))
    failed = 3 if other else 2
    assert Counter((each["Status"], each["StatusDetails"]) for each in found.values()) == {
        ("Failed", "Failed"): failed,
        ("Failed" if other else "Cancelled", "Terminated"): 10 - failed,
    }


def test_what_the_coarse_status_of_a_wrong_platform_is(either):
    lab, other = either
    (found,) = lab.finished(lab.send([], "x", Targets=[{"Key": "tag:Group", "Values": ["win"]}])).values()
    assert (found["Status"], found["StatusDetails"]) == ("Cancelled" if other else "Failed", "InvalidPlatform")


def test_whether_a_stopped_instance_can_be_named(either):
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
        assert command["TargetCount"] == 12
    lab.client("ssm").cancel_command(CommandId=command["CommandId"])
