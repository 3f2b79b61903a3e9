from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult

from patchwave.errors import PatchwaveError
from patchwave.ledger import Ledger


def test_what_was_written_is_there_the_next_time(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "new" / "ledger.jsonl")
    first.write("node", host="a", outcome="failed")
    first.write("node", host="a", outcome="patched")
    first.write("node", host="b", outcome="current")
    first.close()
    second = Ledger(tmp_path / "new" / "ledger.jsonl")
    assert {host: line.outcome for host, line in second.results.items()} == {"a": "patched", "b": "current"}
    second.write("finished", stopped=None)
    second.close()
    lines = (tmp_path / "new" / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["node", "node", "node", "finished"]


def test_a_line_that_a_crash_cut_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(
        '{"time": "t", "event": "node", "host": "a", "outcome": "patched"}\n{"event": "node", "host": "ü',
        encoding="utf-8",
    )
    ledger = Ledger(path)
    ledger.write("node", host="c", outcome="current")
    ledger.close()
    assert [json.loads(line)["host"] for line in path.read_text().splitlines()] == ["a", "c"]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.jsonl")
    with pytest.raises(PatchwaveError, match=r"another patchwave apply is running"):
        Ledger(tmp_path / "ledger.jsonl")
    first.close()
    Ledger(tmp_path / "ledger.jsonl").close()


def test_a_damaged_ledger_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text("nonsense\n")
    with pytest.raises(PatchwaveError, match="is damaged"):
        Ledger(tmp_path / "ledger.jsonl")


def test_a_disk_that_is_full_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ledger = Ledger(tmp_path / "ledger.jsonl")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PatchwaveError, match=r"ledger\.jsonl: cannot be written: No space left on device; run"):
        ledger.write("node", host="a", outcome="patched")
    ledger.close()


def test_of_lines_that_do_not_fit_nothing_stays_and_closing_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "ledger.jsonl", os.write

    def full(file: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[: len(data) - 10])

    ledger = Ledger(path)
    ledger.write("node", host="a", outcome="patched")
    before = path.read_bytes()
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        disk.setattr(os, "ftruncate", lambda *dummy: (_ for _ in ()).throw(OSError(errno.EIO, "x")))
        with pytest.raises(PatchwaveError, match="No space left on device"):
            ledger.write("node", host="b", outcome="patched")
    assert path.read_bytes() != before
    ledger.write("node", host="c", outcome="patched")
    ledger.close()
    assert [json.loads(line)["host"] for line in path.read_text().splitlines()] == ["a", "c"]


@pytest.mark.parametrize(
    "text", [b"\xff\n", b'{"time": "t", "event": "node", "host": "\xff"}\n', b"[1]\n", b"[" * 9999 + b"\n"]
)
def test_whatever_is_damaged_is_said_so_and_may_have_told_of_changes(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(text)
    with pytest.raises(PatchwaveError, match=r"ledger\.jsonl: is damaged: .*; move it away") as caught:
        Ledger(tmp_path / "ledger.jsonl")
    assert caught.value.exit_code == 3


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(PatchwaveError, match="is a folder, where a file is needed; move it away"):
        Ledger(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PatchwaveError, match="cannot be written"):
        Ledger(tmp_path / "file" / "ledger.jsonl")


def test_odd_values_of_an_old_ledger_are_bounded_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    odd = {"outcome": "patched", "version_before": 1, "reason": ["x"], "msg": "x" * 5000, "seconds": float("inf")}
    path.write_text(json.dumps({"time": "t", "event": "node", "host": "a", **odd}) + "\n")
    ledger = Ledger(path)
    known = ledger.results["a"]
    ledger.close()
    assert (known.outcome, known.version_before, known.reason, len(known.msg)) == ("patched", "1", "other", 2000)
    assert known.seconds is None


@pytest.mark.parametrize("outcome", ["patched", "failed", "unknown", "rolled_back"])
def test_a_ledger_knows_for_good_whether_something_may_have_been_changed(tmp_path: Path, outcome: str) -> None:
    for ends in ([outcome, "current"], ["current"], ["unreachable", "skipped", "unsupported"]):
        path = tmp_path / f"ledger-{len(ends)}.jsonl"
        first = Ledger(path)
        for end in ends:
            first.write_results({"a": NodeResult.read({"outcome": end})})
        first.close()
        again = Ledger(path)
        again.close()
        assert again.may_have_changed == (outcome in ends)
