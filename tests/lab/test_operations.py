"""Activations, ListNodes, GetInventory, resource groups, and what SNS and EventBridge are told."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

SCENARIO = """
accounts: ["111111111111"]
regions: [eu-west-1]
settings: {consistency_seconds: 0, acknowledge_seconds: 0.01}
nodes:
  - {name: app, count: 3, virtual: {delivery: 0, run: 0, reply: 0}, tags: {Group: app}}
  - {name: hybrid, count: 2, type: hybrid, virtual: true, tags: {Group: app}}
  - {name: bad, virtual: {delivery: 0, run: 0, reply: 0, answers: [{exit_code: 1}]}}
  - {name: slow, virtual: {delivery: 0, run: 100, reply: 0}}
  - {name: dead, virtual: true, agent: "off"}
"""
SCRIPT = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}


@pytest.fixture(scope="module")
def served(new_lab, tmp_path_factory):
    file = tmp_path_factory.mktemp("scenario") / "operations.yml"
    file.write_text(SCENARIO)
    lab = new_lab()
    lab.must("up", "--scenario", str(file))
    return lab


def refused(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"]


def test_an_activation_lives_for_a_day_and_30_at_most(served):  # aws.md 3
    ssm = served.client("ssm")
    made = ssm.create_activation(IamRole="role", DefaultInstanceName="new", Tags=[{"Key": "a", "Value": "b"}])
    (found,) = ssm.describe_activations(
        Filters=[{"FilterKey": "ActivationIds", "FilterValues": [made["ActivationId"]]}]
    )["ActivationList"]
    assert (found["Expired"], found["RegistrationLimit"], found["RegistrationsCount"]) == (False, 1, 0)
    now = datetime.fromtimestamp(served.tell("advance")["now"], UTC)
    assert timedelta(hours=23) < found["ExpirationDate"] - now <= timedelta(hours=24)
    assert "ActivationCode" not in found
    assert len(made["ActivationCode"]) == 20
    late = now + timedelta(days=31)
    assert refused(ssm.create_activation, IamRole="role", ExpirationDate=late) == "ValidationException"
    assert refused(ssm.create_activation, IamRole="role", RegistrationLimit=1001) == "ValidationException"
    ssm.delete_activation(ActivationId=made["ActivationId"])
    assert ssm.describe_activations()["ActivationList"] == []
    assert refused(ssm.delete_activation, ActivationId=made["ActivationId"]) == "InvalidActivation"
    assert refused(ssm.describe_activations, Filters=[{"FilterValues": ["x"]}]) == "InvalidFilter"


def register(served, made, name="srv-01"):
    return served.tell("register", id=made["ActivationId"], code=made["ActivationCode"], name=name)


def test_a_server_registers_with_an_activation_and_has_its_tags(served):  # aws.md 3
    ssm = served.client("ssm")
    tags = [{"Key": "PatchGroup", "Value": "db"}]
    made = ssm.create_activation(IamRole="role", DefaultInstanceName="db", RegistrationLimit=2, Tags=tags)
    node_id = served.must("register", made["ActivationId"], made["ActivationCode"], "srv-1").strip()
    other = register(served, made)["node_id"]
    assert "has reached its limit of 2 registrations" in register(served, made)["error"]
    (found,) = ssm.describe_instance_information(
        Filters=[
            {"Key": "ActivationIds", "Values": [made["ActivationId"]]},
            {"Key": "InstanceIds", "Values": [node_id]},
        ]
    )["InstanceInformationList"]
    assert (found["InstanceId"], found["ComputerName"], found["Name"]) == (node_id, "srv-1", "db")
    assert (found["IamRole"], found["ResourceType"]) == ("role", "ManagedInstance")
    assert ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=node_id)["TagList"] == tags
    assert set(served.run([node_id], "x")) == {node_id}
    (shown,) = ssm.describe_activations()["ActivationList"]
    assert shown["RegistrationsCount"] == 2
    ssm.delete_activation(ActivationId=made["ActivationId"])
    assert "no activation has that id and code" in register(served, made)["error"]
    for each in (node_id, other):
        ssm.deregister_managed_instance(InstanceId=each)


def test_an_activation_that_has_expired_or_another_code_registers_nothing(served):  # aws.md 3
    ssm = served.client("ssm")
    made = ssm.create_activation(IamRole="role")
    assert "no activation has that id and code" in register(served, {**made, "ActivationCode": "x" * 20})["error"]
    served.advance(86_401)
    assert f"activation {made['ActivationId']} has expired" in register(served, made)["error"]
    assert ssm.describe_activations()["ActivationList"][0]["Expired"] is True
    ssm.delete_activation(ActivationId=made["ActivationId"])


def test_list_nodes_shows_managed_and_unmanaged(served):  # aws.md 3
    ssm = served.client("ssm")
    stray = served.client("ec2").run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)["Instances"][0]
    found = {each["Id"]: each["NodeType"]["Instance"] for each in ssm.list_nodes()["Nodes"]}
    assert len(found) == 9
    assert found[stray["InstanceId"]]["ManagedStatus"] == "Unmanaged"
    managed = ssm.list_nodes(Filters=[{"Key": "ManagedStatus", "Values": ["Managed"]}], MaxResults=5)
    assert len(managed["Nodes"]) == 5
    assert managed["NextToken"]
    assert refused(ssm.list_nodes, MaxResults=51) == "ValidationException"
    assert refused(ssm.list_nodes, SyncName="AWS-QuickSetup-ManagedNode") == "ResourceDataSyncNotFoundException"


def test_inventory_filters_take_40_values_and_no_more(served):  # aws.md 3
    ssm = served.client("ssm")

    def ask(values):
        key = "AWS:InstanceInformation.InstanceId"
        return ssm.get_inventory(Filters=[{"Key": key, "Values": values, "Type": "Equal"}])["Entities"]

    ids = served.ids("app-01", "hybrid-01")
    assert {each["Id"] for each in ask([*ids, *(f"i-{number:017d}" for number in range(38))])} == set(ids)
    with pytest.raises(ClientError, match="Member must have length less than or equal to 40"):
        ask([f"i-{number:017d}" for number in range(41)])
    (dead,) = ask(served.ids("dead"))
    content = dead["Data"]["AWS:InstanceInformation"]["Content"][0]
    assert (content["ComputerName"], content["InstanceStatus"]) == ("dead", "ConnectionLost")


def test_a_resource_group_is_a_target(served):  # aws.md 1.1
    query = {"ResourceTypeFilters": ["AWS::EC2::Instance"], "TagFilters": [{"Key": "Group", "Values": ["app"]}]}
    served.client("resource-groups").create_group(
        Name="apps", ResourceQuery={"Type": "TAG_FILTERS_1_0", "Query": json.dumps(query)}
    )
    found = served.run([], "x", Targets=[{"Key": "resource-groups:Name", "Values": ["apps"]}])
    assert set(found) == set(served.ids("app-01", "app-02", "app-03"))
    targets = [{"Key": "resource-groups:Name", "Values": ["nobody"]}]
    assert refused(served.client("ssm").send_command, Targets=targets, **SCRIPT) == "InvalidTarget"


def test_a_deregistered_hybrid_node_is_gone(served):  # aws.md 3
    ssm, (gone,) = served.client("ssm"), served.ids("hybrid-02")
    ssm.deregister_managed_instance(InstanceId=gone)
    assert refused(ssm.send_command, InstanceIds=[gone], **SCRIPT) == "InvalidInstanceId"
    assert refused(ssm.deregister_managed_instance, InstanceId=gone) == "InvalidInstanceId"


@pytest.fixture(scope="module")
def queue(served):
    """A queue that both SNS and EventBridge write to."""
    sqs = served.client("sqs")
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def read():
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for each in messages:
                found.append(json.loads(each["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return found

    return arn, read


def test_sns_is_told_of_a_commands_course(served, queue):  # aws.md 1.8
    arn, read = queue
    sns = served.client("sns")
    topic = sns.create_topic(Name="commands")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def told(kind, events, names):
        config = {"NotificationArn": topic, "NotificationEvents": events, "NotificationType": kind}
        options = {"NotificationConfig": config, "ServiceRoleArn": "arn:aws:iam::111111111111:role/sns"}
        command_id = served.send(served.ids(*names), "x", **options)
        served.finished(command_id)
        found = [json.loads(each["Message"]) for each in read()]
        assert {each["commandId"] for each in found} <= {command_id}
        return found

    course = told("Command", ["All"], ["app-01", "app-02"])
    assert [each["status"] for each in course] == ["InProgress", "Success"]
    assert course[0]["instanceIds"] == served.ids("app-01", "app-02")
    (failed,) = told("Invocation", ["Failed"], ["app-01", "bad"])
    assert (failed["instanceId"], failed["statusDetails"]) == (served.ids("bad")[0], "Failed")


def test_eventbridge_is_told_of_every_status(served, queue):  # aws.md 1.8
    arn, read = queue
    events = served.client("events")
    events.put_rule(Name="ssm", EventPattern=json.dumps({"source": ["aws.ssm"]}))
    events.put_targets(Rule="ssm", Targets=[{"Id": "1", "Arn": arn}])
    command_id = served.send(served.ids("bad"), "x")
    served.finished(command_id)
    found = [(each["detail-type"], each["detail"]) for each in read()]
    events.remove_targets(Rule="ssm", Ids=["1"])
    events.delete_rule(Name="ssm")
    assert {detail["command-id"] for _, detail in found} == {command_id}
    of_command = [detail["status"] for kind, detail in found if kind == "EC2 Command Status-change Notification"]
    assert of_command == ["InProgress", "Failed"]
    of_node = [
        (detail["instance-id"], detail["status"])
        for kind, detail in found
        if kind == "EC2 Command Invocation Status-change Notification"
    ]
    assert of_node == [(served.ids("bad")[0], word) for word in ("InProgress", "Failed")]


def test_output_goes_to_cloudwatch_logs_by_the_agents_names(served):  # aws.md 1.8
    logs, (node_id,) = served.client("logs"), served.ids("bad")

    def messages(group, stream):
        return [each["message"] for each in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]]

    config = {"CloudWatchOutputEnabled": True}
    command_id = served.send([node_id], "x", CloudWatchOutputConfig=config)
    served.finished(command_id)
    stream = f"{command_id}/{node_id}/aws-runShellScript"
    assert messages("/aws/ssm/AWS-RunShellScript", f"{stream}/stdout")[0].startswith("PATCHWAVE1 {")
    shown = served.client("ssm").get_command_invocation(CommandId=command_id, InstanceId=node_id)
    assert shown["CloudWatchOutputConfig"] == {
        "CloudWatchLogGroupName": "/aws/ssm/AWS-RunShellScript",
        "CloudWatchOutputEnabled": True,
    }
    command_id = served.send([node_id], "x", CloudWatchOutputConfig={**config, "CloudWatchLogGroupName": "own"})
    served.finished(command_id)
    assert messages("own", f"{command_id}/{node_id}/aws-runShellScript/stdout")
    assert logs.describe_log_streams(logGroupName="own")["logStreams"][0]["logStreamName"].endswith("/stdout")
    long = {"CloudWatchOutputConfig": {"CloudWatchLogGroupName": "a" * 513}}
    assert refused(served.client("ssm").send_command, InstanceIds=[node_id], **long, **SCRIPT) == "ValidationException"


def alarm(served, state):
    served.client("cloudwatch").put_metric_alarm(
        AlarmName="errors",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="Errors",
        Namespace="App",
        Period=60,
        Statistic="Sum",
        Threshold=1,
    )
    served.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue=state, StateReason="test")


def test_an_alarm_keeps_what_waits_from_being_sent(served):  # aws.md 1.8
    ids, watched = served.ids("slow", "app-01", "app-02"), {"Alarms": [{"Name": "errors"}]}
    alarm(served, "OK")
    command_id = served.send(ids, "x", AlarmConfiguration=watched, MaxConcurrency="1")
    served.eventually(lambda: served.command(command_id)["Status"] == "InProgress")
    alarm(served, "ALARM")
    served.advance(200)
    found = served.finished(command_id)
    assert [found[each]["StatusDetails"] for each in ids] == ["Success", "Cancelled", "Cancelled"]
    command = served.command(command_id)
    assert command["AlarmConfiguration"]["Alarms"] == watched["Alarms"]
    assert command["TriggeredAlarms"] == [{"Name": "errors", "State": "ALARM"}]


@pytest.mark.parametrize(("ignored", "details"), [(False, "Cancelled"), (True, "Success")])
def test_an_alarm_that_cannot_be_read_stops_too_unless_that_is_ignored(served, ignored, details):  # aws.md 1.8
    config = {"Alarms": [{"Name": "nobody"}], "IgnorePollAlarmFailure": ignored}
    (found,) = served.run(served.ids("app-01"), "x", AlarmConfiguration=config).values()
    assert found["StatusDetails"] == details
