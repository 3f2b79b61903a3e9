import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import (
    EmptyWave,
    Node,
    Plan,
    Wave,
    make_waves,
    plan_hash,
)

GROUPS = {"wave_1": ["b", "a"], "wave_2": ["a", "c"], "patch_group_web": ["a", "b", "c"]}
HOSTVARS = {"a": {"node_id": "i-0a", "account": "1", "region": "r", "patch_group": "web", "node_name": "web-01"}}


def make(**changes: object) -> Plan:
    plan = Plan("r", {"just": {"fixed_in": "2"}}, "run_command", 1, 2, make_waves(["wave_1"], GROUPS, HOSTVARS))
    return plan._replace(**changes)


def test_a_node_is_in_its_first_wave_only() -> None:
    first, second = make_waves(["wave_1", "wave_2"], GROUPS, HOSTVARS)
    assert [node.host for node in first.nodes] == ["a", "b"]
    assert [node.host for node in second.nodes] == ["c"]


def test_a_node_carries_what_the_inventory_knows_of_it() -> None:
    node = make_waves(["wave_1"], GROUPS, HOSTVARS)[0].nodes[0]
    assert tuple(node) == ("a", "i-0a", "web-01", "1", "r", "web", "wave_1")


def test_a_node_without_variables_is_known_by_its_host_name() -> None:
    assert make_waves(["wave_1"], GROUPS, HOSTVARS)[0].nodes[1].id == "b"


@pytest.mark.parametrize("names", [["wave_9"], ["wave_1", "wave_9"]])
def test_a_wave_without_nodes_is_refused_and_the_others_are_named(names: list[str]) -> None:
    with pytest.raises(EmptyWave) as caught:
        make_waves(names, GROUPS, HOSTVARS)
    assert caught.value.args == (len(names) - 1, "wave_9", ["wave_1", "wave_2"])


def test_the_hash_is_that_of_the_content() -> None:
    assert plan_hash(make()) == plan_hash(make())
    assert len(plan_hash(make())) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"software": {"just": {"fixed_in": "3"}}},
        {"software": {"just": {"fixed_in": "2"}, "bat": {"fixed_in": "2"}}},
        {"error_budget": 0},
        {"transport": "connection"},
        {"waves": make_waves(["wave_2"], GROUPS, HOSTVARS)},
    ],
)
def test_another_plan_has_another_hash(changes: dict[str, object]) -> None:
    assert plan_hash(make(**changes)) != plan_hash(make())


def test_labels_that_anybody_may_tag_are_no_part_of_the_hash() -> None:
    node = Node("i-1", "i-1", "web-1", "1", "eu", "web", "wave_1")
    plans = [
        Plan("r", {}, "run_command", 0, 0, (Wave("wave_1", (node._replace(**changed),)),))
        for changed in ({}, {"name": "other"}, {"patch_group": "db"}, {"id": "i-2"}, {"account": "2"}, {"region": "us"})
    ]
    hashes = [plan_hash(plan) for plan in plans]
    assert hashes[0] == hashes[1] == hashes[2]
    assert len({*hashes}) == 4
