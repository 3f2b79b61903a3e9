from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import managed_nodes as service
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import Stray, usable_address

PLACE = ("123456789012", "eu-central-1")


@pytest.mark.parametrize("text", ["10.0.0.1", "100.64.0.1", "203.0.113.5", "2600:1f14::5", "fd12:3456::1"])
def test_an_address_of_a_node(text: str) -> None:
    assert usable_address(text) == text


def test_an_address_has_one_form() -> None:
    assert usable_address("2001:DB8:0:0::1") == "2001:db8::1"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-oProxyCommand=touch /tmp/x",
            "web-01",
            "evil.example.com",
            "10.0.0.1 ",
            "10.0.0.1\n",
            "10.0.0",
            "010.0.0.1",
        ),
        *(
            "10.0.0.1/24",
            "10.0.0.1:22",
            "{{ 7 * 191 }}",
            "167772161",
            "0x0a000001",
            "[2600:1f14::5]",
            "2600:1f14::5%eth0",
        ),
        *("2600:1f14::5%-oProxyCommand=x", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1"),
        *("255.255.255.255", "240.0.0.1"),
    ],
)
def test_what_is_no_address_or_no_nodes(text: str) -> None:
    assert usable_address(text) == ""


def instance(node: str, **tags: str) -> dict[str, Any]:
    pairs = [{"Key": key.replace("__", " "), "Value": value} for key, value in tags.items()]
    return {"InstanceId": node, "PrivateIpAddress": "10.0.0.1", "State": {"Name": "running"}, "Tags": pairs}


def agent(node: str, **changes: str) -> dict[str, str]:
    return {"InstanceId": node, "PingStatus": "Online", "PlatformType": "Linux", "IPAddress": "10.0.0.2", **changes}


def read(
    monkeypatch: pytest.MonkeyPatch,
    instances: list[dict[str, Any]],
    agents: list[dict[str, str]],
    hybrid: dict[str, dict[str, str]],
    everything: bool = False,
    full: bool = False,
) -> service.Region:
    def describe(ec2: Any, filters: dict[str, list[str]], short: bool, keep: Any) -> list[dict[str, Any]]:
        assert filters == {
            "instance-state-name": ["pending", "running", "stopping", "stopped"],
            "tag:Environment": ["production"],
        }
        return [one for one in instances if keep(one)]

    monkeypatch.setattr(service.ec2_api, "describe_instances", describe)
    monkeypatch.setattr(service.ssm_api, "describe_instance_properties", lambda ssm: agents)
    monkeypatch.setattr(service.ssm_api, "managed_instance_tags", lambda tagging: hybrid)
    filters = {"tag:Environment": ["production"]}
    return service.managed_nodes(service.Clients(None, None, lambda: None), *PLACE, filters, everything, full)


def test_nodes_out_of_scope_are_counted_and_the_odd_ones_told(monkeypatch: pytest.MonkeyPatch) -> None:
    instances = [
        *(instance("i-1", PatchGroup="web"), instance("i-2", Patch__Group="web"), instance("i-3", Name="x")),
        *(instance("i-4"), instance("i-5", PatchGroups="web", Name="x"), instance("i-6", PatchGroup=" ")),
    ]
    agents = [agent(node) for node in ("i-1", "mi-1", "mi-2", "mi-3")]
    hybrid = {"mi-1": {"PatchGroup": "db"}, "mi-2": {"patch-group": "db"}, "mi-9": {"Name": "gone"}}
    found = read(monkeypatch, instances, agents, hybrid)
    assert [node.id for node in found.nodes] == ["i-1", "i-2", "mi-1"]
    assert found.out_of_scope == 6
    assert found.strays == [
        Stray("i-5", *PLACE, {"PatchGroups": "web"}),
        Stray("i-6", *PLACE, {"PatchGroup": " "}),
        Stray("mi-2", *PLACE, {"patch-group": "db"}),
    ]
    everything = read(monkeypatch, instances, agents, hybrid, everything=True)
    assert (len(everything.nodes), everything[1:]) == (9, found[1:])


def test_a_tag_without_a_value_is_there_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = instance("i-1", PatchGroup="web")
    odd["Tags"] += [{"Key": "PatchHold", "Value": None}, {"Key": "Other"}]
    tagged: dict[str, Any] = {"mi-1": {"PatchGroup": "web", "PatchHold": None}}
    first, second = read(monkeypatch, [odd], [agent("mi-1")], tagged).nodes
    assert first.tags == {"PatchGroup": "web", "PatchHold": "", "Other": ""}
    assert second.tags == {"PatchGroup": "web", "PatchHold": ""}


