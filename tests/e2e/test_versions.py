"""The playbook on another ansible-core than the environment's: the oldest that we promise, by default.

`make versions` runs this with the newest as well, in PATCHWAVE_TEST_ANSIBLE: a Python that has ansible-core.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from inventory_listing import marked
from test_inventory_listing import HOSTILE, estate, exported, never_evaluated, source

__all__ = ["estate", "source"]

PLAYBOOK = ROOT / "playbooks" / "patch_software.yml"
SITE = next(Path(folder) for folder in sys.path if (Path(folder) / "ansible_collections" / "amazon").is_dir())


def oldest() -> str:
    required = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"]
    return str(re.search(r">=(\d+\.\d+)", required)[1])  # type: ignore[index]


@pytest.fixture(scope="module")
def ansible() -> dict[str, Any]:
    """Return a Python, the environment in which it imports that ansible-core, and the version."""
    given = os.environ.get("PATCHWAVE_TEST_ANSIBLE")
    environment = {"ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.collections'}:{SITE}"}
    if not given:
        folder = ROOT / "build" / f"ansible-core-{oldest()}"
        if not (folder / "ansible").is_dir():
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
            subprocess.run([*install, f"ansible-core=={oldest()}.*"], check=True, capture_output=True)
        environment["PYTHONPATH"] = str(folder)
    python = given or sys.executable
    show = [python, "-c", "import ansible.release; print(ansible.release.__version__)"]
    version = subprocess.run(show, check=True, capture_output=True, text=True, env={**os.environ, **environment}).stdout
    return {"python": python, "environment": environment, "version": version.strip()}


def play(lab: Any, ansible: dict[str, Any], variables: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [ansible["python"], "-m", "ansible", "playbook", PLAYBOOK, "-e", f"@{variables}", *options, "-v"]
    environment = {**lab.environment, **ansible["environment"]}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_it_is_the_version_that_is_meant(ansible: dict[str, Any]) -> None:
    if not os.environ.get("PATCHWAVE_TEST_ANSIBLE"):
        assert ansible["version"].startswith(f"{oldest()}.")


def test_over_run_command(lab: Any, install: Callable[..., None], variables: Path, ansible: dict[str, Any]) -> None:
    install("web-01")
    play(lab, ansible, variables, "-i", ROOT / "inventory", "--limit", lab.nodes()["web-01"])
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 2.0.0\n"


@pytest.mark.needs_root
def test_over_openssh(
    lab: Any, install: Callable[..., None], variables: Path, ssh_inventory: Path, ansible: dict[str, Any]
) -> None:
    install("web-02")
    options = ("-i", ssh_inventory, "--limit", "web-02", "-e", "patchwave_transport=connection")
    play(lab, ansible, variables, *options)
    assert lab.exec("web-02", "/opt/tool/current/tool") == "tool 2.0.0\n"


def test_listing_of_the_inventory(estate: Any, source: Path, ansible: dict[str, Any]) -> None:
    """Values are plain for a job server, and none is ever a template, in a job of its own neither."""

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [ansible["python"], "-m", "ansible", program.removeprefix("ansible-"), *map(str, arguments)]
        environment = {**estate.environment, **ansible["environment"]}
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)

    for options in ([], ["--export"]):
        found = json.loads(run("ansible-inventory", "-i", source, "--list", *options).stdout)
        assert list(marked(found["_meta"]["hostvars"][estate.nodes()["good"]])) == []
        assert set(HOSTILE.values()) <= set(marked(found["_meta"]["hostvars"][estate.nodes()["hostile"]]))
    never_evaluated(estate, source, run)
    never_evaluated(estate, exported(estate, source, run), run)
