"""Nobody sends for nobody: the action ends when the driver or ansible-playbook is killed. Real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import stop_marks
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control, OwnerGone
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch

NOBODY: Any = None
UNMARKED = stop_marks.Watch(NOBODY, [], "")

#: Sends to 4,000 nodes in two regions, so slowly that it never ends while this test does. Each sending is a line.
BATCH = """
import datetime, multiprocessing, os, sys, time
from types import SimpleNamespace
from ansible_collections.patchwave.aws.plugins.module_utils._service import run_command, stop_marks
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch

UNMARKED = stop_marks.Watch(None, [], "")
folder, lock, forked = sys.argv[1], sys.argv[2] or None, bool(sys.argv[3:])
nodes = [f"i-{number:08x}" for number in range(4000)]

class Service:
    def get_paginator(self, operation):
        known = [{"InstanceId": node, "PingStatus": "Online", "PlatformType": "Linux"} for node in nodes]
        pages = {"describe_instance_properties": {"InstanceProperties": known}, "list_commands": {"Commands": []}}
        return SimpleNamespace(paginate=lambda **request: [pages.get(operation, {"CommandInvocations": []})])

    def send_command(self, **request):
        with open(f"{folder}/sends", "a") as file:
            file.write("x\\n")
        time.sleep(0.2)
        if os.path.exists(f"{folder}/hang"):
            open(f"{folder}/hangs", "w")
            time.sleep(600)
        return {"Command": {"CommandId": request["Comment"], "RequestedDateTime": datetime.datetime.now(datetime.UTC)}}

    def cancel_command(self, **request):
        open(f"{folder}/cancelled", "w")

def work():
    limits = _batch.Limits(0, "0", None, "t", f"{folder}/journal", None, lock)
    with _batch.begun(limits, len(nodes), "w", {}, UNMARKED) as batch:
        batch.start()
        command = run_command.Command("d", dict, batch.token, 600, 600, lambda host, reply: False, True)
        targets = [run_command.Target(node, node, "1", Account(), f"r-{at % 2}") for at, node in enumerate(nodes)]
        sessions = SimpleNamespace(client=lambda *args, **options: Service())
        run_command.fan_out(sessions, [(command, targets)], batch.control, batch.journal.write)

if forked:
    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    worker.join()
else:
    work()
"""
OWNER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def sends(folder: Path) -> int:
    return (folder / "sends").read_text().count("x") if (folder / "sends").exists() else 0


def let_go(journal: Path) -> bool:
    """Say whether no process holds the journal."""
    with journal.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def owner(start: Callable[..., subprocess.Popen[str]], lock: Path) -> subprocess.Popen[str]:
    process = start(OWNER, lock)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("dies", ["owner", "parent"])
def test_nothing_more_is_sent_when_one_of_them_is_killed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, dies: str, hangs: bool
) -> None:
    driver = owner(start, tmp_path / "lock")
    playbook = start(BATCH, tmp_path, tmp_path / "lock", *(["forked"] if dies == "parent" else []))
    until(lambda: sends(tmp_path) >= 4 or playbook.poll() is not None, "nothing was sent")
    if hangs:  # whatever is asked of AWS from now on gets no answer
        (tmp_path / "hang").touch()
        until(lambda: (tmp_path / "hangs").exists(), "nothing hangs")
    (driver if dies == "owner" else playbook).send_signal(signal.SIGKILL)
    killed_at, before = time.monotonic(), sends(tmp_path)
    until(lambda: let_go(tmp_path / "journal"), "the batch goes on")
    assert time.monotonic() - killed_at < (10 if hangs else 5)
    # Of each region the one that was under way.
    assert sends(tmp_path) - before <= 2
    assert not (tmp_path / "cancelled").exists()
    journal = (tmp_path / "journal").read_text()
    assert '"finished"' not in journal
    assert journal.count('"intent"') - 2 <= sends(tmp_path)
    if dies == "owner":
        assert "who started this run is gone" in playbook.communicate()[1]


def test_a_run_whose_owner_is_gone_does_not_begin(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    driver = owner(start, tmp_path / "lock")
    driver.kill()
    driver.wait()
    batch = start(BATCH, tmp_path, tmp_path / "lock")
    assert "OwnerGone: who started this run is gone" in batch.communicate()[1]
    assert sends(tmp_path) == 0
    assert not (tmp_path / "journal").exists()


def test_asking_does_not_take_the_lock_away(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    watch = _batch.Owner(str(tmp_path / "lock"))
    assert watch.gone()
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert not watch.gone()
    watch.close()


def test_a_lock_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^owner_lock: .*/lock: cannot be opened: No such file or directory$"):
        _batch.Owner(str(tmp_path / "lock"))


def test_once_gone_is_gone() -> None:
    answers = iter(["gone", ""])
    control = Control(0, 0, lambda: False, lambda: next(answers, ""))
    for dummy in range(2):
        with pytest.raises(
            OwnerGone, match=r"^gone: nothing more is sent; what runs on nodes is left to the next run$"
        ):
            control.stop_reason()


def test_who_has_no_parent_that_made_it_has_none_to_lose() -> None:
    assert os.getppid() != 0
    assert _batch.Owner(None).gone() == ""


def test_a_stop_file_that_nobody_holds_stops_while_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "stop"
    for make in (path.touch, path.mkdir, lambda: os.mkfifo(path)):
        stop = _batch.StopFile(str(path))
        assert not stop.asked()
        make()
        assert stop.asked()
        assert _batch.StopFile(str(path)).asked()
        path.rmdir() if path.is_dir() else path.unlink()
        assert not stop.asked()
        stop.close()
    assert not _batch.StopFile(None).asked()


def test_who_died_with_both_locks_has_not_asked_to_stop(tmp_path: Path) -> None:
    """Nothing is cancelled then: what was sent is left to the next run."""
    limits = _batch.Limits(0, "0", None, "t", None, str(tmp_path / "stop"), str(tmp_path / "lock"))
    with (tmp_path / "lock").open("w") as lock, (tmp_path / "stop").open("w") as stop:
        for file in (lock, stop):
            fcntl.flock(file, fcntl.LOCK_EX)
        with _batch.begun(limits, 1, "w", {}, UNMARKED) as batch:
            fcntl.flock(stop, fcntl.LOCK_UN)
            assert batch.control.stop_reason() == "asked_to_stop"
            fcntl.flock(lock, fcntl.LOCK_UN)
            with pytest.raises(OwnerGone):
                batch.control.check()
            assert not batch.control._asked_to_stop()
