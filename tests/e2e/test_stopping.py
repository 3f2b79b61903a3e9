"""Signals, kills and slow calls: whoever stops a rollout, or dies, leaves nothing that sends."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BIN, BUCKET, OVERRIDE, ROOT, heed_signals

from patchwave import locks

#: Kills in the test of many; `make kills` asks for 200.
KILLS = int(os.environ.get("PATCHWAVE_TEST_KILLS", "6"))
#: Seconds that a SendCommand may take that was under way when somebody died.
UNDER_WAY = 1.0
PROGRAM = {
    "fixed_in": "2.0.0",
    "archive": {"url": "https://example.com/tool.tar.gz", "sha256": "0" * 64, "version": "2.0.0"},
    "dest": "/opt/tool",
    "probe": {"command": ["/opt/tool/current/tool"]},
}


@pytest.fixture(scope="module")
def virtual(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Start a lab of 60 virtual nodes in the first wave and 8 in the second, each with work of 1.5 s."""
    model = {"delivery": 0.1, "run": 1.5, "reply": 0.1, "seed": 1}
    nodes = [
        {
            "name": f"w{wave}",
            "count": count,
            "spread": True,
            "tags": {"PatchGroup": "all", "PatchWave": str(wave)},
            "virtual": model,
        }
        for wave, count in ((1, 60), (2, 8))
    ]
    content = {
        "accounts": ["123456789012", "210987654321"],
        "regions": ["eu-central-1", "us-east-1"],
        "buckets": [BUCKET],
        "nodes": nodes,
    }
    path = tmp_path_factory.mktemp("stopping") / "scenario.yml"
    path.write_text(yaml.safe_dump(content))
    return make_lab("stopping", path)


class Rollout:
    """A rollout of its own, started and watched."""

    def __init__(self, lab: Any, folder: Path, **changes: Any) -> None:
        self.lab, self.folder, self.out = lab, folder, folder / "out"
        (folder / "software.yml").write_text(yaml.safe_dump({"tool": PROGRAM}))
        content = {
            **{"schema": 1, "name": "urgent", "inventory": str(ROOT / "inventory" / "patch_groups.yml")},
            **{"catalog": "software.yml", "software": "tool", "waves": ["wave_1", "wave_2"], "bucket": BUCKET},
            **{"override": OVERRIDE, "max_in_flight": 8, **changes},
        }
        self.path = folder / "rollout.yml"
        self.path.write_text(yaml.safe_dump(content))
        (folder / "tmp").mkdir(exist_ok=True)
        self.since = datetime.datetime.now(datetime.UTC).isoformat()

    def start(self, **options: Any) -> subprocess.Popen[str]:
        command = [BIN / "patchwave", "apply", self.path, "--output", self.out]
        given: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
            "start_new_session": True,
        }
        environment = {**self.lab.environment, "TMPDIR": str(self.folder / "tmp")}
        given["preexec_fn"] = heed_signals
        return subprocess.Popen(command, env=environment, cwd=self.folder, **{**given, **options})

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.out / "wave_1.journal"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in found if event["event"] == kind]

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "report.json").read_text()))

    def sends(self) -> list[float]:
        """Return when each SendCommand of this rollout was, in seconds since the epoch."""
        lines = (self.lab.folder / "api.jsonl").read_text().splitlines()
        calls = [call for call in map(json.loads, lines) if call["operation"] == "SendCommand"]
        times = [
            datetime.datetime.fromisoformat(call["time"]).timestamp() for call in calls if call["time"] > self.since
        ]
        return sorted(times)

    def calls(self) -> int:
        """Return how many API calls there were since this rollout began."""
        lines = (self.lab.folder / "api.jsonl").read_text().splitlines()
        return sum(json.loads(line)["time"] > self.since for line in lines)

    def processes(self) -> list[int]:
        """Return all that was started for this rollout and lives: it has its temporary folder in the environment."""
        marker = f"TMPDIR={self.folder / 'tmp'}".encode()
        return [int(entry.parent.name) for entry in Path("/proc").glob("[0-9]*/environ") if marker in read(entry)]

    def leftovers(self) -> list[str]:
        """Return the private folders that are left."""
        return os.listdir(self.folder / "tmp")


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def until(what: Callable[[], Any], process: subprocess.Popen[str] | None = None, seconds: float = 60) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture
def started(virtual: Any, tmp_path: Path) -> Iterator[tuple[Rollout, subprocess.Popen[str]]]:
    """Start a rollout; it has sent its first commands and will send many more."""
    rollout = Rollout(virtual, tmp_path, error_budget="100%")
    with rollout.start() as process:
        try:
            until(lambda: rollout.events("sent"), process)
            yield rollout, process
        finally:
            process.kill()


def ended(rollout: Rollout) -> dict[str, str]:
    return {node["host"]: node["outcome"] for node in rollout.report()["nodes"]}


def test_a_killed_driver_leaves_nothing_that_sends(started: tuple[Rollout, subprocess.Popen[str]]) -> None:
    rollout, process = started
    process.kill()
    killed = time.time()
    process.wait()
    until(lambda: not rollout.processes(), seconds=5)
    sends = rollout.sends()
    assert not [when for when in sends if when > killed + UNDER_WAY]
    asked = {host for intent in rollout.events("intent") for host in intent["nodes"]}
    assert rollout.leftovers()  # nobody was left to remove it
    # The next run takes it up, and removes what the first has left behind.
    again = rollout.start()
    output, dummy = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert set(ended(rollout).values()) == {"patched"}
    assert rollout.leftovers() == []
    assert asked
    assert len(rollout.sends()) > len(sends)


