from __future__ import annotations

from typing import Any

import pytest
from ansible.inventory.data import InventoryData
from ansible.inventory.group import to_safe_group_name
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory import hosts, names
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.notes import LeftOut, Notes

BY_NAME = hosts.Expression("host_name", "node_name")
PLACE = {"account": "123456789012", "region": "eu-central-1"}
WHERE = "account 123456789012, region eu-central-1"
GOOD = [
    "web-01",
    "WEB_01",
    "1st.example.com",
    "web.01",
    "x" * 253,
    "localhost-01",
    "i-am-a-host",
    "ip-10-0-0-1",
]
#: What Ansible, ssh or a file system would take for something else than a name.
BAD = [
    *("", " web", "web ", "a b", "a\nb", "x" * 254, "wéb", "web\u200b-01", "web\u202e10", "\u0661", "\x00"),
    *("!canary", "&canary", "~canary.*", "@/etc/passwd", "-oProxyCommand=x", "_meta", ".hidden", "*", "web-*", "web-?"),
    *("web[0]", "[1:3]", "a:b", "a,b", "a;b", "$(id)", "`id`", "{{ 7 * 191 }}", "web#1", "web|1", "a=b", "%p", "'a'"),
    *("../../x", "a/../b", "a..b", "..", ".", "/etc/passwd", "a/b", "a\\b", "~root", "C:x", "web-01.yml", "web.json"),
    *("localhost", "LOCALHOST", "LocalHost.", "localhost.localdomain", "localhost6", "ip6-localhost", "x.localhost"),
    *(
        "127.0.0.1",
        "::1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "0",
        "10.0.0.1",
        "169.254.169.254",
    ),
    *("169.254.169.254", "fe80::1", "[::1]", "127.0.0.1.", "web.", "root@web", "ssh://web"),
]


def node(name: Any = "web-01", node_id: str = "i-1", **changes: Any) -> dict[str, Any]:
    known = {"node_id": node_id, "node_name": name, **PLACE, "patch_group": "web", "patch_wave": "", "platform": ""}
    return {**known, **changes}


def called(*known: dict[str, Any]) -> tuple[list[str], list[str]]:
    notes = Notes()
    named = names.wanted_names(list(known), BY_NAME, notes, LeftOut())
    return [one.name for one in named], notes.lines()


def rivals(*known: dict[str, Any], groups: Any = (), inventory: InventoryData | None = None) -> dict[str, str]:
    """Return why nodes are left out, by node id, of which none was renamed."""
    notes, left_out, there = Notes(), LeftOut(), inventory or InventoryData()
    named = names.wanted_names(list(known), BY_NAME, notes, left_out)
    assert [one.name for one in named] == [one["node_name"] for one in known]
    names.leave_out_rivals(there, named, groups, left_out)
    for name, one in named:
        if one not in left_out:
            there.hosts[there.add_host(name)].vars.update(one)
    assert notes.lines() == []
    return {one["node_id"]: one["why"] for one in left_out.entries()}


@pytest.mark.parametrize("name", GOOD)
def test_a_tag_may_give_a_host_name(name: str) -> None:
    assert called(node(name)) == ([name], [])


@pytest.mark.parametrize("name", BAD)
def test_and_nothing_that_is_more_than_a_name(name: str) -> None:
    found, (line,) = called(node(name))
    assert found == ["i-1"]
    assert line.startswith(f"{WHERE}: i-1: name ")
    assert line.endswith(" is no host name; named by its id")
    assert line.isprintable()


@pytest.mark.parametrize("value", [None, 1, True, ["web-01"], {}])
def test_what_is_no_text_is_no_name(value: Any) -> None:
    assert called(node(value))[0] == ["i-1"]


@pytest.mark.parametrize("name", ["all", "ungrouped", "patch_group_web", "wave_1", "managed_nodes", "unread_x"])
def test_what_is_always_a_group_is_no_name_for_any_host(name: str) -> None:
    found, (line,) = called(node(name))
    assert (found, line) == (["i-1"], f"{WHERE}: i-1: name {name!r} is a group's; named by its id")


@pytest.mark.parametrize("name", ["i-0123456789abcdef0", "mi-0123456789abcdef0", "I-0123ABCD"])
def test_and_neither_is_a_node_id(name: str) -> None:
    found, (line,) = called(node(name), node("other", "i-2"))
    assert found == ["i-1", "other"]
    assert f"name {name!r} is a node's id" in line
    assert called(node("i-0123456789abcdef0", "i-0123456789abcdef0")) == (["i-0123456789abcdef0"], [])


@pytest.mark.parametrize("other", ["db-03", "DB-03", "Db-03"])
def test_a_name_that_two_nodes_want_is_nobodys_and_neither_is_renamed(other: str) -> None:
    assert rivals(node("db-03"), node(other, "i-2"), node("web-01", "i-3")) == {
        "i-1": "its name 'db-03' is also another node's",
        "i-2": f"its name {other!r} is also another node's",
    }


