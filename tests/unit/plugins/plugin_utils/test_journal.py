from __future__ import annotations

import concurrent.futures
import json
import os
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils import _journal


def write(path: Path, *events: dict[str, object]) -> None:
    path.write_text("".join(json.dumps({"time": 1.0, **event}) + "\n" for event in events))


STARTED = {"event": "started", "token": "t", "payloads": [{"bucket": "b", "key": "k"}]}
INTENT = {"event": "intent", "comment": "t 1", "where": "", "nodes": ["a", "b"]}


def test_sendings_of_the_same_work_are_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, STARTED, INTENT, {"event": "sent", "nodes": ["a", "b"]}, {"event": "result", "host": "a"})
    journal = _journal.Journal(str(path), "t")
    assert [(sent.comment, sent.hosts) for sent in journal.earlier] == [("t 1", ("a", "b"))]
    assert journal.leftovers == [("b", "k")]
    journal.close()


def test_sendings_of_other_work_are_not(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, {**STARTED, "token": "other"}, INTENT)
    journal = _journal.Journal(str(path), "t")
    # The intent belongs to the other work; only its payload is left to tidy up.
    assert journal.earlier == []
    assert journal.leftovers == [("b", "k")]
    journal.close()


def test_one_token_for_two_works_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, {**STARTED, "work": "apt"}, INTENT)
    with pytest.raises(_journal.JournalError, match="has apt under this token, not dnf; give each work a token"):
        _journal.Journal(str(path), "t", "dnf")
    for token, work in (("t", "apt"), ("other", "dnf")):
        _journal.Journal(str(path), token, work).close()


def test_a_line_that_a_crash_cut_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, STARTED, INTENT)
    with path.open("a") as handle:
        handle.write('{"event": "sent", "no')
    journal = _journal.Journal(str(path), "t")
    journal.write("result", {"host": "a"})
    journal.close()
    again = _journal.Journal(str(path), "t")
    again.close()
    assert len(again.earlier) == 1
    assert json.loads(path.read_text().splitlines()[-1])["event"] == "result"


def test_two_at_once_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_journal, "_PATIENCE", 0)
    first = _journal.Journal(str(tmp_path / "journal"), "t")
    with pytest.raises(_journal.JournalError, match="another process runs this batch"):
        _journal.Journal(str(tmp_path / "journal"), "t")
    first.close()
    _journal.Journal(str(tmp_path / "journal"), "t").close()


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(_journal.JournalError, match="nowhere/journal: cannot be written: No such file or directory"):
        _journal.Journal(str(tmp_path / "nowhere" / "journal"), "t")


def test_a_full_disk_is_named_and_what_was_sent_goes_on(tmp_path: Path) -> None:
    journal = _journal.Journal(str(tmp_path / "journal"), "t")
    journal.close()
    journal._file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    with pytest.raises(_journal.JournalLost, match="cannot be written: No space left on device; what was sent goes on"):
        journal.write("intent", INTENT)
    journal.close()


def test_a_file_of_another_kind_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    path.write_text("[1]\n")
    with pytest.raises(_journal.JournalError, match=r"hosts.json: is no journal; name another file"):
        _journal.Journal(str(path), "t")


def test_without_a_path_there_is_nothing() -> None:
    journal = _journal.Journal(None, "t")
    journal.write("intent", INTENT)
    journal.close()


def test_a_sending_that_aws_refused_is_not_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, STARTED, INTENT, {**INTENT, "comment": "t 2"}, {"event": "refused", "comment": "t 1"})
    journal = _journal.Journal(str(path), "t")
    journal.close()
    assert [sent.comment for sent in journal.earlier] == ["t 2"]


def test_of_several_works_a_run_may_do_a_part(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, {**STARTED, "work": "apt, dnf"}, {**STARTED, "work": ""})
    for work in ("apt", "apt, dnf", "apk, apt, dnf", ""):
        _journal.Journal(str(path), "t", work).close()
    with pytest.raises(_journal.JournalError, match="has apt, dnf under this token, not apk, apt; give each work"):
        _journal.Journal(str(path), "t", "apk, apt")


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    journal = _journal.Journal(str(tmp_path / "journal"), "t")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: journal.write("result", {"host": "x" * 5000, "n": number}), range(500)))
    journal.close()
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert sorted(line["n"] for line in lines) == list(range(500))


LEFT = {"event": "leftover", "bucket": "b", "key": "k", "error": "AccessDenied"}
NEXT = {"event": "started", "token": "t", "payloads": [{"bucket": "b", "key": "k2"}]}
FINISHED = {"event": "finished"}


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([STARTED, FINISHED], []),
        ([STARTED], ["k"]),
        ([STARTED, LEFT, FINISHED], ["k"]),
        ([STARTED, LEFT], ["k"]),
        ([STARTED, LEFT, FINISHED, NEXT], ["k", "k2"]),  # killed
        ([STARTED, LEFT, FINISHED, NEXT, FINISHED], []),  # deleted by the next run
        ([STARTED, LEFT, FINISHED, NEXT, LEFT, FINISHED], ["k"]),  # tried again in vain
        ([STARTED, NEXT, LEFT, FINISHED], ["k"]),
    ],
)
def test_payloads_that_may_lie_there_are_remembered(
    tmp_path: Path, events: list[dict[str, object]], left: list[str]
) -> None:
    write(tmp_path / "journal", *events)
    journal = _journal.Journal(str(tmp_path / "journal"), "t")
    journal.close()
    assert journal.leftovers == [("b", key) for key in left]


def test_who_waits_for_a_journal_may_be_called_off(tmp_path: Path) -> None:
    def off() -> None:
        raise InterruptedError

    first = _journal.Journal(str(tmp_path / "journal"), "t")
    with pytest.raises(InterruptedError):
        _journal.Journal(str(tmp_path / "journal"), "t", check=off)
    first.close()
