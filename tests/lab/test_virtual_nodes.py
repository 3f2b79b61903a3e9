"""Nodes that answer from a latency model: many, cheap, the same every time; Windows among them."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from patchwave_lab import fleet, scenario
from patchwave_lab.errors import LabError
from patchwave_lab.nodes import model_file
from patchwave_lab.nodes.latency import Answer, Distribution, Model

FLEET = """
accounts: ["111111111111", "222222222222"]
regions: [eu-west-1, us-east-1]
buckets: [results]
settings: {consistency_seconds: 0, acknowledge_seconds: 0.01}
nodes:
  - {name: quick, count: 20, virtual: {delivery: 0, run: 0, reply: 0}, tags: {Patch Group: quick}}
  - {name: long, architecture: arm64, virtual: {delivery: 10, run: 100, reply: 20}}
  - {name: endless, virtual: {delivery: 0, run: 100000, reply: 0}}
  - {name: win, count: 2, platform: Windows, virtual: {delivery: 0, run: 0, reply: 0}, tags: {Patch Group: win}}
  - {name: far, count: 8, spread: true, virtual: true}
  - name: mixed
    count: 40
    type: hybrid
    virtual:
      delivery: {uniform: [0, 0.1]}
      run: {lognormal: [0.1, 0.5]}
      reply: 0
      answers: [{share: 0.3, exit_code: 7, stdout: "out\\n", stderr: "err\\n"}]
