"""`make bench`: every benchmark, one after the other; writes build/bench.json and prints a table."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fan_out
from rich.console import Console
from rich.table import Table

import inventory

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench.json"


def main() -> None:
    """Run the cases; QUICK=1 leaves the large ones out."""
    quick = bool(os.environ.get("QUICK"))
    rows = [row for size in ((1000,) if quick else (1000, 10000)) for row in inventory.run(size)]
    rows += [row for size in ((1000,) if quick else (1000, 5000)) for row in fan_out.run(size)]
    if not quick:
        rows += fan_out.run(1000, "_long_tail")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"schema": 1, "results": rows}, indent=2) + "\n")
    columns = (
        "case",
        "tool",
        "command",
        "ideal_s",
        "t50_s",
        "t95_s",
        "t100_s",
        "wall_s",
        "cpu_s",
        "rss_mb",
        "api_calls",
    )
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
