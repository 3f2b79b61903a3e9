"""SendCommand: what it takes, what it refuses, and in which words."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

SCRIPT = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}
UNKNOWN = ["i-0123456789abcdef0", "mi-0123456789abcdef0"]


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_answers_at_once_with_no_counts(lab, ssm):  # aws.md 1.1
    command = ssm.send_command(InstanceIds=lab.ids("web-01"), **SCRIPT)["Command"]
    assert command["Status"] == command["StatusDetails"] == "Pending"
    assert [command[key] for key in ("TargetCount", "CompletedCount", "ErrorCount")] == [0, 0, 0]
    assert command["MaxConcurrency"] == "50"
    assert command["MaxErrors"] == "0"


def test_total_timeout_is_delivery_plus_execution_timeout(lab, ssm):  # aws.md 1.6
    command = ssm.send_command(
        InstanceIds=lab.ids("web-01"),
        DocumentName="AWS-RunShellScript",
        TimeoutSeconds=600,
        Parameters={"commands": ["true"], "executionTimeout": ["3600"]},
    )["Command"]
    assert (command["ExpiresAfter"] - command["RequestedDateTime"]).total_seconds() == pytest.approx(4200, abs=0.01)


def test_refuses_51_ids_in_the_services_words(ssm):  # aws.md 1.1
    ids = [f"i-{number:017d}" for number in range(51)]
    code, message = refusal(ssm.send_command, InstanceIds=ids, **SCRIPT)
    assert code == "ValidationException"
    assert message.startswith("1 validation error detected: Value '[i-00000000000000000, i-")
    assert message.endswith(
        "at 'instanceIds' failed to satisfy constraint: Member must have length less than or equal to 50"
    )


@pytest.mark.parametrize(
    ("request_part", "where", "constraint"),
    [
        ({"InstanceIds": ["web-01"]}, "instanceIds", "[Member must satisfy regular expression pattern: (^i-("),
        ({"MaxConcurrency": "0"}, "maxConcurrency", "Member must satisfy regular expression pattern: ^([1-9]"),
        ({"MaxErrors": "101%"}, "maxErrors", "Member must satisfy regular expression pattern: ^([1-9]"),
        ({"TimeoutSeconds": 29}, "timeoutSeconds", "Member must have value greater than or equal to 30"),
        ({"Comment": "x" * 101}, "comment", "Member must have length less than or equal to 100"),
        ({"DocumentHashType": "Md5"}, "documentHashType", "Member must satisfy enum value set: [Sha256, Sha1]"),
        ({"Targets": [{"Key": "tag:a", "Values": ["b"] * 51}]}, "targets.1.member.values", "equal to 50"),
    ],
)
def test_checks_the_request_against_the_model(ssm, request_part, where, constraint):  # aws.md 1.1
    code, message = refusal(ssm.send_command, **{**SCRIPT, **request_part})
    assert code == "ValidationException"
    assert f"at '{where}' failed to satisfy constraint: " in message
    assert constraint in message


def test_counts_several_violations(ssm):  # aws.md 1.1
    _, message = refusal(ssm.send_command, TimeoutSeconds=1, MaxErrors="-1", **SCRIPT)
    assert message.startswith("2 validation errors detected: ")


def test_a_tag_key_may_hold_a_blank(lab, ssm):  # aws.md 1.1
    sent = ssm.send_command(Targets=[{"Key": "tag:Patch Group", "Values": ["spare"]}], **SCRIPT)
    assert set(lab.finished(sent["Command"]["CommandId"])) == set(lab.ids("spare"))


@pytest.mark.parametrize("by", ["ids", "targets"])
def test_one_unknown_id_fails_the_whole_call_and_all_unknown_are_named(lab, ssm, by):  # aws.md 1.5
    newest = [each["CommandId"] for each in ssm.list_commands(MaxResults=1)["Commands"]]
    ids = [*lab.ids("web-01"), *UNKNOWN]
    where = {"InstanceIds": ids} if by == "ids" else {"Targets": [{"Key": "InstanceIds", "Values": ids}]}
    code, message = refusal(ssm.send_command, **where, **SCRIPT)
    assert code == "InvalidInstanceId"
    assert message == f"Instances [[{', '.join(UNKNOWN)}]] not in a valid state for account 111111111111"
    assert [each["CommandId"] for each in ssm.list_commands(MaxResults=1)["Commands"]] == newest


@pytest.mark.parametrize("name", ["far", "foreign"])
def test_nodes_of_another_region_or_account_are_unknown(lab, ssm, name):  # aws.md 1.5
    code, _ = refusal(ssm.send_command, InstanceIds=lab.ids(name), **SCRIPT)
    assert code == "InvalidInstanceId"


def test_an_instance_that_never_registered_is_unknown(lab, ssm):  # aws.md 1.5
    run = lab.client("ec2").run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)
    code, _ = refusal(ssm.send_command, InstanceIds=[run["Instances"][0]["InstanceId"]], **SCRIPT)
    assert code == "InvalidInstanceId"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"DocumentName": "AWS-RunNothing"}, "InvalidDocument"),
        ({"DocumentVersion": "9"}, "InvalidDocumentVersion"),
        ({"Parameters": {"commands": ["true"], "colour": ["red"]}}, "InvalidParameters"),
        ({"Parameters": {"workingDirectory": ["/"]}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["true"], "executionTimeout": ["an hour"]}}, "InvalidParameters"),
        ({"DocumentName": "AWS-RunPowerShellScript"}, "UnsupportedPlatformType"),
        ({"Parameters": {"commands": ["true", "#" * 65_531]}}, "MaxDocumentSizeExceeded"),
    ],
)
def test_refuses_documents_and_parameters_that_do_not_fit(lab, ssm, change, code):  # aws.md 1.1, 1.5
    found, _ = refusal(ssm.send_command, InstanceIds=lab.ids("web-01"), **{**SCRIPT, **change})
    assert found == code


def test_takes_a_script_of_64_kb(lab):  # aws.md 1.1
    assert lab.run_one("web-01", "true", "#" * 65_530)["Status"] == "Success"


def test_refuses_an_id_twice(lab, ssm):  # aws.md 1.1
    code, _ = refusal(ssm.send_command, InstanceIds=lab.ids("web-01", "web-01"), **SCRIPT)
    assert code == "DuplicateInstanceId"


def test_a_retry_runs_twice_since_there_is_no_idempotency_token(lab):  # aws.md 1.1
    for _ in range(2):
        lab.run(lab.ids("spare"), "echo ran >> /var/tmp/retries")
    assert lab.run_one("spare", "wc -l < /var/tmp/retries")["StandardOutputContent"] == "2\n"


def test_a_tag_matches_instances_and_hybrid_nodes_of_this_account_and_region(lab):  # aws.md 1.1, 3
    web = lab.run([], "true", Targets=[{"Key": "tag:Patch Group", "Values": ["web"]}])
    assert set(web) == set(lab.ids(*(f"web-0{number}" for number in range(1, 9))))
    db = lab.run([], "true", Targets=[{"Key": "tag:PatchGroup", "Values": ["db", "none"]}])
    assert set(db) == set(lab.ids("db-01", "db-02"))


def test_several_targets_must_all_be_met(lab):  # aws.md 1.1
    targets = [{"Key": "tag:Patch Group", "Values": ["web"]}, {"Key": "tag:Name", "Values": ["web-03", "spare"]}]
    assert set(lab.run([], "true", Targets=targets)) == set(lab.ids("web-03"))


def test_a_tag_that_matches_nothing_is_accepted(lab, ssm):  # aws.md 1.4
    sent = ssm.send_command(Targets=[{"Key": "tag:Patch Group", "Values": ["none"]}], **SCRIPT)["Command"]
    assert lab.command(sent["CommandId"])["StatusDetails"] == "NoInstancesInTag"


def test_a_document_for_another_platform_fails_each_tagged_node(lab, ssm):  # aws.md 1.5
    sent = ssm.send_command(
        DocumentName="AWS-RunPowerShellScript",
        Parameters={"commands": ["Get-Date"]},
        Targets=[{"Key": "tag:PatchGroup", "Values": ["db"]}],
    )["Command"]
    found = lab.finished(sent["CommandId"]).values()
    assert [each["StatusDetails"] for each in found] == ["InvalidPlatform"] * 2
    assert lab.command(sent["CommandId"])["Status"] == "Failed"
