"""What nobody thought of is a line as well, and its exit code says what was changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from patchwave import cli, rollout
from patchwave import report as reports
from patchwave.errors import PatchwaveError


class Odd(Exception):
    pass


def test_an_error_nobody_thought_of_is_a_line_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def odd(*dummy: object) -> None:
        secret = "hunter2"
        raise Odd(f"a\nb {len(secret)}")

    monkeypatch.setattr(rollout, "read_inventory", odd)
    monkeypatch.setattr(
        rollout,
        "read_rollout",
        lambda path: type("Wanted", (), {"name": "n", "inventory": path, "max_in_flight": 0, "folders": ()})(),
    )
    monkeypatch.setattr("sys.argv", ["patchwave", "apply", str(tmp_path / "r.yml")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    file = tmp_path / "n" / "internal-error.log"
    said = f"patchwave: internal error: Odd: a b 7; the ledger has what is known; see {file}\n"
    assert capsys.readouterr().err == said
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in file.read_text()
    assert "hunter2" not in file.read_text().replace('secret = "hunter2"', "")


@pytest.mark.parametrize(("sent", "code"), [(True, 3), (False, 1)])
def test_and_afterwards_says_whether_something_may_have_been_changed(
    rollouts: Any, monkeypatch: pytest.MonkeyPatch, sent: bool, code: int
) -> None:
    def odd(*dummy: object) -> None:
        raise Odd

    monkeypatch.setattr(reports, "content", odd)
    with pytest.raises(PatchwaveError, match="internal error: Odd: ") as caught:
        rollouts.run(wave_a=lambda batch: batch.patch() if sent else None)
    assert caught.value.exit_code == code


def test_an_event_that_cannot_be_taken_costs_no_result(rollouts: Any) -> None:
    """Nothing more is sent then, what was sent is waited for, and its results are in the ledger."""

    def play(batch: Any) -> None:
        batch.start()
        batch.send("a1")
        batch.event("ok", "a1", "patchwave.aws.gate", None)  # not what ansible-runner ever gave
        assert (rollouts.folder / "stop").exists()
        batch.end("a1")

    with pytest.raises(PatchwaveError, match="internal error: AttributeError") as caught:
        rollouts.run(wave_a=play)
    assert caught.value.exit_code == 3
    assert rollouts.played == ["wave_a"]
    (ledger,) = rollouts.folder.glob("ledger-*")
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [line["outcome"] for line in lines if line["event"] == "node"] == ["patched", "skipped"]
    report = json.loads((rollouts.folder / "report.json").read_text())
    assert report["rollout"]["stopped"].startswith("internal error: AttributeError")
    assert [node["outcome"] for node in report["nodes"]] == ["patched", "skipped", "skipped", "skipped"]


def test_typer_shows_no_locals_of_any_error() -> None:
    assert not cli.app.pretty_exceptions_enable
    assert not cli.app.pretty_exceptions_show_locals


def test_a_line_is_a_line_whatever_is_in_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PatchwaveError("a\nb\x1b[31m\u202e", exit_code=3)

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3
    assert capsys.readouterr().err == "patchwave: a b [31m\n"
