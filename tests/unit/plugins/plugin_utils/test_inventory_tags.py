from __future__ import annotations

import time
from typing import Any

import pytest
from ansible.inventory.group import to_safe_group_name
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import (
    ManagedNode,
    Stray,
    patch_group,
)
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.notes import MOST, bounded
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.tags import Tags, holds, look

TAGS = Tags("PatchWave", "PatchHold")
WHERE = "account 123456789012, region eu-central-1"


def node(number: int = 1, odd_address: str = "", **tags: str) -> ManagedNode:
    found = {"PatchGroup": "web", **{key.replace("__", " "): value for key, value in tags.items()}}
    place = ("123456789012", "eu-central-1")
    group = patch_group(found)
    return ManagedNode(f"i-{number}", "n", *place, group, found, "linux", "", "running", {}, None, odd_address)


def tagged(*pairs: tuple[str, str], number: int = 1) -> ManagedNode:
    return node(number)._replace(tags={"PatchGroup": "web", **dict(pairs)})


def lines(*nodes: ManagedNode, tags: Tags = TAGS, strays: list[Stray] | None = None) -> list[str]:
    notes = look(list(nodes), strays or [], tags, lambda name: to_safe_group_name(name, force=True, silent=True))
    return [line.removeprefix(f"{WHERE}: ") for line in notes.lines()]


@pytest.mark.parametrize("value", ["", " ", "yes", "CHG-1", "true", "none", "n", "0.0", "00", "false alarm", "\u200b"])
def test_a_hold_tag_holds_whatever_it_says(value: str) -> None:
    assert holds(value)
    assert TAGS.held({"PatchHold": value})


@pytest.mark.parametrize("value", ["false", "no", "off", "0", " No ", "FALSE", "Off\n"])
def test_except_an_explicit_no(value: str) -> None:
    assert not TAGS.held({"PatchHold": value})


MISSPELT = [
    *("Patchhold", "PATCHHOLD", "patch-hold", "Patch Hold", "patch_hold", " PatchHold", "PatchHold ", "Patch:Hold"),
    *("PatchHolds", "PatchHol", "PatchHodl", "PachHold", "PatchHould", "PatchHeld", "PatchOnHold", "HatchHold"),
    *("Patch\u200bHold", "\uff30atchHold", "P\u0430tchHold"),
]


@pytest.mark.parametrize("key", MISSPELT)
def test_a_misspelt_hold_tag_holds_and_is_said(key: str) -> None:
    assert TAGS.held({key: "CHG-1"})
    assert TAGS.held({key: "", "PatchHold": "no"})
    assert not TAGS.held({key: "no"})
    *option, line = lines(tagged((key, "CHG-1")))
    assert line == f"i-1: tag {key!r} is taken for the hold tag 'PatchHold': held; rename it or remove it"
    assert option == [f"hold_tag: no node has 'PatchHold', and some have {key!r} (1); mend the option or the tags"]
    line = lines(tagged((key, "no")))[-1]
    assert line == f"i-1: tag {key!r} is not the hold tag 'PatchHold' and does not hold; rename it or remove it"


@pytest.mark.parametrize("key", ["PatchRole", "PatchHost", "PatchDate", "PatchLevel", "Hold", "Name", "aws:patchhold"])
def test_a_tag_of_its_own_says_nothing(key: str) -> None:
    assert not TAGS.held({key: "x"})
    assert lines(tagged((key, "x"), ("PatchWave", "1"))) == []


@pytest.mark.parametrize(("option", "key"), [("Stage", "State"), ("Hold", "Gold"), ("", "x"), ("a", "b")])
def test_short_options_have_neighbours_that_are_words_of_their_own(option: str, key: str) -> None:
    assert Tags(option, option).meant(key) == ""


@pytest.mark.parametrize("key", ["Patchwave", "Patch Wave", "PatchWaves", "patch-wave", "PathWave"])
def test_a_misspelt_wave_tag_names_no_wave_and_is_said(key: str) -> None:
    line = lines(tagged((key, "1")))[-1]
    assert line == f"i-1: tag {key!r} is not the wave tag 'PatchWave' and names no wave; rename it or remove it"
    assert lines(tagged((key, "1"), ("PatchWave", "1"))) == []
    spelling = key not in ("PatchWaves", "PathWave")  # the others may well be tags of their own
    assert bool(lines(tagged((key, "2"), ("PatchWave", "1")))) is spelling


