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
from functools import partial
from pathlib import Path
from typing import Protocol

from patchwave_lab import processes
from patchwave_lab.clock import Timeline
from patchwave_lab.nodes import boot, namespaces, writes, wrong_clock
from patchwave_lab.nodes.boot import Machine

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

    def power_off(self) -> None:
        """The node goes down: forget all tasks without a reply."""

    def power_on(self) -> None:
        """The node comes back."""

    def reset(self) -> None:
        """Make the node as new: forget its files and its tasks."""


class RealAgent:
    """Runs tasks inside a node's namespaces on this machine."""

    def __init__(
        self,
        machine: Machine,
        files: dict[str, str],
        pool: Executor,
        timeline: Timeline,
        furnish: Callable[[Path], None],
    ) -> None:
        #: `furnish` makes a new node's directory one of its platform.
        self._machine, self._files, self._pool, self._furnish = machine, files, pool, furnish
        self._timeline = timeline
        self._lock = threading.Lock()
        self._queue: deque[_Job] = deque()
        self._busy = 0
        self._running: dict[str, _Job] = {}
        self._full = False
        #: Called when the node went down by its own doing, such as `reboot`. Set by the world.
        self.went_down: Callable[[], None] = lambda: None
        self._create()

    def deliver(self, task: Task, started: Started, done: Done) -> None:
        """Queue a task; at most five run at once."""
        with self._lock:
            self._queue.append(_Job(task, started, done))
            if self._busy < WORKERS_PER_NODE:
                self._busy += 1
                self._pool.submit(self._work)

    def cancel(self, command_id: str) -> None:
        """Kill the task's processes, or let it end before it starts."""
        with self._lock:
            for job in [*self._queue, *self._running.values()]:
                if job.task.command_id == command_id:
                    job.cancelled = True
                    _kill(job.process)

    def power_off(self) -> None:
        """The node goes down: what runs ends without a reply, what is queued is forgotten."""
        with self._lock:
            for job in [*self._queue, *self._running.values()]:
                job.lost = True
            self._queue.clear()
        self._machine.kill()

    def power_on(self) -> None:
        """The node comes back; its enabled services start."""
        self._pool.submit(self._boot)

    def fill_disk(self, *, full: bool) -> None:
        """Let the node's disk be full, or not any more; it is brought about in a thread of the pool."""
        if full != self._full:
            self._full = full
            self._pool.submit(self._machine.fill_disk, full=full)

    def set_clock(self, seconds: float | None) -> None:
        """Let the node's clock be wrong by so many seconds, or right again."""
        wrong_clock.put(self._machine.home, seconds)

    def reset(self) -> None:
        """Make the node's directory again. What ran in it was killed before."""
        self.power_off()
        self._full = False
        processes.remove_tree(self._machine.home)
        self._create()

    def _boot(self) -> None:
        self._machine.boot()
        if self._full:
            self._machine.fill_disk(full=True)

    def _create(self) -> None:
        namespaces.create(self._machine.home)
        self._furnish(self._machine.home)
        namespaces.put_files(self._machine.home, self._files)
        boot.install_programs(self._machine.home)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._busy -= 1
                    return
                job = self._queue.popleft()
                self._running[job.task.command_id] = job
            job.started()
            try:
                reply = self._run(job)
            except Exception as error:
                log.exception("%s could not run a task", self._machine.name)
                reply = Reply(1, stderr=str(error).encode())
            with self._lock:
                self._running.pop(job.task.command_id, None)
            if not job.lost:
                job.done(reply)

    def _run(self, job: "_Job") -> Reply:
        if job.cancelled:
            return Reply(KILLED, ending="cancel")
        task, home = job.task, self._machine.home
        inner = Path("/run/patchwave-lab", task.command_id, "awsrunShellScript/0.awsrunShellScript")
        # Started before files are put into its /run, which is empty after a start.
        holder = self._machine.boot()
        folder = namespaces.upper_path(home, inner)
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "_script.sh"
        with processes.STARTING:
            script.write_text(task.script)
        script.chmod(0o700)
        outputs = home / "output" / task.command_id
        outputs.mkdir(parents=True, exist_ok=True)
        # `sh -c PATH`, as the agent does it: a first line such as #!/bin/bash counts.
        command = self._machine.enter(holder, task.working_directory, ["sh", "-c", str(inner / "_script.sh")])
        before = writes.look(home) if writes.watched(home) else None
        try:
            with open(outputs / "stdout", "w+b") as stdout, open(outputs / "stderr", "w+b") as stderr:
                code, ending = self._wait(job, command, stdout.fileno(), stderr.fileno())
                if code == KILLED and not ending and not job.lost and self._machine.fell(holder):
                    job.lost = True
                    self.went_down()
                if before is not None and (written := writes.note(home, self._machine.name, before)):
                    return Reply(1, b"", written.encode(), ending)
                stdout.seek(0)
                stderr.seek(0)
                return Reply(code, stdout.read(OUTPUT_LIMIT), stderr.read(OUTPUT_LIMIT), ending)
        finally:
            shutil.rmtree(outputs, ignore_errors=True)
            shutil.rmtree(folder.parents[1], ignore_errors=True)

    def _wait(self, job: "_Job", command: list[str], stdout: int, stderr: int) -> tuple[int, str]:
        with processes.STARTING:
            process = subprocess.Popen(
                command,
                env=self._machine.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        with self._lock:
            job.process = process
            if job.cancelled or job.lost:
                _kill(process)
        self._timeline.after(job.task.timeout, partial(self._time_out, job))
        code = process.wait()
        if job.timed_out:
            return KILLED, "timeout"
        if job.cancelled:
            return KILLED, "cancel"
        return (128 - code if code < 0 else code), ""

    def _time_out(self, job: "_Job") -> None:
        """The task's time is up, by the lab's clock."""
        with self._lock:
            if job.process is not None and job.process.poll() is None:
                job.timed_out = True
                _kill(job.process)


@dataclass(eq=False)
class _Job:
    task: Task
    started: Started
    done: Done
    process: "subprocess.Popen[bytes] | None" = None
    cancelled: bool = False
    timed_out: bool = False
    #: The node went down meanwhile: nobody replies.
    lost: bool = False


def _kill(process: "subprocess.Popen[bytes] | None") -> None:
    """Kill a task's process group, as the agent does; what left the group lives on."""
    if process is not None and process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
