"""Programs of a catalog as arguments of software_patch, whatever surveys and `-e` make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.patchwave.aws.plugins.filter import earliest
from ansible_collections.patchwave.aws.plugins.plugin_utils._catalog import arguments

OWN = "2026-11-22T03:00:00Z"
CATALOG = {"just": {"fixed_in": "1.42.4", "dest": "/opt/just"}, "jq": {"fixed_in": "1.7", "latest_start": OWN}}
JUST = {"name": "just", "fixed_in": "1.42.4", "dest": "/opt/just"}


@pytest.mark.parametrize("catalog", [CATALOG, json.dumps(CATALOG)])
@pytest.mark.parametrize("name", ["just", ["just"], '["just"]', " just "])
def test_a_program(catalog: Any, name: Any) -> None:
    assert arguments(catalog, name) == JUST


@pytest.mark.parametrize("name", [["jq", "just"], "jq,just", "jq, just", '["jq", "just"]'])
@pytest.mark.parametrize(
    ("given", "latest"),
    [
        ("2026-11-22T04:00:00Z", (OWN, "2026-11-22T04:00:00Z")),
        ("2026-11-22T03:30:00+01:00", ("2026-11-22T03:30:00+01:00",) * 2),
        (["2026-11-22T04:00:00Z", "", "2026-11-22T02:00:00Z"], ("2026-11-22T02:00:00Z",) * 2),
        ("", (OWN, None)),
        ([], (OWN, None)),
        (None, (OWN, None)),
    ],
)
def test_of_a_programs_own_latest_start_and_the_gates_the_earliest_counts(name: Any, given: Any, latest: Any) -> None:
    first, second = arguments(CATALOG, name, given)["definitions"]
    assert (first["name"], second["name"]) == ("jq", "just")
    assert (first.get("latest_start"), second.get("latest_start")) == latest


@pytest.mark.parametrize("own", ["", None])
def test_a_program_cannot_take_the_limit_away(own: Any) -> None:
    found = arguments({"x": {"latest_start": own}}, "x", "2026-11-22T04:00:00Z")
    assert found["latest_start"] == "2026-11-22T04:00:00Z"


@pytest.mark.parametrize(
    ("catalog", "name", "why"),
    [
        (CATALOG, "nothing", "'nothing' is not in patch_software_catalog; known programs: jq, just"),
        (json.dumps(CATALOG), "nothing", "known programs: jq, just"),
        ({}, "just", "known programs: none"),
        ("", "just", "patch_software_catalog: must be a mapping, not empty"),
        ([CATALOG], "just", "patch_software_catalog: must be a mapping, not a list"),
        ("{", "just", "patch_software_catalog: is a text that is neither JSON nor YAML"),
        ({"just": "text"}, "just", "patch_software_catalog.just: must be a mapping, not text"),
        (CATALOG, "", "patch_software_name: must be a program of the catalog or a list of several, not ''"),
        (CATALOG, [], "patch_software_name: must be"),
        (CATALOG, 7, "patch_software_name: must be"),
        (CATALOG, ["just", None], "patch_software_name: must be"),
        (CATALOG, "just,just", "patch_software_name: names 'just' twice"),
        (
            {"x": {"latest_start": "2026-11-22"}},
            "x",
            "patch_software_catalog.x.latest_start: must be a time with its zone",
        ),
        ({"x": {"latest_start": 20261122}}, "x", "patch_software_catalog.x.latest_start: must be a time with its zone"),
    ],
)
def test_what_does_not_fit_is_one_line(catalog: Any, name: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("(", r"\(")) as error:
        arguments(catalog, name)
    assert "\n" not in str(error.value)


def test_the_earliest_of_several_limits() -> None:
    given = ["", "2026-11-22T04:00:00Z", None, "2026-11-22T04:30:00+01:00"]
    assert earliest.earliest(given) == "2026-11-22T04:30:00+01:00"
    assert earliest.earliest([""]) == earliest.earliest([]) == ""
    for odd in (["soon"], [0], [False], "2026-11-22T04:00:00Z", None, {}):
        with pytest.raises(AnsibleFilterError, match="earliest: must be "):
            earliest.earliest(odd)
