from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.inventory.group import to_safe_group_name
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import ManagedNode
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory import hosts, names
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.errors import OptionError
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.notes import LeftOut, Notes
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.read import Found
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.tags import Tags
from hypothesis import given, settings
from hypothesis import strategies as st

NODE = ManagedNode(
    id="i-0123456789abcdef0",
    name="web-01",
    account="123456789012",
    region="eu-central-1",
    patch_group="web",
    tags={"Name": "web-01", "PatchGroup": "web", "PatchWave": "1"},
    platform="linux",
    address="10.0.0.1",
    state="running",
    agent={"PingStatus": "Online", "AgentVersion": "3.3"},
    details=None,
)
TAGS = Tags("PatchWave", "PatchHold")


def found(access: Account = Account(), **changes: Any) -> Found:  # noqa: B008
    return Found(NODE._replace(**changes), access)


def known(access: Account = Account(), **changes: Any) -> dict[str, Any]:  # noqa: B008
    return hosts.variables(found(access, **changes), TAGS, {})


def test_the_variables_are_small_and_typed() -> None:
    assert known() == {
        "node_id": "i-0123456789abcdef0",
        "node_name": "web-01",
        "account": "123456789012",
        "region": "eu-central-1",
        "patch_group": "web",
        "patch_wave": "1",
        "platform": "linux",
        "node_tags": {"Name": "web-01", "PatchGroup": "web", "PatchWave": "1"},
        "ssm": {"ping_status": "Online", "agent_version": "3.3"},
        "ansible_host": "10.0.0.1",
    }


def test_how_the_account_is_entered_travels_with_the_node() -> None:
    access = Account("arn:aws:iam::1:role/x", "id", "ops", "hub")
    entered = {key: value for key, value in known(access).items() if key.startswith("assume_")}
    assert entered == {
        "assume_role_arn": "arn:aws:iam::1:role/x",
        "assume_role_external_id": "id",
        "assume_role_session_name": "ops",
        "assume_role_profile": "hub",
    }
    (target,), refused = _batch.targets(["a"], {"a": known(access)}.__getitem__)
    assert (target.access, refused) == (access, {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"tags": {"PatchHold": "CHG-1"}}, "held"),
        ({"tags": {"PatchHold": "no"}}, ""),
        ({"tags": {"PatchHold": ""}, "state": ""}, "held"),
        ({"state": "stopped", "agent": {}}, "stopped"),
        ({"agent": {}}, "no_agent"),
        ({"agent": {"PingStatus": "ConnectionLost"}}, "agent_offline"),
        ({"platform": "solaris"}, "unsupported_platform"),
        ({"state": ""}, ""),
    ],
)
def test_a_node_that_cannot_be_patched_says_why(changes: dict[str, Any], reason: str) -> None:
    assert known(**changes).get("not_patchable", "") == reason
    groups = hosts.groups(known(**changes))
    assert [group for group in groups if group.startswith("not_")] == ([f"not_patchable_{reason}"] if reason else [])


def test_groups_are_those_of_patch_group_wave_and_platform() -> None:
    assert hosts.groups(known()) == ["managed_nodes", "patch_group_web", "wave_1", "platform_linux"]
    assert hosts.groups(known(tags={"PatchWave": " "}, platform="")) == [
        "managed_nodes",
        "patch_group_web",
        "not_patchable_unsupported_platform",
    ]


def test_a_node_out_of_scope_is_in_no_group_by_which_anything_is_patched() -> None:
    assert hosts.groups(known(patch_group="")) == ["out_of_scope", "platform_linux"]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("", {"ansible_host": "10.0.0.1"}),
        ("ssh", {"ansible_host": "10.0.0.1", "ansible_connection": "ssh"}),
        ("run_command", {}),
        (
            "aws_ssm",
            {
                "ansible_host": NODE.id,
                "ansible_connection": "amazon.aws.aws_ssm",
                "ansible_aws_ssm_region": "eu-central-1",
            },
        ),
    ],
)
def test_connection_variables_go_by_platform(kind: str, wanted: dict[str, str]) -> None:
    variables = hosts.variables(found(), TAGS, {"linux": kind, "windows": "winrm"} if kind else {})
    assert {key: value for key, value in variables.items() if key.startswith("ansible_")} == wanted


def test_an_expression_that_is_none_names_its_option() -> None:
    with pytest.raises(OptionError, match=r"select: is not JMESPath: .*") as caught:
        hosts.Expression("select", "a ||| b")
    assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match=r"select: node i-0123456789abcdef0: "):
        hosts.Expression("select", "length(`1`)").of_all([known(), known(id="i-2")], LeftOut())


def test_an_address_of_another_node_is_not_an_agents_to_give() -> None:
    victim, other = found(id="i-1"), found(id="i-2", address="10.0.0.2")
    agents = [found(id=f"mi-{number}", state="", address=f"10.0.0.{number}") for number in (1, 3, 4)]
    twin, notes = found(id="mi-5", state="", address="10.0.0.4"), Notes()
    kept = hosts.own_addresses([victim, other, *agents, twin], notes)
    assert [item.node.address for item in kept] == ["10.0.0.1", "10.0.0.2", "", "10.0.0.3", "", ""]
    assert [line.partition(": ")[2] for line in notes.lines()] == [
        "mi-1: address '10.0.0.1' is also another node's; ansible_host is left out",
        "mi-4, mi-5: address '10.0.0.4' is also another node's; ansible_host is left out",
    ]


HOSTILE = st.one_of(
    st.text(max_size=256),
    st.sampled_from(
        ["{{ 7 * 191 }}", "{% for x in y %}", "'; rm -rf / #", "$(id)", "`id`", "a\nb", "💥" * 256, "\x00", "all"]
    ),
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(HOSTILE, HOSTILE, max_size=8), HOSTILE, HOSTILE)
def test_a_tag_is_data_whatever_it_says(tags: dict[str, str], group: str, name: str) -> None:
    tags = {**tags, "PatchWave": group, "PatchHold": name}
    variables = known(tags=tags, patch_group=group, name=name)
    assert variables["node_tags"] == tags
    assert (variables["patch_group"], variables["node_name"], variables["patch_wave"]) == (group, name, group)
    group_names = names.GroupNames([variables], lambda raw: to_safe_group_name(raw, force=True, silent=True))
    safe = group_names.of(variables)
    assert all(re.fullmatch(r"[^\d\W]\w*", one) for one in safe)  # what Ansible takes for a group name
    assert len(set(safe)) == len(safe)
    (called,) = names.wanted_names([variables], hosts.Expression("host_name", "node_name"), Notes(), LeftOut())
    assert called.name == NODE.id or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", called.name)
