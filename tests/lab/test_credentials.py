"""Who may call: access keys, assumed roles, presigned URLs; and what the API log keeps."""

import time
import urllib.error
import urllib.request
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

CALLS = {
    "ssm": lambda client: client.describe_instance_information(),
    "resourcegroupstaggingapi": lambda client: client.get_resources(),
    "sts": lambda client: client.get_caller_identity(),
    "ec2": lambda client: client.describe_instances(),
    "s3": lambda client: client.list_buckets(),
    "elbv2": lambda client: client.describe_load_balancers(),
}
UNKNOWN = {
    "ssm": (400, "UnrecognizedClientException"),
    "resourcegroupstaggingapi": (400, "UnrecognizedClientException"),
    "sts": (403, "InvalidClientTokenId"),
    "ec2": (401, "AuthFailure"),
    "s3": (403, "InvalidAccessKeyId"),
    "elbv2": (403, "InvalidClientTokenId"),
}
EXPIRED = {
    "ssm": (400, "ExpiredTokenException"),
    "resourcegroupstaggingapi": (400, "ExpiredTokenException"),
    "sts": (403, "ExpiredToken"),
    "ec2": (400, "RequestExpired"),
    "s3": (400, "ExpiredToken"),
    "elbv2": (403, "ExpiredToken"),
}


def refused(lab, service, **keys):
    with pytest.raises(ClientError) as caught:
        CALLS[service](lab.client(service, **keys))
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_the_base_credentials_belong_to_the_first_account(lab):  # aws.md 8.3
    identity = lab.client("sts").get_caller_identity()
    assert identity["Account"] == "111111111111"
    assert identity["Arn"] == "arn:aws:iam::111111111111:user/patchwave-lab"


def test_an_assumed_role_works_in_its_own_account(lab):  # aws.md 8.3
    keys = lab.assumed("222222222222")
    identity = lab.client("sts", **keys).get_caller_identity()
    assert identity["Arn"] == "arn:aws:sts::222222222222:assumed-role/patching/test"
    listed = lab.client("ssm", **keys).describe_instance_information()["InstanceInformationList"]
    assert [each["ComputerName"] for each in listed] == ["foreign"]


def test_no_header_chooses_the_account(lab):  # aws.md 8.3
    client = lab.client("sts", region="us-east-1")
    client.meta.events.register(
        "before-sign", lambda request, **_: request.headers.add_header("x-moto-account-id", "333333333333")
    )
    assert client.get_caller_identity()["Account"] == "111111111111"


@pytest.mark.parametrize("service", CALLS)
def test_an_unknown_key_is_refused(lab, service):  # common errors of the API references
    keys = {"aws_access_key_id": "AKIAAAAAAAAAAAAAAAAA", "aws_secret_access_key": "x"}
    assert refused(lab, service, **keys) == UNKNOWN[service]


@pytest.mark.parametrize("service", CALLS)
def test_the_expired_pair_is_refused(lab, service):  # common errors of the API references
    keys = {"aws_access_key_id": "ASIALABEXPIRED000000", "aws_secret_access_key": "x", "aws_session_token": "x"}
    assert refused(lab, service, **keys) == EXPIRED[service]


def test_a_role_without_its_session_token_is_refused(lab):  # common errors of the API references
    keys = lab.assumed("222222222222")
    assert refused(lab, "ssm", **{**keys, "aws_session_token": "other"})[1] == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("ssm", "InvalidSignatureException"),
        ("sts", "SignatureDoesNotMatch"),
        ("ec2", "AuthFailure"),
        ("s3", "SignatureDoesNotMatch"),
    ],
)
def test_a_wrong_secret_is_refused(lab, service, code):  # common errors of the API references
    keys = {"aws_access_key_id": lab.state["access_key"], "aws_secret_access_key": "wrong"}
    assert refused(lab, service, **keys)[1] == code


@pytest.mark.parametrize("seconds", [899, 43201])
def test_a_role_session_has_bounds(lab, seconds):  # AssumeRole, API reference
    with pytest.raises(ClientError, match="at 'durationSeconds' failed to satisfy constraint"):
        lab.assumed("222222222222", DurationSeconds=seconds)