def test_also_where_they_come_from_several_sources() -> None:
    inventory = InventoryData()
    assert rivals(node("db-03"), node("web-01", "i-4"), inventory=inventory) == {}
    assert set(rivals(node("DB-03", "i-2"), inventory=inventory)) == {"i-1", "i-2"}
    inventory.remove_host(inventory.hosts["db-03"])
    assert set(rivals(node("db-03", "i-3"), inventory=inventory)) == {"i-3"}  # the others still want it
    assert rivals(node("web-01", "i-4"), inventory=inventory) == {}  # the same node once more


def test_what_somebody_else_has_is_not_taken_over() -> None:
    inventory = InventoryData()
    inventory.add_host("bastion")
    inventory.add_group("dbs")
    found = rivals(
        *(node("Bastion"), node("dbs", "i-2"), node("linux", "i-3"), node("i-5", "i-4"), node("web", "i-5")),
        groups={"linux"},
        inventory=inventory,
    )
    assert found == {
        "i-1": "its name 'Bastion' is also another host's",
        "i-2": "its name 'dbs' is also a group's",
        "i-3": "its name 'linux' is also a group's",
        "i-4": "its name 'i-5' is also another node's",
    }


def sanitize(name: str) -> str:
    return str(to_safe_group_name(name, force=True, silent=True))


def test_of_values_that_would_be_one_group_the_rarer_one_is_left_out() -> None:
    known = [node(patch_group="web a"), node(patch_group="web-a"), node(patch_group="web-a"), node(patch_group="db")]
    groups = names.GroupNames(known, sanitize)
    assert [groups.clash(one) for one in known[1:]] == ["", "", ""]
    why = "its group 'patch_group_web a' would be patch_group_web_a, which is that of 'patch_group_web-a'"
    assert groups.clash(known[0]) == why
    assert groups.of(known[1]) == ["managed_nodes", "patch_group_web_a"]


def test_of_a_clash_of_equals_nobody_is_left_however_well_one_is_spelt() -> None:
    plain, odd, odder = (node(patch_wave=value) for value in ("canary_1", "canary-1", "canary 1"))
    for known in ([plain, odd], [odd, plain], [odder, plain, odd], [plain, plain, odd, odd, odder]):
        groups = names.GroupNames(known, sanitize)
        assert all(groups.clash(one) for one in known)
    assert names.GroupNames([plain, odd], sanitize).clash(odd) == (
        "its group 'wave_canary-1' would be wave_canary_1, and so would 'wave_canary_1' of other nodes"
    )


def test_values_of_earlier_sources_count() -> None:
    known, earlier = [node(patch_wave="a-1")], [node(patch_wave="a 1", node_id="i-2")]
    groups = names.GroupNames(known, sanitize, earlier)
    assert groups.clash(known[0])
    assert groups.clash(earlier[0])
    groups = names.GroupNames(known, sanitize, [*earlier, node(patch_wave="a 1", node_id="i-3")])
    assert [bool(groups.clash(one)) for one in (*known, *earlier)] == [True, False]
    assert not names.GroupNames(known, sanitize, known).clash(known[0])  # the same node is counted once


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ("contains(node_name, node_tags.Short)", ["i-2"]),  # Python's own TypeError
        ("starts_with(node_tags.Wave, '3')", ["i-2"]),
        ("length(node_tags.Wave)", ["i-2"]),
        ("ceil(to_number(node_tags.Big))", ["i-2"]),  # OverflowError
        ("node_tags.Wave < '3'", []),
    ],
)
def test_an_expression_that_fails_for_a_node_leaves_that_node_out(options: str, left: list[str]) -> None:
    good = node(node_tags={"Wave": "3", "Short": "web", "Big": "1"})
    bad = node(node_id="i-2", node_tags={"Big": "1.0e999"})
    left_out = LeftOut()
    found = hosts.Expression("select", options).of_all([good, bad], left_out)
    assert [one["node_id"] for one in left_out.entries()] == left
    assert len(found) == 2 - len(left)
    assert all(line.isprintable() and "select fails for it: " in line for line in left_out.lines())


def test_a_node_that_host_name_fails_for_is_not_named_by_its_id() -> None:
    left_out, by_name = LeftOut(), hosts.Expression("host_name", "join('-', [node_tags.Name, region])")
    known = [node(node_tags={"Name": "web"}), node(node_id="i-2", node_tags={})]
    named = names.wanted_names(known, by_name, Notes(), left_out)
    assert [one.name for one in named] == ["web-eu-central-1"]
    assert [one["node_id"] for one in left_out.entries()] == ["i-2"]
