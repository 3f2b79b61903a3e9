import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from patchwave_lab import processes

SCENARIO = Path(__file__).with_name("scenario.yml")
#: botocore would check minima itself, and retry errors; the tests want to see what the lab says.
CONFIG = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
TERMINAL = {"Success", "Failed", "TimedOut", "Cancelled"}


def eventually(condition: Callable[[], object], patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def called(pid: int) -> bytes:
    """A process's words, each with a zero byte behind it; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@dataclass
class Lab:
    name: str
    environment: dict[str, str]
    home: Path
    clients: dict[tuple[str, ...], Any] = field(default_factory=dict)
    eventually = staticmethod(eventually)

    def cli(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "patchwave_lab", *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def must(self, *arguments: str, stdin: str = "") -> str:
        done = self.cli(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def dir(self) -> Path:
        return self.home / self.name

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.dir / "lab.json").read_text()))

    def ids(self, *names: str) -> list[str]:
        known = {node["name"]: node["node_id"] for node in self.state["nodes"]}
        return [known[name] for name in names]

    def client(self, service: str, region: str = "eu-west-1", **credentials: str) -> Any:
        state = self.state
        keys = credentials or {
            "aws_access_key_id": state["access_key"],
            "aws_secret_access_key": state["secret_key"],
        }
        wanted = (service, region, *keys.values())
        if wanted not in self.clients:
            self.clients[wanted] = boto3.client(
                service, endpoint_url=state["endpoint"], region_name=region, config=CONFIG, **keys
            )
        return self.clients[wanted]

    def assumed(self, account: str, **options: Any) -> dict[str, str]:
        role = self.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{account}:role/patching", RoleSessionName="test", **options
        )["Credentials"]
        return {
            "aws_access_key_id": role["AccessKeyId"],
            "aws_secret_access_key": role["SecretAccessKey"],
            "aws_session_token": role["SessionToken"],
        }

    def api_log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.dir / "api.jsonl").read_text().splitlines()]

    def tell(self, verb: str, **body: Any) -> dict[str, Any]:
        """What `patchwave lab clock`, `fault` and `switch` send, without a process for it; {error} where it fails."""
        state = self.state
        request = urllib.request.Request(
            f"{state['endpoint']}/_lab/{verb}",
            data=json.dumps(body).encode(),
            headers={"X-Patchwave-Lab-Token": state["control_token"]},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as refused:
            with refused:
                return dict(json.load(refused))

    def advance(self, seconds: float) -> None:
        self.tell("advance", seconds=seconds)

    def send(self, ids: list[str], *commands: str, region: str = "eu-west-1", **options: Any) -> str:
        """Send AWS-RunShellScript and return the command's id; lower-case options are document parameters."""
        parameters = {key: [options.pop(key)] for key in list(options) if key[0].islower()}
        target = {"InstanceIds": ids} if ids else {}
        sent = self.client("ssm", region).send_command(
            **target,
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": list(commands), **parameters},
            **options,
        )
        return str(sent["Command"]["CommandId"])

    def finished(self, command_id: str, patience: float = 60) -> dict[str, dict[str, Any]]:
        """Wait for a command, then its invocations with details, by node id."""

        def over() -> bool:
            command = self.command(command_id)
            return command["Status"] in TERMINAL and command["CompletedCount"] == command["TargetCount"]

        eventually(over, patience)
        shown = self.client("ssm").list_command_invocations
        eventually(lambda: shown(CommandId=command_id)["CommandInvocations"])
        pages = (
            self.client("ssm").get_paginator("list_command_invocations").paginate(CommandId=command_id, Details=True)
        )
        return {each["InstanceId"]: each for page in pages for each in page["CommandInvocations"]}

    def run(self, ids: list[str], *commands: str, **options: Any) -> dict[str, dict[str, Any]]:
        return self.finished(self.send(ids, *commands, **options))

    def waits(self, name: str) -> str:
        """Shell that waits, on a node, for `go`."""
        self.cli("exec", name, "--", "rm", "-f", "/tmp/go")
        return "until test -e /tmp/go; do sleep 0.05; done"

    def go(self, name: str) -> None:
        """End what waits on a node."""
        self.must("exec", name, "--", "touch", "/tmp/go")

    def run_one(self, name: str, *commands: str, **options: Any) -> dict[str, Any]:
        """Run on one node and return GetCommandInvocation's answer."""
        (node_id,) = self.ids(name)
        command_id = self.send([node_id], *commands, **options)
        self.finished(command_id)
        return dict(self.client("ssm").get_command_invocation(CommandId=command_id, InstanceId=node_id))

    def idle(self, name: str) -> None:
        """Wait until a node's agent has handed in all that commands printed there."""
        (node_id,) = self.ids(name)
        eventually(lambda: not any((self.dir / "nodes" / node_id / "output").glob("*")))

    def runs(self, *command: str) -> int:
        """How many processes in the lab's nodes were called by just these words."""
        wanted = "\0".join((*command, "")).encode()
        return sum(called(pid) == wanted for pid in processes.inside(self.dir))

    def command(self, command_id: str) -> dict[str, Any]:
        return dict(self.client("ssm").list_commands(CommandId=command_id)["Commands"][0])


@pytest.fixture(scope="session")
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Lab]]:
    """Makes labs that are not started; all are taken down in the end."""
    home = tmp_path_factory.mktemp("labs")
    labs = []

    def make() -> Lab:
        name = f"t{uuid.uuid4().hex[:8]}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PATCHWAVE_"))}
        labs.append(Lab(name, {**kept, "PATCHWAVE_LAB_NAME": name, "PATCHWAVE_LAB_DIR": str(home)}, home))
        return labs[-1]

    yield make
    command = [sys.executable, "-m", "patchwave_lab", "down"]
    for ending in [subprocess.Popen(command, env=lab.environment) for lab in labs if lab.dir.exists()]:
        ending.wait(120)


@pytest.fixture(scope="session")
def lab(new_lab: Callable[[], Lab]) -> Lab:
    """The lab that most tests share."""
    made = new_lab()
    made.must("up", "--scenario", str(SCENARIO))
    return made


@pytest.fixture(scope="session")
def ssm(lab: Lab) -> Any:
    return lab.client("ssm")


@pytest.fixture(scope="session")
def patient(new_lab: Callable[[], Lab], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab where a dead agent is waited for, and whose clock a test may advance."""
    file = tmp_path_factory.mktemp("scenario") / "patient.yml"
    file.write_text(
        'accounts: ["111111111111"]\nregions: [eu-west-1]\n'
        "settings: {undeliverable_seconds: null, acknowledge_seconds: 60, consistency_seconds: 15}\n"
        "nodes:\n- {name: dead, agent: off}\n- {name: slow}\n"
        "- {name: long, count: 12, virtual: {delivery: 0, run: 1000, reply: 0}}\n"
        "- {name: bad, virtual: {delivery: 0, run: 500, reply: 0, answers: [{exit_code: 1}]}}\n"
    )
    made = new_lab()
    made.must("up", "--scenario", str(file))
    return made
