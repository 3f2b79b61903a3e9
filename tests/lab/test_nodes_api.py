"""Finding nodes and their tags: Systems Manager, the Tagging API and EC2."""

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

#: Nodes of the scenario in the first account and region.
ALL = 14


def code(caught):
    return caught.value.response["Error"]["Code"]


def every(ssm, **request):
    pages = ssm.get_paginator("describe_instance_information").paginate(**request)
    return [each for page in pages for each in page["InstanceInformationList"]]


def test_ten_nodes_a_page_unless_told(ssm):  # aws.md 3
    page = ssm.describe_instance_information()
    assert len(page["InstanceInformationList"]) == 10
    assert len(ssm.describe_instance_information(NextToken=page["NextToken"])["InstanceInformationList"]) == ALL - 10
    assert len(ssm.describe_instance_information(MaxResults=50)["InstanceInformationList"]) == ALL


@pytest.mark.parametrize(
    ("operation", "size"),
    [
        ("describe_instance_information", 4),
        ("describe_instance_information", 51),
        ("describe_instance_properties", 4),
        ("describe_instance_properties", 1001),
    ],
)
def test_page_sizes_have_bounds(ssm, operation, size):  # aws.md 3
    with pytest.raises(ClientError) as caught:
        getattr(ssm, operation)(MaxResults=size)
    assert code(caught) == "ValidationException"


def test_what_is_said_of_a_node(lab, ssm):  # aws.md 3
    found = {each["ComputerName"]: each for each in every(ssm)}
    web, db = found["web-01"], found["db-01"]
    assert (web["InstanceId"], web["ResourceType"]) == (lab.ids("web-01")[0], "EC2Instance")
    assert (db["ResourceType"], db["SourceType"], db["Name"]) == (
        "ManagedInstance",
        "AWS::SSM::ManagedInstance",
        "db-01",
    )
    assert len(db["InstanceId"]) == 20
    assert db["InstanceId"].startswith("mi-")
    assert (web["PlatformType"], web["PingStatus"]) == ("Linux", "Online")
    assert "Tags" not in web
    assert "TagList" not in web


def test_a_dead_agent_is_listed_with_an_old_ping_and_not_connected(lab, ssm):  # aws.md 3
    lost = every(ssm, Filters=[{"Key": "PingStatus", "Values": ["ConnectionLost"]}])
    assert sorted(each["ComputerName"] for each in lost) == ["dead-01", "dead-02"]
    assert all((datetime.now(UTC) - each["LastPingDateTime"]).total_seconds() > 600 for each in lost)
    states = {name: ssm.get_connection_status(Target=lab.ids(name)[0])["Status"] for name in ("dead-01", "web-01")}
    assert states == {"dead-01": "notconnected", "web-01": "connected"}


def test_filters_select(lab, ssm):  # aws.md 3
    def names(*filters):
        found = every(ssm, Filters=[{"Key": key, "Values": values} for key, values in filters])
        return sorted(each["ComputerName"] for each in found)

    assert names(("ResourceType", ["ManagedInstance"])) == ["db-01", "db-02", "plain"]
    assert names(("tag:Patch Group", ["spare", "dead"])) == ["dead-01", "dead-02", "spare"]
    assert names(("tag-key", ["PatchGroup"])) == ["db-01", "db-02"]
    assert names(("InstanceIds", lab.ids("web-02", "plain"))) == ["plain", "web-02"]


@pytest.mark.parametrize(
    ("request_part", "expected"),
    [
        (
            {"Filters": [{"Key": "tag:a", "Values": ["b"]}, {"Key": "PingStatus", "Values": ["Online"]}]},
            "InvalidFilterKey",
        ),
        ({"Filters": [{"Key": "Colour", "Values": ["red"]}]}, "InvalidFilterKey"),
        ({"Filters": [{"Key": "InstanceIds", "Values": ["i-0123456789abcdef0"]}]}, "InvalidInstanceId"),
        (
            {
                "Filters": [{"Key": "PingStatus", "Values": ["Online"]}],
                "InstanceInformationFilterList": [{"key": "PingStatus", "valueSet": ["Online"]}],
            },
            "ValidationException",
        ),
    ],
)
def test_filters_that_aws_refuses(ssm, request_part, expected):  # aws.md 3
    with pytest.raises(ClientError) as caught:
        ssm.describe_instance_information(**request_part)
    assert code(caught) == expected


