"""Faults by name, the read-only switch and IAM: what goes wrong with AWS goes wrong here when told to."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from patchwave_lab import faults
from patchwave_lab.clock import Clock
from patchwave_lab.errors import LabError
from patchwave_lab.nodes import wrong_clock

SCENARIO = """
accounts: ["111111111111", "222222222222"]
regions: [eu-west-1, us-east-1]
buckets: [payloads]
settings: {consistency_seconds: 0, acknowledge_seconds: 0.01, undeliverable_seconds: 0.2}
nodes:
  - {name: real, files: {/etc/made: "made\\n"}}
  - {name: other}
  - {name: quick, count: 4, virtual: {delivery: 0, run: 0, reply: 0}}
  - {name: long, virtual: {delivery: 0, run: 300, reply: 0}}
faults:
  - {name: lost-reply, nodes: [quick-04]}
"""
SCRIPT = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}


@pytest.fixture(scope="module")
def faulty(new_lab, tmp_path_factory):
    file = tmp_path_factory.mktemp("scenario") / "faulty.yml"
    file.write_text(SCENARIO)
    lab = new_lab()
    lab.must("up", "--scenario", str(file))
    return lab


@pytest.fixture
def fault(faulty):
    """Begins a fault in the words of the command line; all end with the test."""

    def begin(name, *words):
        request, rest = {"name": name, "nodes": []}, list(words)
        while rest:
            word = rest.pop(0)
            if not word.startswith("--"):
                request["nodes"].append(word)
                continue
            key, value = word.strip("-"), rest.pop(0)
            if key == "set":
                key, _, value = value.partition("=")
            request[key] = value if key in ("account", "region") else float(value)
        assert "error" not in faulty.tell("fault", add=request)

    yield begin
    faulty.tell("fault", clear="")


def refused(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def one(found):
    (only,) = found.values()
    return only["Status"], only["StatusDetails"], only["CommandPlugins"][0]["ResponseCode"]


def test_a_scenario_can_begin_with_faults_and_a_lost_reply_ends_delivery_timed_out(faulty):  # aws.md 1.5, 1.6
    assert "lost-reply" in faulty.must("fault", "--list")
    command_id = faulty.send(faulty.ids("quick-04"), "x", TimeoutSeconds=30, executionTimeout="30")
    faulty.advance(50)
    assert faulty.command(command_id)["Status"] == "InProgress"
    faulty.advance(11)
    assert one(faulty.finished(command_id)) == ("TimedOut", "DeliveryTimedOut", -1)


def test_throttling_refuses_what_exceeds_the_bucket_of_its_family(faulty, fault):  # aws.md 2
    faulty.must("fault", "throttle", "--region", "eu-west-1", "--set", "rate=0.01", "--set", "burst=3")
    ssm = faulty.client("ssm")
    for call in (ssm.list_commands, ssm.list_command_invocations, ssm.list_commands):
        assert call()
    assert refused(ssm.list_command_invocations) == (400, "ThrottlingException", "Rate exceeded")
    # Another family, another region.
    assert ssm.describe_instance_information()
    assert faulty.client("ssm", "us-east-1").list_commands()
    for _ in range(3):
        faulty.client("ec2").describe_volumes()
    assert refused(faulty.client("ec2").describe_volumes)[:2] == (503, "RequestLimitExceeded")
    assert faulty.api_log()[-1]["error"] == "RequestLimitExceeded"
    faulty.advance(101)
    assert ssm.list_commands()


def test_a_fault_that_begins_anew_has_a_full_bucket():
    place, all_ = faults.Place("111111111111", "eu-west-1"), faults.Faults(Clock())
    for _ in range(50):
        all_.add({"name": "throttle", "rate": 0, "burst": 1})
        assert [all_.throttled(place, "family") for _ in range(2)] == [False, True]
        all_.clear()


def test_an_agent_that_went_off_is_online_for_a_while_and_not_connected(faulty, fault):  # aws.md 3
    ids, ssm = faulty.ids("quick-01"), faulty.client("ssm")
    faulty.must("fault", "agent-off", "quick-01", "--region", "eu-west-1", "--for", "3600", "--count", "99")

    def ping():
        found = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": ids}])
        return found["InstanceInformationList"][0]["PingStatus"]

    assert (ping(), ssm.get_connection_status(Target=ids[0])["Status"]) == ("Online", "notconnected")
    assert one(faulty.run(ids, "x")) == ("Failed", "Undeliverable", -1)
    faulty.advance(301)
    assert ping() == "ConnectionLost"
    fault("stale-ping", "quick-01")
    assert (ping(), ssm.get_connection_status(Target=ids[0])["Status"]) == ("Online", "notconnected")
    faulty.must("fault", "agent-off", "--clear")
    assert one(faulty.run(ids, "x"))[0] == "Success"


def test_undeliverable_although_it_ran(faulty, fault):  # aws.md 1.5
    fault("agent-restart", "real", "--set", "seconds=300", "--count", "1")
    (node_id,), shown = faulty.ids("real"), faulty.client("ssm").get_command_invocation
    command_id = faulty.send([node_id], f"{faulty.waits('real')}; touch /var/tmp/ran")
    faulty.eventually(lambda: shown(CommandId=command_id, InstanceId=node_id)["ExecutionStartDateTime"])
    faulty.advance(301)
    assert one(faulty.finished(command_id)) == ("Failed", "Undeliverable", -1)
    faulty.go("real")
    faulty.eventually(lambda: faulty.cli("exec", "real", "--", "test", "-e", "/var/tmp/ran").returncode == 0)
    assert one(faulty.run(faulty.ids("real"), "true"))[0] == "Success"


def test_a_duplicate_delivery_runs_twice_and_is_reported_once(faulty, fault):  # aws.md 1.1
    fault("duplicate-delivery", "real", "--count", "1")
    assert one(faulty.run(faulty.ids("real"), "echo x >> /var/tmp/twice"))[0] == "Success"
    faulty.eventually(lambda: faulty.must("exec", "real", "--", "cat", "/var/tmp/twice") == "x\nx\n")


def test_a_cancel_that_does_not_kill(faulty, fault):  # aws.md 2
    fault("cancel-ignored", "real")
    command_id = faulty.send(faulty.ids("real"), f"{faulty.waits('real')}; touch /var/tmp/uncancelled")
    faulty.eventually(lambda: faulty.command(command_id)["Status"] == "InProgress")
    faulty.client("ssm").cancel_command(CommandId=command_id)
    assert one(faulty.finished(command_id)) == ("Cancelled", "Cancelled", -1)
    faulty.go("real")
    faulty.eventually(lambda: faulty.cli("exec", "real", "--", "test", "-e", "/var/tmp/uncancelled").returncode == 0)


def test_a_reboot_that_never_comes_back(faulty, fault):  # aws.md 1.7
    ids, ssm = faulty.ids("other"), faulty.client("ssm")
    fault("reboot-hangs", "other")
    faulty.client("ec2").reboot_instances(InstanceIds=ids)
    faulty.eventually(lambda: ssm.get_connection_status(Target=ids[0])["Status"] == "notconnected")
    faulty.advance(4000)
    assert ssm.get_connection_status(Target=ids[0])["Status"] == "notconnected"
    faulty.tell("fault", clear="reboot-hangs")
    assert ssm.get_connection_status(Target=ids[0])["Status"] == "connected"


@pytest.mark.needs_root
def test_a_full_disk_takes_no_more_data(faulty, fault):
    fault("disk-full", "real")
    write = "head -c 5000 /dev/zero > /opt/big && echo written"
    faulty.eventually(lambda: "No space left" in faulty.cli("exec", "real", "--", "sh", "-c", write).stderr)
    assert "No space left" in faulty.cli("exec", "real", "--", "sh", "-c", write.replace("/opt", "/var/tmp")).stderr
    assert faulty.must("exec", "other", "--", "sh", "-c", write) == "written\n"
    faulty.tell("fault", clear="disk-full")
    faulty.eventually(lambda: faulty.cli("exec", "real", "--", "sh", "-c", write).stdout == "written\n")


@pytest.mark.skipif(wrong_clock.library() is None, reason="needs libfaketime (make system)")
@pytest.mark.parametrize("seconds", [-7200, 86400])
def test_a_clock_that_is_wrong(faulty, fault, seconds):
    fault("wrong-clock", "real", "--set", f"seconds={seconds}")
    look = "import time, subprocess as s; print(int(time.time()), int(s.check_output(['date', '+%s'], timeout=60)))"

    def ahead(say, wrong):
        """Each time that is said lies between now and then."""
        began = int(time.time())
        times = [int(word) - wrong for word in say().split()]
        assert times == sorted(times)
        assert began <= times[0] <= times[-1] <= time.time() + 1

    ahead(lambda: faulty.run_one("real", f'python3 -c "{look}"')["StandardOutputContent"], seconds)
    ahead(lambda: faulty.must("exec", "real", "--", "python3", "-c", look), seconds)
    ahead(lambda: faulty.must("exec", "other", "--", "date", "+%s"), 0)
    faulty.tell("fault", clear="wrong-clock")
    ahead(lambda: faulty.must("exec", "real", "--", "date", "+%s"), 0)


def test_without_libfaketime_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(wrong_clock, "PLACES", "nowhere/*")
    with pytest.raises(LabError, match=r"a wrong clock needs libfaketime \(Debian package libfaketime\)"):
        wrong_clock.check()


def test_a_region_that_is_down(faulty, fault):  # common errors of the API references
    fault("region-down", "--region", "us-east-1", "--for", "60")
    assert refused(faulty.client("ssm", "us-east-1").list_commands)[:2] == (503, "ServiceUnavailable")
    assert refused(faulty.client("ec2", "us-east-1").describe_instances)[0] == 503
    assert faulty.client("ssm").list_commands()
    faulty.advance(61)
    assert faulty.client("ssm", "us-east-1").list_commands()


def test_a_slow_region_holds_nobody_else_up(faulty, fault):
    near, far = faulty.client("ssm"), faulty.client("ssm", "us-east-1")
    fault("region-slow", "--region", "us-east-1", "--set", "seconds=1.5")
    with ThreadPoolExecutor() as pool:
        began = time.monotonic()
        slow = pool.submit(far.list_commands)
        time.sleep(0.1)
        near.list_commands()
        assert not slow.done()
        assert slow.result()
    assert time.monotonic() - began >= 1.5


def test_tokens_expire_when_told_to(faulty, fault):  # common errors of the API references
    keys = faulty.assumed("222222222222")
    assert faulty.client("ssm", **keys).list_commands()
    fault("token-expired", "--account", "222222222222", "--count", "1")
    assert refused(faulty.client("ssm", **keys).list_commands)[:2] == (400, "ExpiredTokenException")
    assert faulty.client("ssm", **keys).list_commands()
    assert faulty.client("ssm").list_commands()


def test_a_caller_whose_clock_is_wrong(faulty, fault):  # Signature Version 4
    fault("clock-skew", "--account", "111111111111")
    assert refused(faulty.client("ssm").list_commands)[:2] == (400, "InvalidSignatureException")
    assert refused(faulty.client("s3").list_buckets)[:2] == (403, "RequestTimeTooSkewed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gremlins"], "no fault 'gremlins'; there are: throttle, "),
        (["lost-reply", "nobody"], "no node nobody"),
        (["lost-reply", "--set", "rate=1"], "fault lost-reply knows no rate"),
        (["throttle", "real"], "fault throttle hits calls, not nodes"),
        (["disk-full", "long"], "fault disk-full is for real nodes only"),
        (["throttle", "--set", "rate"], "--set takes KEY=NUMBER"),
        (
            ["region-down", "--region", "eu-wset-1"],
            "no region 'eu-wset-1' in this lab; there are: eu-west-1",
        ),
        (["gremlins", "--clear"], "no fault 'gremlins'; there are: throttle, "),
        (["agent-off", "real", "--clear"], "--clear ends a fault everywhere; it takes no nodes"),
        ([], "which fault?"),
    ],
)
def test_a_mistake_is_one_line(faulty, words, said):
    done = faulty.cli("fault", *words)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr


def test_kinds_are_listed(faulty):
    lines = faulty.must("fault", "--kinds").splitlines()
    assert len(lines) == 15
    assert "[rate=2] [burst=4]" in lines[0]


def test_read_only_refuses_what_changes_something_and_names_it(faulty):
    ids, ssm, ec2 = faulty.ids("real"), faulty.client("ssm"), faulty.client("ec2")
    assert faulty.must("switch", "--read-only") == "read-only: on; check-only: off; IAM: off\n"
    status, code, message = refused(ssm.send_command, InstanceIds=ids, **SCRIPT)
    assert (status, code) == (400, "AccessDeniedException")
    assert message == (
        "User: arn:aws:iam::111111111111:user/patchwave-lab is not authorized to perform: ssm:SendCommand "
        "because the lab is read-only"
    )
    assert refused(ec2.create_tags, Resources=ids, Tags=[{"Key": "a", "Value": "b"}])[1] == "UnauthorizedOperation"
    assert refused(faulty.client("s3").create_bucket, Bucket="new")[1] == "AccessDenied"
    assert ssm.list_commands()
    assert ec2.describe_instances()
    assert faulty.assumed("222222222222")
    assert faulty.client("s3").list_buckets()
    assert faulty.must("switch", "--read-write") == "read-only: off; check-only: off; IAM: off\n"
    assert ssm.send_command(InstanceIds=ids, **SCRIPT)


@pytest.fixture
def check_only(faulty):
    """Switches it on; gives what there is to know when it is switched off."""
    faulty.must("exec", "real", "--", "true")
    faulty.must("switch", "--check-only")
    yield lambda: faulty.must("switch", "--no-check-only").splitlines()
    faulty.tell("switch", check_only=False)


def test_check_only_lets_a_command_through_and_nothing_else(faulty, check_only):
    s3, reboot = faulty.client("s3"), faulty.client("ec2").reboot_instances
    s3.put_object(Bucket="payloads", Key="patchwave/payload", Body=b"x")
    s3.delete_object(Bucket="payloads", Key="patchwave/payload")
    assert refused(s3.put_object, Bucket="payloads", Key="elsewhere", Body=b"x")[1] == "AccessDenied"
    assert refused(s3.delete_bucket, Bucket="payloads")[2].endswith("because the lab is check-only")
    assert refused(reboot, InstanceIds=faulty.ids("real"))[1] == "UnauthorizedOperation"
    look = "touch /tmp/new; test -w /opt && echo writable; systemctl stop nothing; reboot"
    one = faulty.run_one("real", look, "exit 3")
    assert (one["ResponseCode"], one["StandardOutputContent"]) == (3, "writable\n")
    assert one["StandardErrorContent"].count("Read-only file system") == 2
    assert check_only() == ["read-only: off; check-only: off; IAM: off"]


@pytest.mark.parametrize("write", ["touch /opt/new", "chmod 700 /etc/made", "mkdir /run/made", "rm /etc/made"])
def test_a_command_that_writes_fails_while_the_lab_is_check_only(faulty, check_only, write):
    one = faulty.run_one("real", f"{write}; echo done")
    path = write.split()[-1]
    said = f"real: the lab is check-only, but this was written: {path}"
    assert (one["ResponseCode"], one["StandardOutputContent"]) == (1, "")
    assert one["StandardErrorContent"].startswith(said)
    assert check_only()[0].startswith(said)


def test_what_enters_by_exec_is_watched_too(faulty, check_only):
    assert faulty.must("exec", "real", "--", "sh", "-c", "touch /tmp/other; echo made") == "made\n"
    done = faulty.cli("exec", "real", "--", "sh", "-c", "echo out; mkdir -p /srv/made/below")
    said = "real: the lab is check-only, but this was written: /srv/made, /srv/made/below\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", said)
    assert check_only()[0] == said.strip()


def test_iam_is_enforced_when_told_to(faulty):
    iam = faulty.client("iam")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}]}
    iam.create_role(RoleName="patching", AssumeRolePolicyDocument=json.dumps(trust))
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:List*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="patching", PolicyName="p", PolicyDocument=json.dumps(allow))
    trust["Statement"][0]["Condition"] = {"StringEquals": {"sts:ExternalId": "x-1"}}
    iam.create_role(RoleName="guarded", AssumeRolePolicyDocument=json.dumps(trust))
    keys, unknown = faulty.assumed("111111111111"), faulty.assumed("222222222222")
    faulty.must("switch", "--iam")
    try:
        assume = faulty.client("sts").assume_role
        status, code, message = refused(assume, RoleArn="arn:aws:iam::222222222222:role/no", RoleSessionName="test")
        assert (status, code) == (403, "AccessDenied")
        assert message.endswith("sts:AssumeRole on resource: arn:aws:iam::222222222222:role/no")
        guarded = {"RoleArn": "arn:aws:iam::111111111111:role/guarded", "RoleSessionName": "test"}
        assert refused(assume, **guarded)[1] == refused(assume, **guarded, ExternalId="x-2")[1] == "AccessDenied"
        assert assume(**guarded, ExternalId="x-1")
        assert faulty.client("ssm", **keys).list_commands()
        status, code, message = refused(faulty.client("ssm", **keys).describe_instance_information)
        assert (status, code) == (400, "AccessDeniedException")
        assert "assumed-role/patching/test is not authorized to perform: ssm:DescribeInstanceInformation" in message
        assert refused(faulty.client("ssm", **unknown).list_commands)[1] == "AccessDeniedException"
        assert faulty.client("ssm").list_commands()
    finally:
        faulty.must("switch", "--no-iam")


def test_the_api_log_names_the_principal(faulty):
    faulty.client("sts", **faulty.assumed("222222222222")).get_caller_identity()
    log = faulty.api_log()
    assert Counter(each["principal"] for each in log[-2:]) == {
        "arn:aws:iam::111111111111:user/patchwave-lab": 1,
        "arn:aws:sts::222222222222:assumed-role/patching/test": 1,
    }
