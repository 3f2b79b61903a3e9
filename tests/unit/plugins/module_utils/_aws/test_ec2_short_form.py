"""The short form of DescribeInstances against botocore's own reading of the same answer."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import boto3
from ansible_collections.patchwave.aws.plugins.module_utils._aws.ec2 import describe_instances
from botocore.awsrequest import AWSResponse
from hypothesis import given, settings
from hypothesis import strategies as st

SPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
KEPT = ("InstanceId", "InstanceType", "Platform", "PrivateIpAddress", "Tags")
INSTANCE = """<item><instanceId>{id}</instanceId><instanceState><code>16</code><name>running</name></instanceState>
<instanceType>m7i.large</instanceType><placement><groupName/></placement><privateIpAddress>10.0.0.1</privateIpAddress>
<blockDeviceMapping><item><ebs><volumeId>vol-1</volumeId></ebs></item></blockDeviceMapping><groupSet><item><groupId>sg-1
</groupId></item></groupSet><tagSet>{tags}</tagSet><networkInterfaceSet><item><privateIpAddress>10.0.0.9
</privateIpAddress><groupSet><item><groupId>sg-1</groupId></item></groupSet><tagSet><item><key>Name</key>
<value>not the instance's</value></item></tagSet></item></networkInterfaceSet><metadataOptions><state>applied</state>
</metadataOptions></item>"""

XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=40)
TAGS = st.dictionaries(XML_TEXT.filter(bool), XML_TEXT, max_size=4)


def answer(fleet: list[dict[str, str]], token: str) -> bytes:
    items = ""
    for number, tags in enumerate(fleet):
        pairs = (f"<item><key>{escape(k)}</key><value>{escape(v)}</value></item>" for k, v in tags.items())
        instance = INSTANCE.format(id=f"i-{number:017x}", tags="".join(pairs))
        items += f"<item><groupSet/><instancesSet>{instance}</instancesSet></item>"
    more = f"<nextToken>{token}</nextToken>" if token else ""
    body = f"<reservationSet>{items}</reservationSet>{more}"
    return f'<DescribeInstancesResponse xmlns="{SPACE}">{body}</DescribeInstancesResponse>'.encode()


def read(pages: list[bytes], short: bool) -> list[dict[str, Any]]:
    waiting = list(pages)
    client = boto3.client(
        "ec2", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b", endpoint_url="http://x"
    )

    def send(request: Any, **dummy: Any) -> AWSResponse:
        response = AWSResponse(request.url, 200, {}, None)
        response._content = waiting.pop(0)
        return response

    client.meta.events.register("before-send.ec2.DescribeInstances", send)
    found = describe_instances(client, {}, short)
    assert not waiting
    return found


def kept(instance: dict[str, Any]) -> dict[str, Any]:
    found = {key: instance[key] for key in KEPT if key in instance}
    found["Tags"] = [{key: value or "" for key, value in tag.items()} for tag in instance["Tags"]]
    return {**found, "State": {"Name": instance["State"]["Name"]}}


@settings(max_examples=25, deadline=None)
@given(st.lists(TAGS, max_size=3), st.lists(TAGS, max_size=3))
def test_it_says_what_botocore_says(first: list[dict[str, str]], second: list[dict[str, str]]) -> None:
    pages = [answer(first, "more"), answer(second, "")]
    assert read(pages, short=True) == [kept(instance) for instance in read(pages, short=False)]


def test_a_tag_that_looks_like_a_part_of_the_answer_is_a_tag() -> None:
    tags = {"<groupSet>": "</tagSet><networkInterfaceSet>", "Name": "]]>", "x": "<placement/>"}
    (instance,) = read([answer([tags], "")], short=True)
    assert {tag["Key"]: tag["Value"] for tag in instance["Tags"]} == tags
    assert instance["PrivateIpAddress"] == "10.0.0.1"
