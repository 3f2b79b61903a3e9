"""MaxConcurrency, MaxErrors, unreachable nodes, timeouts, cancelling, and the command's own status."""

from collections import Counter

import pytest
from botocore.exceptions import ClientError

WEB = [f"web-0{number}" for number in range(1, 9)]
#: Virtual nodes whose runs take 1000 s.
LONG = [f"long-{number:02d}" for number in range(1, 13)]


def words(found):
    return Counter((each["Status"], each["StatusDetails"]) for each in found.values())


def states(lab, command_id):
    """How many invocations are in which state."""
    listed = lab.client("ssm").list_command_invocations(CommandId=command_id)["CommandInvocations"]
    return Counter(each["Status"] for each in listed)


def test_ramp_is_one_then_two_more_then_doubles_to_the_cap_then_slides(patient):  # aws.md 1.2
    # A step of the ramp takes 60 s here, each run 1000 s.
    command_id = patient.send(patient.ids(*LONG), "x", MaxConcurrency="5")
    patient.advance(20)
    for running in (1, 3, 5, 5):
        patient.eventually(lambda sent=running: states(patient, command_id)["InProgress"] == sent)
        patient.advance(60)
    assert states(patient, command_id) == {"InProgress": 5, "Pending": 7}
    patient.advance(750)
    patient.eventually(lambda: states(patient, command_id) == {"Success": 1, "InProgress": 5, "Pending": 6})
    patient.client("ssm").cancel_command(CommandId=command_id)
    patient.finished(command_id)


def test_a_percentage_is_floored_to_at_least_one(patient):  # aws.md 1.2
    command_id = patient.send(patient.ids(*LONG[:3]), "x", MaxConcurrency="10%")
    patient.advance(500)
    patient.eventually(lambda: states(patient, command_id) == {"InProgress": 1, "Pending": 2})
    patient.advance(510)
    patient.eventually(lambda: states(patient, command_id) == {"Success": 1, "InProgress": 1, "Pending": 1})
    patient.client("ssm").cancel_command(CommandId=command_id)
    patient.finished(command_id)


@pytest.mark.parametrize(("allowed", "failed"), [("0", 1), ("1", 2), ("25%", 3)])
def test_stops_when_errors_exceed_max_errors(lab, allowed, failed):  # aws.md 1.3
    command_id = lab.send(lab.ids(*WEB), "exit 1", MaxConcurrency="1", MaxErrors=allowed)
    found = lab.finished(command_id)
    assert words(found) == {("Failed", "Failed"): failed, ("Cancelled", "Terminated"): 8 - failed}
    command = lab.command(command_id)
    assert (command["Status"], command["StatusDetails"]) == ("Failed", "Failed")
    assert (command["TargetCount"], command["CompletedCount"], command["ErrorCount"]) == (8, 8, failed)


def test_what_is_running_when_it_stops_ends_by_itself(patient):  # aws.md 1.3
    command_id = patient.send(patient.ids("bad", *LONG[:4]), "x", MaxConcurrency="3", MaxErrors="0")
    patient.advance(61)
    patient.eventually(lambda: states(patient, command_id) == {"InProgress": 3, "Pending": 2})
    patient.advance(500)
    patient.eventually(lambda: states(patient, command_id) == {"Failed": 1, "InProgress": 2, "Cancelled": 2})
    patient.advance(600)
    details = Counter(each["StatusDetails"] for each in patient.finished(command_id).values())
    assert details == {"Failed": 1, "Success": 2, "Terminated": 2}


def test_a_dead_agent_ends_undeliverable_and_does_not_count_as_error(lab):  # aws.md 1.3, 1.4, 1.5
    ids = lab.ids("dead-01", "dead-02", "web-01", "web-02")
    command_id = lab.send(ids, "true", MaxErrors="0", MaxConcurrency="1")
    found = lab.finished(command_id)
    assert words(found) == {("Failed", "Undeliverable"): 2, ("Success", "Success"): 2}
    dead = found[ids[0]]["CommandPlugins"][0]
    assert (dead["ResponseCode"], dead["Output"]) == (-1, "")
    command = lab.command(command_id)
    assert (command["Status"], command["ErrorCount"], command["CompletedCount"]) == ("Success", 0, 4)


def test_only_dead_agents_fail_the_command(lab):  # aws.md 1.4
    command_id = lab.send(lab.ids("dead-01", "dead-02"), "true")
    lab.finished(command_id)
    assert lab.command(command_id)["Status"] == "Failed"


