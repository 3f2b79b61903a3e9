"""Answers as a job server's survey gives them: all of them text, and empty text for what was left empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BUCKET, OVERRIDE, ROOT

SPECS = yaml.safe_load((ROOT / "roles" / "patch_software" / "meta" / "argument_specs.yml").read_text())
#: What is given, and what the playbook gives.
OWN = {f"patch_software_{name}" for name in ("name", "catalog", "bucket", "latest_start")}
EMPTY = {
    **dict.fromkeys(SPECS["argument_specs"]["main"]["options"].keys() - OWN, ""),
    **dict.fromkeys(("patchwave_hosts", "patchwave_transport", "patchwave_allow_empty", "gate_minutes_left"), ""),
    **dict.fromkeys(("patch_software_node_results", "patchwave_rollout"), ""),
}


def play(lab: Any, host: str, answers: dict[str, Any], playbook: object = "patchwave.aws.patch_software") -> Any:
    inventory = ("-i", ROOT / "inventory")
    return lab.run("ansible-playbook", playbook, *inventory, "--limit", host, "-e", json.dumps(answers), check=False)


def answers(software: dict[str, Any], **changes: str) -> dict[str, str]:
    catalog = json.dumps({"tool": software})
    override = json.dumps(OVERRIDE)
    own = {"patch_software_catalog": catalog, "patch_software_bucket": BUCKET, "gate_override": override}
    return {**EMPTY, "patch_software_name": "tool", **own, **changes}


@pytest.mark.parametrize("blank", ["", " "])
def test_an_empty_answer_is_the_default(
    lab: Any, install: Callable[..., None], software: dict[str, Any], blank: str
) -> None:
    install("web-01")
    host = lab.nodes()["web-01"]
    odd = {name: blank for name in EMPTY if name.endswith(("timeout", "in_flight", "errors", "payload", "results"))}
    done = play(lab, host, answers(software, **odd))
    assert done.returncode == 0, done.stdout
    assert f"changed: [{host}]" in done.stdout
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 2.0.0\n"


def test_so_it_is_for_the_roles(
    lab: Any, install: Callable[..., None], software: dict[str, Any], tmp_path: Path
) -> None:
    install("web-01")
    playbook = tmp_path / "play.yml"
    roles = ["patchwave.aws.gate", "patchwave.aws.patch_software"]
    playbook.write_text(yaml.safe_dump([{"hosts": "managed_nodes", "gather_facts": False, "roles": roles}]))
    own: dict[str, Any] = dict(answers(software))
    own["gate_override"] = OVERRIDE
    done = play(lab, lab.nodes()["web-01"], own, playbook)
    assert done.returncode == 0, done.stdout
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 2.0.0\n"


def test_numbers_truths_and_lists_may_be_text(lab: Any, install: Callable[..., None], software: dict[str, Any]) -> None:
    install("web-01")
    text = {
        "patch_software_catalog": yaml.safe_dump({"tool": software, "second": {**software, "dest": "/opt/second"}}),
        "patch_software_name": "tool, second",
        "patch_software_max_in_flight": "5",
        "patch_software_max_errors": "10%",
        "patch_software_delivery_timeout": "60",
        "patch_software_keep_payload": "false",
        "patch_software_node_results": "no",
    }
    done = play(lab, lab.nodes()["web-01"], answers(software, **text))
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 2.0.0\n", done.stdout


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("patch_software_transport", "ssh", "value of transport must be one of: run_command, connection, got: ssh"),
        ("patch_software_name", "tool,tool2", "'tool2' is not in patch_software_catalog; known programs: tool"),
        ("patch_software_catalog", "{tool: [", "patch_software_catalog: is a text that is neither JSON nor YAML"),
        ("patch_software_max_in_flight", "many", "max_in_flight"),
        ("patch_software_max_in_flight", "{{ nothing }}", "nothing"),
        ("patch_software_delivery_timeout", "0", "delivery_timeout"),
    ],
)
def test_an_answer_that_is_none_is_refused_by_name(
    lab: Any, software: dict[str, Any], name: str, value: str, said: str
) -> None:
    before = lab.calls()
    done = play(lab, lab.nodes()["web-01"], answers(software, **{name: value}))
    assert done.returncode
    assert said in done.stdout.replace('\\"', '"')
    assert not {call for call in lab.calls() - before if call[2] == "SendCommand"}
