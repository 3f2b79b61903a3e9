"""What a wave comes to, by its journal and by what Ansible tells, and whether the next wave begins."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch

from patchwave import locks, wave
from patchwave.errors import PatchwaveError
from patchwave.inventory import Inventory
from patchwave.progress import State, WaveView

ENGINE = {"source": "engine"}


def ends(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(node["outcome"], node["reason"]) for node in report["nodes"]]


def test_results_come_from_the_journal(rollouts: Any) -> None:
    code, report = rollouts.run(wave_a=lambda batch: batch.patch(version_after=2, seconds=1.5))
    assert (code, report["rollout"]["stopped"]) == (0, None)
    assert [node["version_after"] for node in report["nodes"]] == ["2", "2", None, None]
    assert not list(rollouts.folder.glob("*.journal"))


@pytest.mark.parametrize("said", ["too_late", "asked_to_stop", "api_error", "unknown", "not_started"])
def test_a_node_cannot_say_what_only_the_engine_concludes(rollouts: Any, said: str) -> None:
    rollouts.budgets = (1, 100)
    for outcome in ("skipped", "unknown"):

        def play(batch: Any, outcome: str = outcome) -> None:
            batch.start()
            batch.send("a1", "a2")
            batch.end("a1", outcome=outcome, reason=said)
            batch.end("a2")

        code, report = rollouts.run(wave_a=play)
        assert code == 2
        assert rollouts.played == ["wave_a", "wave_b"][: len(rollouts.played)]
        assert report["rollout"]["stopped"] is None
        assert not list(rollouts.folder.glob("*.journal"))


@pytest.mark.parametrize("reason", ["asked_to_stop", "too_late"])
def test_a_window_that_closes_meanwhile_stops_the_rollout(rollouts: Any, reason: str) -> None:
    def play(batch: Any) -> None:
        batch.patch("a1")
        batch.end("a2", outcome="skipped", reason=reason, **ENGINE)

    code, report = rollouts.run(wave_a=play)
    assert code == 3
    assert report["rollout"]["stopped"] == "wave_a: its window closed before 1 of 2 nodes had begun"
    assert ends(report)[1:] == [("skipped", reason), *[("skipped", "not_started")] * 2]


@pytest.mark.parametrize(("end", "code"), [("2020-01-01T00:00:00+00:00", 3), ("2999-01-01T00:00:00+00:00", 2)])
def test_a_node_that_is_late_by_its_own_clock_counts_when_ours_agrees(rollouts: Any, end: str, code: int) -> None:
    def play(batch: Any) -> None:
        batch.event("ok", "a1", "patchwave.aws.gate", {"latest_start": end, "closed": [], "override": {}})
        batch.patch("a1")
        batch.end("a2", outcome="skipped", reason="too_late")

    assert rollouts.run(wave_a=play)[0] == code


CALENDAR = {"hosts": 2, "windows": "every monday, 22:00 to 23:00 UTC", "freezes": "none"}
ADA = {"by": "Ada", "reason": "it cannot wait"}


def test_what_was_in_force_is_shown_and_in_the_report_for_each_wave(
    rollouts: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(batch: Any) -> None:
        result = {"latest_start": "", "closed": [], "override": {}, "calendars": [CALENDAR]}
        result["not_read"] = ["freezes"]
        batch.event("ok", "a1", "patchwave.aws.gate", result)
        batch.patch()

    dummy, report = rollouts.run(wave_a=play, wave_b=play)
    found = [{key: one[key] for key in ("wave", *CALENDAR)} for one in report["rollout"]["calendars"]]
    assert found == [{"wave": "wave_a", **CALENDAR}, {"wave": "wave_b", **CALENDAR}]
    told = "wave_b: 2 nodes: windows: every monday, 22:00 to 23:00 UTC; freezes: none\nWarning: wave_b: the gate does"
    assert told in capsys.readouterr().out
    warning = "the gate does not read freezes; did you mean patch_windows or patch_freezes_NAME?"
    assert report["rollout"]["gate_warnings"] == [f"wave_a: {warning}", f"wave_b: {warning}"]
    assert f"Warning of the gate:</b> wave_a: {warning}" in (rollouts.folder / "report.html").read_text()
    assert "<td>every monday, 22:00 to 23:00 UTC</td>" in (rollouts.folder / "report.html").read_text()


def test_an_override_is_recorded_where_the_gate_is_open_too(rollouts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def play(batch: Any) -> None:
        result = {"closed": [], "override": ADA, "msg": "the gate is open, and overridden", "calendars": []}
        batch.event("ok", "a1", "patchwave.aws.gate", result)
        batch.patch()

    rollouts.changes = {"override": ADA}
    dummy, report = rollouts.run(wave_a=play, wave_b=play)
    found = [(one["wave"], one["by"], one["reason"], one["closed"]) for one in report["rollout"]["overridden"]]
    assert found == [(wave, *ADA.values(), []) for wave in ("wave_a", "wave_b")]
    assert "wave_a: the gate is open, and overridden" in capsys.readouterr().out
    assert "it was open when the wave began" in (rollouts.folder / "report.html").read_text()


@pytest.mark.parametrize("required", [True, False])
def test_windows_can_be_required(rollouts: Any, required: bool) -> None:
    seen: list[Any] = []

    def play(batch: Any) -> None:
        seen.append(batch.play.variables.get("gate_require_windows"))
        batch.patch()

    rollouts.changes = {"require_windows": required}
    rollouts.run(wave_a=play)
    assert seen == [required or None]


# A wave has a budget of its own.


def fail(*hosts: str) -> Any:
    """Play a wave in which these nodes fail, as many as the engine is allowed and one more."""

    def play(batch: Any) -> None:
        most = int(batch.play.variables["patch_software_max_errors"])
        batch.start()
        for host in batch.hosts:
            if most < 0:
                batch.end(host, outcome="skipped", reason="max_errors_reached", **ENGINE)
            else:
                most -= host in hosts
                batch.send(host, comment=host)
                batch.end(host, outcome="failed" if host in hosts else "patched")

    return play


CANARIES = ("a1", "a2", "a3", "a4")


def test_a_wave_of_which_more_than_half_fails_stops_the_rollout(rollouts: Any) -> None:
    rollouts.waves, rollouts.budgets = {"wave_a": 4, "wave_b": 100}, (5, 104)
    code, report = rollouts.run(wave_a=fail(*CANARIES))
    assert (code, rollouts.played) == (3, ["wave_a"])
    assert report["rollout"]["stopped"] == "wave_a: 3 of 4 nodes failed, 2 allowed in this wave"
    assert report["rollout"]["wave_error_budgets"] == {"wave_a": 2, "wave_b": 5}
    assert report["totals"]["failed"] == 3
    # The second run tries them again, and is held to the same.
    code, report = rollouts.run(wave_a=fail(*CANARIES[1:]))
    assert (code, rollouts.played) == (3, ["wave_a"])
    # And with half of them right it goes on.
    code, report = rollouts.run(wave_a=fail(*CANARIES[2:]))
    assert (code, rollouts.played) == (2, ["wave_a", "wave_b"])


def test_a_wave_within_its_budget_lets_the_next_begin(rollouts: Any) -> None:
    rollouts.waves, rollouts.budgets = {"wave_a": 4, "wave_b": 2}, (5, 104)
    assert rollouts.run(wave_a=fail("a1", "a2"))[0] == 2
    assert rollouts.played == ["wave_a", "wave_b"]


@pytest.mark.parametrize(
    ("limit", "failed", "code"),
    [(0, 1, 3), ("0%", 1, 3), ("25%", 1, 2), ("25%", 2, 3), ("1%", 1, 2), ("1%", 2, 3), (4, 3, 2), ("100%", 3, 2)],
)
def test_the_budget_of_a_wave_can_be_given(rollouts: Any, limit: Any, failed: int, code: int) -> None:
    rollouts.waves, rollouts.budgets = {"wave_a": 4, "wave_b": 2}, (5, 104)
    rollouts.changes = {"wave_error_budget": limit}
    assert rollouts.run(wave_a=fail(*CANARIES[:failed]))[0] == code


NUMBER = "so it stops nothing there; it is a number of nodes, {}% would be a share"


@pytest.mark.parametrize(
    ("errors", "wave", "unreachable", "limits", "told"),
    [
        (
            3,
            5,
            0,
            (2, 3),
            [f"wave_error_budget: 5 is as large as wave_a (2 nodes), wave_b (4 nodes), {NUMBER.format(5)}"],
        ),
        (3, "3", 0, (2, 3), [f"wave_error_budget: 3 is as large as wave_a (2 nodes), {NUMBER.format(3)}"]),
        (
            0,
            "50",
            0,
            (0, 0),
            [f"wave_error_budget: 50 is as large as wave_a (2 nodes), wave_b (4 nodes), {NUMBER.format(50)}"],
        ),
        (
            5,
            "100%",
            0,
            (2, 4),
            ["wave_error_budget: 100% is as large as wave_a (2 nodes), wave_b (4 nodes), so it stops nothing there"],
        ),
        (50, "50%", 0, (1, 2), [f"error_budget: 50 is as large as the rollout (6 nodes), {NUMBER.format(50)}"]),
        (
            6,
            1,
            6,
            (1, 1),
            [
                f"{key}: 6 is as large as the rollout (6 nodes), {NUMBER.format(6)}"
                for key in ("error_budget", "unreachable_budget")
            ],
        ),
        (5, "99%", "100%", (1, 3), []),
        (5, 1, 5, (1, 1), []),
    ],
)
def test_a_limit_that_can_stop_nothing_is_told_and_none_is_shown_larger_than_its_wave(
    rollouts: Any, capsys: Any, errors: int, wave: Any, unreachable: Any, limits: tuple[int, int], told: list[str]
) -> None:
    rollouts.waves = {"wave_a": 2, "wave_b": 4}
    rollouts.budgets = (errors, 6 if unreachable == "100%" else unreachable)
    rollouts.changes = {"error_budget": errors, "wave_error_budget": wave, "unreachable_budget": unreachable}
    dummy, report = rollouts.run()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "is as large as" in line] == [f"Warning: {line}" for line in told]
    shown = [
        f"  wave_a: 2 nodes (web 2), {limits[0]} of them may fail",
        f"  wave_b: 4 nodes (web 4), {limits[1]} of them may fail",
    ]
    assert [line for line in lines if "of them may fail" in line] == shown
    assert report["rollout"]["wave_error_budgets"] == dict(zip(("wave_a", "wave_b"), limits, strict=True))
    assert any(line.startswith(f"Error budget {min(errors, 6)}, ") for line in lines)


@pytest.mark.parametrize(("limit", "warned"), [("50%", False), ("1%", False), ("100%", True), (1, True), (0, False)])
def test_a_share_that_is_rounded_up_to_a_waves_only_node_is_no_mistake(
    rollouts: Any, capsys: Any, limit: Any, warned: bool
) -> None:
    rollouts.waves, rollouts.budgets, rollouts.changes = {"wave_a": 1}, (0, 0), {"wave_error_budget": limit}
    rollouts.run()
    assert ("is as large as" in capsys.readouterr().out) == warned


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_wave_of_which_every_node_failed_always_stops_the_next(rollouts: Any, size: int) -> None:
    rollouts.waves, rollouts.budgets = {"wave_a": size, "wave_b": 2}, (9, 9)
    rollouts.changes = {"wave_error_budget": "100%"}
    code, report = rollouts.run(wave_a=fail(*CANARIES))
    assert (code, rollouts.played) == (3, ["wave_a"])
    assert report["rollout"]["stopped"] == f"wave_a: every node that was reached failed ({size} of {size})"
    # Not where none follows.
    rollouts.waves = {"wave_a": size}
    assert rollouts.run(wave_a=fail(*CANARIES))[0] == 2


def test_nodes_that_were_not_reached_do_not_make_a_wave_right(rollouts: Any) -> None:
    def play(batch: Any) -> None:
        batch.start()
        batch.send("a1")
        batch.end("a1", outcome="failed")
        batch.end("a2", outcome="unreachable", reason="agent_offline", **ENGINE)

    rollouts.budgets = (4, 4)
    code, report = rollouts.run(wave_a=play)
    assert (code, report["rollout"]["stopped"]) == (3, "wave_a: every node that was reached failed (1 of 2)")


def test_a_wave_that_failed_before_and_is_held_now_stops_the_next(rollouts: Any) -> None:
    rollouts.waves, rollouts.budgets = {"wave_a": 2, "wave_b": 2}, (9, 9)
    assert rollouts.run(wave_a=fail("a1", "a2"))[0] == 3
    rollouts.inventory = Inventory({}, {host: {"not_patchable": "held"} for host in ("a1", "a2")})
    code, report = rollouts.run()
    assert (code, rollouts.played) == (3, [])
    assert report["rollout"]["stopped"].startswith("wave_a: ")


def test_what_failed_before_and_is_held_counts_for_the_engine_too(rollouts: Any) -> None:
    rollouts.waves, rollouts.budgets = {"wave_a": 4, "wave_b": 2}, (9, 9)
    assert rollouts.run(wave_a=fail("a1", "a2", "a3"))[0] == 3
    rollouts.inventory = Inventory({}, {"a1": {"not_patchable": "held"}})
    most: list[str] = []

    def play(batch: Any) -> None:
        most.append(batch.play.variables["patch_software_max_errors"])
        batch.patch()

    assert rollouts.run(wave_a=play)[0] == 2
    assert most == ["1"]


def test_a_closed_gate_stops_it(rollouts: Any) -> None:
    closed = {"closed": ["a1: frozen"], "msg": "the gate is closed:\n a1: frozen"}

    def play(batch: Any) -> str:
        batch.event("failed", "a1", "patchwave.aws.gate", closed)
        return "the gate is closed"

    code, report = rollouts.run(wave_a=play)
    assert (code, report["rollout"]["stopped"]) == (3, "wave_a: the gate is closed: a1: frozen")


# Nothing was sent, or too little is known: the next wave does not begin.


def refused(batch: Any) -> str:
    batch.event("failed", "a1", "patchwave.aws.run_module", {"msg": "bucket 'x': NoSuchBucket\n"})
    return "FAILED"


def killed_before(batch: Any) -> None:
    batch.start()


def no_rights(batch: Any) -> None:
    batch.start()
    batch.end(*batch.hosts, outcome="unreachable", reason="access_denied", msg="may not send", **ENGINE)


def no_account(batch: Any) -> None:
    batch.start()
    batch.end(*batch.hosts, outcome="unreachable", reason="wrong_account", msg="of another account", **ENGINE)


def no_region(batch: Any) -> None:
    batch.start()
    batch.end(*batch.hosts, outcome="unreachable", reason="api_error", msg="AccessDenied", **ENGINE)


def left_out(batch: Any) -> None:
    batch.start()
    batch.end(*batch.hosts, outcome="skipped", reason="api_error", msg="cannot be read", **ENGINE)


def certainly_refused(batch: Any) -> None:
    batch.start()
    batch.write("intent", comment="c", where="w", nodes=batch.hosts)
    batch.write("refused", comment="c")


@pytest.mark.parametrize(
    "play",
    [
        refused,
        killed_before,
        no_rights,
        no_account,
        no_region,
        left_out,
        certainly_refused,
        lambda batch: "ERROR! vault",
    ],
)
def test_a_wave_of_which_nothing_was_sent_ends_the_rollout(rollouts: Any, play: Any) -> None:
    rollouts.budgets = (4, 4)
    with pytest.raises(PatchwaveError, match=r"r\.yml: wave_a: nothing was sent to its 2 nodes: ") as caught:
        rollouts.run(wave_a=play)
    assert caught.value.exit_code == 1
    assert rollouts.played == ["wave_a"]
    report = json.loads((rollouts.folder / "report.json").read_text())
    assert report["rollout"]["stopped"].startswith("wave_a: nothing was sent to its 2 nodes")
    # In the second wave something was changed in the first.
    code, report = rollouts.run(wave_b=lambda batch: play(batch))
    assert (code, rollouts.played) == (3, ["wave_a", "wave_b"])
    assert report["rollout"]["stopped"].startswith("wave_b: nothing was sent to its 2 nodes")
    # And neither is it forgotten by the next run, which has nothing to do in the first.
    assert (rollouts.run(wave_b=lambda batch: play(batch))[0], rollouts.played) == (3, ["wave_b"])


def test_ansible_that_dies_in_the_middle_ends_it_too(rollouts: Any) -> None:
    rollouts.budgets = (4, 4)

    def play(batch: Any) -> str:
        batch.start()
        batch.send("a1", "a2")
        batch.end("a1")
        return "Killed"

    code, report = rollouts.run(wave_a=play)
    assert (code, rollouts.played) == (3, ["wave_a"])
    assert report["rollout"]["stopped"] == "wave_a: 1 of 2 nodes have no result: Killed; see wave_a.log"
    assert ends(report)[:2] == [("patched", None), ("unknown", "no_result")]
    assert (rollouts.folder / "wave_a.journal").exists()


def test_an_intent_without_an_end_may_have_been_sent(rollouts: Any) -> None:
    def play(batch: Any) -> None:
        batch.start()
        batch.write("intent", comment="c1", where="w", nodes=["a1"])
        batch.write("intent", comment="c2", where="w", nodes=["a2"])
        batch.write("refused", comment="c2")

    code, report = rollouts.run(wave_a=play)
    assert code == 3
    assert ends(report)[:2] == [("unknown", "no_result"), ("skipped", "not_started")]
    assert "may have been sent" in report["nodes"][0]["msg"]


def test_what_cannot_be_read_keeps_the_next_wave_and_the_journal(rollouts: Any) -> None:
    rollouts.budgets = (4, 4)

    def play(batch: Any) -> None:
        batch.patch("a1")
        batch.end("a2", outcome="unknown", reason="api_error", msg="expired", **ENGINE)

    code, report = rollouts.run(wave_a=play)
    assert (code, rollouts.played) == (3, ["wave_a"])
    assert report["rollout"]["stopped"] == "wave_a: nothing is known of 1 of 2 nodes: expired"
    assert (rollouts.folder / "wave_a.journal").exists()
    assert (rollouts.run()[0], rollouts.played) == (0, ["wave_a", "wave_b"])


@pytest.mark.parametrize(("waves", "code"), [({"wave_a": 2, "wave_b": 2}, 3), ({"wave_a": 2}, 2)])
def test_a_wave_none_of_which_was_reached_lets_no_other_begin(rollouts: Any, waves: dict[str, int], code: int) -> None:
    rollouts.waves = waves
    away = {"outcome": "unreachable", "reason": "agent_offline", "msg": "the agent is away", **ENGINE}
    found, dummy = rollouts.run(wave_a=lambda batch: batch.patch(**away))
    assert (found, rollouts.played) == (code, ["wave_a"])
    # One node that is right makes it a wave of which something is known, now or in a later run.

    def one_is_right(batch: Any) -> None:
        batch.patch("a1")
        batch.end("a2", **away)

    rollouts.run(wave_a=one_is_right)
    assert rollouts.played == list(waves)
    rollouts.run(wave_a=lambda batch: batch.patch(**away), wave_b=lambda batch: batch.patch(**away))
    assert rollouts.played == list(waves)[:1]


def test_what_an_earlier_run_sent_and_this_one_did_not_ask_for_is_not_called_unsent(rollouts: Any) -> None:
    (rollouts.folder / "wave_a.journal").write_text("")
    code, report = rollouts.run(wave_a=lambda batch: (batch.start(), batch.send("a1"))[0])
    assert ends(report)[:2] == [("unknown", "no_result"), ("skipped", "not_started")]
    with pytest.MonkeyPatch.context():
        for ledger in rollouts.folder.glob("ledger-*"):
            ledger.unlink()
        code, report = rollouts.run(wave_a=lambda batch: "ERROR! vault")
    assert code == 3
    assert ends(report)[:2] == [("unknown", "no_result"), ("skipped", "not_started")]


# What the event stream tells.


def test_over_a_connection_each_node_tells_its_own(rollouts: Any) -> None:
    rollouts.transport, rollouts.waves, rollouts.budgets = "connection", {"wave_a": 3}, (3, 3)

    def play(batch: Any) -> None:
        for host in batch.hosts:
            batch.alone("begun", host)
        batch.alone("result", "a1", outcome="patched", source="node")
        batch.alone("result", "a2", outcome="unreachable", reason="connection", source="engine")
        batch.alone("result", "a3", token="other work", outcome="patched", source="node")

    dummy, report = rollouts.run(wave_a=play)
    assert ends(report) == [("patched", None), ("unreachable", "connection"), ("unknown", "no_result")]


def test_over_a_connection_a_node_that_had_begun_is_not_called_unsent(rollouts: Any) -> None:
    rollouts.transport = "connection"
    code, report = rollouts.run(wave_a=lambda batch: batch.alone("begun", "a1") or "Killed")
    assert (code, rollouts.played) == (3, ["wave_a"])
    assert ends(report)[:2] == [("unknown", "no_result"), ("skipped", "not_started")]


def test_events_say_nothing_of_a_batch(rollouts: Any) -> None:
    def play(batch: Any) -> None:
        batch.event("ok", "a1", "patchwave.aws.run_module", {})  # too large for ansible-runner
        batch.event("ok", "a1", "patchwave.aws.software_patch", {"outcome": "failed"})
        batch.patch()

    assert rollouts.run(wave_a=play)[0] == 0


# Stopping.


HOLDER = """
import fcntl, signal, sys, time
signal.signal(signal.SIGTERM, lambda *dummy: None)
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
while True:
    time.sleep(0.1)
