"""Two programs in one run: by the driver over Run Command, and by the playbook over OpenSSH."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

PLAYBOOK = "patchwave.aws.patch_software"
OTHER = {
    "fixed_in": "2.0",
    "command": {
        "command": ["sh", "-c", "echo 2.0 > /opt/other"],
        "version": "2.0",
        "undo": ["sh", "-c", "echo 1.0 > /opt/other"],
    },
    "probe": {"command": ["cat", "/opt/other"]},
}


@pytest.fixture
def catalog(software: dict[str, Any]) -> dict[str, Any]:
    return {"tool": software, "other": OTHER}


def prepare(lab: Any, install: Callable[..., None], *nodes: str, sick: tuple[str, ...] = ()) -> None:
    for node in nodes:
        install(node, sick=node in sick)
        lab.exec(node, "sh", "-c", "echo 1.0 > /opt/other")


def test_a_rollout_of_two_programs(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path], catalog: dict[str, Any]
) -> None:
    prepare(lab, install, "web-01", "app-01", sick=("app-01",))
    ids = lab.nodes()
    path = rollout(catalog, software=["tool", "other"], name="several", error_budget=5, unreachable_budget="100%")
    before = lab.calls()
    lab.run("patchwave", "apply", path, check=False)
    sent = sum(count for (_, _, operation), count in (lab.calls() - before).items() if operation == "SendCommand")
    report = json.loads((path.parent / "several" / "report.json").read_text())
    nodes = {node["id"]: node for node in report["nodes"]}
    assert report["rollout"]["software"] == "tool, other"
    good, sick = nodes[ids["web-01"]], nodes[ids["app-01"]]
    assert (good["outcome"], good["version_after"]) == ("patched", "tool 2.0.0, other 2.0")
    assert (sick["outcome"], sick["version_after"]) == ("rolled_back", "tool 1.0.0, other -")
    assert lab.exec("app-01", "cat", "/opt/other") == "1.0\n"
    assert sent > 0


@pytest.mark.needs_root
def test_the_playbook_over_openssh(
    lab: Any,
    install: Callable[..., None],
    catalog: dict[str, Any],
    ssh_inventory: Path,
    tmp_path: Path,
    variables: Path,
) -> None:
    prepare(lab, install, "web-02")
    both = {**yaml.safe_load(variables.read_text()), "patch_software_catalog": catalog}
    both.update(patch_software_name=["other", "tool"], patchwave_transport="connection")
    variables.write_text(yaml.safe_dump(both))
    options = ("-i", ssh_inventory, "-e", f"@{variables}", "--limit", "web-02", "-v")
    done = lab.run("ansible-playbook", PLAYBOOK, *options, check=False)
    assert '"version_after": "other 2.0, tool 2.0.0"' in done.stdout, done.stdout + done.stderr
    assert lab.exec("web-02", "/opt/tool/current/tool") == "tool 2.0.0\n"
