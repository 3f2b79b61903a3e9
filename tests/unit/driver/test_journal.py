from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from patchwave.errors import PatchwaveError
from patchwave.journal import Journal


def write(path: Path, *events: dict[str, Any], half: str = "") -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps({"time": 1, **event}) + "\n" for event in events) + half)


def started(token: str = "t", **more: Any) -> dict[str, Any]:
    return {"event": "started", "token": f"patchwave {token}", **more}


def result(host: str, outcome: str = "patched", **more: Any) -> dict[str, Any]:
    return {"event": "result", "host": host, "source": "node", "outcome": outcome, **more}


def intent(comment: str, *nodes: str) -> dict[str, Any]:
    return {"event": "intent", "comment": comment, "where": "w", "nodes": list(nodes)}


def test_each_line_is_read_once_and_half_a_line_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wave.journal"
    journal = Journal(path, "t")
    assert list(journal.read()) == []
    write(path, started(pid=7), intent("c", "a", "b"), result("a"), half='{"event": "result", "host": "ü')
    parsed: list[str] = []
    loads = json.loads

    def counted(line: str) -> Any:
        parsed.append(line)
        return loads(line)

    monkeypatch.setattr("patchwave.journal.json.loads", counted)
    assert [host for host, dummy in journal.read()] == ["a"]
    assert len(parsed) == 3
    write(path, half='", "source": "node", "outcome": "failed"}\n')
    assert [(host, one.outcome) for host, one in journal.read()] == [("ü", "failed")]
    assert list(journal.read()) == []
    assert len(parsed) == 4
    assert journal.pid == 7


def test_what_earlier_runs_told_is_no_result_of_this_one(tmp_path: Path) -> None:
    path = tmp_path / "wave.journal"
    write(path, started(), intent("c1", "a", "b"), {"event": "sent", "nodes": ["a", "b"]}, result("a"))
    write(path, started("another"), intent("c2", "c"), result("c"), intent("c3", "d"))
    journal = Journal(path, "t")
    assert (set(journal.earlier), journal.ended) == ({"a"}, set())
    assert (journal.maybe_sent(), journal.maybe_sent_now()) == ({"a", "b"}, set())
    write(path, started(), intent("c4", "a"), intent("c5", "b"), {"event": "refused", "comment": "c5"}, result("a"))
    assert [host for host, dummy in journal.read()] == ["a"]
    assert (journal.maybe_sent(), journal.maybe_sent_now()) == ({"a", "b"}, {"a"})


@pytest.mark.parametrize(
    "odd",
    [
        *(
            "",
            "nonsense\n",
            "[1]\n",
            "{}\n",
            '{"event": 1}\n',
            '{"event": "result"}\n',
            '{"event": "result", "host": 1}\n',
        ),
        *('{"event": "intent", "nodes": 7}\n', '{"event": "sent"}\n', "\x00\x00\n", '{"event": "leftover"}\n'),
        '{"event": "started", "token": 7, "pid": "x"}\n',
    ],
)
def test_odd_lines_cost_nothing(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "wave.journal"
    path.write_text(odd)
    journal = Journal(path, "t")
    write(path, started(pid=True), result("a", seconds=1e999, version_before={"a": 1}))
    ((host, found),) = journal.read()
    assert (host, found.outcome, found.seconds, found.version_before, journal.pid) == ("a", "patched", None, None, None)


def test_where_it_cannot_be_read_is_known_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "wave.journal"
    journal = Journal(path, "t")
    write(path, started(), {"event": "unreadable", "where": "1 r", "error": "expired"})
    list(journal.read())
    assert journal.unreadable == {"1 r": "expired"}
    write(path, {"event": "readable", "where": "1 r"})
    list(journal.read())
    assert journal.unreadable == {}


@pytest.mark.parametrize("token", [None, "patchwave t", "patchwave other"])
def test_who_stops_the_rollout_is_known_for_this_work_and_this_run(tmp_path: Path, token: str | None) -> None:
    path = tmp_path / "wave.journal"
    journal = Journal(path, "t")
    event = {"event": "stopped", "said": "stopped by\nAda", **({"token": token} if token else {})}
    write(path, started(), event)
    list(journal.read())
    assert journal.stopped == ("" if token == "patchwave other" else "stopped by Ada")
    write(path, started())
    list(journal.read())
    assert journal.stopped == ""


@pytest.mark.parametrize("replaced", [False, True])
def test_a_journal_that_somebody_removes_is_read_to_its_end_and_then_missed(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "wave.journal"
    write(path, started())
    journal = Journal(path, "t")
    with path.open("a") as action:
        path.unlink()
        if replaced:
            path.touch()
        action.write(json.dumps(intent("c", "a")) + "\n")
        action.flush()
        assert list(journal.read()) == []
    assert journal.maybe_sent() == {"a"}
    with pytest.raises(PatchwaveError, match=r"wave\.journal: was removed or replaced while the wave ran"):
        list(journal.read())


def test_a_journal_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "wave.journal").mkdir()
    with pytest.raises(PatchwaveError, match=r"wave\.journal: is a folder, where a file is needed; move it away"):
        Journal(tmp_path / "wave.journal", "t")
