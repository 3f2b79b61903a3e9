"""Benchmark cases `inventory_1000` and `inventory_10000`: amazon.aws.aws_ec2 and ours, side by side.

Both read the same endpoint, make the same groups, and run through `ansible-inventory --list` and
`ansible-playbook --list-hosts`. Ours also reads the state of every agent, and in a case of its own hybrid servers.
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
def endpoint(instances: int, servers: int) -> Iterator[str]:
    """Serve a fleet of so many EC2 instances and hybrid servers."""
    command = [sys.executable, HERE / "endpoint.py", str(instances), str(servers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


#: Runs the command for measured(): a program's peak memory is never told smaller than that of the process it came from.
STARTER = """
import json, os, sys
_, status, used = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss], file)
"""


def measured(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command, by its whole path; return its wall time, CPU time (both seconds), peak memory (MB) and output."""
    with tempfile.TemporaryFile("w+") as output, tempfile.NamedTemporaryFile("w+") as usage:
        start = time.monotonic()
        starter = [sys.executable, "-S", "-c", STARTER, usage.name]
        subprocess.run([*starter, *command], env=environment, stdout=output, stderr=subprocess.DEVNULL, check=True)
        wall = time.monotonic() - start
        code, cpu, memory = json.load(usage)
        if code:
            raise SystemExit(f"{command[0]} ended with {code}")
        output.seek(0)
        return {
            "wall_s": round(wall, 2),
            "cpu_s": round(cpu, 2),
            "rss_mb": round(memory / 1024),
            "output": output.read(),
        }


def hosts(command: str, output: str) -> int:
    """Count the hosts that a run found: a benchmark of wrong answers is none."""
    if command == "ansible-playbook":
        return sum(1 for line in output.splitlines() if line.strip().startswith(("i-", "mi-")))
    return len(json.loads(output)["_meta"]["hostvars"])


def run(instances: int) -> list[dict[str, Any]]:
    """Measure both tools on EC2 instances by turns, then ours with a hybrid server for every fifth instance as well."""
    rows = list(compare(f"inventory_{instances}", instances, 0, list(SOURCES)))
    return rows + list(compare(f"inventory_{instances}_hybrid", instances, instances // 5, ["patchwave"]))


def compare(case: str, instances: int, servers: int, tools: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a row for each tool and command."""
    with endpoint(instances, servers) as url, tempfile.TemporaryDirectory() as name:
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
        for program, arguments in (
            ("ansible-inventory", ["--list"]),
            ("ansible-playbook", [str(play), "--list-hosts"]),
        ):
            for tool in tools:
                file, source = SOURCES[tool]
                (folder / file).write_text(yaml.safe_dump(source))
                urllib.request.urlopen(url).read()
                figures = measured([str(BIN / program), *arguments, "-i", str(folder / file)], environment)
                calls = json.loads(urllib.request.urlopen(url).read())
                found = hosts(program, figures.pop("output"))
                if found != instances + servers:
                    raise SystemExit(f"{tool} found {found} hosts, not {instances + servers}")
                row = {"case": case, "tool": tool, "command": program, "nodes": found, **figures}
                yield {
                    **row,
                    "api_calls": sum(calls.values()),
                    **dict.fromkeys(("ideal_s", "t50_s", "t95_s", "t100_s")),
                }
