"""`make demo`, whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_the_demo_ends_as_its_page_says(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    # The user may have a lab of this name.
    environment |= {"PATCHWAVE_LAB_DIR": str(tmp_path / "labs"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, ROOT / "demo" / "demo.py"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Resumed: 22 of 24 nodes are done, 2 still to do" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr
    report = json.loads((ROOT / "demo" / "report.json").read_text())
    assert len(report["nodes"]) == 24
    (rolled_back,) = (node for node in report["nodes"] if node["outcome"] == "rolled_back")
    assert rolled_back["version_after"] == rolled_back["version_before"] == "1.40.0"
    assert sum(node["id"].startswith("mi-") for node in report["nodes"]) == 4
    assert (ROOT / "demo" / "report.html").read_text().startswith("<!DOCTYPE html>")
