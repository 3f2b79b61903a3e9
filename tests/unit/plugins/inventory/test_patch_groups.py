"""The whole plugin on Ansible's own inventory, in which some nodes have tags that somebody chose to harm others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.template import trust_as_template
from ansible_collections.patchwave.aws.plugins.inventory import patch_groups
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import ManagedNode, patch_group
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory import read

PLACE = ("123456789012", "eu-central-1")
OWN = yaml.safe_load(patch_groups.DOCUMENTATION)["options"]
#: Of Ansible's own fragments of documentation.
OTHERS = {
    **{"compose": {}, "groups": {}, "keyed_groups": [], "strict": False, "leading_separator": True, "cache": False},
    "profile": None,
}
BY_ROLE = {"key": "node_tags.Role", "prefix": "", "separator": ""}


def node(number: int, **tags: str) -> ManagedNode:
    found = {"PatchGroup": "web", **tags}
    name, group = found.get("Name", ""), patch_group(found)
    agent = {"PingStatus": "Online"}
    return ManagedNode(f"i-{number:017x}", name, *PLACE, group, found, "linux", "10.0.0.1", "running", agent, None)


def trusted(value: Any) -> Any:
    """Mark what stands in the user's file as the user's own, as Ansible does when it loads one."""
    if isinstance(value, dict):
        return {key: trusted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [trusted(inner) for inner in value]
    return trust_as_template(value) if isinstance(value, str) else value


class Plugin(patch_groups.InventoryModule):  # type: ignore[misc]
    """The plugin with options that nobody has to load."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        defaults = {name: option.get("default") for name, option in OWN.items()}
        self.chosen = {**defaults, **OTHERS, "regions": ["eu-central-1"], "use_extra_vars": False}
        self.chosen.update(trusted(options))
        self.lines: list[str] = []
        self.display = self

    def warning(self, line: str) -> None:
        """Keep a line for the screen."""
        self.lines.append(line)

    def get_option(self, option: str) -> Any:
        """Return an option."""
        return self.chosen[option]

    def get_options(self) -> dict[str, Any]:
        """Return all options."""
        return self.chosen

    @property
    def option_definitions(self) -> dict[str, Any]:
        """Return what options there are."""
        return {**OWN, "profile": {}}

    def _read_config_data(self, dummy: str) -> dict[str, Any]:
        return {}