@pytest.mark.parametrize(
    ("tags", "line"),
    [
        (Tags("PatchWave", "DoNotPatch"), "hold_tag: no node has 'DoNotPatch', and some have 'PatchHold' (2)"),
        (Tags("Ring", "PatchHold"), "wave_tag: no node has 'Ring', and some have 'PatchWave' (2)"),
        (Tags("patch_wave", "PatchHold"), "wave_tag: no node has 'patch_wave', and some have 'PatchWave' (2)"),
    ],
)
def test_an_option_that_names_what_nobody_has(tags: Tags, line: str) -> None:
    nodes = [node(number, PatchHold="no", PatchWave="1") for number in (1, 2)]
    assert lines(*nodes, tags=tags)[0] == f"{line}; mend the option or the tags"
    assert lines(*nodes) == []


def test_two_patch_groups_are_said_and_the_one_that_counts() -> None:
    assert lines(node(Patch__Group="db")) == [
        "i-1: tags 'PatchGroup' ('web') and 'Patch Group' ('db') differ: in the patch group 'web'; keep one of them"
    ]
    assert lines(node(Patch__Group="web")) == []
    (line,) = lines(node(Patch_Group="db"))
    assert line == "i-1: tag 'Patch_Group' is not the patch-group tag 'PatchGroup' and counts for nothing; " + (
        "rename it or remove it"
    )


def test_a_misspelt_patch_group_is_out_of_scope_and_is_said() -> None:
    strays = [Stray("i-9", "123456789012", "eu-central-1", {"PatchGroups": "web", "PatchGroup": ""})]
    assert lines(strays=strays) == [
        "i-9: tag 'PatchGroups' is not 'PatchGroup' or 'Patch Group': out of scope; mend it or remove it",
        "i-9: tag 'PatchGroup' has no value: out of scope; mend it or remove it",
    ]


@pytest.mark.parametrize(
    "value", [" 1", "1 ", "01", "wave_1", "Wave 1", "PatchWave=1", "W1", "1\u200b", "\uff11", "#1"]
)
def test_a_wave_that_is_nearly_another_one_is_said_and_not_mended(value: str) -> None:
    one = node(3, PatchWave=value)
    (line,) = lines(node(1, PatchWave="1"), node(2, PatchWave="1"), node(4, PatchWave="2"), one)
    group = to_safe_group_name(f"wave_{value}", force=True, silent=True)
    assert line == f"i-3: tag 'PatchWave' is {value!r}: in the group {group}, not in that of '1'; mend it"


@pytest.mark.parametrize(
    "values",
    [
        ["01", "02", "10"],
        ["1", "10", "11", "2"],
        ["1.0", "10"],
        ["wave1", "wave2"],
        ["a", "b"],
        ["eu-1", "eu-2"],
        ["wave"],
    ],
)
def test_waves_of_one_kind_are_as_they_should_be(values: list[str]) -> None:
    assert lines(*(node(number, PatchWave=value) for number, value in enumerate(values))) == []


def test_a_wave_that_is_odd_is_said_even_where_there_is_no_other() -> None:
    assert lines(node(PatchWave=" 1")) == ["i-1: tag 'PatchWave' is ' 1': in the group wave__1; mend it"]
    assert lines(node(PatchWave="")) == ["i-1: tag 'PatchWave' has no value: in no group by it; mend it or remove it"]
    (line,) = lines(node(1, PatchWave="wave_1"), node(2, PatchWave="2"))
    assert line.startswith("i-1: tag 'PatchWave' is 'wave_1': in the group wave_wave_1")


def test_patch_groups_have_freezes_and_so_are_looked_at_like_waves() -> None:
    (line,) = lines(*(node(number, PatchGroup="db") for number in (1, 2)), node(3, PatchGroup="DB "))
    assert line == "i-3: patch group is 'DB ': in the group patch_group_DB_, not in that of 'db'; mend it"


def test_an_address_that_was_refused_is_said() -> None:
    assert lines(node(odd_address="-oProxyCommand=x\n")) == [
        "i-1: address '-oProxyCommand=x\\n' is none that a node may have; ansible_host is left out"
    ]


def test_a_line_is_one_line_whatever_a_tag_says_and_however_many_say_it() -> None:
    key = "PatchHold\u202e\n\x1b[2J"
    nodes = [tagged((key, "x" * 256), ("PatchWave", "\n" + "y" * 255), number=number) for number in range(500)]
    found = lines(*nodes)
    assert len(found) == 3
    assert all(line.isprintable() and len(line) < 300 for line in found)
    assert "i-0, i-1, i-2 and 497 more: " in found[1]


def test_lists_have_a_limit_and_say_what_is_behind_it() -> None:
    assert bounded(list(range(MOST)), sum) == list(range(MOST))
    assert bounded([1] * 1000, sum) == [1] * (MOST - 1) + [1000 - MOST + 1]


def test_many_nodes_with_many_odd_tags_take_no_time() -> None:
    many: list[Any] = [tagged(*((f"PatchHold{i:x}{k:x}", "no") for k in range(8)), number=i) for i in range(2000)]
    start = time.process_time()
    lines(*many)
    assert time.process_time() - start < 5
