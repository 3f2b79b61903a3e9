"""One process works for all hosts of a task."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.patchwave.aws.plugins.plugin_utils._shared import own_result

EXECUTION = ("task", 3, ["a", "b"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return tmp_path


def test_after_the_death_of_the_process_that_works_for_all_nobody_works_again() -> None:
    def die(alone: bool) -> dict[str, dict[str, object]]:
        os._exit(9)

    child = os.fork()
    if child == 0:
        own_result(EXECUTION, "a", die)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with pytest.raises(AnsibleActionFail, match="died; what it has sent to nodes may still run"):
        own_result(EXECUTION, "b", lambda alone: pytest.fail("worked again"))


def test_a_host_that_was_not_foreseen_works_alone_and_takes_a_result_once() -> None:
    asked = []

    def work(alone: bool) -> dict[str, dict[str, object]]:
        asked.append(alone)
        return {"a": {"alone": alone}, "late": {"alone": alone}} if alone else {"a": {"alone": alone}}

    assert own_result(EXECUTION, "a", work) == {"alone": False}
    assert own_result(EXECUTION, "late", work) == {"alone": True}
    assert own_result(EXECUTION, "a", work) == {"alone": True}
    assert asked == [False, True, True]


def test_what_is_kept_for_other_processes_is_private(folder: Path) -> None:
    own_result(EXECUTION, "a", lambda alone: {"a": {}, "b": {}})
    (kept,) = folder.iterdir()
    assert kept.stat().st_mode & 0o077 == 0
