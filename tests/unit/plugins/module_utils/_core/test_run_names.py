"""Names by which a stop finds a rollout again."""

from __future__ import annotations

import re

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core import run_names

ODD = ["", " ", "a b", "a/b", "../x", "ä", "x" * 61, "x" * 500, "a\nb", "-a", ".a", "a:b", "%2f", "a\ud800"]


@pytest.mark.parametrize("name", ["CVE-2026-0001", "a", "x" * 60, "_a.b-c", "0123456789abcdef wave_1"])
def test_usual_names_stay_where_they_can(name: str) -> None:
    assert (run_names.run_name(name) == name) == (" " not in name)


def test_every_name_fits_into_a_key_and_a_comment() -> None:
    made = [run_names.run_name(name) for name in [*ODD, "x" * 60]]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}", name) for name in made)
    assert max(len(f"{run_names.comment(name)} {'0' * 12}") for name in made) <= 100


def test_a_command_belongs_to_one_rollout_and_to_all() -> None:
    comment = f"{run_names.comment('web')} 0123456789ab"
    assert run_names.is_of(comment, "web")
    assert run_names.is_of(comment, run_names.ALL)
    assert not run_names.is_of(comment, "we")
    assert not run_names.is_of(f"{run_names.comment('web-2')} 0123456789ab", "web")
    assert not run_names.is_of("somebody else's", run_names.ALL)
    for foreign in (
        "patchwave web hotfix by bob",
        "patchwave is what we use",
        "patchwave web 0123456789abc",
        f"{comment} x",
    ):
        assert not run_names.is_of(foreign, "web")
        assert not run_names.is_of(foreign, run_names.ALL)
    assert not run_names.is_of("", run_names.ALL)


def test_the_objects_of_one_rollout_are_not_those_of_another() -> None:
    assert not run_names.folder("p/", "web-2").startswith(run_names.folder("p/", "web"))
    assert run_names.folder("p/", "web").startswith(run_names.folder("p/", run_names.ALL))
    assert run_names.stop_mark("p/", "web") == "p/stop/web"
