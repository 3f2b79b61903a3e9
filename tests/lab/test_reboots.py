"""Exit codes with a meaning, and nodes that reboot in the middle of a command. The clock is moved on."""

import json

import pytest

SCENARIO = """
accounts: ["111111111111"]
regions: [eu-west-1]
settings: {consistency_seconds: 0, acknowledge_seconds: 0.01, reboot_seconds: 30}
nodes:
  - {name: real}
  - {name: second}
  - {name: late, virtual: {delivery: 0, run: 0, reply: 0, answers: [{exit_code: 194}]}}
  - {name: again, virtual: {delivery: 0, run: 0, reply: 0, answers: [{exit_code: 194}]}}
"""
#: Asks for a reboot unless it was here before; prints how often it ran and in which boot.
STEP = """
echo run >> /var/tmp/runs
cat /proc/sys/kernel/random/boot_id >> /var/tmp/boots
[ $(wc -l < /var/tmp/runs) -gt 1 ] || exit 194
echo uptime $(cut -d. -f1 /proc/uptime)
"""


@pytest.fixture(scope="module")
def rebooting(new_lab, tmp_path_factory):
    file = tmp_path_factory.mktemp("scenario") / "reboots.yml"
    file.write_text(SCENARIO)
    lab = new_lab()
    lab.must("up", "--scenario", str(file))
    return lab


def connection(lab, node_id):
    return lab.client("ssm").get_connection_status(Target=node_id)["Status"]


def test_194_reboots_after_a_minute_of_grace_and_runs_the_step_again(rebooting):  # aws.md 1.7
    (node_id,), ssm = rebooting.ids("real"), rebooting.client("ssm")
    steps = [
        {"action": "aws:runShellScript", "name": name, "inputs": {"runCommand": [script]}}
        for name, script in (
            ("Before", "echo first | tee -a /var/tmp/before"),
            ("Reboots", STEP),
            ("After", "echo last"),
        )
    ]
    content = json.dumps({"schemaVersion": "2.2", "mainSteps": steps})
    ssm.create_document(Name="Reboots", DocumentType="Command", Content=content)
    command_id = ssm.send_command(InstanceIds=[node_id], DocumentName="Reboots")["Command"]["CommandId"]
    rebooting.eventually(lambda: rebooting.cli("exec", "real", "--", "test", "-s", "/var/tmp/boots").returncode == 0)
    rebooting.idle("real")
    assert rebooting.command(command_id)["Status"] == "InProgress"
    rebooting.advance(55)
    assert connection(rebooting, node_id) == "connected"
    rebooting.advance(6)
    rebooting.eventually(lambda: connection(rebooting, node_id) == "notconnected")
    (found,) = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [node_id]}])[
        "InstanceInformationList"
    ]
    assert found["PingStatus"] == "Online"
    assert rebooting.command(command_id)["Status"] == "InProgress"
    where = {"CommandId": command_id, "InstanceId": node_id, "PluginName": "Before"}
    assert ssm.get_command_invocation(**where)["StandardOutputContent"] == ""
    rebooting.advance(31)
    (found,) = rebooting.finished(command_id).values()
    _, again, last = found["CommandPlugins"]
    assert ssm.get_command_invocation(**where)["StandardOutputContent"] == "first\n"
    assert (found["Status"], again["ResponseCode"], last["Output"]) == ("Success", 0, "last\n")
    word, uptime = again["Output"].split()
    assert word == "uptime"
    assert int(uptime) < 60
    assert rebooting.must("exec", "real", "--", "cat", "/var/tmp/before") == "first\n"
    assert len(set(rebooting.must("exec", "real", "--", "cat", "/var/tmp/boots").split())) == 2


def test_an_agent_resumes_15_times_and_then_never_reports(rebooting):  # aws.md 1.7
    (node_id,) = rebooting.ids("again")
    command_id = rebooting.send([node_id], "x", TimeoutSeconds=30, executionTimeout="172800")
    for _ in range(16):
        # Less than the reboot takes at a time, so that none is missed.
        rebooting.eventually(lambda: rebooting.advance(20) or connection(rebooting, node_id) == "notconnected")
        rebooting.eventually(lambda: rebooting.advance(20) or connection(rebooting, node_id) == "connected")
    rebooting.advance(200)
    assert connection(rebooting, node_id) == "connected"
    assert rebooting.command(command_id)["Status"] == "InProgress"
    rebooting.advance(172_900)
    (found,) = rebooting.finished(command_id).values()
    assert found["StatusDetails"] == "DeliveryTimedOut"


