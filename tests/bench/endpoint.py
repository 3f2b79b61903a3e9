"""An AWS endpoint of canned pages, so that a benchmark of an inventory measures the inventory.

It answers the read calls of inventories with pages as AWS makes them (EC2 1,000 a page at most, Systems Manager 1,000
or 50, tags 100), each after a fixed delay, and counts them. `python endpoint.py INSTANCES SERVERS` prints its URL.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs

REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2")
ACCOUNT = "123456789012"
#: Seconds before any answer, about what a region on the same continent takes.
DELAY = 0.150
INSTANCE = """<item><instanceId>{id}</instanceId><imageId>ami-0abcdef1234567890</imageId><instanceState><code>16</code>
<name>running</name></instanceState><privateDnsName>ip-10-{a}-{b}-{c}.{region}.compute.internal</privateDnsName><dnsName/>
<reason/><keyName>fleet</keyName><amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>m7i.large</instanceType>
<launchTime>2026-03-01T09:00:00.000Z</launchTime><placement><availabilityZone>{region}a</availabilityZone><groupName/>
<tenancy>default</tenancy></placement><monitoring><state>disabled</state></monitoring><subnetId>subnet-0123456789abcdef0
</subnetId><vpcId>vpc-0123456789abcdef0</vpcId><privateIpAddress>10.{a}.{b}.{c}</privateIpAddress>
<sourceDestCheck>true</sourceDestCheck><groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>default</groupName>
</item></groupSet><architecture>x86_64</architecture><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda
</rootDeviceName><blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-0123456789abcdef0</volumeId>
<status>attached</status><attachTime>2026-03-01T09:00:01.000Z</attachTime><deleteOnTermination>true</deleteOnTermination>
</ebs></item></blockDeviceMapping><virtualizationType>hvm</virtualizationType><clientToken>x</clientToken><tagSet>
<item><key>Name</key><value>node-{n}</value></item><item><key>PatchGroup</key><value>{group}</value></item>
<item><key>PatchWave</key><value>{wave}</value></item><item><key>Environment</key><value>production</value></item>
<item><key>Owner</key><value>platform</value></item><item><key>CostCenter</key><value>4711</value></item></tagSet>
<hypervisor>xen</hypervisor><networkInterfaceSet><item><networkInterfaceId>eni-0123456789abcdef0</networkInterfaceId>
<subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId><description/><ownerId>{account}</ownerId>
<status>in-use</status><macAddress>06:00:00:00:00:01</macAddress><privateIpAddress>10.{a}.{b}.{c}</privateIpAddress>
<sourceDestCheck>true</sourceDestCheck><groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>default</groupName>
</item></groupSet><attachment><attachmentId>eni-attach-0123456789abcdef0</attachmentId><deviceIndex>0</deviceIndex>
<status>attached</status><attachTime>2026-03-01T09:00:00.000Z</attachTime><deleteOnTermination>true</deleteOnTermination>
<networkCardIndex>0</networkCardIndex></attachment><privateIpAddressesSet><item><privateIpAddress>10.{a}.{b}.{c}
</privateIpAddress><primary>true</primary></item></privateIpAddressesSet><ipv6AddressesSet/>
<interfaceType>interface</interfaceType></item></networkInterfaceSet><ebsOptimized>true</ebsOptimized><enaSupport>true
</enaSupport><cpuOptions><coreCount>1</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions>
<capacityReservationSpecification><capacityReservationPreference>open</capacityReservationPreference>
</capacityReservationSpecification><hibernationOptions><configured>false</configured></hibernationOptions>
<metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit>
<httpEndpoint>enabled</httpEndpoint></metadataOptions><enclaveOptions><enabled>false</enabled></enclaveOptions>
<platformDetails>Linux/UNIX</platformDetails><usageOperation>RunInstances</usageOperation></item>"""


def make_node(region: str, number: int, prefix: str) -> dict[str, Any]:
    """Return what a node is called and tagged."""
    digest = hashlib.sha256(f"{region}{number}{prefix}".encode()).hexdigest()
    tags = {"Name": f"node-{number}", "PatchGroup": f"group-{number % 8}", "PatchWave": str(number % 3 + 1)}
    return {"id": f"{prefix}-{digest[:17]}", "n": number, "tags": tags}


class Fleet:
    """Pages of one region, made once."""

    def __init__(self, region: str, instances: int, servers: int) -> None:
        ec2 = [make_node(region, number, "i") for number in range(instances)]
        hybrid = [make_node(region, number, "mi") for number in range(servers)]
        self.ec2 = [self._instance(region, node) for node in ec2]
        self.agents = [self._agent(region, node) for node in ec2 + hybrid]
        self.tags = [
            {
                "ResourceARN": f"arn:aws:ssm:{region}:{ACCOUNT}:managed-instance/{node['id']}",
                "Tags": [{"Key": key, "Value": value} for key, value in node["tags"].items()],
            }
            for node in hybrid
        ]

    @staticmethod
    def _instance(region: str, node: dict[str, Any]) -> str:
        number, tags = node["n"], node["tags"]
        place = {"a": number >> 16 & 255, "b": number >> 8 & 255, "c": number & 255}
        names = {"group": tags["PatchGroup"], "wave": tags["PatchWave"], "account": ACCOUNT}
        item = INSTANCE.format(id=node["id"], n=number, region=region, **place, **names).replace("\n", "")
        head = f"<item><reservationId>r-{node['id'][2:]}</reservationId><ownerId>{ACCOUNT}</ownerId><groupSet/>"
        return f"{head}<instancesSet>{item}</instancesSet></item>"

    @staticmethod
    def _agent(region: str, node: dict[str, Any]) -> dict[str, Any]:
        return {
            "InstanceId": node["id"],
            "PingStatus": "Online" if node["n"] % 50 else "ConnectionLost",
            "LastPingDateTime": 1780000000.0,
            "AgentVersion": "3.3.1611.0",
            "PlatformType": "Linux",
            "PlatformName": "Amazon Linux",
            "PlatformVersion": "2023",
            "ResourceType": "ManagedInstance" if node["id"].startswith("mi-") else "EC2Instance",
            "IPAddress": f"172.{16 + REGIONS.index(region)}.{node['n'] >> 8 & 255}.{node['n'] & 255}",
            "ComputerName": f"node-{node['n']}",
        }


class Handler(BaseHTTPRequestHandler):
    """The calls."""

    protocol_version = "HTTP/1.1"
    fleets: ClassVar[dict[str, Fleet]]
    calls: ClassVar[Counter[str]] = Counter()
    lock = threading.Lock()

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Return the counts of the calls so far, and forget them."""
        with self.lock:
            counts = dict(self.calls)
            self.calls.clear()
        self._answer("application/json", json.dumps(counts))

    def do_POST(self) -> None:
        """Answer a call after the delay."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        region = self.headers["Authorization"].split("/")[2]
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        form = {key: values[0] for key, values in parse_qs(body).items()} if not target else {}
        operation = target or form["Action"]
        with self.lock:
            self.calls[operation] += 1
        time.sleep(DELAY)
        if target:
            self._answer("application/x-amz-json-1.1", self._json(operation, self.fleets[region], json.loads(body)))
        else:
            self._answer("text/xml", self._xml(operation, region, form))

    def _answer(self, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _xml(self, operation: str, region: str, form: dict[str, str]) -> str:
        if operation == "GetCallerIdentity":
            inner = f"<Account>{ACCOUNT}</Account><Arn>arn:aws:iam::{ACCOUNT}:user/bench</Arn><UserId>x</UserId>"
            name = "GetCallerIdentityResult"
            return f"<GetCallerIdentityResponse><{name}>{inner}</{name}></GetCallerIdentityResponse>"
        if operation == "DescribeRegions":
            names = "".join(f"<item><regionName>{name}</regionName></item>" for name in REGIONS)
            return f"<DescribeRegionsResponse><regionInfo>{names}</regionInfo></DescribeRegionsResponse>"
        start, size = int(form.get("NextToken", 0)), min(1000, int(form.get("MaxResults", 1000)))
        items = self.fleets[region].ec2
        token = f"<nextToken>{start + size}</nextToken>" if start + size < len(items) else ""
        page = "".join(items[start : start + size])
        return f"<DescribeInstancesResponse><reservationSet>{page}</reservationSet>{token}</DescribeInstancesResponse>"

    def _json(self, operation: str, fleet: Fleet, request: dict[str, Any]) -> str:
        key, items, size, token = {
            "DescribeInstanceProperties": ("InstanceProperties", fleet.agents, 1000, "NextToken"),
            "DescribeInstanceInformation": ("InstanceInformationList", fleet.agents, 50, "NextToken"),
            "GetResources": ("ResourceTagMappingList", fleet.tags, 100, "PaginationToken"),
        }[operation]
        start = int(request.get(token) or 0)
        size = min(size, request.get("MaxResults") or request.get("ResourcesPerPage") or 10)
        more = {token: str(start + size)} if start + size < len(items) else {}
        return json.dumps({key: items[start : start + size], **more})


def main() -> None:
    """Serve until killed."""
    Handler.fleets = {
        region: Fleet(region, *(int(count) // len(REGIONS) for count in sys.argv[1:3])) for region in REGIONS
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
