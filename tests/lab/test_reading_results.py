"""ListCommands, ListCommandInvocations and GetCommandInvocation as readers."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError


def code(caught):
    return caught.value.response["Error"]["Code"]


def test_results_are_not_there_right_after_sending(patient):  # aws.md 2
    ids, ssm = patient.ids("slow"), patient.client("ssm")
    command_id = patient.send(ids, "true")
    assert ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"] == []
    with pytest.raises(ClientError) as caught:
        ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])
    assert code(caught) == "InvocationDoesNotExist"
    patient.advance(16)
    assert len(ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"]) == 1
    assert ssm.get_command_invocation(CommandId=command_id, InstanceId=ids[0])


def test_invocations_come_in_pages(lab, ssm):  # aws.md 2
    command_id = lab.send(lab.ids(*(f"web-0{number}" for number in range(1, 8))), "true")
    lab.finished(command_id)
    seen, token = [], {}
    for size in (3, 3, 1):
        page = ssm.list_command_invocations(CommandId=command_id, MaxResults=3, **token)
        assert len(page["CommandInvocations"]) == size
        seen += [each["InstanceId"] for each in page["CommandInvocations"]]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert not token
    assert len(set(seen)) == 7


def test_details_only_on_request(lab, ssm):  # aws.md 2
    command_id = lab.send(lab.ids("web-01"), "true")
    (found,) = lab.finished(command_id).values()
    assert found["CommandPlugins"][0]["Name"] == "aws:runShellScript"
    assert found["InstanceName"] == "web-01"
    (bare,) = ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"]
    assert bare["CommandPlugins"] == []


def test_filters_by_status_node_and_time(lab, ssm):  # aws.md 2
    began = datetime.now(UTC) - timedelta(seconds=1)
    command_id = lab.send(lab.ids("web-01", "web-02"), "test $(hostname) = web-01", MaxErrors="2", Comment="run 4711")
    lab.finished(command_id)
    listed = ssm.list_command_invocations(CommandId=command_id, Filters=[{"key": "Status", "value": "Failed"}])
    assert [each["InstanceId"] for each in listed["CommandInvocations"]] == lab.ids("web-02")
    listed = ssm.list_command_invocations(CommandId=command_id, InstanceId=lab.ids("web-01")[0])
    assert [each["Status"] for each in listed["CommandInvocations"]] == ["Success"]
    after = [{"key": "InvokedAfter", "value": began.strftime("%Y-%m-%dT%H:%M:%SZ")}]
    found = {each["CommandId"]: each for each in ssm.list_commands(Filters=after)["Commands"]}
    assert found[command_id]["Comment"] == "run 4711"
    before = [{"key": "InvokedBefore", "value": began.strftime("%Y-%m-%dT%H:%M:%SZ")}]
    assert command_id not in {each["CommandId"] for each in ssm.list_commands(Filters=before)["Commands"]}
    done = [*after, {"key": "ExecutionStage", "value": "Executing"}]
    assert command_id not in {each["CommandId"] for each in ssm.list_commands(Filters=done)["Commands"]}


@pytest.mark.parametrize(
    ("operation", "request_part"),
    [
        ("list_commands", {"InstanceId": "i-0123456789abcdef0", "Filters": [{"key": "Status", "value": "Pending"}]}),
        ("list_command_invocations", {"Filters": [{"key": "ExecutionStage", "value": "Executing"}]}),
    ],
)
def test_filters_that_do_not_go_with_the_rest_of_the_request(ssm, operation, request_part):  # aws.md 2
    with pytest.raises(ClientError) as caught:
        getattr(ssm, operation)(**request_part)
    assert code(caught) == "InvalidFilterKey"


def test_commands_come_newest_first_in_pages(lab, ssm):  # aws.md 2
    sent = [lab.send(lab.ids("spare"), "true") for _ in range(3)]
    page = ssm.list_commands(InstanceId=lab.ids("spare")[0], MaxResults=2)
    assert [each["CommandId"] for each in page["Commands"]] == [sent[2], sent[1]]
    page = ssm.list_commands(InstanceId=lab.ids("spare")[0], MaxResults=2, NextToken=page["NextToken"])
    assert page["Commands"][0]["CommandId"] == sent[0]


def test_at_most_50_a_page(ssm):  # aws.md 2
    with pytest.raises(ClientError) as caught:
        ssm.list_command_invocations(MaxResults=51)
    assert code(caught) == "ValidationException"
    with pytest.raises(ClientError) as caught:
        ssm.list_commands(NextToken="nonsense")
    assert code(caught) == "InvalidNextToken"


@pytest.mark.parametrize("operation", ["list_commands", "list_command_invocations", "cancel_command"])
def test_an_unknown_command_is_invalid(ssm, operation):  # aws.md 2
    with pytest.raises(ClientError) as caught:
        getattr(ssm, operation)(CommandId="00000000-0000-4000-8000-000000000000")
    assert code(caught) == "InvalidCommandId"


def test_a_command_is_known_in_its_own_region_only(lab):  # aws.md 2
    command_id = lab.send(lab.ids("web-01"), "true")
    with pytest.raises(ClientError) as caught:
        lab.client("ssm", region="us-east-1").list_commands(CommandId=command_id)
    assert code(caught) == "InvalidCommandId"
    lab.finished(command_id)


def test_an_operation_that_the_lab_lacks_says_so(ssm):
    with pytest.raises(ClientError, match="the lab has no such operation"):
        ssm.describe_sessions(State="Active")
