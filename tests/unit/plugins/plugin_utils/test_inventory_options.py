"""Options of the inventory file as they are given: vaulted, as templates, with a profile for all."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory import options
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.errors import OptionError

ROLE = "arn:aws:iam::210987654321:role/patchwave"
CHOSEN: dict[str, Any] = {
    "accounts": [],
    "organization": None,
    "connections": {},
    "on_error": "fail",
    "regions": ["eu-west-1"],
    "filters": {},
    "include_out_of_scope": False,
    "hostvars": "small",
}


class Vaulted:
    """Stands for Ansible's own, which is no text and whose text is its content."""

    def __init__(self, content: str | None) -> None:
        self.content = content

    def __str__(self) -> str:
        if self.content is None:
            raise ValueError("no vault secrets\nfound")
        return self.content


def template(text: str) -> Any:
    return {"{{ role }}": ROLE, "{{ empty }}": "", "{{ none }}": None, "{{ list }}": ["eu-west-1"]}[text]


def plain(**chosen: Any) -> dict[str, Any]:
    return options.plain({**CHOSEN, **chosen}, template)


@pytest.mark.parametrize("given", [Vaulted(ROLE), "{{ role }}", ROLE])
def test_vaulted_values_and_templates_are_plain_wherever_they_are(given: Any) -> None:
    assert plain(accounts=[{}, {"role_arn": given}])["accounts"] == [{}, {"role_arn": ROLE}]
    assert plain(organization={"units": [given], "external_id": given})["organization"] == {
        "units": [ROLE],
        "external_id": ROLE,
    }
    assert plain(secret_key=given, profile=given)["secret_key"] == ROLE
    assert plain(filters={"tag:x": [given, 7, True]})["filters"] == {"tag:x": [ROLE, 7, True]}


def test_expressions_are_left_to_whose_they_are() -> None:
    own = {"compose": {"a": "{{ x }}"}, "keyed_groups": [{"key": "{{ x }}"}], "select": "{{ x }}"}
    assert {name: plain(**own)[name] for name in own} == own


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"accounts": [{}, {"role_arn": "{{ empty }}"}]}, r"accounts\[1\]\.role_arn: the template gives nothing"),
        ({"accounts": [{"external_id": "{{ none }}"}]}, r"accounts\[0\]\.external_id: the template gives nothing"),
        ({"organization": {"units": ["{{ empty }}"]}}, r"organization\.units\[0\]: the template gives nothing"),
        ({"profile": "{{ empty }}"}, r"profile: the template gives nothing"),
        ({"accounts": [{"role_arn": "{{ undefined }}"}]}, r"accounts\[0\]\.role_arn: cannot be evaluated: "),
        (
            {"accounts": [{"role_arn": Vaulted(None)}]},
            r"accounts\[0\]\.role_arn: cannot be evaluated: no vault secrets found$",
        ),
    ],
)
def test_what_gives_nothing_is_named(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match="^" + message):
        plain(**chosen)


def test_a_template_s_kind_is_checked_like_any_other() -> None:
    with pytest.raises(OptionError, match=r"accounts\[0\]"):
        options.query(None, plain(accounts=[{"role_arn": "{{ list }}"}]))  # type: ignore[arg-type]


def test_the_profile_of_the_file_is_that_of_each_entry_without_one() -> None:
    chosen = {**CHOSEN, "accounts": [{}, {"role_arn": ROLE}, {"profile": "own"}]}
    asked = options.query(None, chosen, "all")  # type: ignore[arg-type]
    assert [source.access for source in asked.sources] == [
        Account(profile="all"),
        Account(ROLE, profile="all"),
        Account(profile="own"),
    ]
    (source,) = options.query(None, CHOSEN, "all").sources  # type: ignore[arg-type]
    assert source.access == Account(profile="all")
    (source,) = options.query(None, CHOSEN).sources  # type: ignore[arg-type]
    assert source.access == Account()
    units = {**CHOSEN, "organization": {"units": ["ou-1"]}}
    found = options.query(None, units, "all").organization  # type: ignore[arg-type]
    assert found
    assert found.profile == "all"
