"""What a node's result may tell Ansible."""

from __future__ import annotations

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils._facts import harmless

KNOWN = {"node_id": "i-1", "owner": "team-a"}


@pytest.mark.parametrize(
    "name",
    ["node_id", "region", "account", "assume_role_arn", "patch_windows", "gate_override", "not_patchable", "owner"],
)
def test_facts_that_decide_over_the_node_are_left_out(name: str) -> None:
    found = harmless({"changed": False, "ansible_facts": {name: "evil", "ansible_hostname": "web-1"}}, KNOWN)
    assert found == {"changed": False, "ansible_facts": {"ansible_hostname": "web-1"}}


@pytest.mark.parametrize("name", ["services", "packages", "ansible_distribution", "ansible_user_id", "ansible_local"])
def test_facts_of_a_node_about_itself_stay(name: str) -> None:
    assert harmless({"ansible_facts": {name: {}}}, KNOWN) == {"ansible_facts": {name: {}}}


@pytest.mark.parametrize("key", ["ansible_stats", "add_host", "add_group", "_ansible_notify"])
def test_what_is_for_the_whole_play_is_left_out(key: str) -> None:
    assert harmless({"rc": 0, key: {"data": {}}}, KNOWN) == {"rc": 0}


def test_facts_that_are_no_mapping_are_none() -> None:
    assert harmless({"ansible_facts": ["x"]}, KNOWN) == {"ansible_facts": {}}