@pytest.mark.parametrize(("allowed", "details"), [("2", "Incomplete"), ("1", "Failed")])
def test_errors_below_max_errors_leave_the_command_incomplete(lab, allowed, details):  # aws.md 1.4
    command_id = lab.send(lab.ids(*WEB[:4]), "test $(hostname) != web-02", MaxErrors=allowed)
    assert words(lab.finished(command_id)) == {("Failed", "Failed"): 1, ("Success", "Success"): 3}
    assert lab.command(command_id)["StatusDetails"] == details


def test_counts_are_live(patient):  # aws.md 2
    command_id = patient.send(patient.ids("slow", "long-01"), "true", MaxConcurrency="2")
    patient.advance(61)
    patient.eventually(lambda: patient.command(command_id)["CompletedCount"] == 1)
    command = patient.command(command_id)
    assert (command["Status"], command["TargetCount"]) == ("InProgress", 2)
    patient.client("ssm").cancel_command(CommandId=command_id)
    patient.finished(command_id)


def test_cancel_kills_what_runs_and_drops_what_waits(lab, ssm):  # aws.md 2
    ids = lab.ids("web-03", "web-04")
    command_id = lab.send(ids, "sleep 300", MaxConcurrency="1")
    lab.eventually(lambda: states(lab, command_id) == {"InProgress": 1, "Pending": 1})
    lab.eventually(lambda: lab.runs("sleep", "300"))
    assert set(ssm.cancel_command(CommandId=command_id)) == {"ResponseMetadata"}
    found = lab.finished(command_id, 30)
    assert words(found) == {("Cancelled", "Cancelled"): 2}
    assert found[ids[0]]["CommandPlugins"][0]["ResponseCode"] == 137
    assert lab.command(command_id)["Status"] == "Cancelled"
    lab.eventually(lambda: not lab.runs("sleep", "300"))


def test_cancel_of_one_node_leaves_the_others(patient):  # aws.md 2
    ids, cancel = patient.ids("long-01", "long-02"), patient.client("ssm").cancel_command
    command_id = patient.send(ids, "x")
    for wrong, code in ((ids[:1] * 2, "DuplicateInstanceId"), (patient.ids("slow"), "InvalidInstanceId")):
        with pytest.raises(ClientError, match=code):
            cancel(CommandId=command_id, InstanceIds=wrong)
    patient.advance(61)
    cancel(CommandId=command_id, InstanceIds=ids[:1])
    patient.advance(1000)
    found = patient.finished(command_id)
    assert [found[each]["Status"] for each in ids] == ["Cancelled", "Success"]


def test_a_dead_agent_times_out_when_delivery_does(patient):  # aws.md 1.5, 1.6
    command_id = patient.send(patient.ids("dead"), "true", TimeoutSeconds=600)
    patient.advance(580)
    assert patient.command(command_id)["Status"] == "InProgress"
    patient.advance(21)
    (found,) = patient.finished(command_id).values()
    assert (found["Status"], found["StatusDetails"]) == ("TimedOut", "DeliveryTimedOut")
    command = patient.command(command_id)
    assert (command["DeliveryTimedOutCount"], command["ErrorCount"]) == (1, 0)


def test_what_waits_for_an_agent_is_delayed_and_runs_when_it_is_back(patient):  # aws.md 1.5
    (node_id,), ssm = patient.ids("slow"), patient.client("ssm")
    patient.tell("fault", add={"name": "agent-off", "nodes": ["slow"]})
    command_id = patient.send([node_id], "echo back", TimeoutSeconds=600)
    patient.eventually(lambda: patient.command(command_id)["Status"] == "InProgress")
    patient.advance(20)
    (found,) = ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"]
    assert (found["Status"], found["StatusDetails"]) == ("Delayed", "Delayed")
    patient.tell("fault", clear="agent-off")
    (found,) = patient.finished(command_id).values()
    assert (found["Status"], found["CommandPlugins"][0]["Output"]) == ("Success", "back\n")


def test_no_reply_until_the_total_timeout_is_delivery_timed_out_although_it_ran(patient):  # aws.md 1.4, 1.6
    patient.tell("fault", add={"name": "lost-reply", "nodes": ["slow"], "count": 1})
    command_id = patient.send(patient.ids("slow"), "touch /var/tmp/ran", TimeoutSeconds=30, executionTimeout="30")
    patient.eventually(lambda: patient.cli("exec", "slow", "--", "test", "-e", "/var/tmp/ran").returncode == 0)
    # The reply is there, and lost.
    patient.eventually(lambda: "lost-reply" not in [each["name"] for each in patient.tell("fault")["faults"]])
    patient.advance(31)
    assert patient.command(command_id)["Status"] == "InProgress"
    patient.advance(30)
    (found,) = patient.finished(command_id).values()
    assert (found["StatusDetails"], found["CommandPlugins"][0]["ResponseCode"]) == ("DeliveryTimedOut", -1)
    assert patient.command(command_id)["Status"] == "TimedOut"
