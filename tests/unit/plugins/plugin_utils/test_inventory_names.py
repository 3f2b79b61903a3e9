from __future__ import annotations

from typing import Any

import pytest
from ansible.inventory.group import to_safe_group_name
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory import hosts, names
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.notes import Notes

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


def called(*known: dict[str, Any], **others: Any) -> tuple[list[str], list[str]]:
    notes = Notes()
    return names.host_names(list(known), BY_NAME, notes, **others), notes.lines()


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


@pytest.mark.parametrize("name", ["all", "ungrouped", "web", "patch_group_web", "wave_1", "managed_nodes", "unread_x"])
def test_a_host_is_not_called_like_a_group(name: str) -> None:
    found, (line,) = called(node(name), groups={"all", "ungrouped", "web"})
    assert (found, line) == (["i-1"], f"{WHERE}: i-1: name {name!r} is a group's; named by its id")


def test_nodes_that_would_share_a_name_are_known_by_their_ids_and_the_others_by_their_names() -> None:
    found, (line,) = called(*(node(node_id=f"i-{number}") for number in range(1, 6)), node("other", "i-6"))
    assert found == ["i-1", "i-2", "i-3", "i-4", "i-5", "other"]
    assert line == f"{WHERE}: i-1, i-2, i-3 and 2 more: name 'web-01' is also another node's; named by its id"


@pytest.mark.parametrize("name", ["i-2", "i-0123456789abcdef0", "mi-0123456789abcdef0", "I-0123ABCD"])
def test_a_node_is_not_called_like_another_ones_id(name: str) -> None:
    found, (line,) = called(node(name), node("other", "i-2"))
    assert found == ["i-1", "other"]
    assert f"name {name!r} is also another node's" in line
    assert called(node("i-0123456789abcdef0", "i-0123456789abcdef0")) == (["i-0123456789abcdef0"], [])


def test_a_host_of_another_source_is_not_taken_over() -> None:
    found, (line,) = called(node("bastion"), node("web-02", "i-2"), there={"bastion": None, "web-02": "i-2"})
    assert found == ["i-1", "web-02"]  # i-2 was read by another source of this plugin
    assert "name 'bastion' is another host's" in line


def sanitize(name: str) -> str:
    return str(to_safe_group_name(name, force=True, silent=True))


def test_of_values_that_would_be_one_group_the_rarer_one_is_left_out() -> None:
    known = [node(patch_group="web a"), node(patch_group="web-a"), node(patch_group="web-a"), node(patch_group="db")]
    groups = names.GroupNames(known, sanitize)
    assert [groups.clash(one) for one in known[1:]] == ["", "", ""]
    why = "its group 'patch_group_web a' would be patch_group_web_a, which is that of 'patch_group_web-a'"
    assert groups.clash(known[0]) == why
    assert groups.of(known[1]) == ["managed_nodes", "patch_group_web_a"]


def test_a_clash_of_equals_always_ends_the_same() -> None:
    plain, odd, odder = (node(patch_wave=value) for value in ("a_1", "a 1", "a-1"))
    for known in ([plain, odd, odder], [odder, odd, plain]):
        groups = names.GroupNames(known, sanitize)
        assert [bool(groups.clash(one)) for one in (plain, odd, odder)] == [False, True, True]
