"""Nodes that go down and come back: reboots, and EC2's start and stop."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchwave_lab.world import ManagedNode, World


class Power:
    """Turns nodes off and on. Used with the lab's lock held."""

    def __init__(self, world: "World") -> None:
        self._world = world
        #: Called with a node when its agent is back.
        self.on_boot: list[Callable[[ManagedNode], None]] = []

    def reboot(self, node: "ManagedNode", after: float = 0.0) -> None:
        """Reboot a node in `after` seconds; it is away for a while."""
        if not node.rebooting:
            node.rebooting = True
            self._world.timeline.after(after, partial(self._reboot, node))

    def off(self, node: "ManagedNode") -> None:
        """Pull the plug."""
        if node.away_since is None:
            node.away_since = self._world.clock.now()
            node.agent.power_off()

    def on(self, node: "ManagedNode") -> None:
        """Start a node that is down; its agent resumes what it was doing."""
        if node.state == "running" and node.away_since is not None:
            node.away_since, node.rebooting, node.hung = None, False, False
            node.agent.power_on()
            for hook in self.on_boot:
                hook(node)

    def _reboot(self, node: "ManagedNode") -> None:
        self.off(node)
        node.hung = self._world.faults.hit("reboot-hangs", node.place) is not None
        if not node.hung:
            self._world.timeline.after(self._world.settings.reboot_seconds, partial(self.on, node))