"""


@pytest.fixture(scope="module")
def virtual(new_lab, tmp_path_factory):
    file = tmp_path_factory.mktemp("scenario") / "virtual.yml"
    file.write_text(FLEET)
    lab = new_lab()
    lab.must("up", "--scenario", str(file))
    return lab


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_by_default_a_node_prints_what_a_launcher_prints_for_a_success(virtual):
    found = virtual.run(virtual.ids("quick-01", "quick-02"), "anything")
    assert {each["CommandPlugins"][0]["Output"] for each in found.values()} == {
        'PATCHWAVE1 {"changed":true,"outcome":"patched"}\n'
    }


def test_delivery_run_and_reply_take_their_time(virtual):
    ids, ssm = virtual.ids("long"), virtual.client("ssm")
    command_id = virtual.send(ids, "anything")
    virtual.advance(11)
    assert ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])["ExecutionStartDateTime"]
    virtual.advance(105)
    one = ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])
    assert (one["Status"], one["StandardOutputContent"]) == ("InProgress", "")
    virtual.advance(30)
    virtual.finished(command_id)
    assert ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])["Status"] == "Success"


def test_an_execution_timeout_below_5_s_is_taken_for_an_hour(virtual):  # aws.md 1.6
    command_id = virtual.send(virtual.ids("long"), "x", executionTimeout="4", TimeoutSeconds=600_000)
    virtual.eventually(lambda: virtual.advance(20) or virtual.command(command_id)["CompletedCount"])
    assert virtual.command(command_id)["Status"] == "Success"


def test_a_cancelled_run_is_cancelling_until_its_node_replies(virtual):  # aws.md 1.4
    ids, ssm = virtual.ids("long"), virtual.client("ssm")
    command_id = virtual.send(ids, "x")
    virtual.advance(11)
    assert ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])["ExecutionStartDateTime"]
    ssm.cancel_command(CommandId=command_id)
    (found,) = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
    assert (found["Status"], found["StatusDetails"]) == ("Cancelling", "Cancelling")
    assert found["CommandPlugins"][0]["Status"] == "InProgress"
    command = virtual.command(command_id)
    assert (command["Status"], command["StatusDetails"]) == ("Cancelling", "Cancelling")
    virtual.advance(21)
    assert {each["Status"] for each in virtual.finished(command_id).values()} == {"Cancelled"}


def test_execution_timeout_and_cancel_end_a_virtual_run_with_137(virtual):  # aws.md 1.6
    ids, ssm = virtual.ids("endless"), virtual.client("ssm")
    late, cancelled = virtual.send(ids, "a", executionTimeout="60"), virtual.send(ids, "b")
    virtual.advance(1)
    assert ssm.get_command_invocation(CommandId=cancelled, InstanceId=ids[0])["ExecutionStartDateTime"]
    ssm.cancel_command(CommandId=cancelled)
    virtual.advance(61)
    (found,) = virtual.finished(late).values()
    assert (found["StatusDetails"], found["CommandPlugins"][0]["ResponseCode"]) == ("ExecutionTimedOut", 137)
    assert [virtual.command(late)[key] for key in ("Status", "StatusDetails")] == ["TimedOut", "ExecutionTimedOut"]
    (found,) = virtual.finished(cancelled).values()
    assert (found["StatusDetails"], found["CommandPlugins"][0]["ResponseCode"]) == ("Cancelled", 137)


def test_five_commands_at_once_and_no_more(virtual):  # aws.md 1.7
    ids = virtual.ids("endless")
    commands = [virtual.send(ids, "a", executionTimeout="60") for _ in range(6)]
    shown = virtual.client("ssm").get_command_invocation

    def begun():
        return [bool(shown(CommandId=each, InstanceId=ids[0])["ExecutionStartDateTime"]) for each in commands]

    virtual.advance(1)
    assert begun() == [True] * 5 + [False]
    for command_id in commands:
        virtual.client("ssm").cancel_command(CommandId=command_id)


def test_a_share_of_the_nodes_answers_otherwise(virtual):
    names = [f"mixed-{number:02d}" for number in range(1, 41)]
    found = virtual.run(virtual.ids(*names), "x", MaxErrors="100%")
    codes = Counter(each["CommandPlugins"][0]["ResponseCode"] for each in found.values())
    assert set(codes) == {0, 7}
    assert 5 <= codes[7] <= 20
    bad = next(each for each in found.values() if each["Status"] == "Failed")
    assert bad["CommandPlugins"][0]["Output"] == "out\n\n----------ERROR-------\nerr\n"


def test_a_windows_node_takes_powershell_only(virtual):  # aws.md 1.5
    ids, ssm = virtual.ids("win-01", "win-02"), virtual.client("ssm")
    with pytest.raises(Exception, match="UnsupportedPlatformType"):
        virtual.send(ids, "true")
    sent = ssm.send_command(
        InstanceIds=ids, DocumentName="AWS-RunPowerShellScript", Parameters={"commands": ["Get-Date"]}
    )["Command"]["CommandId"]
    assert {each["StatusDetails"] for each in virtual.finished(sent).values()} == {"Success"}
    known = ssm.describe_instance_information(Filters=[{"Key": "PlatformTypes", "Values": ["Windows"]}])
    assert {each["PlatformName"] for each in known["InstanceInformationList"]} == {
        "Microsoft Windows Server 2022 Datacenter"
    }
    instance = virtual.client("ec2").describe_instances(InstanceIds=ids[:1])["Reservations"][0]["Instances"][0]
    assert instance["Platform"] == "windows"


def test_virtual_instances_are_in_ec2_with_addresses_and_volumes_of_their_own(virtual):
    ec2 = virtual.client("ec2")
    found = ec2.describe_instances(Filters=[{"Name": "tag:Patch Group", "Values": ["quick"]}], MaxResults=1000)
    instances = [each for group in found["Reservations"] for each in group["Instances"]]
    assert len({each["InstanceId"] for each in instances}) == 20
    assert len({each["PrivateIpAddress"] for each in instances}) == 20
    volumes = [each["BlockDeviceMappings"][0]["Ebs"]["VolumeId"] for each in instances]
    assert len(set(volumes)) == 20
    attached = {each["VolumeId"]: each["Attachments"][0]["InstanceId"] for each in ec2.describe_volumes()["Volumes"]}
    assert [attached[each] for each in volumes] == [each["InstanceId"] for each in instances]
    ec2.stop_instances(InstanceIds=[instances[-1]["InstanceId"]])
    states = Counter(
        each["State"]["Name"]
        for group in ec2.describe_instances(InstanceIds=[each["InstanceId"] for each in instances])["Reservations"]
        for each in group["Instances"]
    )
    assert states == {"running": 19, "stopped": 1}
    ec2.start_instances(InstanceIds=[instances[-1]["InstanceId"]])


def test_a_virtual_node_has_any_architecture(virtual):
    ids = virtual.ids("long", "quick-01")
    reserved = virtual.client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
    shown = {each["InstanceId"]: each["Architecture"] for group in reserved for each in group["Instances"]}
    properties = virtual.client("ssm").describe_instance_properties()["InstanceProperties"]
    known = {each["ComputerName"]: each.get("Architecture") for each in properties}
    assert [shown[each] for each in ids] == [known["long"], known["quick-01"]] == ["arm64", "x86_64"]


def test_many_instances_are_written_as_moto_writes_them(tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("instances_xml.py")), str(tmp_path)]
    found = json.loads(subprocess.check_output(command, env={**os.environ, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}))
    # Not the one that the others are copies of, a stopped and a changed one.
    assert found["plain"] == 6
    assert found["lab"] == found["moto"]
    assert [each.count("<instanceId>") for each in found["lab"]] == [9, 5, 1, 0]


def test_spread_goes_round_accounts_and_regions(virtual):
    places = Counter(
        (node["account"], node["region"]) for node in virtual.state["nodes"] if node["name"].startswith("far")
    )
    assert set(places.values()) == {2}
    assert len(places) == 4


def test_nothing_runs_in_a_virtual_node(virtual):
    assert "is a virtual node" in virtual.cli("exec", "long", "--", "true").stderr


def test_ten_thousand_nodes_start_in_time_idle_for_nothing_and_take_a_command_cheaply(new_lab):
    lab = new_lab()
    began = time.monotonic()
    lab.must("up", "--virtual", "10000")
    assert time.monotonic() - began < 20
    state, region = lab.state, "eu-central-1"
    pid, ssm, ids = state["pid"], lab.client("ssm", region), [node["node_id"] for node in state["nodes"]]
    assert len(set(ids)) == 10000
    before = cpu_seconds(pid)
    time.sleep(1)
    assert cpu_seconds(pid) - before <= 0.02
    before = cpu_seconds(pid)
    assert len(lab.client("ec2", region).describe_instances(MaxResults=1000)["Reservations"]) == 1000
    # A tenth of all; moto alone takes 1.8 s.
    assert cpu_seconds(pid) - before < 1

    def send(batch, **parameters):
        return ssm.send_command(InstanceIds=batch, DocumentName="AWS-RunShellScript", Parameters=parameters)

    # What is refused for its parameters was parsed and checked against the model all the same; a tenth will do.
    before = cpu_seconds(pid)
    for start in range(0, 1000, 50):
        with pytest.raises(Exception, match="InvalidParameters"):
            send(ids[start : start + 50], nothing=["true"])
    parsing, before = 10 * (cpu_seconds(pid) - before), cpu_seconds(pid)
    commands = [
        send(ids[start : start + 50], commands=["true"])["Command"]["CommandId"] for start in range(0, 10000, 50)
    ]

    def over():
        lab.advance(5)
        pages = ssm.get_paginator("list_commands").paginate(Filters=[{"key": "Status", "value": "Success"}])
        return sum(len(page["Commands"]) for page in pages) == len(commands)

    lab.eventually(over, 30)
    assert cpu_seconds(pid) - before - parsing < 5
    command = ssm.list_commands(CommandId=commands[0])["Commands"][0]
    assert (command["Status"], command["TargetCount"], command["CompletedCount"]) == ("Success", 50, 50)


def test_up_with_a_number_makes_three_waves():
    made = scenario.parse("x", fleet.text(1005, ["111111111111", "222222222222"], ["eu-west-1"]))
    assert Counter(node.tags["PatchWave"] for node in made.nodes) == {"1": 100, "2": 301, "3": 604}
    assert Counter(node.account for node in made.nodes).most_common(1)[0][1] <= 504
    assert made.regions == ("eu-west-1",)
    assert len(scenario.parse("x", fleet.text(1, [], [])).nodes) == 1


def test_a_seed_fixes_every_time_and_answer():
    model = Model(run=Distribution("lognormal", 60, 0.5), answers=(Answer(exit_code=1, share=0.5),), seed=7)

    def drawn():
        return [(model.run.draw(model.source(f"i-{n}", 1)), model.answer(f"i-{n}").exit_code) for n in range(200)]

    assert drawn() == drawn()
    times, codes = zip(*drawn(), strict=True)
    assert 50 < sorted(times)[100] < 72
    assert 70 < sum(codes) < 130


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("yes please", "x: v: must be a mapping"),
        ({"speed": 1}, "x: unknown key v.speed"),
        ({"run": -1}, "x: v.run: must be a number, 0 or more"),
        ({"run": {"lognormal": [1]}}, "x: v.run: must be seconds, {uniform: "),
        ({"answers": [{"share": 2}]}, "x: v.answers[0].share: must be a number, 0 to 1"),
        ({"answers": [{"stdout": 1}]}, "x: v.answers[0].stdout: must be text"),
    ],
)
def test_mistakes_in_a_model_are_named(value, said):
    with pytest.raises(LabError) as caught:
        model_file.parse("x", "v", value)
    assert str(caught.value).startswith(said)
