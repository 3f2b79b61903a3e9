"""Every URL and client that we make, in every partition, without an endpoint of anybody's own and without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._aws import s3 as s3_api
from ansible_collections.patchwave.aws.plugins.module_utils._service import accounts, payload
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory import read
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError

KEYS = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "x"}
#: Region by partition: its own suffix, and the host of Organizations.
PARTITIONS = {
    "eu-central-1": ("aws", "amazonaws.com", "organizations.us-east-1.amazonaws.com"),
    "us-east-1": ("aws", "amazonaws.com", "organizations.us-east-1.amazonaws.com"),
    "eu-south-2": ("aws", "amazonaws.com", "organizations.us-east-1.amazonaws.com"),
    "cn-north-1": ("aws-cn", "amazonaws.com.cn", "organizations.cn-northwest-1.amazonaws.com.cn"),
    "us-gov-west-1": ("aws-us-gov", "amazonaws.com", "organizations.us-gov-west-1.amazonaws.com"),
}


class Wire:
    """Stands for the network: keeps what is sent, and answers."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answers: Callable[[Any], tuple[int, dict[str, str], bytes]] = lambda request: (200, {}, b"")

    def send(self, session: Any, request: Any) -> AWSResponse:
        self.requests.append(request)
        status, headers, body = self.answers(request)

        class Raw:
            def stream(self, **dummy: Any) -> Any:
                yield body

        return AWSResponse(request.url, status, headers, Raw())

    @property
    def hosts(self) -> list[str]:
        return [urlsplit(request.url).netloc for request in self.requests]