class Estate:
    """What several sources of the plugin make of their nodes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inventory, self._monkeypatch, self.screen = InventoryData(), monkeypatch, ""

    def read(self, nodes: Iterable[ManagedNode], **options: Any) -> Estate:
        estate = read.Estate([read.Found(one, Account()) for one in nodes], [], [], [], [])
        self._monkeypatch.setattr(read, "read", lambda sessions, query: estate)
        plugin = Plugin(**options)
        try:
            plugin.parse(self.inventory, DataLoader(), str(Path("patch_groups.yml").absolute()), cache=False)
            self.inventory.reconcile_inventory()
        finally:
            self.screen += "\n".join(plugin.lines)
        return self

    @property
    def hosts(self) -> dict[str, int]:
        """Number of the node by host name."""
        return {name: int(host.vars["node_id"][2:], 16) for name, host in self.inventory.hosts.items()}

    @property
    def left_out(self) -> list[int]:
        """Numbers of the nodes that are left out, each of which the screen names and no host is of."""
        found = self.inventory.groups["all"].vars.get("left_out", [])
        assert all(f"left out: {one['why']}; mend the tag" in self.screen for one in found)
        numbers = sorted(int(one["node_id"][2:], 16) for one in found)
        assert not set(numbers) & set(self.hosts.values())
        return numbers

    def group(self, name: str) -> list[int]:
        """Return the numbers of the nodes in a group."""
        found = self.inventory.groups[name].get_hosts() if name in self.inventory.groups else ()
        return sorted(self.hosts[host.name] for host in found)


@pytest.fixture
def estate(monkeypatch: pytest.MonkeyPatch) -> Estate:
    return Estate(monkeypatch)


@pytest.mark.parametrize("name", ["db-03", "DB-03"])
def test_nobody_takes_a_name_and_its_freeze_away(estate: Estate, name: str) -> None:
    estate.read([node(1, Name="db-03"), node(2, Name=name), node(3, Name="web")], host_name="node_name")
    assert estate.hosts == {"web": 3}
    assert estate.left_out == [1, 2]
    assert estate.group("wave_1") == []


def test_nor_by_another_source(estate: Estate) -> None:
    estate.read([node(1, Name="db-03"), node(4, Name="web")], host_name="node_name")
    estate.read([node(2, Name="DB-03"), node(4, Name="web")], host_name="node_name")
    estate.read([node(3, Name="db-03")], host_name="node_name")
    assert estate.hosts == {"web": 4}
    assert estate.left_out == [1, 2, 3]


def test_a_group_of_another_nodes_tag_takes_no_name_away(estate: Estate) -> None:
    nodes = [node(1, Name="db03", Role="db", Env="prod"), node(2, Name="x", Role="db03"), node(3, Name="y", Role="db")]
    keyed = [BY_ROLE, {"key": "node_tags.Env", "prefix": "env"}]
    estate.read(nodes, host_name="node_name", keyed_groups=keyed)
    assert estate.left_out == [1, 2]  # nobody can tell whose it is
    assert estate.hosts == {"y": 3}
    assert estate.group("db") == [3]
    assert estate.group("env_prod") == estate.group("db03") == []


def test_and_no_name_takes_a_whole_group_away(estate: Estate) -> None:
    nodes = [node(1, Name="a", Role="web"), node(2, Name="b", Role="web"), node(3, Name="web", Role="db")]
    estate.read(nodes, host_name="node_name", keyed_groups=[BY_ROLE])
    assert estate.left_out == [3]
    assert (estate.group("web"), estate.hosts) == ([1, 2], {"a": 1, "b": 2})


def test_a_host_that_makes_a_group_of_its_own_name_is_left_out(estate: Estate) -> None:
    nodes = [node(1, Name="x", Role="x"), node(2, Name="y", Role="db")]
    estate.read(nodes, host_name="node_name", keyed_groups=[BY_ROLE])
    assert (estate.left_out, estate.hosts) == ([1], {"y": 2})


def test_a_group_with_the_name_of_an_earlier_sources_host(estate: Estate) -> None:
    estate.inventory.add_host("bastion")
    estate.read([node(1, Name="db03")], host_name="node_name")
    estate.read([node(2, Role="db03"), node(3, Role="bastion"), node(4, Role="bastion")], keyed_groups=[BY_ROLE])
    assert {"bastion"} == set(estate.inventory.hosts)  # which is not ours to take away
    assert not {"bastion", "db03"} & set(estate.inventory.groups)
    del estate.inventory.hosts["bastion"]
    assert estate.left_out == [1, 2, 3, 4]


@pytest.mark.parametrize("role", ["roles", "all", "web"])
def test_no_tag_makes_groups_go_round(estate: Estate, role: str) -> None:
    nodes = [node(1, Role=role, Env="prod"), node(2, Role="web", Env="prod"), node(3, Role="web", Env="prod")]
    nodes += [node(4, Role="prod", Env="web")]
    parent = "{{ node_tags.Env }}" if role == "web" else "roles"
    estate.read(nodes, keyed_groups=[{**BY_ROLE, "parent_group": parent}])
    assert estate.left_out == ([4] if role == "web" else [1])
    assert set(estate.group("web")) >= {2, 3}


def test_keyed_groups_see_what_they_always_saw(estate: Estate) -> None:
    keyed = [BY_ROLE, {"key": "group_names | select('eq', 'db') | list", "prefix": "is", "parent_group": "kinds"}]
    keyed += [{"key": "inventory_hostname", "prefix": "host"}, {"key": "site", "prefix": "at"}]
    options = {"compose": {"site": "region ~ node_tags.Role"}, "groups": {"other": "node_tags.Role == 'db'"}}
    estate.read([node(1, Name="x", Role="db")], host_name="node_name", keyed_groups=keyed, **options)
    for group in ("db", "is_db", "kinds", "host_x", "at_eu_central_1db", "other"):
        assert estate.group(group) == [1], group
    assert set(estate.inventory.groups["kinds"].child_groups) == {estate.inventory.groups["is_db"]}


@pytest.mark.parametrize(
    "options",
    [
        {"select": "starts_with(node_tags.PatchWave, '3')"},
        {"select": "contains(node_name, node_tags.PatchWave)"},
        {"host_name": "join('-', [node_tags.PatchWave, node_name])"},
        {"keyed_groups": [{"key": "node_tags.PatchWave.split(',') if 'PatchWave' in node_tags else 5"}]},
    ],
)
def test_no_tag_stops_the_estate(estate: Estate, options: dict[str, Any]) -> None:
    estate.read([node(1, Name="34", PatchWave="3"), node(2, Name="b"), node(3, Name="345", PatchWave="3")], **options)
    assert estate.left_out == [2]
    assert sorted(estate.hosts.values()) == [1, 3]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"select": "starts_with(node_tags.PatchWave, '3')"}, "select: node i-00000000000000001: In function starts_"),
        ({"host_name": "length(`1`)"}, "host_name: node i-00000000000000001: In function length"),
        ({"keyed_groups": [{"key": "5"}]}, "Invalid group name format"),
        ({"select": "a ||| b"}, "select: is not JMESPath"),
    ],
)
def test_but_what_fails_for_all_is_the_users_mistake(estate: Estate, options: dict[str, Any], line: str) -> None:
    with pytest.raises(AnsibleParserError, match=line) as caught:
        estate.read([node(1), node(2)], **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"compose": {"x": "node_tags.Role"}},
        {"groups": {"x": "node_tags.Role == 'db'"}},
        {"keyed_groups": [BY_ROLE]},
    ],
)
def test_a_strict_user_is_told_whose_tags_stop_everything(estate: Estate, options: dict[str, Any]) -> None:
    nodes = [node(1, Role="db"), node(2)]
    with pytest.raises(AnsibleParserError, match=r"Could not .*account 123456789012, region eu-central-1, node i-0+2"):
        estate.read(nodes, strict=True, **options)
    assert len(Estate.read(estate, nodes, **options).hosts) == 2


@pytest.mark.parametrize("options", [{}, {"keyed_groups": [{"key": "node_tags", "prefix": "tag"}]}])
def test_a_clash_of_equals_has_no_winner(estate: Estate, options: dict[str, Any]) -> None:
    nodes = [node(1, PatchWave="canary-1"), node(2, PatchWave="canary_1"), node(3, PatchWave="2")]
    estate.read(nodes, **options)
    assert (estate.left_out, estate.group("wave_canary_1"), estate.group("managed_nodes")) == ([1, 2], [], [3])


def test_nor_over_several_sources(estate: Estate) -> None:
    estate.read([node(1, PatchWave="canary-1"), node(3, PatchWave="2")])
    estate.read([node(2, PatchWave="canary_1")])
    assert (estate.left_out, estate.group("wave_canary_1"), estate.group("wave_2")) == ([1, 2], [], [3])


def test_expressions_see_tags_marked_as_data(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    # Before ansible-core 2.19 a variable that is not marked is a template wherever an expression names it.
    class Marked(str):
        pass

    seen: list[Any] = []

    def compose(plugin: Any, dummy: str, variables: dict[str, Any], **kwargs: Any) -> str:
        seen.append(variables["node_name"])
        return "x"

    monkeypatch.setattr(patch_groups, "_data", lambda value: Marked(value) if isinstance(value, str) else value)
    monkeypatch.setattr(Plugin, "_compose", compose)
    estate.read([node(1, Name="{{ 7 * 191 }}")], compose={"x": "node_name"}, keyed_groups=[{"key": "node_name"}])
    assert [type(value) for value in seen] == [Marked, Marked]


def test_thousands_of_nodes_that_all_clash_fill_no_variable(estate: Estate) -> None:
    nodes = [node(number, Name=f"n{number // 2}", Role=f"n{number}") for number in range(3000)]
    estate.read(nodes, host_name="node_name", keyed_groups=[BY_ROLE])
    assert estate.hosts == {}
    assert len(json.dumps(estate.inventory.groups["all"].vars)) < 20000
