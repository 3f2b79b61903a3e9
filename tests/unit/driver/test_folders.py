from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchwave import folders


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


DRIVER = """
import time
from patchwave.folders import private_folder
with private_folder() as folder:
    (folder / "secret").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_the_folder_of_a_killed_driver_goes_with_the_next_and_that_of_a_living_one_stays(temporary: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        theirs = Path(driver.stdout.readline().strip())
        assert theirs.stat().st_mode & 0o077 == 0
        with folders.private_folder() as ours:
            assert (theirs / "secret").exists()
        assert not ours.exists()
        driver.send_signal(signal.SIGKILL)
    with folders.private_folder() as ours:
        assert not theirs.exists()
        folders.remove_stale()
        assert ours.exists()


def test_what_is_not_a_folder_of_a_dead_driver_of_ours_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / "elsewhere").mkdir()
    (temporary / "patchwave-apply-link").symlink_to(temporary / "elsewhere")
    (temporary / "patchwave-apply-file").touch()
    (temporary / "patchwave-apply-young").mkdir()
    (temporary / "patchwave-apply-old").mkdir()
    os.utime(temporary / "patchwave-apply-old", (time.time() - 120,) * 2)
    folders.remove_stale()
    left = {"elsewhere", "patchwave-apply-link", "patchwave-apply-file", "patchwave-apply-young"}
    assert set(os.listdir(temporary)) == left
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    (temporary / "patchwave-apply-young" / ".lock").touch()
    folders.remove_stale()
    assert set(os.listdir(temporary)) == left
