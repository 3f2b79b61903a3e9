# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real applications that need an interpreter, in two real versions of which the newer one fixed a published flaw."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from .conftest import Node
from .test_programs import wheel


def walk(node: Node, args: dict[str, t.Any], shows: str, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Patch from old to new: rolled back while a health check refuses new, then patched, then current.

    Args:
        shows: shell command that tells the versions apart without asking what the probe asks.
        old: a version, and what C(shows) prints for it.
        new: the same.
    """
    refuses, accepts = (
        {"command": ["sh", "-c", f'test "$({shows})" = "{seen}"'], "retries": 0, "delay": 0.0}
        for dummy, seen in (old, new)
    )
    done = node.patch(dict(args, health=refuses))
    assert (done["outcome"], done["reason"], done["version_after"]) == ("rolled_back", "health_failed", old[0]), done
    assert node.sh(shows).strip() == old[1]
    done = node.patch(dict(args, health=accepts))
    assert (done["outcome"], done["version_before"], done["version_after"]) == ("patched", old[0], new[0]), done
    assert node.sh(shows).strip() == new[1]
    assert node.patch(dict(args, health=accepts))["outcome"] == "current"


def source(path: Path, version: str, **more: t.Any) -> dict[str, t.Any]:
    return {"url": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "version": version, **more}


def test_a_node_js_application(node: Node, tmp_path: Path) -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs node and npm (make system)")
    command = ["npm", "pack", "--silent", "marked@4.0.9", "marked@4.0.10"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    unpack = "mkdir -p /opt/marked/4.0.9; tar xzf $1 -C /opt/marked/4.0.9 --strip-components=1"
    node.sh(unpack + "; ln -s 4.0.9 /opt/marked/current", tmp_path / "marked-4.0.9.tgz")
    run = ["node", "/opt/marked/current/bin/marked"]
    args = {
        "name": "marked",
        "fixed_in": "4.0.10",
        "archive": source(tmp_path / "marked-4.0.10.tgz", "4.0.10", strip=1),
        "dest": "/opt/marked",
        "probe": {"command": [*run, "--version"]},
    }
    shows = 'sed -n \'s/^  "version": "\\(.*\\)",/\\1/p\' /opt/marked/current/package.json'
    walk(node, args, shows, ("4.0.9", "4.0.9"), ("4.0.10", "4.0.10"))
    assert node.sh("echo '# It works' | " + " ".join(run)) == '<h1 id="it-works">It works</h1>\n\n'


def test_a_python_application_in_its_own_virtual_environment(node: Node, tmp_path: Path) -> None:
    for version in ("0.4.3", "0.4.4"):
        wheel(tmp_path, "sqlparse", version)
    venv, pip = "/opt/sqlparse/venv", [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python"]
    node.run(sys.executable, "-m", "venv", "--without-pip", venv)

    def install(version: str) -> list[str]:
        options = ["install", "-q", "--no-index", "--no-deps", "--find-links", str(tmp_path / f"sqlparse-{version}")]
        return [*pip, f"{venv}/bin/python", *options, f"sqlparse=={version}"]

    node.run(*install("0.4.3"))
    args = {
        "name": "sqlparse",
        "fixed_in": "0.4.4",
        "versioning": "pep440",
        "command": {"command": install("0.4.4"), "version": "0.4.4", "undo": install("0.4.3")},
        "probe": {"command": [f"{venv}/bin/sqlformat", "--version"]},
    }
    shows = f"cd {venv}/lib/python3*/site-packages; echo sqlparse-*.dist-info"
    seen = [(version, f"sqlparse-{version}.dist-info") for version in ("0.4.3", "0.4.4")]
    walk(node, args, shows, *seen)
    assert node.sh(f"echo 'select 1' | {venv}/bin/sqlformat -k upper -").strip() == "SELECT 1"