"""


def test_a_stop_is_withdrawn_when_whoever_must_obey_it_is_gone(
    rollouts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The action's worker survives Ansible, which ansible-runner kills; a SIGTERM does not end it either."""
    monkeypatch.setattr(locks, "_TERMINATED", 0.3)
    command = [sys.executable, "-c", HOLDER, tmp_path / "wave_a.journal"]
    withdrawn: list[bool] = []
    unlink = Path.unlink

    def observed(path: Path, missing_ok: bool = False) -> None:
        if path.name == "stop" and processes:
            withdrawn.append(processes[0].poll() is None)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", observed)
    processes: list[subprocess.Popen[str]] = []

    def play(batch: Any) -> str:
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[0].stdout
        assert processes[0].stdout.readline() == "held\n"
        batch.write("started", token=f"patchwave {batch.play.variables['patch_software_token']}", pid=processes[0].pid)
        batch.write("intent", comment="c", where="w", nodes=["a1"])
        batch.interrupts._handle()
        batch.interrupts._handle()
        return "Killed"

    code, report = rollouts.run(wave_a=play)
    assert processes[0].wait(5) == -signal.SIGKILL
    processes[0].stdout.close()  # type: ignore[union-attr]
    assert withdrawn == [False]
    assert code == 130
    assert ends(report)[:2] == [("unknown", "no_result"), ("skipped", "not_started")]


