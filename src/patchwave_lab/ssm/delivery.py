"""Where a step's output goes besides the API: Amazon S3 and CloudWatch Logs, with the agent's names."""

import logging
import re
import time
from typing import Any

from moto.s3.models import s3_backends

from patchwave_lab.nodes.agent import Reply
from patchwave_lab.ssm.commands import Command, Invocation, Result

log = logging.getLogger(__name__)
#: What a log group cannot have in its name becomes a dot (amazon-ssm-agent, cleanupLogGroupName).
ODD = re.compile(r"[^a-zA-Z0-9_\-/.#]")


def upload(command: Command, invocation: Invocation, result: Result, reply: Reply) -> None:
    """Write output to S3 as the agent does: with the node's rights, and silently not at all if it cannot."""
    bucket = command.request.get("OutputS3BucketName")
    if not bucket:
        return
    prefix = command.request.get("OutputS3KeyPrefix", "")
    parts = [prefix.strip("/"), command.command_id, invocation.node.node_id, result.step.folder]
    folder = "/".join(part for part in parts if part)
    base = f"https://s3.{command.region}.amazonaws.com/{bucket}/{folder}"
    result.urls = {stream: f"{base}/{stream}" for stream in ("stdout", "stderr")}
    if bucket not in s3_backends.bucket_accounts:
        log.warning("output of %s: there is no bucket %s", command.command_id, bucket)
        return
    partition, account = s3_backends.bucket_accounts[bucket]
    for stream, content in (("stdout", reply.stdout), ("stderr", reply.stderr)):
        if content:
            s3_backends[account][partition].put_object(bucket, f"{folder}/{stream}", content)


def log_group(command: Command) -> str:
    """The log group of a command; empty when it has none."""
    config = command.request.get("CloudWatchOutputConfig") or {}
    if not config.get("CloudWatchOutputEnabled"):
        return ""
    return str(config.get("CloudWatchLogGroupName") or ODD.sub(".", f"/aws/ssm/{command.document.name}"))


def put_log(command: Command, invocation: Invocation, result: Result, reply: Reply) -> None:
    """Write output to CloudWatch Logs: a stream for each step and stream, an event for each line.

    Events have this machine's time: moto refuses what it takes for the future.
    """
    group = log_group(command)
    if not group:
        return
    from moto.logs.models import logs_backends

    backend: Any = logs_backends[command.account][command.region]
    if group not in backend.groups:
        backend.create_log_group(group, {})
    step = re.sub("[:*]", "-", result.step.name)
    for stream, content in (("stdout", reply.stdout), ("stderr", reply.stderr)):
        lines = content.decode(errors="replace").splitlines()
        if lines:
            name = f"{command.command_id}/{invocation.node.node_id}/{step}/{stream}"
            backend.create_log_stream(group, name)
            events = [{"timestamp": int(time.time() * 1000), "message": line or " "} for line in lines]
            backend.put_log_events(group, name, events)
