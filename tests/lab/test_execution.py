"""What a node's agent does with a script, and how its output comes back."""

import contextlib
import time

import pytest
from botocore.exceptions import ClientError


def test_the_last_exit_code_decides(lab):  # aws.md 1.7
    good = lab.run_one("web-01", "false", "true")
    assert (good["Status"], good["StatusDetails"], good["ResponseCode"]) == ("Success", "Success", 0)
    bad = lab.run_one("web-01", "echo out", "echo err >&2", "exit 3")
    assert (bad["Status"], bad["StatusDetails"], bad["ResponseCode"]) == ("Failed", "Failed", 3)
    assert (bad["StandardOutputContent"], bad["StandardErrorContent"]) == ("out\n", "err\n")
    assert bad["PluginName"] == "aws:runShellScript"


def test_a_script_runs_as_root_of_its_own_node(lab):
    script = 'id -u; hostname; echo "$AWS_SSM_INSTANCE_ID $AWS_SSM_REGION_NAME $HOME"; env | grep -c AWS_SECRET'
    lines = lab.run_one("web-02", script)["StandardOutputContent"].split("\n")
    assert lines == ["0", "web-02", f"{lab.ids('web-02')[0]} eu-west-1 /root", "0", ""]


def test_nodes_share_no_files(lab):
    lab.run(lab.ids("web-01"), "echo 1 | tee /etc/mark /opt/mark /var/tmp/mark /tmp/mark /run/mark /root/mark")
    lost = lab.run_one("web-02", "cat /etc/mark /opt/mark /var/tmp/mark /tmp/mark /run/mark /root/mark")
    assert lost["StandardOutputContent"] == ""
    kept = lab.run_one("web-01", "cat /etc/mark /opt/mark /var/tmp/mark /tmp/mark /run/mark /root/mark")
    assert kept["StandardOutputContent"] == "1\n" * 6


def test_a_scenarios_files_are_there(lab):
    assert lab.run_one("db-01", "cat /etc/motd")["StandardOutputContent"] == "hello from db-01\n"


def test_a_first_line_names_the_interpreter(lab):
    assert lab.run_one("web-01", "#!/bin/bash", "a=(x y)", 'echo "${a[1]}"')["StandardOutputContent"] == "y\n"


def test_working_directory(lab):  # aws.md 1.7
    assert lab.run_one("web-01", "pwd", workingDirectory="/opt")["StandardOutputContent"] == "/opt\n"
    assert lab.run_one("web-01", "pwd", workingDirectory="/no such")["Status"] == "Failed"


def test_nothing_in_a_script_is_read_by_another_shell(lab):
    text = "$(touch /tmp/pwned) `id` 'single' \"double\" \\back é\U0001f600"
    found = lab.run_one("web-01", f"cat <<'END'\n{text}\nEND", "ls /tmp")["StandardOutputContent"]
    assert found.splitlines()[0] == text
    assert "pwned" not in found.splitlines()[1:]


def test_execution_timeout_kills_everything_with_137(lab):  # aws.md 1.4, 1.6
    ids, ssm = lab.ids("web-01"), lab.client("ssm")
    command_id = lab.send(ids, "echo before", "sleep 300 & sleep 300", executionTimeout="600")
    lab.eventually(lambda: lab.runs("sleep", "300") == 2)
    lab.advance(590)
    assert lab.command(command_id)["Status"] == "InProgress"
    lab.advance(11)
    lab.finished(command_id)
    one = ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])
    assert (one["Status"], one["StatusDetails"], one["ResponseCode"]) == ("TimedOut", "ExecutionTimedOut", 137)
    assert one["StandardOutputContent"] == "before\n"
    assert one["ExecutionElapsedTime"].startswith("PT10M")
    lab.eventually(lambda: not lab.runs("sleep", "300"))


def test_an_agent_runs_five_commands_at_once(lab, ssm):  # aws.md 1.7
    ids, wait = lab.ids("web-05"), lab.waits("web-05")
    commands = [lab.send(ids, wait) for _ in range(7)]

    def begun():
        found = (ssm.list_command_invocations(CommandId=each, Details=True)["CommandInvocations"] for each in commands)
        return sum("ResponseStartDateTime" in plugin for (one,) in found for plugin in one["CommandPlugins"])

    time.sleep(0.3)
    lab.eventually(lambda: begun() == 5)
    time.sleep(0.2)
    assert begun() == 5
    lab.go("web-05")
    assert {one["Status"] for each in commands for one in lab.finished(each).values()} == {"Success"}