def test_properties_come_in_one_page_with_what_ec2_knows(lab, ssm):  # aws.md 3
    found = {
        each["ComputerName"]: each for each in ssm.describe_instance_properties(MaxResults=1000)["InstanceProperties"]
    }
    assert len(found) == ALL
    assert (found["web-01"]["InstanceState"], found["web-01"]["InstanceType"]) == ("running", "t3.small")
    assert "InstanceState" not in found["db-01"]
    only = ssm.describe_instance_properties(
        FiltersWithOperator=[{"Key": "ResourceType", "Values": ["EC2Instance"], "Operator": "NotEqual"}]
    )
    assert sorted(each["ComputerName"] for each in only["InstanceProperties"]) == ["db-01", "db-02", "plain"]


def test_stopped_and_terminated_instances(lab):  # aws.md 1.5, 3
    ssm, ec2 = lab.client("ssm", "us-east-1"), lab.client("ec2", "us-east-1")
    on, off, gone = lab.ids("far", "halted", "gone")
    ec2.stop_instances(InstanceIds=[off])
    ec2.terminate_instances(InstanceIds=[gone])
    assert [each["InstanceId"] for each in every(ssm)] == [on]
    shown = ssm.describe_instance_properties()["InstanceProperties"]
    assert {each["InstanceId"]: each["InstanceState"] for each in shown} == {on: "running", off: "stopped"}
    script = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}
    with pytest.raises(ClientError, match=rf"Instances \[\[{gone}\]\] not in a valid state"):
        ssm.send_command(InstanceIds=[on, off, gone], **script)
    assert ssm.send_command(InstanceIds=[on, off], **script)
    assert ssm.get_connection_status(Target=off)["Status"] == "notconnected"


def test_tags_of_hybrid_nodes(lab, ssm):  # aws.md 3
    (db,) = lab.ids("db-01")
    ssm.add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=db, Tags=[{"Key": "k", "Value": "v"}])
    listed = ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=db)["TagList"]
    assert {each["Key"]: each["Value"] for each in listed} == {"Name": "db-01", "PatchGroup": "db", "k": "v"}
    ssm.remove_tags_from_resource(ResourceType="ManagedInstance", ResourceId=db, TagKeys=["k"])
    listed = ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=db)["TagList"]
    assert "k" not in {each["Key"] for each in listed}


def test_a_node_has_50_tags_at_most(lab, ssm):  # aws.md 3
    tags = [{"Key": f"k{number}", "Value": "v"} for number in range(50)]
    where = {"ResourceType": "ManagedInstance", "ResourceId": lab.ids("db-01")[0]}
    with pytest.raises(ClientError) as caught:
        ssm.add_tags_to_resource(**where, Tags=tags)
    assert code(caught) == "TooManyTagsError"
    assert len(ssm.list_tags_for_resource(**where)["TagList"]) == 2


def test_an_instance_is_no_managed_instance_to_the_tag_calls(lab, ssm):  # aws.md 3
    with pytest.raises(ClientError) as caught:
        ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=lab.ids("web-01")[0])
    assert code(caught) == "InvalidResourceId"


def test_the_tagging_api_returns_tagged_and_once_tagged_nodes(lab, ssm):  # aws.md 3
    tagging = lab.client("resourcegroupstaggingapi")
    request = {"ResourceTypeFilters": ["ssm:managed-instance"], "ResourcesPerPage": 100}

    def found(**more):
        listed = tagging.get_resources(**request, **more)["ResourceTagMappingList"]
        return {each["ResourceARN"].rpartition("/")[2]: each for each in listed}

    db, plain = lab.ids("db-01")[0], lab.ids("plain")[0]
    assert found()[db]["ResourceARN"] == f"arn:aws:ssm:eu-west-1:111111111111:managed-instance/{db}"
    assert set(found(TagFilters=[{"Key": "PatchGroup", "Values": ["db"]}])) == set(lab.ids("db-01", "db-02"))
    ssm.remove_tags_from_resource(ResourceType="ManagedInstance", ResourceId=plain, TagKeys=["Name"])
    assert found()[plain]["Tags"] == []


def test_instances_have_their_tags_in_ec2(lab):  # aws.md 3
    pages = (
        lab.client("ec2")
        .get_paginator("describe_instances")
        .paginate(Filters=[{"Name": "tag:Patch Group", "Values": ["web"]}], PaginationConfig={"PageSize": 5})
    )
    found = [each for page in pages for group in page["Reservations"] for each in group["Instances"]]
    assert {each["InstanceId"] for each in found} == set(lab.ids(*(f"web-0{number}" for number in range(1, 9))))
    tags = {each["Key"]: each["Value"] for each in found[0]["Tags"]}
    assert tags["PatchWave"] == "1"
    assert tags["Name"].startswith("web-0")