@pytest.mark.parametrize(("hours", "resumed"), [(49, False), (47, True)])
def test_an_agent_resumes_nothing_that_is_older_than_48_hours(rebooting, hours, resumed):  # aws.md 1.7
    (node_id,) = rebooting.ids("late")
    rebooting.tell("fault", add={"name": "reboot-hangs", "nodes": ["late"]})
    command_id = rebooting.send([node_id], "x", TimeoutSeconds=600_000)
    rebooting.eventually(lambda: rebooting.advance(61) or connection(rebooting, node_id) == "notconnected")
    rebooting.advance(hours * 3600)
    rebooting.tell("fault", clear="reboot-hangs")
    assert connection(rebooting, node_id) == "connected"
    if resumed:  # it asks for another reboot
        rebooting.eventually(lambda: rebooting.advance(20) or connection(rebooting, node_id) == "notconnected")
    else:
        for _ in range(5):
            rebooting.advance(20)
            assert connection(rebooting, node_id) == "connected"
    assert rebooting.command(command_id)["Status"] == "InProgress"


@pytest.mark.parametrize(("code", "status", "word"), [(168, "Success", "succeeded"), (169, "Failed", "Failed")])
def test_168_and_169_end_the_document_early(rebooting, code, status, word):  # aws.md 1.7
    one = rebooting.run_one("second", f"echo out; echo err >&2; exit {code}")
    assert (one["Status"], one["ResponseCode"]) == (status, code)
    note = f"\nStep exited with code {code}. Therefore, marking step as {word}. Further document steps will be skipped."
    assert one["StandardOutputContent"] == f"out\n{note}"
    assert one["StandardErrorContent"] == ("" if code == 168 else f"err\n{note}")


def test_a_script_that_reboots_by_itself_is_resumed_too(rebooting):  # aws.md 1.7
    script = "echo run >> /var/tmp/own; [ $(wc -l < /var/tmp/own) -gt 1 ] && exit 0; reboot; sleep 60"
    (node_id,) = rebooting.ids("second")
    command_id = rebooting.send([node_id], script)
    rebooting.eventually(lambda: connection(rebooting, node_id) == "notconnected")
    # Only what hangs comes back when faults end.
    rebooting.tell("fault", clear="")
    assert connection(rebooting, node_id) == "notconnected"
    assert rebooting.command(command_id)["Status"] == "InProgress"
    rebooting.advance(31)
    (found,) = rebooting.finished(command_id).values()
    assert found["Status"] == "Success"
    assert rebooting.must("exec", "second", "--", "cat", "/var/tmp/own") == "run\nrun\n"


def test_ec2_stop_start_and_reboot_end_what_runs_in_the_node(rebooting):  # aws.md 1.5, 7
    (node_id,), ec2 = rebooting.ids("second"), rebooting.client("ec2")
    look = ["exec", "second", "--", "cat", "/proc/sys/kernel/random/boot_id"]
    before = rebooting.must(*look)
    ec2.reboot_instances(InstanceIds=[node_id])
    rebooting.eventually(lambda: connection(rebooting, node_id) == "notconnected")
    rebooting.eventually(lambda: rebooting.advance(10) or connection(rebooting, node_id) == "connected")
    after = rebooting.must(*look)
    ec2.stop_instances(InstanceIds=[node_id])
    assert connection(rebooting, node_id) == "notconnected"
    ec2.start_instances(InstanceIds=[node_id])
    assert connection(rebooting, node_id) == "connected"
    assert len({before, after, rebooting.must(*look)}) == 3


def test_the_clock_is_moved_from_the_command_line(rebooting):
    command_id = rebooting.send(rebooting.ids("again"), "x", TimeoutSeconds=60, executionTimeout="60")
    before = rebooting.must("clock").strip()
    after = rebooting.must("clock", "--advance", "3600").strip()
    assert before[:2] == after[:2] == "20"
    assert before < after
    assert rebooting.command(command_id)["Status"] == "TimedOut"
