"""`make bench`: every benchmark, one after the other; writes build/bench.json and prints a table."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

import inventory

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench.json"


def main() -> None:
    """Run the cases; QUICK=1 leaves the large ones out."""
    sizes = (1000,) if os.environ.get("QUICK") else (1000, 10000)
    rows = [row for size in sizes for row in inventory.run(size)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"schema": 1, "results": rows}, indent=2) + "\n")
    columns = ("case", "tool", "command", "wall_s", "cpu_s", "rss_mb", "api_calls")
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
