"""`make bench`: every benchmark, one after the other; writes build/bench.json and prints a table.

QUICK=1 runs short ones instead, whose nodes work for seconds: they show what Patchwave itself takes. With names of
cases as arguments only these run, and the results of the others stay.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fan_out
import over_ssh
import rollout
from rich.console import Console
from rich.table import Table

import inventory

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench.json"
FIGURES = ("ideal_s", "t50_s", "t95_s", "t100_s", "wall_s", "wall_by_ideal", "cpu_s", "rss_mb", "api_calls")
COLUMNS = ("case", "tool", "command", *FIGURES, "calls_per_node")
QUICK = ("inventory_1000", "fan_out_200_quick", "rollout_1000_quick")
CASES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "inventory_1000": functools.partial(inventory.run, 1000),
    "inventory_10000": functools.partial(inventory.run, 10000),
    "over_ssh": functools.partial(over_ssh.run, [1000, 5000]),
    "fan_out_200_quick": functools.partial(fan_out.run, 200, "_quick"),
    "fan_out_1000": functools.partial(fan_out.run, 1000),
    "fan_out_1000_long_tail": functools.partial(fan_out.run, 1000, "_long_tail"),
    "fan_out_5000": functools.partial(fan_out.run, 5000),
    "rollout_1000_quick": functools.partial(rollout.run, 1000, rollout.TOOLS, "_quick"),
    "rollout_1000": functools.partial(rollout.run, 1000),
    "rollout_5000": functools.partial(rollout.run, 5000),
    "rollout_10000": functools.partial(rollout.run, 10000, ["patchwave_apply"]),
}


def main(names: list[str]) -> None:
    """Run the cases; each one's results are on the disk when it has ended."""
    unknown = set(names) - set(CASES)
    if unknown:
        raise SystemExit(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    kept = json.loads(RESULTS.read_text())["results"] if names and RESULTS.exists() else []
    quick = bool(os.environ.get("QUICK"))
    for name in names or (QUICK if quick else [case for case in CASES if not case.endswith("_quick")]):
        rows = CASES[name]()
        found = {(row["case"], row["tool"], row["command"]) for row in rows}
        kept = [row for row in kept if (row["case"], row["tool"], row["command"]) not in found] + rows
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"schema": 1, "results": kept}, indent=2) + "\n")
    table = Table(*COLUMNS)
    for row in kept:
        table.add_row(*("" if row.get(column) is None else str(row[column]) for column in COLUMNS))
    Console(width=180).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