@pytest.mark.parametrize("arn", ["arn:aws:iam:role/patching-nodes", "arn:aws:iam::2222:role/patching"])
def test_a_misspelt_role_is_invalid(lab, arn):  # AssumeRole, API reference
    with pytest.raises(ClientError, match=rf"ValidationError.*{arn} is invalid"):
        lab.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")


def test_a_role_session_expires(patient):  # AssumeRole, API reference
    keys = patient.assumed("111111111111", DurationSeconds=900)
    patient.advance(890)
    assert CALLS["ssm"](patient.client("ssm", **keys))
    patient.advance(11)
    assert refused(patient, "ssm", **keys) == EXPIRED["ssm"]
    assert CALLS["ssm"](patient.client("ssm", **patient.assumed("111111111111")))


def test_a_call_without_credentials_is_refused(lab):  # common errors of the API references
    request = urllib.request.Request(
        lab.state["endpoint"], data=b"{}", headers={"X-Amz-Target": "AmazonSSM.ListCommands"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value:
        assert caught.value.code == 400


@pytest.mark.parametrize("path", ["/moto-api/reset", "/_lab/reset"])
def test_nobody_resets_without_the_labs_token(lab, path):
    request = urllib.request.Request(lab.state["endpoint"] + path, data=b"", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value:
        assert caught.value.code == 403


def presign(lab, seconds, version="s3v4", key="dir/a file+é.txt"):
    state = lab.state
    s3 = boto3.client(
        "s3",
        endpoint_url=state["endpoint"],
        region_name="eu-west-1",
        aws_access_key_id=state["access_key"],
        aws_secret_access_key=state["secret_key"],
        config=Config(signature_version=version),
    )
    lab.client("s3").put_object(Bucket="results", Key=key, Body=b"payload")
    return s3.generate_presigned_url("get_object", Params={"Bucket": "results", "Key": key}, ExpiresIn=seconds)


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_presigned_url_works_for_its_holder_until_it_expires(lab):  # Signature Version 4
    long, short = ([presign(lab, seconds, version) for version in ("s3v4", "s3")] for seconds in (60, 1))
    assert [fetch(url) for url in long] == [(200, b"payload")] * 2
    time.sleep(1.1)
    for status, body in map(fetch, short):
        assert status == 403
        assert b"<Code>AccessDenied</Code><Message>Request has expired" in body


def test_a_presigned_url_works_inside_a_node(lab):
    url = presign(lab, 60)
    script = f"python3 -c 'import sys,urllib.request as u; print(u.urlopen(sys.argv[1]).read())' '{url}'"
    assert lab.run_one("web-01", script)["StandardOutputContent"] == "b'payload'\n"


def test_an_unsigned_or_mangled_url_is_refused(lab):
    url = presign(lab, 60)
    assert fetch(url.partition("?")[0])[0] == 403
    assert fetch(url.partition("&")[0])[0] in (400, 403)
    assert fetch(url.replace("X-Amz-Signature=", "X-Amz-Signature=0"))[0] == 403
    assert fetch(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"))[0] == 403
    assert fetch(urllib.request.Request(url, data=b"other", method="PUT"))[0] == 403


def test_the_api_log_has_every_call_and_no_secrets(lab):
    url = presign(lab, 60, key="logged")
    fetch(url)
    lab.send(lab.ids("web-01"), "echo top-secret-parameter")
    refused(lab, "ec2", aws_access_key_id="AKIAAAAAAAAAAAAAAAAA", aws_secret_access_key="x")
    get, send, last = lab.api_log()[-3:]
    assert (get["service"], get["operation"], get["status"], get["account"]) == ("s3", "GetObject", 200, "111111111111")
    assert (send["service"], send["operation"], send["region"]) == ("ssm", "SendCommand", "eu-west-1")
    assert send["access_key"] == lab.state["access_key"]
    assert (last["operation"], last["status"], last["error"]) == ("DescribeInstances", 401, "AuthFailure")
    written = (lab.dir / "api.jsonl").read_text() + (lab.dir / "server.log").read_text()
    for secret in ("top-secret-parameter", "X-Amz-Signature", urlencode({"a": url})[2:60], lab.state["secret_key"]):
        assert secret not in written
