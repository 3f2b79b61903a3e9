"""Tags as people and attackers write them: they speak of their own node only, and what was meant otherwise is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from inventory_listing import plain

ACCOUNT, REGION = "123456789012", "eu-central-1"
WHERE = f"account {ACCOUNT}, region {REGION}"
NODES: dict[str, dict[str, str]] = {
    "pattern": {"Name": "!canary", "PatchWave": "1"},
    "path": {"Name": "../../x"},
    "controller": {"Name": "localhost"},
    "good": {"Name": "web-01", "PatchWave": "1"},
    "twin-1": {"Name": "twin"},
    "twin-2": {"Name": "TWIN"},
    "bidirectional": {"Name": "web\u202e10"},
    "template": {"Name": "{{ 7 * 191 }}", "Patchwave": "{{ 7 * 191 }}"},
    "empty-hold": {"PatchHold": ""},
    "no-hold": {"PatchHold": "No"},
    "misspelt-hold": {"Patchhold": "CHG-1"},
    "spaced-wave": {"PatchWave": " 1"},
    "rare": {"PatchGroup": "web a"},
    "usual-1": {"PatchGroup": "web-a"},
    "usual-2": {"PatchGroup": "web-a"},
}
OUT_OF_SCOPE = {"bastion": {}, "stray": {"PatchGroups": "web"}}


@pytest.fixture(scope="module")
def estate(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    common = {"account": ACCOUNT, "region": REGION, "virtual": True}
    nodes = [{"name": name, "tags": {"PatchGroup": "web", **tags}, **common} for name, tags in NODES.items()]
    nodes += [{"name": name, "tags": tags, **common} for name, tags in OUT_OF_SCOPE.items()]
    for name, tags in (("hybrid-hold", {"PatchGroup": "web", "PatchHold": ""}), ("hybrid-out", {"Name": "x"})):
        nodes.append({"name": name, "type": "hybrid", "tags": tags, **common})
    path = tmp_path_factory.mktemp("tags") / "scenario.yml"
    path.write_text(yaml.safe_dump({"accounts": [ACCOUNT], "regions": [REGION], "nodes": nodes}))
    return make_lab("tags", path)


def source(folder: Path, name: str = "patch_groups.yml", **options: Any) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump({"plugin": "patchwave.aws.patch_groups", "regions": [REGION], **options}))
    return path


def listing(estate: Any, path: Path, **environment: str) -> tuple[dict[str, Any], str]:
    done = estate.run("ansible-inventory", "-i", path, "--list", "--export", **environment)
    assert "Traceback" not in done.stderr
    return plain(json.loads(done.stdout)), " ".join(done.stderr.split())


def test_one_odd_tag_concerns_one_node_and_is_told(estate: Any, tmp_path: Path) -> None:
    found, screen = listing(estate, source(tmp_path, host_name="node_name"))
    ids, hosts, told = estate.nodes(), found["_meta"]["hostvars"], found["all"]["vars"]
    by_id = ("pattern", "path", "controller", "bidirectional", "template")
    by_name = set(NODES) - set(by_id) - {"good", "rare", "twin-1", "twin-2"} | {"web-01", "hybrid-hold"}
    assert set(hosts) == {ids[name] for name in by_id} | by_name
    assert sorted(found["not_patchable_held"]["hosts"]) == ["empty-hold", "hybrid-hold", "misspelt-hold"]
    assert hosts["hybrid-hold"]["ssm"]["computer_name"] == "hybrid-hold"
    assert sorted(found["wave_1"]["hosts"]) == sorted([ids["pattern"], "web-01"])
    assert sorted(found["patch_group_web_a"]["hosts"]) == ["usual-1", "usual-2"]
    why = "its group 'patch_group_web a' would be patch_group_web_a, which is that of 'patch_group_web-a'"
    whys = {
        ids["rare"]: why,
        ids["twin-1"]: "its name 'twin' is also another node's",
        ids["twin-2"]: "its name 'TWIN' is also another node's",
    }
    assert {one["node_id"]: one["why"] for one in told["left_out"]} == whys
    assert {(one["account"], one["region"]) for one in told["left_out"]} == {(ACCOUNT, REGION)}
    assert told["out_of_scope"] == [{"account": ACCOUNT, "region": REGION, "nodes": 3}]
    warnings = told["inventory_warnings"]
    for name, line in (
        ("pattern", "name '!canary' is no host name; named by its id"),
        ("path", "name '../../x' is no host name; named by its id"),
        ("controller", "name 'localhost' is no host name; named by its id"),
        ("bidirectional", "name 'web\\u202e10' is no host name; named by its id"),
        ("template", "name '{{ 7 * 191 }}' is no host name; named by its id"),
        ("template", "tag 'Patchwave' is not the wave tag 'PatchWave' and names no wave; rename it or remove it"),
        ("misspelt-hold", "tag 'Patchhold' is taken for the hold tag 'PatchHold': held; rename it or remove it"),
        ("spaced-wave", "tag 'PatchWave' is ' 1': in the group wave__1, not in that of '1'; mend it"),
        ("stray", "tag 'PatchGroups' is not 'PatchGroup' or 'Patch Group': out of scope; mend it or remove it"),
    ):
        assert f"{WHERE}: {ids[name]}: {line}" in warnings
    assert len(warnings) == 9
    for line in (*warnings, *(f"{WHERE}: {node}: left out: {why}; mend the tag" for node, why in whys.items())):
        assert line in screen


def test_what_tags_say_is_in_the_cache_and_told_each_time(estate: Any, tmp_path: Path) -> None:
    cache = {
        "ANSIBLE_INVENTORY_CACHE": "true",
        "ANSIBLE_INVENTORY_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(tmp_path / "cache"),
    }
    path = source(tmp_path)
    first = listing(estate, path, **cache)
    calls = estate.calls()
    assert listing(estate, path, **cache) == first
    assert estate.calls() == calls
    assert {"left_out", "inventory_warnings", "out_of_scope"} <= set(first[0]["all"]["vars"])


def test_two_sources_add_up_and_take_no_host_over(estate: Any, tmp_path: Path) -> None:
    source(tmp_path, "1.patch_groups.yml", host_name="node_name", filters={"tag:Name": ["web-01", "usual-2"]})
    source(tmp_path, "2.patch_groups.yml", host_name="'web-01'", select="node_name == 'usual-1'")
    found, screen = listing(estate, tmp_path)
    ids, hosts = estate.nodes(), found["_meta"]["hostvars"]
    assert set(hosts) == {"usual-2", "hybrid-hold"}
    assert {one["node_id"] for one in found["all"]["vars"]["left_out"]} == {ids["good"], ids["usual-1"]}
    assert "left out: its name 'web-01' is also another node's" in screen
    assert [one["nodes"] for one in found["all"]["vars"]["out_of_scope"]] == [1, 3]  # filters narrow EC2 only


def test_a_group_that_tags_make_takes_no_name_away(estate: Any, tmp_path: Path) -> None:
    keyed = [{"key": "node_tags.PatchGroup", "prefix": "", "separator": ""}]
    options = {"host_name": "node_tags.PatchHold && 'web' || node_name", "keyed_groups": keyed}
    found, screen = listing(estate, source(tmp_path, select="node_tags.PatchHold != ''", **options))
    left_out = {one["node_id"] for one in found["all"]["vars"]["left_out"]}
    assert estate.nodes()["no-hold"] in left_out
    assert "web" not in found["_meta"]["hostvars"]
    assert "web-01" in found["web"]["hosts"]
    assert "left out: its name 'web' is also a group's" in screen


def test_an_expression_that_fails_for_some_leaves_those_out(estate: Any, tmp_path: Path) -> None:
    found, screen = listing(estate, source(tmp_path, select="starts_with(node_tags.PatchWave, '1')"))
    ids = estate.nodes()
    assert set(found["_meta"]["hostvars"]) == {ids["pattern"], ids["good"]}
    left_out = {one["node_id"] for one in found["all"]["vars"]["left_out"]}
    assert left_out == {ids[name] for name in (*NODES, "hybrid-hold")} - {
        *(ids[name] for name in ("pattern", "good", "spaced-wave"))
    }
    assert "left out: select fails for it: In function starts_with()" in screen


def test_a_tag_does_not_say_where_ansible_connects(estate: Any, tmp_path: Path) -> None:
    path = source(tmp_path, host_name="node_name", connections={"linux": "run_command"})
    hosts = listing(estate, path)[0]["_meta"]["hostvars"]
    assert hosts["web-01"]["ansible_host"] == estate.nodes()["good"]
    assert "ansible_host" not in hosts[estate.nodes()["controller"]]


def test_a_line_on_tags_is_never_a_template(estate: Any, tmp_path: Path) -> None:
    path = source(tmp_path, host_name="node_name")
    message = "msg={{ inventory_warnings }}{{ left_out }}"
    shown = estate.run("ansible", "web-01", "-i", path, "-m", "ansible.builtin.debug", "-a", message).stdout
    assert "{{ 7 * 191 }}" in shown
    assert "1337" not in shown


def test_a_wrong_option_is_told(estate: Any, tmp_path: Path) -> None:
    found, screen = listing(estate, source(tmp_path, hold_tag="PatchFreeze", wave_tag="patch_wave"))
    first, second = found["all"]["vars"]["inventory_warnings"][:2]
    assert first == "hold_tag: no node has 'PatchFreeze', and some have 'PatchHold' (3); mend the option or the tags"
    assert second.startswith("wave_tag: no node has 'patch_wave', and some have 'PatchWave' (3) and 'Patchwave' (1); ")
    assert first in screen


def test_a_normal_estate_has_no_word_on_tags(estate: Any, tmp_path: Path) -> None:
    path = source(tmp_path, filters={"tag:Name": ["web-01", "usual-1"]})
    found, screen = listing(estate, path)
    assert set(found["all"]["vars"]) == {"inventory_regions", "out_of_scope"}
    assert not re.search(r"WARNING.*patch_groups", screen)


def test_the_screen_shows_the_first_lines_and_counts_the_others(estate: Any, tmp_path: Path) -> None:
    path = source(tmp_path, host_name="join('', ['!', node_id])", hold_tag="PatchFreeze", wave_tag="patch_wave")
    found, screen = listing(estate, path)
    lines = found["all"]["vars"]["inventory_warnings"]
    assert len(lines) + 1 > 20  # and one is left out
    assert screen.count("patchwave.aws.patch_groups: ") == 21
    assert f"patchwave.aws.patch_groups: and {len(lines) + 1 - 20} more lines like these" in screen
