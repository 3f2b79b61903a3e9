"""Signals, and an environment that would make the driver wait."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchwave import environment
from patchwave.interrupts import handled


@pytest.fixture
def _heard() -> Iterator[None]:
    """Hear Ctrl-C and Ctrl-Z, which whoever runs the tests may ignore; the driver obeys that."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTSTP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_heard")
def test_a_driver_cannot_be_suspended_and_still_hears_ctrl_c(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTSTP)
    with handled() as interrupts:
        for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            os.kill(os.getpid(), number)
        assert not interrupts.asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.asked()
    assert signal.getsignal(signal.SIGTSTP) == before
    assert "patchwave: cannot be suspended while a rollout runs; it goes on, Ctrl-C stops it" in capfd.readouterr().err


def test_with_pythoninspect_the_driver_ends_all_the_same() -> None:
    """On a terminal, from which Python would read for ever."""
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "patchwave.cli", "apply", "/nowhere.yml"],
            env={**os.environ, "PYTHONINSPECT": "1"},
            stdin=slave,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 1
    assert done.stderr == "patchwave: /nowhere.yml: cannot be read: No such file or directory\n"


def test_pythons_own_variables_are_not_handed_on_but_where_modules_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = ("PYTHONPATH", "PYTHONHOME", "PYTHON_KEYRING_BACKEND")
    for name in (*environment.PYTHON, *mine):
        monkeypatch.setenv(name, "1")
    found = environment.ansible(tmp_path)
    assert not set(environment.PYTHON) & found.keys()
    assert {"PYTHONINSPECT", "PYTHONSTARTUP"} <= set(environment.PYTHON)
    assert set(mine) <= found.keys()
