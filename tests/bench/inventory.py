"""Benchmark cases `inventory_1000` and `inventory_10000`: amazon.aws.aws_ec2 and ours, side by side.

Both read the same endpoint, make the same groups, and run through `ansible-inventory --list` and
`ansible-playbook --list-hosts`. Ours also reads hybrid nodes and the state of every agent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
REGIONS = ["eu-central-1", "eu-west-1", "us-east-1", "us-west-2"]

SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "patchwave": ("patch_groups.yml", {"plugin": "patchwave.aws.patch_groups", "regions": REGIONS}),
    "aws_ec2": (
        "aws_ec2.yml",
        {
            "plugin": "amazon.aws.aws_ec2",
            "regions": REGIONS,
            "hostnames": ["instance-id"],
            "filters": {"tag-key": ["PatchGroup", "Patch Group"]},
            "hostvars_prefix": "ec2_",
            "groups": {"managed_nodes": True},
            "keyed_groups": [
                {"key": "ec2_tags.PatchGroup", "prefix": "patch_group"},
                {"key": "ec2_tags.PatchWave", "prefix": "wave"},
                {"key": "'linux'", "prefix": "platform"},
            ],
        },
    ),
}


@contextmanager
def endpoint(nodes: int) -> Iterator[str]:
    """Serve a fleet of so many EC2 instances."""
    command = [sys.executable, HERE / "endpoint.py", str(nodes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


def measured(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command; return its wall time, CPU time (both seconds), peak memory (MB) and output."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        if process.returncode:
            raise SystemExit(f"{command[0]} ended with {process.returncode}")
        output.seek(0)
        return {
            "wall_s": round(wall, 2),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
            "rss_mb": round(usage.ru_maxrss / 1024),
            "output": output.read(),
        }


def hosts(tool: str, command: str, output: str) -> int:
    """Count the hosts that a run found: a benchmark of wrong answers is none."""
    if command == "ansible-playbook":
        return sum(1 for line in output.splitlines() if line.strip().startswith(("i-", "mi-")))
    return len(json.loads(output)["_meta"]["hostvars"])


def run(nodes: int, rounds: int = 1) -> list[dict[str, Any]]:
    """Measure both tools by turns; return the best wall time of each, a row for each tool and command."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    with endpoint(nodes) as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        play = folder / "play.yml"
        play.write_text(yaml.safe_dump([{"hosts": "managed_nodes", "gather_facts": False, "tasks": []}]))
        environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "AKIABENCH",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
        }
        for _ in range(rounds):
            for tool, (file, source) in SOURCES.items():
                (folder / file).write_text(yaml.safe_dump(source))
                for program, arguments in (
                    ("ansible-inventory", ["--list"]),
                    ("ansible-playbook", [play, "--list-hosts"]),
                ):
                    urllib.request.urlopen(url).read()
                    command = [str(BIN / program), *map(str, arguments), "-i", str(folder / file)]
                    figures = measured(command, environment)
                    calls = json.loads(urllib.request.urlopen(url).read())
                    wanted = nodes * 6 // 5 if tool == "patchwave" else nodes
                    found = hosts(tool, program, figures.pop("output"))
                    if found != wanted:
                        raise SystemExit(f"{tool} found {found} hosts, not {wanted}")
                    row = {"command": program, **figures, "api_calls": sum(calls.values())}
                    if (tool, program) not in best or row["wall_s"] < best[tool, program]["wall_s"]:
                        best[tool, program] = row
    return [
        {
            "case": f"inventory_{nodes}",
            "tool": tool,
            "nodes": nodes,
            **row,
            **dict.fromkeys(("ideal_s", "t50_s", "t95_s", "t100_s")),
        }
        for (tool, _), row in best.items()
    ]
