"""One process works for all hosts of a task."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.patchwave.aws.plugins.plugin_utils._shared import Done, own_result

EXECUTION = ("task", 3, ["a", "b"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return tmp_path


def test_after_the_death_of_the_process_that_works_for_all_nobody_works_again() -> None:
    def die(alone: bool, spent: int) -> Done:
        os._exit(9)

    child = os.fork()
    if child == 0:
        own_result(EXECUTION, "a", die)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with pytest.raises(AnsibleActionFail, match="died; what it has sent to nodes may still run"):
        own_result(EXECUTION, "b", lambda alone, spent: pytest.fail("worked again"))


def test_a_host_that_was_not_foreseen_works_alone_within_what_is_left_of_the_budget() -> None:
    asked = []

    def work(alone: bool, spent: int) -> Done:
        asked.append((alone, spent))
        return Done({"a": {"alone": alone}, **({"late": {}, "later": {}} if alone else {})}, 2)

    assert own_result(EXECUTION, "a", work) == {"alone": False}
    own_result(EXECUTION, "late", work)
    own_result(EXECUTION, "later", work)
    assert asked == [(False, 0), (True, 2), (True, 4)]


def test_a_host_that_comes_again_works_alone() -> None:
    asked = []

    def work(alone: bool, spent: int) -> Done:
        asked.append((alone, spent))
        return Done({"a": {}, "b": {}}, 1)

    own_result(EXECUTION, "a", work)
    own_result(EXECUTION, "a", work, again=True)  # until
    own_result(EXECUTION, "a", work)  # an execution that looks the same
    own_result(EXECUTION, "b", work)
    assert asked == [(False, 0), (True, 0), (True, 1)]


def test_what_fails_as_a_whole_fails_every_host_once() -> None:
    def fail(alone: bool, spent: int) -> Done:
        raise ValueError("the bucket is not there")

    for host in ("a", "b"):
        with pytest.raises(AnsibleActionFail, match="the bucket is not there"):
            own_result(EXECUTION, host, fail)
    assert own_result(EXECUTION, "a", lambda alone, spent: Done({"a": {"alone": alone}}, 0)) == {"alone": True}


def test_what_is_kept_for_other_processes_is_private(folder: Path) -> None:
    own_result(EXECUTION, "a", lambda alone, spent: Done({"a": {}, "b": {}}, 0))
    (kept,) = folder.iterdir()
    assert kept.stat().st_mode & 0o077 == 0