@pytest.mark.parametrize("seed", range(KILLS))
def test_whoever_is_killed_at_any_call_nothing_goes_on_sending(virtual: Any, tmp_path: Path, seed: int) -> None:
    """The driver every other time, else any process below it; after so many calls as a whole rollout makes."""
    dice = random.Random(seed)
    rollout = Rollout(virtual, tmp_path, max_in_flight=30, error_budget="100%")
    with rollout.start() as process:
        calls = dice.randrange(60)
        while process.poll() is None and rollout.calls() < calls:
            time.sleep(0.01)
        others = [pid for pid in rollout.processes() if pid != process.pid]
        victim = process.pid if seed % 2 == 0 or not others else dice.choice(others)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        killed = time.time()
        process.communicate(timeout=60)
    if victim == process.pid:
        until(lambda: not rollout.processes(), seconds=5)
    assert not rollout.processes()
    late = [when - killed for when in rollout.sends() if when > killed + UNDER_WAY]
    whole = process.returncode == 0  # it hit nothing: a process that had done its part, such as ansible-inventory
    assert whole or not late, (calls, victim, process.returncode)


@pytest.mark.parametrize("whom", ["ansible", "action"])
def test_what_dies_below_the_driver_ends_the_rollout_and_leaves_nothing_that_sends(
    started: tuple[Rollout, subprocess.Popen[str]], whom: str
) -> None:
    rollout, process = started
    action = rollout.events("started")[-1]["pid"]
    parent = int(Path(f"/proc/{action}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(action if whom == "action" else parent, signal.SIGKILL)
    killed = time.time()
    output, dummy = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert not rollout.processes()
    assert not [when for when in rollout.sends() if when > killed + UNDER_WAY]
    report = rollout.report()
    asked = {host for intent in rollout.events("intent") for host in intent["nodes"]}
    for node in report["nodes"]:
        assert (node["host"] in asked) == (node["outcome"] in ("patched", "unknown"))
    assert "nodes have no result" in report["rollout"]["stopped"]
    assert {node["outcome"] for node in report["nodes"] if node["wave"] == "wave_2"} == {"skipped"}


def test_a_closed_terminal_is_a_stop_and_the_report_is_written(
    started: tuple[Rollout, subprocess.Popen[str]],
) -> None:
    rollout, process = started
    assert process.stdout
    process.stdout.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 130
    assert rollout.report()["rollout"]["stopped"] == "interrupted"
    assert {"patched", "skipped"} == set(ended(rollout).values())
    assert not rollout.processes()
    assert rollout.leftovers() == []


def test_ctrl_z_does_not_keep_a_driver_from_hearing_ctrl_c(started: tuple[Rollout, subprocess.Popen[str]]) -> None:
    rollout, process = started
    process.send_signal(signal.SIGTSTP)
    process.send_signal(signal.SIGINT)
    output, dummy = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "cannot be suspended while a rollout runs" in output
    assert not rollout.processes()


def test_two_interrupts_while_calls_are_slow_leave_nothing_that_sends_and_no_node_is_called_unsent(
    virtual: Any, tmp_path: Path
) -> None:
    rollout = Rollout(virtual, tmp_path)
    process = rollout.start()
    try:
        until(lambda: rollout.events("sent"), process)
        virtual.run("patchwave", "lab", "fault", "--name", virtual.name, "region-slow", "--set", "seconds=3")
        before = len(rollout.events("intent"))
        until(lambda: len(rollout.events("intent")) > before, process)  # a sending is under way for 3 s
        process.send_signal(signal.SIGINT)
        until(lambda: not locks.is_held(rollout.out / "stop"), process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        output, dummy = process.communicate(timeout=60)
    finally:
        virtual.run("patchwave", "lab", "fault", "--name", virtual.name, "--clear")
        process.kill()
        process.communicate()
    assert process.returncode == 130, output
    assert not rollout.processes()
    assert not (rollout.out / "stop").exists()
    asked = {host for intent in rollout.events("intent") for host in intent["nodes"]}
    words = {node["host"]: (node["outcome"], node["msg"]) for node in rollout.report()["nodes"]}
    assert {host for host in asked if words[host][0] not in ("patched", "unknown")} == set()
    assert {words[host][0] for host in words.keys() - asked} == {"skipped"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_while_the_inventory_is_read_is_a_line(virtual: Any, tmp_path: Path, number: signal.Signals) -> None:
    rollout = Rollout(virtual, tmp_path)
    virtual.run("patchwave", "lab", "fault", "--name", virtual.name, "region-slow", "--set", "seconds=3")
    try:
        process = rollout.start()
        until(lambda: len(rollout.processes()) > 1, process)
        process.send_signal(number)
        output, dummy = process.communicate(timeout=20)
    finally:
        virtual.run("patchwave", "lab", "fault", "--name", virtual.name, "--clear")
    assert process.returncode == 130, output
    assert output.splitlines()[1:] == ["patchwave: stopped before anything was sent"]
    assert not rollout.processes()
    assert rollout.leftovers() == []
    assert not rollout.out.exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-", ">/dev/full"])
def test_streams_that_the_caller_has_closed_are_not_missed(virtual: Any, tmp_path: Path, closed: str) -> None:
    rollout = Rollout(virtual, tmp_path, waves=["wave_2"], max_in_flight=0, not_in_waves="allowed")
    command = f'"{BIN}/patchwave" apply "{rollout.path}" --output "{rollout.out}" {closed}'
    done = subprocess.run(["bash", "-c", command], env=virtual.environment, cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert set(ended(rollout).values()) == {"patched"}