@pytest.fixture(autouse=True)
def wire(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Wire:
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    wire = Wire()
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", lambda self, request: wire.send(self, request))
    return wire


def lies_in(wire: Wire, region: str, status: int = 200) -> None:
    wire.answers = lambda request: (status, {"x-amz-bucket-region": region}, b"")


def sign(region: str, bucket: str, **options: Any) -> str:
    return payload.signer(Sessions({**KEYS, "region": region, **options}))(bucket, "k", 60)


@pytest.mark.parametrize("region", PARTITIONS)
@pytest.mark.parametrize("service", ["ec2", "ssm", "sts", "resourcegroupstaggingapi", "s3"])
def test_clients_are_regional(service: str, region: str) -> None:
    name = {"resourcegroupstaggingapi": "tagging"}.get(service, service)
    client = Sessions({**KEYS, "region": region}).client(service)
    assert client.meta.endpoint_url == f"https://{name}.{region}.{PARTITIONS[region][1]}"


@pytest.mark.parametrize("region", PARTITIONS)
@pytest.mark.parametrize("status", [200, 403])
def test_a_presigned_url_is_regional_and_names_the_bucket_s_host(wire: Wire, region: str, status: int) -> None:
    lies_in(wire, region, status)  # who may not list the bucket is told as well
    url = urlsplit(sign(region, "bkt"))
    assert (url.scheme, url.netloc, url.path) == ("https", f"bkt.s3.{region}.{PARTITIONS[region][1]}", "/k")
    assert f"/{region}/s3/" in parse_qs(url.query)["X-Amz-Credential"][0]
    assert parse_qs(url.query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]


def test_a_name_that_no_certificate_knows_is_in_the_path(wire: Wire) -> None:
    lies_in(wire, "eu-south-2")
    url = urlsplit(sign("eu-south-2", "a.b"))
    assert (url.netloc, url.path) == ("s3.eu-south-2.amazonaws.com", "/a.b/k")


@pytest.mark.parametrize("status", [200, 403, 301, 400])
def test_a_bucket_in_another_region_is_found_by_one_question(wire: Wire, status: int) -> None:
    def answers(request: Any) -> tuple[int, dict[str, str], bytes]:
        own = "ap-east-1" in urlsplit(request.url).netloc
        return (200 if own else status), {"x-amz-bucket-region": "ap-east-1"}, b""

    wire.answers = answers
    sessions = Sessions({**KEYS, "region": "eu-central-1"})
    for key in "kl":
        url = urlsplit(payload.signer(sessions)("bkt", key, 60))
        assert url.netloc == "bkt.s3.ap-east-1.amazonaws.com"
        assert "/ap-east-1/s3/" in parse_qs(url.query)["X-Amz-Credential"][0]
    asked = [host for host in wire.hosts if "eu-central-1" in host]
    assert asked == ["bkt.s3.eu-central-1.amazonaws.com"]
    wire.requests.clear()
    with payload.stored(sessions, [payload.Payload("bkt", "k", b"x", False)]) as ready:
        ready()
    assert payload.delete(sessions, [("bkt", "k")]) == []
    assert wire.hosts == ["bkt.s3.ap-east-1.amazonaws.com"] * 2


def test_what_says_where_the_bucket_is_makes_the_question_needless(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    point = "arn:aws:s3:ap-east-1:123456789012:accesspoint/mine"
    assert urlsplit(sign("eu-central-1", point)).netloc == "mine-123456789012.s3-accesspoint.ap-east-1.amazonaws.com"
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        with monkeypatch.context() as patched:
            patched.setenv(variable, "http://s3.lab:5000")
            url = urlsplit(sign("eu-central-1", "bkt"))
            assert (url.netloc, url.path) == ("s3.lab:5000", "/bkt/k")
    assert urlsplit(sign("eu-central-1", "bkt", endpoint_url="http://127.0.0.1:1")).path == "/bkt/k"
    assert wire.requests == []


@pytest.mark.parametrize(
    ("variable", "config", "host"),
    [
        ("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint = true", "bkt.s3.dualstack.us-west-2.amazonaws.com"),
        ("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint = true", "bkt.s3-fips.us-west-2.amazonaws.com"),
        ("", "s3 =\n  addressing_style = path", "s3.us-west-2.amazonaws.com"),
        ("", "s3 =\n  use_dualstack_endpoint = true", "bkt.s3.dualstack.us-west-2.amazonaws.com"),
    ],
)
def test_dual_stack_fips_and_style_are_as_configured(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, variable: str, config: str, host: str
) -> None:
    lies_in(wire, "us-west-2")
    if variable:
        with monkeypatch.context() as patched:
            patched.setenv(variable, "true")
            assert urlsplit(sign("us-west-2", "bkt")).netloc == host
    (tmp_path / "config").write_text(f"[default]\n{config}\n")
    assert urlsplit(sign("us-west-2", "bkt")).netloc == host


def test_a_bucket_that_nobody_can_ask_about_is_where_the_caller_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(self: Any, request: Any) -> Any:
        raise EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", nobody)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert urlsplit(sign("eu-central-1", "bkt")).netloc == "bkt.s3.eu-central-1.amazonaws.com"


def test_a_bucket_that_is_not_there_is_one_line(wire: Wire) -> None:
    wire.answers = lambda request: (404, {}, b"")
    with pytest.raises(AwsError, match=r"^bucket 'bkt': there is no such bucket; check its name$"):
        sign("eu-central-1", "bkt")


def test_a_bucket_elsewhere_is_told_as_such(wire: Wire) -> None:
    wire.answers = lambda request: (400, {}, b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>")
    client = Sessions({**KEYS, "region": "eu-central-1"}).client("s3")
    with pytest.raises(AwsError, match="the bucket is in another region than the call was made for"):
        s3_api.delete_object(client, "bkt", "k")


def test_the_owner_of_the_bucket_is_part_of_every_call(wire: Wire) -> None:
    lies_in(wire, "eu-central-1")
    sessions, owner = Sessions({**KEYS, "region": "eu-central-1"}), "123456789012"
    url = parse_qs(urlsplit(payload.signer(sessions)("bkt", "k", 60, owner)).query)
    assert url["X-Amz-SignedHeaders"] == ["host;x-amz-expected-bucket-owner"]
    wire.requests.clear()
    wire.answers = lambda request: (404 if request.method == "HEAD" else 200, {}, b"")
    mine = payload.Payload("bkt", "k", b"x", True, owner)
    with payload.stored(sessions, [mine]) as ready:
        ready()
    payload.delete(sessions, [("bkt", "k")], payload.owners([mine]))
    sent = [(request.method, request.headers["x-amz-expected-bucket-owner"]) for request in wire.requests]
    assert [(method, value.decode()) for method, value in sent] == [(m, owner) for m in ("HEAD", "PUT", "DELETE")]


CALLER = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:{}:iam::123456789012:user/x</Arn>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)


@pytest.mark.parametrize("region", PARTITIONS)
def test_an_organization_is_of_the_caller_s_partition(wire: Wire, region: str) -> None:
    partition, dummy, host = PARTITIONS[region]

    def answers(request: Any) -> tuple[int, dict[str, str], bytes]:
        if urlsplit(request.url).netloc.startswith("sts."):
            return 200, {}, CALLER.format(partition).encode()
        units = b'{"OrganizationalUnits": []}'
        accounts = b'{"Accounts": [{"Id": "210987654321", "Status": "ACTIVE"}]}'
        return 200, {}, accounts if b"Accounts" in request.headers["X-Amz-Target"] else units

    wire.answers = answers
    sessions = Sessions({**KEYS, "region": region})
    organization = read.Organization(["ou-1"], "patchwave", None, [], "fail")
    (source,) = read._members(sessions, read.Query([], organization, [region], {}, False, False), [])
    assert source.access == Account(f"arn:{partition}:iam::210987654321:role/patchwave")
    assert set(wire.hosts) == {host, urlsplit(sessions.client("sts").meta.endpoint_url).netloc}


@pytest.mark.parametrize("region", [*PARTITIONS, None])
def test_no_question_leaves_the_partition(region: str | None) -> None:
    sessions = Sessions({**KEYS, "region": region})
    asked = accounts._any_region(sessions)
    assert len(asked) >= 2
    assert {sessions.partition(name) for name in asked} == {PARTITIONS[region][0] if region else "aws"}


@pytest.mark.parametrize("region", PARTITIONS)
def test_a_role_is_assumed_in_its_partition_alone(wire: Wire, monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    partition, suffix, dummy = PARTITIONS[region]
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    wire.answers = lambda request: (503, {}, b"")
    client = Sessions({**KEYS, "region": region}).client("ssm", Account(f"arn:{partition}:iam::210987654321:role/x"))
    with pytest.raises(Exception, match="503"):
        client.list_commands()
    hosts = set(wire.hosts)
    assert len(hosts) == 2
    known = Sessions(KEYS)
    for host in hosts:
        service, name, rest = host.split(".", 2)
        assert (service, known.partition(name), rest) == ("sts", partition, suffix)
