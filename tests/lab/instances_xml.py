"""Prints DescribeInstances as the lab writes it, and as moto does; run as a program, for it changes moto."""

import json
import sys
from pathlib import Path

from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import EnvironBuilder

from patchwave_lab import ec2, scenario, sts
from patchwave_lab.ec2_responses import LabEC2Response
from patchwave_lab.ssm.responses import install
from patchwave_lab.world import World

SCENARIO = """
accounts: ["111111111111"]
regions: [eu-west-1]
nodes:
  - {name: many, count: 5, virtual: true, tags: {Text: "<&>\\"' {x}"}}
  - {name: arm, count: 2, virtual: true, architecture: arm64}
  - {name: win, count: 2, virtual: true, platform: Windows}
"""
CREDENTIAL = "AWS4-HMAC-SHA256 Credential=AKIAAAAAAAAAAAAAAAAA/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=x"
FORM = "application/x-www-form-urlencoded; charset=utf-8"


def ask(application, query):
    headers = {"Authorization": CREDENTIAL, "Content-Type": FORM, "X-Moto-Account-Id": "111111111111"}
    body = f"Action=DescribeInstances&Version=2016-11-15&{query}"
    request = EnvironBuilder(method="POST", base_url="http://127.0.0.1:1/", data=body, headers=headers)
    return b"".join(application(request.get_environ(), lambda *_: None)).decode()


def main():
    world = World(scenario.parse("x", SCENARIO), Path(sys.argv[1]), "AKIAAAAAAAAAAAAAAAAA", "x")
    ec2.install(world)
    sts.install(world)
    install(world)
    world.build()
    backend = ec2_backends["111111111111"]["eu-west-1"]
    ids = [node.node_id for node in world.all_nodes()]
    backend.stop_instances([ids[1]])
    backend.modify_instance_attribute(ids[2], "disable_api_termination", True)
    backend.modify_instance_attribute(ids[2], "instance_type", "m5.large")
    plain = sum(backend.plain_texts(each) is not None for each in backend.describe_instances())
    application = DomainDispatcherApplication(create_backend_app)
    queries = ("MaxResults=1000", "MaxResults=5", f"InstanceId.1={ids[3]}", "Filter.1.Name=tag:Name&Filter.1.Value.1=x")
    fast = [ask(application, query) for query in queries]
    LabEC2Response.serialized = EC2Response.serialized
    print(json.dumps({"plain": plain, "lab": fast, "moto": [ask(application, query) for query in queries]}))


main()
