"""The agent of a virtual node: it answers from a latency model, with no process, thread or file."""

from collections import deque
from dataclasses import dataclass, field
from functools import partial

from patchwave_lab.clock import Timeline
from patchwave_lab.nodes.agent import KILLED, WORKERS_PER_NODE, Done, Reply, Started, Task
from patchwave_lab.nodes.latency import Model


@dataclass(eq=False, slots=True)
class _Job:
    task: Task
    started: Started
    done: Done
    run: float
    reply: float
    begun: bool = False
    over: bool = False


@dataclass(eq=False, slots=True)
class VirtualAgent:
    """Takes tasks and replies by the lab's timeline. Called with the lab's lock held."""

    node_id: str
    model: Model
    timeline: Timeline
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _queue: deque[_Job] = field(default_factory=deque)
    _taken: int = 0
    _busy: int = 0

    def deliver(self, task: Task, started: Started, done: Done) -> None:
        """Draw the task's three times; it arrives after the first."""
        self._taken += 1
        chance, model = self.model.source(self.node_id, self._taken), self.model
        arrives = model.delivery.draw(chance)
        job = _Job(task, started, done, model.run.draw(chance), model.reply.draw(chance))
        self._jobs[task.command_id] = job
        self.timeline.after(arrives, partial(self._arrive, job))

    def cancel(self, command_id: str) -> None:
        """End a task that has not ended."""
        job = self._jobs.get(command_id)
        if job is not None and not job.over:
            self._end(job, Reply(KILLED, ending="cancel"))

    def power_off(self) -> None:
        """Forget all tasks without a reply."""
        for job in [*self._queue, *self._jobs.values()]:
            job.over = True
        self._jobs.clear()
        self._queue.clear()
        self._busy = 0

    def power_on(self) -> None:
        """Nothing to do."""

    def reset(self) -> None:
        """Forget all tasks; the timeline has forgotten them too."""
        self.power_off()
        self._taken = 0

    def _arrive(self, job: _Job) -> None:
        if job.over:
            return
        if self._busy >= WORKERS_PER_NODE:
            self._queue.append(job)
            return
        self._busy += 1
        job.begun = True
        job.started()
        self.timeline.after(min(job.run, job.task.timeout), partial(self._finish, job))

    def _finish(self, job: _Job) -> None:
        if job.over:
            return
        if job.run > job.task.timeout:
            self._end(job, Reply(KILLED, ending="timeout"))
            return
        answer = self.model.answer(self.node_id)
        self._end(job, Reply(answer.exit_code, answer.stdout.encode(), answer.stderr.encode()))

    def _end(self, job: _Job, reply: Reply) -> None:
        job.over = True
        self._jobs.pop(job.task.command_id, None)
        self.timeline.after(job.reply, partial(job.done, reply))
        self._busy -= job.begun
        while self._queue and self._busy < WORKERS_PER_NODE:
            self._arrive(self._queue.popleft())
