"""A lab for a benchmark, and what it saw: the API calls, and how long each node worked."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml

from inventory import BIN

BUCKET = "patchwave-lab"
ACCOUNTS = ["123456789012", "210987654321"]
REGIONS = ["eu-central-1", "us-east-1"]


@dataclass(frozen=True)
class Lab:
    """A running lab: its name, the environment that points at it, and its folder."""

    name: str
    environment: dict[str, str]
    files: Path

    def calls(self) -> Counter[str]:
        """Count the API calls that the lab saw so far."""
        lines = (self.files / "api.jsonl").read_text().splitlines()
        return Counter(json.loads(line)["operation"] for line in lines)

    def runs(self, since: float) -> list[tuple[float, float]]:
        """Return when each node began and ended to work, by the lab's own record, of commands after a time."""
        found = []
        for account in ACCOUNTS:
            for region in REGIONS:
                pages = self._ssm(account, region).get_paginator("list_command_invocations")
                for page in pages.paginate(Details=True, PaginationConfig={"PageSize": 50}):
                    for invocation in page["CommandInvocations"]:
                        if invocation["RequestedDateTime"].timestamp() >= since:
                            plugin = invocation["CommandPlugins"][0]
                            times = plugin["ResponseStartDateTime"], plugin["ResponseFinishDateTime"]
                            found.append((times[0].timestamp(), times[1].timestamp()))
        return found

    def _ssm(self, account: str, region: str) -> Any:
        def client(service: str, region: str, keys: dict[str, str]) -> Any:
            return boto3.client(
                service,
                region_name=region,
                endpoint_url=self.environment["AWS_ENDPOINT_URL"],
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys.get("SessionToken"),
            )

        own = {key: self.environment[f"AWS_{name}"] for key, name in KEYS.items()}
        role = f"arn:aws:iam::{account}:role/patchwave"
        sts = client("sts", region, own)
        return client("ssm", region, sts.assume_role(RoleArn=role, RoleSessionName="bench")["Credentials"])


KEYS = {"AccessKeyId": "ACCESS_KEY_ID", "SecretAccessKey": "SECRET_ACCESS_KEY"}


@contextmanager
def running(folder: Path, node: dict[str, Any], accounts: list[str] = ACCOUNTS) -> Iterator[Lab]:
    """Start a lab of such nodes and end it."""
    name = f"bench-{os.getpid()}"
    scenario = folder / "scenario.yml"
    content = {"accounts": accounts, "regions": REGIONS, "buckets": [BUCKET], "nodes": [node]}
    scenario.write_text(yaml.safe_dump(content))
    lab = [str(BIN / "patchwave"), "lab"]
    try:
        shown = output([*lab, "up", "--name", name, "--scenario", str(scenario)])
        exports = output([*lab, "env", "--name", name])
        found = output(["sh", "-c", f"{exports}\nexec env -0"])
        environment = dict(entry.split("=", 1) for entry in found.split("\0") if entry)
        environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
        yield Lab(name, environment, Path(shown.split("files: ")[1].splitlines()[0]))
    finally:
        output([*lab, "down", "--name", name])


def output(command: list[str]) -> str:
    """Run a command and return what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
