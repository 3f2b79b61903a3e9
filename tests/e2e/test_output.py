"""Whatever becomes of the standard streams: one line, a true exit code, and nothing lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN

#: What a shell does with the streams of a command, the pipe's reader being gone.
STREAMS = {"full": ">/dev/full", "closed": ">&-", "all closed": "<&- >&- 2>&-", "both full": ">/dev/full 2>&1"}


def shell(lab: Any, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**lab.environment, "PATH": f"{BIN}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    "command", ["--help", "apply --help", "lab --help", "lab status --name {0}", "lab env --name {0}"]
)
def test_output_that_cannot_be_written_is_a_line(lab: Any, tmp_path: Path, command: str) -> None:
    done = shell(lab, f"patchwave {command.format(lab.name)} >/dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "patchwave: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "command", ["--help", "apply --help", "lab --help", "lab status --name {0}", "lab env --name {0}"]
)
def test_a_reader_that_goes_away_is_told_of_nothing(lab: Any, tmp_path: Path, command: str) -> None:
    done = shell(lab, f"set -o pipefail; patchwave {command.format(lab.name)} | true", tmp_path)
    assert done.returncode in (0, 1)  # it may have written all before
    assert done.stderr == ""


@pytest.mark.parametrize("streams", [*STREAMS.values(), "| true", "| head -n 1", "2>&1 | true"])
def test_a_rollout_ends_as_it_would_and_its_report_has_all(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path], tmp_path: Path, streams: str
) -> None:
    install("web-01", "app-01", "db-01")
    install("batch-01", sick=True)
    path = rollout(error_budget=1)
    done = shell(lab, f"patchwave apply {path} {streams}; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    report = json.loads((tmp_path / "urgent" / "report.json").read_text())
    ends = sorted(node["outcome"] for node in report["nodes"])
    assert ends == ["patched", "patched", "patched", "rolled_back"]


@pytest.mark.parametrize("streams", STREAMS.values())
def test_a_mistake_ends_as_it_would(lab: Any, rollout: Callable[..., Path], tmp_path: Path, streams: str) -> None:
    done = shell(lab, f"patchwave apply {rollout(schema=2)} {streams}", tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    if "2>" not in streams:
        assert done.stderr == f"patchwave: {tmp_path}/rollout.yml: schema: must be one of 1, not 2\n"