def test_only_a_process_that_has_the_journal_open_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TERMINATED", 0.1)
    monkeypatch.setattr(locks, "_KILLED", 0.1)
    path = tmp_path / "x.journal"
    held = locks.take(path)
    assert held
    with subprocess.Popen(["sleep", "60"]) as innocent:
        assert locks.has_open(os.getpid(), path)
        assert not locks.end_holder(path, innocent.pid, 0)
        assert innocent.poll() is None
        innocent.kill()
        held.close()
    assert locks.end_holder(path, None, 0)


def test_an_interrupt_ends_with_130_and_nothing_else_begins(rollouts: Any) -> None:
    def play(batch: Any) -> None:
        batch.patch("a1")
        assert locks.is_held(rollouts.folder / "stop")
        batch.interrupts._handle()
        assert (rollouts.folder / "stop").exists()
        assert not locks.is_held(rollouts.folder / "stop")
        batch.end("a2", outcome="skipped", reason="asked_to_stop", **ENGINE)

    code, report = rollouts.run(wave_a=play)
    assert (code, rollouts.played) == (130, ["wave_a"])
    assert report["rollout"]["stopped"] == "interrupted"
    assert not (rollouts.folder / "stop").exists()


def test_a_stop_file_of_a_killed_run_stops_nothing(rollouts: Any) -> None:
    (rollouts.folder / "stop").touch()
    assert rollouts.run(wave_a=lambda batch: batch.patch() if not Path("stop").exists() else None)[0] == 0