def test_what_an_agent_says_of_itself_is_taken_only_where_it_makes_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = [
        agent("mi-1", IPAddress="-oProxyCommand=x", PlatformType="Linux'; x"),
        agent("mi-2", IPAddress="192.168.0.1", PlatformType="MacOS"),
        agent("i-1", IPAddress="-x"),
    ]
    nodes = read(
        monkeypatch,
        [instance("i-1", PatchGroup="web")],
        agents,
        {"mi-1": {"PatchGroup": "a"}, "mi-2": {"PatchGroup": "a"}},
    ).nodes
    assert [(node.id, node.address, node.odd_address, node.platform) for node in nodes] == [
        ("i-1", "10.0.0.1", "", "linux"),  # EC2 knows better
        ("mi-1", "", "-oProxyCommand=x", ""),
        ("mi-2", "192.168.0.1", "", "macos"),
    ]


def test_a_node_is_named_by_its_tag_and_never_by_its_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    instances = [instance("i-1", PatchGroup="web", Name="web-01"), instance("i-2", PatchGroup="web")]
    agents = [agent("i-1", ComputerName="db-03"), agent("i-2", ComputerName="db-03"), agent("mi-1", ComputerName="db")]
    nodes = read(monkeypatch, instances, agents, {"mi-1": {"PatchGroup": "a"}}).nodes
    assert [(node.name, node.agent["ComputerName"]) for node in nodes] == [
        ("web-01", "db-03"),
        ("i-2", "db-03"),
        ("mi-1", "db"),
    ]


@pytest.mark.parametrize(
    ("ec2", "said", "wanted"),
    [
        *(("windows", "Windows", "windows"), ("windows", "", "windows"), ("windows", "Linux", "")),
        *(("", "Linux", "linux"), ("", "", "linux"), ("", "MacOS", "macos"), ("", "Windows", ""), ("", "x", "")),
    ],
)
def test_which_credentials_a_node_gets_is_not_its_agents_choice(
    monkeypatch: pytest.MonkeyPatch, ec2: str, said: str, wanted: str
) -> None:
    one = {**instance("i-1", PatchGroup="web"), "Platform": ec2}
    (node,) = read(monkeypatch, [one], [agent("i-1", PlatformType=said)], {}).nodes
    assert node.platform == wanted


def test_an_instances_address_is_what_ec2_says(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {**instance("i-1", PatchGroup="web"), "PrivateIpAddress": ""}
    six = {**instance("i-2", PatchGroup="web"), "PrivateIpAddress": "", "Ipv6Address": "2600:1f14::5"}
    nodes = read(monkeypatch, [bare, six], [agent("i-1"), agent("i-2")], {}).nodes
    assert [(node.address, node.odd_address) for node in nodes] == [("", ""), ("2600:1f14::5", "")]


ODD = "a\ud800b\x00\x1b[2J\x9b2J"


@pytest.mark.parametrize("full", [False, True])
def test_all_texts_may_go_to_any_file_and_terminal(monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    odd = instance("i-1", PatchGroup="web", Name=ODD, **{ODD: ODD, "PatchWave": "\udfff"})
    odd["Nested"] = [{ODD: [{"x": ODD}]}]
    said = {"ComputerName": ODD * 1000, "AgentVersion": ODD, "PlatformName": ODD, "Nested": {ODD: [ODD * 1000, 1]}}
    tags = {"mi-1": {"PatchGroup": ODD, ODD: ODD}}
    agents = [agent("i-1", **said), agent("mi-1", **said, IPAddress=ODD, PlatformType=ODD)]  # type: ignore[arg-type]
    region = read(monkeypatch, [odd, instance("i-2", PatchGroups=ODD)], agents, tags, full=full)
    written = json.dumps([node._asdict() for node in region.nodes] + region.strays, ensure_ascii=False)
    assert written.isprintable()
    assert written.encode().decode() == written
    assert len(written) < 20000
    assert all(len(node.agent["ComputerName"]) <= 200 for node in region.nodes)
    assert [bool(node.details) for node in region.nodes] == [full, full]
