"""Requests that break the service's model: each operation that the collection calls refuses them in AWS's words."""

import re
from pathlib import Path

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
#: By service and operation: a request that breaks the model, the code and a part of the message.
CASES = {
    ("ssm", "describe_instance_properties"): (
        {"MaxResults": 1001},
        "ValidationException",
        "less than or equal to 1000",
    ),
    ("ssm", "describe_instance_information"): ({"MaxResults": 51}, "ValidationException", "less than or equal to 50"),
    ("ssm", "send_command"): ({"DocumentName": "x"}, "ValidationException", "at 'documentName' failed"),
    ("ssm", "cancel_command"): ({"CommandId": "x"}, "ValidationException", "greater than or equal to 36"),
    ("ssm", "list_commands"): ({"MaxResults": 51}, "ValidationException", "at 'maxResults' failed"),
    ("ssm", "list_command_invocations"): ({"Filters": []}, "ValidationException", "greater than or equal to 1"),
    ("ssm", "get_command_invocation"): ({"InstanceId": "x"}, "ValidationException", "2 validation errors detected"),
    ("ssm", "describe_document"): ({}, "ValidationException", "Value null at 'name' failed"),
    ("ssm", "get_document"): ({"Name": "x"}, "ValidationException", "at 'name' failed"),
    ("sts", "assume_role"): (
        {"RoleArn": "arn:aws:iam::111111111111:role/x", "RoleSessionName": "a b"},
        "ValidationError",
        "at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern",
    ),
    ("resourcegroupstaggingapi", "get_resources"): (
        {"ResourceARNList": ["x" * 20] * 101},
        "InvalidParameterException",
        "at 'resourceARNList' failed to satisfy constraint: Member must have length less than or equal to 100",
    ),
    ("organizations", "list_accounts_for_parent"): (
        {"ParentId": "x"},
        "InvalidInputException",
        "at 'parentId' failed to satisfy constraint",
    ),
    ("organizations", "list_organizational_units_for_parent"): (
        {"ParentId": "r-abcd", "MaxResults": 21},
        "InvalidInputException",
        "less than or equal to 20",
    ),
    ("ec2", "describe_instances"): ({"MaxResults": 1001}, "InvalidParameterValue", "from 5 to 1000"),
}
#: Operations without a member that a caller could get wrong, or whose names moto itself checks.
FREE = {
    *("get_caller_identity", "describe_regions", "put_object", "delete_object", "head_object", "get_object"),
    "head_bucket",
}


@pytest.mark.parametrize(("service", "operation"), CASES)
def test_a_request_that_breaks_the_model_is_refused(lab, service, operation):  # aws.md 1.1
    request, code, said = CASES[service, operation]
    with pytest.raises(ClientError) as caught:
        getattr(lab.client(service), operation)(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert said in error["Message"]


@pytest.mark.parametrize(
    ("service", "operation", "request_parts", "code"),
    [
        ("ssm", "send_command", {"InstanceIds", "Targets"}, "ValidationException"),
        ("ssm", "send_command", set(), "ValidationException"),
        ("ec2", "describe_instances", {"InstanceIds", "MaxResults"}, "InvalidParameterCombination"),
    ],
)
def test_members_that_exclude_or_need_each_other(lab, service, operation, request_parts, code):  # aws.md 1.1, 3
    values = {"InstanceIds": lab.ids("web-01"), "Targets": [{"Key": "tag:a", "Values": ["b"]}], "MaxResults": 5}
    script = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}} if service == "ssm" else {}
    with pytest.raises(ClientError, match=code):
        getattr(lab.client(service), operation)(**{key: values[key] for key in request_parts}, **script)


def test_a_page_of_the_tagging_api_has_100_resources_at_most(lab):  # aws.md 3
    with pytest.raises(ClientError, match="InvalidParameterException"):
        lab.client("resourcegroupstaggingapi").get_resources(ResourcesPerPage=101)


def test_no_operation_that_the_collection_calls_is_forgotten():
    known = {
        xform_name(name)
        for service in ("ssm", "sts", "s3", "ec2", "organizations", "resourcegroupstaggingapi")
        for name in boto3.client(service, region_name="eu-west-1").meta.service_model.operation_names
    }
    text = "".join(path.read_text() for path in (ROOT / "plugins/module_utils/_aws").glob("*.py"))
    called = known & set(re.findall(r"""(?:\.|["'])([a-z_]+)(?:\(|["'])""", text))
    assert called
    assert called - FREE - {operation for _, operation in CASES} == set()
