"""What people write: send in chunks of 50, then ask GetCommandInvocation for each node until it has ended."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ACCOUNTS = ("123456789012", "210987654321")
REGIONS = ("eu-central-1", "us-east-1")
#: Seconds between two questions about the same node, as in many scripts and in boto3's own waiter.
PAUSE = 5
CONFIG = Config(retries={"mode": "standard", "max_attempts": 10}, max_pool_connections=20)


def client(account: str, region: str) -> Any:
    """Return a client of Systems Manager in the account."""
    role = f"arn:aws:iam::{account}:role/patchwave"
    keys = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="plain")["Credentials"]
    return boto3.client(
        "ssm",
        region_name=region,
        config=CONFIG,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def main() -> None:
    """Run a command everywhere and note when each node ended."""
    with Path(sys.argv[1]).open("a") as journal, ThreadPoolExecutor(20) as pool:

        def note(event: str, **details: Any) -> None:
            journal.write(json.dumps({"event": event, "time": time.time(), **details}) + "\n")

        waiting: dict[str, tuple[Any, str]] = {}
        for account in ACCOUNTS:
            for region in REGIONS:
                ssm = client(account, region)
                pages = ssm.get_paginator("describe_instance_information").paginate(PaginationConfig={"PageSize": 50})
                ids = [one["InstanceId"] for page in pages for one in page["InstanceInformationList"]]
                for start in range(0, len(ids), 50):
                    chunk = ids[start : start + 50]
                    sent = ssm.send_command(
                        InstanceIds=chunk, DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]}
                    )
                    note("sent", nodes=chunk)
                    waiting.update({node: (ssm, sent["Command"]["CommandId"]) for node in chunk})
        while waiting:
            time.sleep(PAUSE)

            def ask(item: tuple[str, tuple[Any, str]]) -> tuple[str, str]:
                node, (ssm, command_id) = item
                return node, ssm.get_command_invocation(CommandId=command_id, InstanceId=node)["Status"]

            for node, status in pool.map(ask, list(waiting.items())):
                if status not in ("Pending", "InProgress", "Delayed"):
                    del waiting[node]
                    note("ended", node=node)


if __name__ == "__main__":
    main()
