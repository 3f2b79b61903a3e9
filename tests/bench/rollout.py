"""Benchmark cases `rollout_N`: one program patched on N virtual nodes, by the whole of what a user runs.

Side by side: `patchwave apply`, and `ansible-playbook patchwave.aws.patch_software`, which gives each node a task of
its own for its result. Nodes lie in two accounts and two regions, and their own work takes 20 s. Times count from the
command's start, with inventory, plan, ledger and report. Nodes answer with some 1,400 bytes, which is what the module's
own result of one program comes to; `beyond_s` is what the wall time has beyond the nodes' own work.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lab import BUCKET, Lab, running

from inventory import BIN, measured

ROOT = Path(__file__).resolve().parents[2]
WORK = {"": 20, "_quick": 4}
TOOLS = ("patchwave_apply", "ansible_playbook")
PROGRAM = {
    "fixed_in": "2.0.0",
    "archive": {"url": "https://example.com/tool.tar.gz", "sha256": "0" * 64, "version": "2.0.0"},
    "dest": "/opt/tool",
    "probe": {"command": ["/opt/tool/current/tool"]},
}
#: A result of the module as a node prints it: the outcome, versions, and what each step took and found.
RESULT = {
    **{"changed": True, "outcome": "patched", "reason": "upgraded", "name": "tool"},
    **{"version_before": "1.0.0", "version_after": "2.0.0", "msg": "tool is 2.0.0 and healthy"},
    "seconds": {"download": 0.412, "prepare": 0.087, "switch": 0.003, "probe": 0.021, "health": 0.154, "total": 0.71},
    "diff": {"before": "tool 1.0.0\n", "after": "tool 2.0.0\n"},
    "steps": [
        {"step": step, "msg": "x" * 150} for step in ("download", "verify", "unpack", "switch", "probe", "health")
    ],
}
ANSWER = f"PATCHWAVE1 {json.dumps(RESULT, separators=(',', ':'))}\n"
OVERRIDE = {"by": "the benchmark", "reason": "it runs at any time"}


def command(tool: str, folder: Path) -> list[str]:
    """Write what the tool needs and return the command."""
    inventory = ROOT / "inventory" / "patch_groups.yml"
    catalog = {"tool": PROGRAM}
    if tool == "patchwave_apply":
        (folder / "software.yml").write_text(yaml.safe_dump(catalog))
        rollout = {
            **{"schema": 1, "name": "bench", "inventory": str(inventory), "catalog": "software.yml"},
            **{"software": "tool", "waves": ["managed_nodes"], "bucket": BUCKET, "override": OVERRIDE},
        }
        (folder / "rollout.yml").write_text(yaml.safe_dump(rollout))
        return [str(BIN / "patchwave"), "apply", str(folder / "rollout.yml")]
    variables = {"patch_software_name": "tool", "patch_software_catalog": catalog, "patch_software_bucket": BUCKET}
    (folder / "variables.json").write_text(json.dumps({**variables, "gate_override": OVERRIDE}))
    playbook = ["patchwave.aws.patch_software", "-i", str(inventory), "-e", f"@{folder}/variables.json"]
    return [str(BIN / "ansible-playbook"), *playbook]


def run(nodes: int, tools: Sequence[str] = TOOLS, kind: str = "") -> list[dict[str, Any]]:
    """Measure every tool once on the same lab."""
    model = {
        **{"delivery": {"uniform": [0.05, 0.5]}, "run": WORK[kind], "reply": {"uniform": [0.05, 0.5]}, "seed": 1},
        "answers": [{"share": 1.0, "stdout": ANSWER}],
    }
    node = {"name": "v", "count": nodes, "spread": True, "tags": {"PatchGroup": "all"}, "virtual": model}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), node) as lab:
        return [measure(lab, Path(folder), tool, nodes, kind) for tool in tools]


def measure(lab: Lab, folder: Path, tool: str, nodes: int, kind: str) -> dict[str, Any]:
    """Measure one tool."""
    line = command(tool, folder)
    before, since = lab.calls(), time.time()
    figures = measured(line, lab.environment)
    ended = sorted(end - since for _, end in lab.runs(since))
    if len(ended) != nodes:
        raise SystemExit(f"{tool}: {len(ended)} nodes worked, not {nodes}")
    calls = sum((lab.calls() - before).values())
    cuts = statistics.quantiles(ended, n=100)
    return {
        "case": f"rollout_{nodes}{kind}",
        "tool": tool,
        "command": "run",
        "nodes": nodes,
        "ideal_s": WORK[kind],
        "t50_s": round(cuts[49], 1),
        "t95_s": round(cuts[94], 1),
        "t100_s": round(ended[-1], 1),
        **{key: figures[key] for key in ("wall_s", "cpu_s", "rss_mb")},
        "api_calls": calls,
        "beyond_s": round(figures["wall_s"] - WORK[kind], 1),
        "wall_by_ideal": round(figures["wall_s"] / WORK[kind], 2),
        "calls_per_node": round(calls / nodes, 3),
    }
