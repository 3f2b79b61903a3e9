"""Run Command at work: sends a command's invocations out, takes the replies, keeps the timeouts.

Everything here runs with the world's lock held.
"""

from dataclasses import replace
from functools import partial

from patchwave_lab.nodes.agent import Reply
from patchwave_lab.ssm import alarms, control_flow, delivery, events
from patchwave_lab.ssm.commands import ERRORS, Command, Invocation, Result
from patchwave_lab.world import ManagedNode, World

#: How much of a stream is kept for the API, in characters: enough to tell that it was cut.
KEPT = 24_001
#: How often, and until how old, an agent resumes a command (amazon-ssm-agent constants.go, processor.go).
RESUME_LIMIT, RESUME_SECONDS = 15, 48 * 3600


class Engine:
    """All commands of all accounts and regions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._commands: dict[tuple[str, str], dict[str, Command]] = {}
        #: Delivered and not ended, by node.
        self._active: dict[str, list[tuple[Command, Invocation]]] = {}
        #: Sent to nodes that do not answer, by node.
        self._waiting: dict[str, list[tuple[Command, Invocation]]] = {}
        world.on_reset += [self._commands.clear, self._active.clear, self._waiting.clear]
        world.on_faults.append(self._try_again)
        world.power.on_boot.append(self._resume)

    def commands(self, account: str, region: str) -> dict[str, Command]:
        """Commands of one account and region by id, in the order they were sent."""
        return self._commands.setdefault((account, region), {})

    def pending(self, account: str, region: str) -> int:
        """Invocations that have not ended."""
        return sum(each.open for each in self.commands(account, region).values())

    def submit(self, command: Command) -> None:
        """Take on a new command."""
        self.commands(command.account, command.region)[command.command_id] = command
        timeline = self.world.timeline
        timeline.after(0, partial(self._pump, command))
        timeline.after(command.timeout, partial(self._expire_undelivered, command))
        timeline.after(command.expires - command.requested, partial(self._expire, command))

    def cancel(self, command: Command, node_ids: list[str]) -> None:
        """Cancel what has not ended: at once where nothing was delivered, else by asking the agent."""
        chosen = [command.invocations[node_id] for node_id in node_ids or command.invocations]
        command.cancelling = command.cancelling or not node_ids
        for invocation in chosen:
            if invocation.over:
                continue
            if invocation.delivered:
                invocation.details = "Cancelling"
                if self.world.faults.hit("cancel-ignored", invocation.node.place):
                    self.world.timeline.after(0, partial(self._end, command, invocation, "Cancelled"))
                else:
                    invocation.node.agent.cancel(command.command_id)
            else:
                self._end(command, invocation, "Cancelled")

    def _pump(self, command: Command) -> None:
        """Send as many invocations as MaxConcurrency and the ramp allow: 1, then +2, +4, ... up to the cap."""
        while command.waiting and not command.stopped:
            command.triggered = alarms.triggered(command)
            if command.triggered:
                self._stop(command, self.world.settings.alarm_details)
                if command.over:
                    events.announce(command, None, self.world.clock.now())
                return
            if command.flying >= command.cap or command.sent >= command.quota:
                break
            invocation = command.waiting.popleft()
            if invocation.over:
                continue
            self._send(command, invocation)
            if command.sent == command.quota:
                self.world.timeline.after(self.world.settings.acknowledge_seconds, partial(self._ramp, command))

    def _ramp(self, command: Command) -> None:
        command.quota = command.quota * 2 + 1
        if command.quota >= command.cap:
            command.quota = float("inf")
        self._pump(command)

    def _send(self, command: Command, invocation: Invocation) -> None:
        invocation.sent, invocation.details = True, "InProgress"
        command.sent, command.flying = command.sent + 1, command.flying + 1
        if command.sent == 1:
            events.announce(command, None, self.world.clock.now())
        events.announce(command, invocation, self.world.clock.now())
        node, timeline = invocation.node, self.world.timeline
        if node.platform.type not in command.document.platforms:
            timeline.after(0, partial(self._end, command, invocation, "InvalidPlatform"))
        elif self.world.faults.hit("access-denied", node.place):
            timeline.after(0, partial(self._end, command, invocation, "AccessDenied"))
        elif self.world.connected(node):
            self._hand_over(command, invocation)
        else:
            self._waiting.setdefault(node.node_id, []).append((command, invocation))
            timeline.after(self.world.settings.delayed_seconds, partial(self._delay, command, invocation))
            patience = self.world.settings.undeliverable_seconds
            if patience is not None:
                timeline.after(patience, partial(self._give_up, command, invocation))

    def _hand_over(self, command: Command, invocation: Invocation) -> None:
        """Give a node's agent what it is to do."""
        invocation.delivered, invocation.details = True, "InProgress"
        self._active.setdefault(invocation.node.node_id, []).append((command, invocation))
        self._deliver(command, invocation)

    def _delay(self, command: Command, invocation: Invocation) -> None:
        """A node that did not answer at first is tried again until the delivery timeout."""
        if not invocation.delivered and not invocation.over:
            invocation.details = "Delayed"
            events.announce(command, invocation, self.world.clock.now())

    def _give_up(self, command: Command, invocation: Invocation) -> None:
        if not invocation.delivered:
            self._end(command, invocation, "Undeliverable")

    def _try_again(self) -> None:
        """Hand over what waits for agents that answer again."""
        for node_id, pairs in list(self._waiting.items()):
            left = [(command, invocation) for command, invocation in pairs if not invocation.over]
            if left and self.world.connected(left[0][1].node):
                for pair in left:
                    self._hand_over(*pair)
                left = []
            if left:
                self._waiting[node_id] = left
            else:
                del self._waiting[node_id]

    def _deliver(self, command: Command, invocation: Invocation) -> None:
        """Hand the next step to the agent; twice if that fault is on. What does not fit the platform is skipped."""
        while (result := invocation.current) and (why := invocation.why_skipped(result)):
            result.details, result.response_code, result.stdout = "Success", 0, why
        if result is None:
            self._end(command, invocation, _aggregate(invocation))
            return
        agent, task = invocation.node.agent, result.step.task(command.command_id, command.values)
        started = partial(self._started, command, invocation, result)
        agent.deliver(task, started, partial(self._replied, command, invocation, result))
        if self.world.faults.hit("duplicate-delivery", invocation.node.place):
            agent.deliver(replace(task, command_id=f"{task.command_id}-again"), lambda: None, lambda _: None)

    def _resume(self, node: ManagedNode) -> None:
        """A node is back: its agent runs again what it was running, up to a limit, from the start."""
        for command, invocation in self._active.get(node.node_id, []):
            if invocation.over or invocation.deaf:
                continue
            too_old = self.world.clock.now() - command.requested > RESUME_SECONDS
            if invocation.resumes >= RESUME_LIMIT or too_old:
                invocation.deaf = True
                continue
            invocation.resumes += 1
            self._deliver(command, invocation)
        self._try_again()

    def _started(self, command: Command, invocation: Invocation, result: Result) -> None:
        with self.world.lock:
            result.started = result.started or self.world.clock.now()
            fault = self.world.faults.hit("agent-restart", invocation.node.place)
            if fault:
                invocation.deaf = True
                self.world.timeline.after(
                    fault.numbers["seconds"], partial(self._end, command, invocation, "Undeliverable")
                )

    def _replied(self, command: Command, invocation: Invocation, result: Result, reply: Reply) -> None:
        """Take an agent's reply. One that comes too late is dropped, as AWS drops it."""
        with self.world.lock:
            if invocation.over or self.commands(command.account, command.region).get(command.command_id) is not command:
                return
            if invocation.deaf or self.world.faults.hit("lost-reply", invocation.node.place):
                invocation.deaf = True
                return
            if reply.exit_code == control_flow.REBOOT and not reply.ending:
                self.world.power.reboot(invocation.node, self.world.settings.reboot_grace_seconds)
                return
            self._record(command, invocation, result, reply)
            if reply.ending:
                self._end(command, invocation, result.details)
            else:
                self._deliver(command, invocation)

    def _record(self, command: Command, invocation: Invocation, result: Result, reply: Reply) -> None:
        """Take down how a step ended."""
        end = control_flow.ended(result.step, reply)
        result.details, result.response_code, result.ended = end.details, end.code, self.world.clock.now()
        result.stdout = reply.stdout.decode(errors="replace")[:KEPT]
        result.stderr = reply.stderr.decode(errors="replace")[:KEPT]
        if end.stdout_note:
            stderr = "" if end.quiet else result.stderr + end.stderr_note
            result.shown = (result.stdout + end.stdout_note, stderr)
        delivery.upload(command, invocation, result, reply)
        delivery.put_log(command, invocation, result, reply)

    def _end(self, command: Command, invocation: Invocation, details: str) -> None:
        """Put an invocation into a terminal state; stop the rest when there are too many errors."""
        if invocation.over:
            return
        invocation.details, invocation.ended = details, self.world.clock.now()
        if invocation.delivered:
            active = self._active[invocation.node.node_id]
            active[:] = [pair for pair in active if pair[1] is not invocation]
        command.flying -= invocation.sent
        command.errors += details in ERRORS
        command.open -= 1
        if not command.stopped and command.errors > command.allowed_errors:
            command.stopped = True
            self._stop(command, "Terminated")
        events.announce(command, invocation, invocation.ended)
        if command.over:
            events.announce(command, None, invocation.ended)
        self.world.timeline.after(0, partial(self._pump, command))

    def _stop(self, command: Command, details: str) -> None:
        """End what was not sent yet."""
        now = self.world.clock.now()
        for each in command.waiting:
            if not each.over:
                each.details, each.ended = details, now
                command.open -= 1
                events.announce(command, each, now)
        command.waiting.clear()

    def _expire_undelivered(self, command: Command) -> None:
        """TimeoutSeconds have passed: what has not begun will not run."""
        for invocation in command.invocations.values():
            if not invocation.delivered:
                self._end(command, invocation, "DeliveryTimedOut")

    def _expire(self, command: Command) -> None:
        """The total timeout has passed: what has not been reported counts as not delivered."""
        for invocation in command.invocations.values():
            self._end(command, invocation, "DeliveryTimedOut")


def _aggregate(invocation: Invocation) -> str:
    """The invocation's state from those of its steps (amazon-ssm-agent aggregator.go)."""
    details = {each.details for each in invocation.results}
    return next((word for word in ("Failed", "ExecutionTimedOut", "Cancelled") if word in details), "Success")
