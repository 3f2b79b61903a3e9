"""AWS's own rules of "Patch now": 8 % of the nodes at a time, a stop after ten errors, sent by tag.

One command for each account and region; AWS starts with one node, then two more, then four more, up to 8 %. The real
button works in one account and region; here all four go at once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from plain_boto3 import ACCOUNTS, PAUSE, REGIONS, client


def main() -> None:
    """Run a command everywhere and note when each node ended, by its own record."""
    with Path(sys.argv[1]).open("a") as journal:

        def note(event: str, at: float) -> None:
            journal.write(json.dumps({"event": event, "time": at}) + "\n")

        running = []
        for account in ACCOUNTS:
            for region in REGIONS:
                ssm = client(account, region)
                note("sent", time.time())
                sent = ssm.send_command(
                    Targets=[{"Key": "tag:PatchGroup", "Values": ["all"]}],
                    DocumentName="AWS-RunShellScript",
                    Parameters={"commands": ["true"]},
                    MaxConcurrency="8%",
                    MaxErrors="10",
                )
                running.append((ssm, sent["Command"]["CommandId"]))
        for ssm, command in running:
            while ssm.list_commands(CommandId=command)["Commands"][0]["Status"] in ("Pending", "InProgress"):
                time.sleep(PAUSE)
            pages = ssm.get_paginator("list_command_invocations").paginate(CommandId=command, Details=True)
            for page in pages:
                for invocation in page["CommandInvocations"]:
                    note("ended", invocation["CommandPlugins"][0]["ResponseFinishDateTime"].timestamp())


if __name__ == "__main__":
    main()
