"""How many calls a region takes, against an endpoint with pages as AWS makes them."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import Clients, managed_nodes

ENDPOINT = Path(__file__).resolve().parents[4] / "bench" / "endpoint.py"
REGION = "eu-central-1"


def test_two_thousand_instances_and_four_hundred_servers_take_nine_calls() -> None:
    # The endpoint shares out what it is told between four regions.
    with subprocess.Popen([sys.executable, ENDPOINT, "8000", "1600"], stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            sessions = Sessions({"endpoint_url": url, "access_key": "a", "secret_key": "b", "region": REGION})
            clients = Clients(
                sessions.client("ec2"), sessions.client("ssm"), lambda: sessions.client("resourcegroupstaggingapi")
            )
            nodes, outside, strays = managed_nodes(clients, "123456789012", REGION, {}, everything=False, full=False)
            # An opener of its own: Ansible's open_url() leaves its latest one, with its proxy, to everybody.
            calls = json.loads(urllib.request.build_opener().open(url).read())
        finally:
            process.kill()
    assert (len(nodes), outside, strays) == (2400, 0, [])
    assert all(node.patch_group and node.agent["LastPingDateTime"] == "2026-05-28T20:26:40Z" for node in nodes)
    assert calls == {"DescribeInstances": 2, "DescribeInstanceProperties": 3, "GetResources": 4}
