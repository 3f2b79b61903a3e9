"""The agent of a node: it is handed tasks and calls back with replies.

`Agent` is the seam: a real node's agent runs a task for real; one that answers from a model fits in beside it.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from patchwave_lab import processes
from patchwave_lab.nodes import namespaces

log = logging.getLogger(__name__)
#: Commands that an agent runs at once; others queue (CommandWorkersLimit, amazon-ssm-agent constants.go).
WORKERS_PER_NODE = 5
#: Exit code of a step killed for its timeout or by a cancel (amazon-ssm-agent pluginutil_unix.go).
KILLED = 137
#: What the lab keeps of one output stream, in bytes. S3 gets this much, the API far less.
OUTPUT_LIMIT = 16 * 1024 * 1024
#: Where the agent's process stands. Not documented; seen in the wild.
DEFAULT_WORKING_DIRECTORY = "/usr/bin"


@dataclass(frozen=True)
class Task:
    """A script to run on a node. `timeout` is in seconds."""

    command_id: str
    script: str
    working_directory: str
    timeout: float


@dataclass(frozen=True)
class Reply:
    """How a task ended. `ending` says whether the agent killed it: "", "timeout" or "cancel"."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    ending: str = ""


Started = Callable[[], None]
Done = Callable[[Reply], None]


class Agent(Protocol):
    """What the service needs from a node's agent."""

    def deliver(self, task: Task, started: Started, done: Done) -> None:
        """Take a task and return at once; call `started` when it begins and `done` when it ends."""

    def cancel(self, command_id: str) -> None:
        """Stop a task that is queued or running; `done` is called all the same."""

    def reset(self) -> None:
        """Make the node as new: forget its files and its tasks."""


class RealAgent:
    """Runs tasks inside a node's namespaces on this machine."""

    def __init__(self, node_id: str, name: str, region: str, home: Path, files: dict[str, str], pool: Executor) -> None:
        self._node_id, self._name, self._region = node_id, name, region
        self._home, self._files, self._pool = home, files, pool
        self._lock = threading.Lock()
        self._queue: deque[tuple[Task, Started, Done]] = deque()
        self._busy = 0
        self._running: dict[str, subprocess.Popen[bytes] | None] = {}
        self._cancelled: set[str] = set()
        namespaces.create(home, files)

    def deliver(self, task: Task, started: Started, done: Done) -> None:
        """Queue a task; at most five run at once."""
        with self._lock:
            self._queue.append((task, started, done))
            if self._busy < WORKERS_PER_NODE:
                self._busy += 1
                self._pool.submit(self._work)

    def cancel(self, command_id: str) -> None:
        """Kill the task's processes, or let it end before it starts."""
        with self._lock:
            self._cancelled.add(command_id)
            process = self._running.get(command_id)
        if process is not None:
            _kill(process)

    def reset(self) -> None:
        """Make the node's directory again. What ran in it was killed before."""
        with self._lock:
            self._queue.clear()
            self._cancelled.update(self._running)
        processes.remove_tree(self._home)
        namespaces.create(self._home, self._files)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._busy -= 1
                    return
                task, started, done = self._queue.popleft()
                self._running[task.command_id] = None
            started()
            try:
                reply = self._run(task)
            except Exception as error:
                log.exception("%s could not run a task", self._name)
                reply = Reply(1, stderr=str(error).encode())
            with self._lock:
                self._running.pop(task.command_id, None)
                self._cancelled.discard(task.command_id)
            done(reply)

    def _run(self, task: Task) -> Reply:
        if task.command_id in self._cancelled:
            return Reply(KILLED, ending="cancel")
        inner = Path("/run/patchwave-lab", task.command_id, "awsrunShellScript/0.awsrunShellScript")
        folder = namespaces.upper_path(self._home, inner)
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "_script.sh"
        script.write_text(task.script)
        script.chmod(0o700)
        outputs = self._home / "output" / task.command_id
        outputs.mkdir(parents=True, exist_ok=True)
        # `sh -c PATH`, as the agent does it: a first line such as #!/bin/bash counts.
        command = namespaces.argv(
            self._home, self._name, task.working_directory, ["sh", "-c", str(inner / "_script.sh")]
        )
        try:
            with open(outputs / "stdout", "w+b") as stdout, open(outputs / "stderr", "w+b") as stderr:
                code, ending = self._wait(task, command, stdout.fileno(), stderr.fileno())
                stdout.seek(0)
                stderr.seek(0)
                return Reply(code, stdout.read(OUTPUT_LIMIT), stderr.read(OUTPUT_LIMIT), ending)
        finally:
            shutil.rmtree(outputs, ignore_errors=True)
            shutil.rmtree(folder.parents[1], ignore_errors=True)

    def _wait(self, task: Task, command: list[str], stdout: int, stderr: int) -> tuple[int, str]:
        process = subprocess.Popen(
            command,
            env=namespaces.environment(self._node_id, self._region),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        with self._lock:
            self._running[task.command_id] = process
            cancelled = task.command_id in self._cancelled
        if cancelled:
            _kill(process)
        try:
            code = process.wait(task.timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait()
            return KILLED, "timeout"
        with self._lock:
            cancelled = task.command_id in self._cancelled
        if cancelled:
            return KILLED, "cancel"
        return (128 - code if code < 0 else code), ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a task: unshare takes the node's process 1 with it, and the kernel everything below that."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
