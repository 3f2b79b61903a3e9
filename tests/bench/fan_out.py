"""Benchmark cases `fan_out_N` and `fan_out_N_long_tail`: one command to N virtual nodes of the lab.

Nodes lie in two accounts and two regions. Their own work takes 20 s, or about 5 to 120 s with a long tail. Side by
side: ours with everything in flight, ours with 100 places, AWS's own rules of "Patch now", and a plain boto3 script
that sends in chunks and asks for each node. `ideal_s` is the time of the nodes' own work at that concurrency; with a
long tail it is what the lab recorded, in the order in which the nodes began. The lab runs on the same machine and is
not counted.
"""

from __future__ import annotations

import heapq
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from lab import BUCKET, Lab, running

from inventory import BIN, measured

ROOT = Path(__file__).resolve().parents[2]
WORK: dict[str, Any] = {"": 20, "_long_tail": {"lognormal": [18, 0.6]}, "_quick": 2}
#: Tools, and how many nodes each has in flight; 0: all.
TOOLS = {"patchwave": 0, "patchwave_100_places": 100, "patch_now": "8%", "plain_boto3": 0}


def command(tool: str, folder: Path) -> tuple[list[str], Path]:
    """Return the command that sends to the whole fleet, and the journal that it writes."""
    journal = folder / f"journal-{tool}"
    if not tool.startswith("patchwave"):
        return [sys.executable, str(Path(__file__).with_name(f"{tool}.py")), str(journal)], journal
    task = {"module": "ansible.builtin.ping", "bucket": BUCKET, "journal": str(journal), "max_in_flight": TOOLS[tool]}
    tasks = [{"name": "Run", "patchwave.aws.run_module": task, "register": "batch", "run_once": True}]
    play = folder / "play.yml"
    play.write_text(
        yaml.safe_dump([{"name": "Batch", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks}])
    )
    return [str(BIN / "ansible-playbook"), str(play), "-i", str(ROOT / "inventory" / "patch_groups.yml")], journal


def times(journal: Path) -> list[float]:
    """Return when each node ended, in seconds after the first sending, in order."""
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    first = min(event["time"] for event in events if event["event"] == "sent")
    return sorted(event["time"] - first for event in events if event["event"] in ("result", "ended"))


def ideal(work: list[float], places: int) -> float:
    """Return the least time in which nodes that work for so long, in this order, can end at so many places."""
    free = [0.0] * min(len(work), places or len(work))
    for seconds in work:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def run(nodes: int, tail: str = "") -> list[dict[str, Any]]:
    """Measure every tool once on the same lab."""
    model = {"delivery": {"uniform": [0.05, 0.5]}, "run": WORK[tail], "reply": {"uniform": [0.05, 0.5]}, "seed": 1}
    node = {"name": "v", "count": nodes, "spread": True, "tags": {"PatchGroup": "all"}, "virtual": model}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), node) as lab:
        return [measure(lab, Path(folder), tool, nodes, tail) for tool in TOOLS]


def measure(lab: Lab, folder: Path, tool: str, nodes: int, tail: str) -> dict[str, Any]:
    """Measure one tool."""
    line, journal = command(tool, folder)
    before, since = lab.calls(), time.time()
    figures = measured(line, lab.environment)
    calls = sum((lab.calls() - before).values())
    ended, worked = times(journal), sorted(lab.runs(since))
    if not len(ended) == len(worked) == nodes:
        raise SystemExit(f"{tool}: {len(ended)} nodes ended and {len(worked)} worked, not {nodes}")
    places = TOOLS[tool]
    # 8 % of what one command has as its targets: a quarter of the nodes.
    in_flight = places if isinstance(places, int) else 4 * (nodes // 4 * 8 // 100)
    least = ideal([end - begin if tail else WORK[tail] for begin, end in worked], in_flight)
    cuts = statistics.quantiles(ended, n=100)
    return {
        "case": f"fan_out_{nodes}{tail}",
        "tool": tool,
        "command": "run",
        "nodes": nodes,
        "ideal_s": round(least, 1),
        "t50_s": round(cuts[49], 1),
        "t95_s": round(cuts[94], 1),
        "t100_s": round(ended[-1], 1),
        **{key: figures[key] for key in ("wall_s", "cpu_s", "rss_mb")},
        "api_calls": calls,
        "places": in_flight,
        "most_in_flight": most([begin for begin, _ in worked], [end for _, end in worked]),
        "wall_by_ideal": round(figures["wall_s"] / least, 2),
        "calls_per_node": round(calls / nodes, 3),
    }


def most(begins: list[float], ends: list[float]) -> int:
    """Return how many nodes worked at once at most."""
    flying = found = 0
    for _, change in sorted([(end, -1) for end in ends] + [(begin, 1) for begin in begins]):
        flying += change
        found = max(found, flying)
    return found
