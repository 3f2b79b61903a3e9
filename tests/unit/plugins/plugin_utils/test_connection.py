"""Whether a host's work over its own connection may start, and what the journal knows of it."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult
from ansible_collections.patchwave.aws.plugins.module_utils._service import stop_marks
from ansible_collections.patchwave.aws.plugins.plugin_utils._connection import Watch


def options(**given: Any) -> dict[str, Any]:
    names = ("stop_at", "stop_file", "owner_lock", "latest_start", "journal", "token", "rollout", "bucket")
    return {**dict.fromkeys((*names, "bucket_owner")), "prefix": "patchwave/", **given}


def test_work_may_start_and_the_journal_knows_how_it_went(tmp_path: Path) -> None:
    watch = Watch(options(journal=str(tmp_path / "j"), token="T"), "web-1", dict)
    assert watch.refused() is None
    watch.begins()
    watch.ends(NodeResult.said({"outcome": "patched", "version_after": "2"}))
    begun, ended = map(json.loads, (tmp_path / "j").read_text().splitlines())
    assert (begun["event"], begun["host"], begun["token"]) == ("begun", "web-1", "patchwave T")
    assert (ended["event"], ended["outcome"], ended["source"], ended["version_after"]) == (
        "result",
        "patched",
        "node",
        "2",
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"stop_at": "2020-01-01T00:00:00Z"}, "asked_to_stop"),
        ({"latest_start": "2020-01-01T00:00:00Z"}, "too_late"),
        ({"stop_file": "stop"}, "asked_to_stop"),
        ({"owner_lock": "lock"}, "asked_to_stop"),
    ],
)
def test_work_that_may_not_start_says_why(tmp_path: Path, given: dict[str, str], reason: str) -> None:
    for name in ("stop", "lock"):
        (tmp_path / name).touch()
    files = {
        key: str(tmp_path / value) if key in ("stop_file", "owner_lock") else value for key, value in given.items()
    }
    refused = Watch(options(**files, journal=str(tmp_path / "j")), "web-1", dict).refused()
    assert refused is not None
    assert (refused["outcome"], refused["reason"], refused["failed"]) == ("skipped", reason, True)
    (ended,) = map(json.loads, (tmp_path / "j").read_text().splitlines())
    assert (ended["reason"], ended["source"]) == (reason, "engine")


def test_the_owner_lives_while_its_lock_is_held(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert Watch(options(owner_lock=str(tmp_path / "lock")), "web-1", dict).refused() is None


def test_a_stop_file_that_somebody_holds_is_no_stop_until_it_is_let_go(tmp_path: Path) -> None:
    with (tmp_path / "stop").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        watch = Watch(options(stop_file=str(tmp_path / "stop")), "web-1", dict)
        assert watch.refused() is None
    assert watch.refused() is not None


@pytest.mark.parametrize("given", [{"rollout": "R", "token": "T"}, {"token": "R"}])
def test_work_whose_rollout_is_stopped_from_outside_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    marks = {"R": stop_marks.Mark("Ada", "", "it hangs")}
    monkeypatch.setattr(stop_marks, "look", lambda sessions, place, name: marks.get(name))
    with_bucket = options(journal=str(tmp_path / "j"), bucket="b-1", **given)
    refused = Watch(with_bucket, "web-1", dict).refused()
    assert refused is not None
    assert (refused["outcome"], refused["reason"]) == ("skipped", "stopped")
    assert refused["msg"] == "not started: the rollout was stopped by Ada: it hangs"
    stopped, ended = map(json.loads, (tmp_path / "j").read_text().splitlines())
    assert (stopped["event"], stopped["said"]) == ("stopped", "stopped by Ada: it hangs")
    assert (ended["event"], ended["reason"]) == ("result", "stopped")
    marks.clear()
    assert Watch(with_bucket, "web-1", dict).refused() is None
