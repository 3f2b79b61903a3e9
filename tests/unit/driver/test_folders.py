from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchwave import errors, folders
from patchwave.errors import PatchwaveError


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


@pytest.mark.parametrize(
    "name", ["apply.lock", "stop", "wave_1.journal", "wave_1.log", "ledger-0.jsonl", "report.json"]
)
@pytest.mark.parametrize(
    ("kind", "said"), [("pipe", "a pipe or a device"), ("null", "a pipe or a device"), ("dir", "a folder")]
)
def test_what_is_no_file_in_the_output_folder_is_not_waited_for(
    tmp_path: Path, name: str, kind: str, said: str
) -> None:
    folders.check_files(tmp_path)
    path = tmp_path / name
    path.touch()
    folders.check_files(tmp_path)
    path.unlink()
    {"pipe": os.mkfifo, "null": lambda place: place.symlink_to("/dev/null"), "dir": Path.mkdir}[kind](path)
    with pytest.raises(PatchwaveError, match=f"{name}: is {said}, where a file is needed; move it away"):
        folders.check_files(tmp_path)


def test_a_path_that_is_too_long_says_so(tmp_path: Path) -> None:
    told = errors.of_file("x", OSError(errno.ENAMETOOLONG, "File name too long"))
    assert str(told).startswith("x: cannot be used: File name too long; choose a shorter path")