def test_long_output_is_cut_in_lists_at_2500(lab):  # aws.md 2
    found = lab.run(lab.ids("web-01"), "head -c 3000 /dev/zero | tr '\\0' o")
    text = found[lab.ids("web-01")[0]]["CommandPlugins"][0]["Output"]
    assert len(text) == 2500
    assert text == "o" * (2500 - 23) + "\n---Output truncated---"


def test_both_streams_share_2500(lab):  # aws.md 2
    script = "head -c 3000 /dev/zero | tr '\\0' o; head -c 3000 /dev/zero | tr '\\0' e >&2"
    text = lab.run(lab.ids("web-01"), script)[lab.ids("web-01")[0]]["CommandPlugins"][0]["Output"]
    out, err = text.split("\n----------ERROR-------\n")
    assert out.endswith("o\n---Output truncated---")
    assert err.endswith("e\n---Error truncated----")
    assert 2490 <= len(text) <= 2500


def test_short_output_is_whole_and_joined(lab):  # aws.md 2
    found = lab.run(lab.ids("web-01"), "printf out; printf err >&2; exit 1")
    assert found[lab.ids("web-01")[0]]["CommandPlugins"][0]["Output"] == "out\n----------ERROR-------\nerr"


def test_single_invocations_cut_at_24000_and_8000(lab):  # aws.md 2
    script = "head -c 30000 /dev/zero | tr '\\0' o; head -c 30000 /dev/zero | tr '\\0' e >&2"
    one = lab.run_one("web-01", script)
    for key, limit, letter in (("StandardOutputContent", 24000, "o"), ("StandardErrorContent", 8000, "e")):
        assert len(one[key]) == limit
        assert one[key].endswith(f"{letter}--output truncated--")
    exact = lab.run_one("web-01", "head -c 24000 /dev/zero | tr '\\0' o")["StandardOutputContent"]
    assert exact == "o" * 24000


def test_output_goes_to_s3_whole(lab):  # aws.md 1.8
    one = lab.run_one(
        "db-02",
        "head -c 100000 /dev/zero | tr '\\0' o; echo err >&2",
        OutputS3BucketName="results",
        OutputS3KeyPrefix="runs/7",
    )
    key = f"runs/7/{one['CommandId']}/{one['InstanceId']}/awsrunShellScript/0.awsrunShellScript"
    assert one["StandardOutputUrl"].endswith(f"/results/{key}/stdout")
    s3 = lab.client("s3")
    assert s3.get_object(Bucket="results", Key=f"{key}/stdout")["Body"].read() == b"o" * 100000
    assert s3.get_object(Bucket="results", Key=f"{key}/stderr")["Body"].read() == b"err\n"


def test_a_lost_bucket_does_not_fail_the_command(lab):  # aws.md 1.8
    assert lab.run_one("web-01", "true", OutputS3BucketName="no-such-bucket")["Status"] == "Success"


def known(ssm, command_id, node):
    with contextlib.suppress(ssm.exceptions.InvocationDoesNotExist):
        return ssm.get_command_invocation(CommandId=command_id, InstanceId=node)


def test_output_is_empty_and_the_code_minus_one_before_the_end(lab, ssm):  # aws.md 2
    ids = lab.ids("web-06")
    command_id = lab.send(ids, f"echo early > /tmp/early; echo early; {lab.waits('web-06')}")
    lab.eventually(lambda: lab.cli("exec", "web-06", "--", "test", "-s", "/tmp/early").returncode == 0)
    lab.eventually(lambda: known(ssm, command_id, ids[0]))  # not for a moment after SendCommand
    one = ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])
    assert (one["Status"], one["ResponseCode"], one["StandardOutputContent"]) == ("InProgress", -1, "")
    lab.go("web-06")
    lab.finished(command_id)
    assert ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])["StandardOutputContent"] == "early\n"


def test_a_step_of_another_name_is_invalid(lab, ssm):  # aws.md 2
    ids = lab.ids("web-01")
    command_id = lab.send(ids, "true")
    lab.finished(command_id)
    assert ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0], PluginName="aws:runShellScript")
    with pytest.raises(ClientError, match="InvalidPluginName"):
        ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0], PluginName="PatchLinux")
