"""Benchmark cases `fan_out_N` and `fan_out_N_long_tail`: one command to N virtual nodes of the lab.

Nodes lie in two accounts and two regions. Their own work takes 20 s, or 5 to 120 s with a long tail. Side by side: ours
with everything in flight, ours with 100 places, and a plain boto3 script that sends in chunks and asks for each node.
`ideal_s` is the agents' own time at that concurrency. The lab runs on the same machine and is not counted.
"""

from __future__ import annotations

import heapq
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from inventory import BIN, measured

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "patchwave-lab"
ACCOUNTS = ["123456789012", "210987654321"]
WORK: dict[str, Any] = {"": 20, "_long_tail": {"lognormal": [18, 0.7]}}


def start(name: str, folder: Path, nodes: int, work: Any) -> tuple[dict[str, str], Path]:
    """Start a lab of so many virtual nodes; return its environment and its folder."""
    model = {"delivery": {"uniform": [0.05, 0.5]}, "run": work, "reply": {"uniform": [0.05, 0.5]}, "seed": 1}
    node = {"name": "v", "count": nodes, "spread": True, "tags": {"PatchGroup": "all"}, "virtual": model}
    regions = ["eu-central-1", "us-east-1"]
    scenario = folder / "scenario.yml"
    scenario.write_text(
        yaml.safe_dump({"accounts": ACCOUNTS, "regions": regions, "buckets": [BUCKET], "nodes": [node]})
    )
    lab = [BIN / "patchwave", "lab"]
    shown = subprocess.run(
        [*lab, "up", "--name", name, "--scenario", scenario], check=True, capture_output=True, text=True
    )
    exports = subprocess.run([*lab, "env", "--name", name], check=True, capture_output=True, text=True).stdout
    script = f"{exports}\nexec env -0"
    found = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout
    environment = dict(entry.split("=", 1) for entry in found.split("\0") if entry)
    return {**environment, "PATH": f"{BIN}:{os.environ['PATH']}"}, Path(
        shown.stdout.split("files: ")[1].splitlines()[0]
    )


def ours(folder: Path, places: int) -> tuple[list[str], Path]:
    """Return the command that patches the whole fleet with so many places, and its journal."""
    journal = folder / f"journal-{places}-{time.monotonic()}"
    task = {"module": "ansible.builtin.ping", "bucket": BUCKET, "journal": str(journal), "max_in_flight": places}
    tasks = [{"name": "Run", "patchwave.aws.run_module": task, "register": "batch", "run_once": True}]
    play = folder / "play.yml"
    play.write_text(
        yaml.safe_dump([{"name": "Batch", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks}])
    )
    return [str(BIN / "ansible-playbook"), str(play), "-i", str(ROOT / "inventory" / "patch_groups.yml")], journal


def plain(folder: Path) -> tuple[list[str], Path]:
    """Return the plain boto3 script's command, and its journal."""
    journal = folder / f"journal-plain-{time.monotonic()}"
    return [sys.executable, str(Path(__file__).with_name("plain_boto3.py")), str(journal)], journal


def times(journal: Path) -> list[float]:
    """Return when each node ended, in seconds after the first sending, in order."""
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    first = min(event["time"] for event in events if event["event"] == "sent")
    return sorted(event["time"] - first for event in events if event["event"] == "ended")


def ideal(nodes: int, places: int, work: float) -> float:
    """Return the least time in which so many nodes can end at so many places, when each works for so long."""
    free = [0.0] * min(nodes, places or nodes)
    for _ in range(nodes):
        heapq.heappush(free, heapq.heappop(free) + work)
    return max(free)


def run(nodes: int, tail: str = "") -> list[dict[str, Any]]:
    """Measure every tool once on the same lab."""
    rows = []
    name = f"bench-{os.getpid()}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            environment, files = start(name, folder, nodes, WORK[tail])
            tools = [("patchwave", 0, ours(folder, 0)), ("patchwave_100_places", 100, ours(folder, 100))]
            tools.append(("plain_boto3", 0, plain(folder)))
            for tool, places, (command, journal) in tools:
                if tool.startswith("patchwave"):
                    command, journal = ours(folder, places)
                before = calls(files)
                figures = measured(command, environment)
                ended = times(journal)
                if len(ended) != nodes:
                    raise SystemExit(f"{tool}: {len(ended)} nodes ended, not {nodes}")
                cuts = statistics.quantiles(ended, n=100)
                rows.append(
                    {
                        "case": f"fan_out_{nodes}{tail}",
                        "tool": tool,
                        "command": "run",
                        "nodes": nodes,
                        "ideal_s": round(ideal(nodes, places, WORK[tail]), 1) if not tail else None,
                        "t50_s": round(cuts[49], 1),
                        "t95_s": round(cuts[94], 1),
                        "t100_s": round(ended[-1], 1),
                        **{key: figures[key] for key in ("wall_s", "cpu_s", "rss_mb")},
                        "api_calls": sum((calls(files) - before).values()),
                    }
                )
        finally:
            subprocess.run([BIN / "patchwave", "lab", "down", "--name", name], check=True, capture_output=True)
    return rows


def calls(files: Path) -> Counter[str]:
    """Count the API calls that the lab saw so far."""
    return Counter(json.loads(line)["operation"] for line in (files / "api.jsonl").read_text().splitlines())