@pytest.mark.parametrize("how", ["removed", "replaced", "folder"])
def test_a_stop_is_heard_where_no_file_can_be_made(rollouts: Any, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def play(batch: Any) -> None:
        path = batch.play.variables["patch_software_stop_file"]
        with contextlib.closing(_batch.StopFile(path)) as stop:
            if how == "folder":
                rollouts.folder.rename(rollouts.folder.with_name("away"))
            else:
                os.unlink(path)
            held = open(path, "w") if how == "replaced" else contextlib.nullcontext()  # noqa: SIM115
            with held as other:
                if other:
                    fcntl.flock(other, fcntl.LOCK_EX)
                assert not stop.asked()
                with monkeypatch.context() as full:
                    full.setattr(os, "open", lambda *dummy: _no_space())
                    batch.interrupts._handle()
                assert stop.asked()
            if how == "folder":
                rollouts.folder.with_name("away").rename(rollouts.folder)
        batch.patch()

    assert rollouts.run(wave_a=play)[0] == 130


def _no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_wave_begins_that_could_not_be_stopped(rollouts: Any) -> None:
    def play(batch: Any) -> None:
        batch.patch()
        (rollouts.folder / "stop").unlink()

    with pytest.raises(PatchwaveError, match=r"stop: was removed or replaced while the rollout ran") as caught:
        rollouts.run(wave_a=play)
    assert (caught.value.exit_code, rollouts.played) == (3, ["wave_a"])


def test_without_a_stop_file_nothing_begins(rollouts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (rollouts.folder / "stop").mkdir()
    with pytest.raises(PatchwaveError, match=r"/stop: is a folder, where a file is needed") as caught:
        rollouts.run()
    assert (caught.value.exit_code, rollouts.played) == (1, [])
    (rollouts.folder / "stop").rmdir()
    real = os.open

    def full(path: Any, *more: Any, **named: Any) -> int:
        if Path(path).name == "stop":
            _no_space()
        return real(path, *more, **named)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(PatchwaveError, match=r"/stop: cannot be made and locked: No space left on device; ") as caught:
        rollouts.run()
    assert (caught.value.exit_code, rollouts.played) == (1, [])


def test_a_payload_that_stays_is_told_and_remembered(rollouts: Any) -> None:
    def play(batch: Any) -> None:
        batch.patch()
        batch.write("leftover", bucket="b", key="k", error="AccessDenied")

    code, report = rollouts.run(wave_a=play)
    assert code == 0
    assert report["rollout"]["leftovers"] == [{"wave": "wave_a", "bucket": "b", "key": "k", "error": "AccessDenied"}]
    (line,) = (rollouts.folder / "wave_a.journal").read_text().splitlines()
    assert {key: json.loads(line)[key] for key in ("event", "bucket", "key")} == {
        "event": "leftover",
        "bucket": "b",
        "key": "k",
    }
    assert os.listdir(rollouts.folder).count(".wave_a.journal") == 0


def test_the_bar_of_a_resumed_wave_starts_at_what_is_done_and_shows_what_is_under_way(
    rollouts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts.waves, rollouts.budgets = {"wave_a": 4}, (4, 4)
    away = {"outcome": "unreachable", "reason": "agent_offline", **ENGINE}

    def half(batch: Any) -> None:
        batch.patch("a1", "a2")
        batch.end("a3", "a4", **away)

    rollouts.run(wave_a=half)
    seen: list[tuple[int, dict[str, int], int, int]] = []

    def update(view: WaveView, state: State) -> None:
        seen.append((state.total, dict(state.counts), state.sent, state.in_flight))

    monkeypatch.setattr(WaveView, "update", update)

    def rest(batch: Any) -> None:
        batch.start()
        batch.send("a3", "a4")
        while not seen or seen[-1][2] == 0:
            time.sleep(0.01)
        batch.end("a3", "a4")

    monkeypatch.setattr(wave, "_POLL", 0.01)
    assert rollouts.run(wave_a=rest)[0] == 0
    assert seen[0] in [(4, {"patched": 2}, 0, 0), (4, {"patched": 2}, 2, 2)]
    assert (4, {"patched": 2}, 2, 2) in seen
    assert seen[-1] == (4, {"patched": 4}, 2, 0)
