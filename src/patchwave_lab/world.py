"""The lab's world: its lock, its clock, its nodes, and what a scenario makes of them."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.ssm.models import ssm_backends

from patchwave_lab import faults, processes
from patchwave_lab.clock import Clock, Timeline
from patchwave_lab.errors import LabError
from patchwave_lab.faults import Faults, Place
from patchwave_lab.nodes import writes, wrong_clock
from patchwave_lab.nodes.agent import Agent, RealAgent
from patchwave_lab.nodes.boot import Machine
from patchwave_lab.nodes.rpm_root import RpmRoot
from patchwave_lab.nodes.virtual import VirtualAgent
from patchwave_lab.power import Power
from patchwave_lab.scenario import NodeSpec, Platform, Scenario

log = logging.getLogger(__name__)
AGENT_VERSION = "3.3.1611.0"
#: The state of instances that SendCommand takes (SendCommand, InvalidInstanceId).
VALID_INSTANCE_STATES = {"running", "pending", "stopped", "stopping"}


@dataclass
class ManagedNode:
    """A node registered with Systems Manager. `registered` is in seconds since the epoch."""

    node_id: str
    name: str
    account: str
    region: str
    platform: Platform
    agent_on: bool
    registered: float
    agent: Agent
    #: When it went down; None while it is up.
    away_since: float | None = None
    rebooting: bool = False
    #: Its reboot does not end by itself.
    hung: bool = False
    #: Nothing can run in it: its agent answers from a model.
    virtual: bool = False
    #: moto's EC2 instance behind the node; None for a hybrid node.
    instance: Any = None
    #: What a hybrid node was registered with: an activation, its role, and the name it gives.
    activation: str = "00000000-0000-4000-8000-000000000001"
    role: str = "service-role/AmazonEC2RunCommandRoleForManagedInstances"
    label: str | None = None

    @property
    def hybrid(self) -> bool:
        """Registered through an activation rather than as an EC2 instance."""
        return self.node_id.startswith("mi-")

    @property
    def state(self) -> str:
        """The EC2 instance's state; a hybrid node counts as running."""
        return "running" if self.instance is None else str(self.instance.state)

    @property
    def place(self) -> Place:
        """Where it is, for faults."""
        return Place(self.account, self.region, self.node_id)


class World:
    """Everything a lab's server knows. Whoever reads or changes it holds `lock`."""

    def __init__(self, scenario: Scenario, nodes_dir: Path, access_key: str, secret_key: str) -> None:
        self.scenario = scenario
        self.settings = scenario.settings
        self.lock = threading.RLock()
        self.clock = Clock()
        self.timeline = Timeline(self.clock, self.lock)
        self.access_key, self.secret_key = access_key, secret_key
        self.faults = Faults(self.clock)
        self.power = Power(self)
        #: Refuse every call that changes something.
        self.read_only = False
        #: The same but for what check mode over Run Command needs; a command that writes on its node fails.
        self.check_only = False
        #: Refuse what the caller's IAM policies do not allow. The lab's own user may do everything.
        self.enforce_iam = False
        self._nodes_dir = nodes_dir
        self._rpm_root = RpmRoot(nodes_dir.parent / "rpm")
        self._pool = ThreadPoolExecutor(scenario.settings.workers, "agent")
        self._nodes: dict[tuple[str, str], dict[str, ManagedNode]] = {}
        self._agents: dict[str, Agent] = {}
        self._stores: dict[tuple[str, str, str], dict[str, Any]] = {}
        #: Called when a fault has begun or ended.
        self.on_faults: list[Callable[[], None]] = []
        #: Called on `reset`, after the timeline was emptied and before AWS is made anew.
        self.on_reset: list[Callable[[], None]] = []

    def build(self) -> None:
        """Make what the scenario says: the user, buckets, instances and nodes."""
        with self.lock:
            self._create_user()
            for bucket in self.scenario.buckets:
                s3_backends[self.scenario.accounts[0]]["aws"].create_bucket(bucket, self.scenario.regions[0])
            for spec in self.scenario.nodes:
                self.create_node(spec, spec.node_id)
            for fault in self.scenario.faults:
                self.begin_fault(fault)

    def connected(self, node: ManagedNode) -> bool:
        """Does the node's agent answer now?"""
        return self.silent_since(node) is None

    def silent_since(self, node: ManagedNode) -> float | None:
        """When the node's agent was last there (seconds since the epoch); None while it is."""
        if not node.agent_on:
            return node.registered - self.settings.silence_seconds
        if node.away_since is not None:
            return node.away_since
        if node.state != "running":
            return self.clock.now() - self.settings.silence_seconds
        fault = self.faults.find("agent-off", node.place)
        return fault.since if fault else None

    def begin_fault(self, request: Mapping[str, Any]) -> None:
        """Begin a fault; nodes may be given by id or name."""
        there = {word for node in self.all_nodes() for word in (node.node_id, node.name)}
        faults.check(request, self.scenario.accounts, self.scenario.places, there)
        names = request.get("nodes") or []
        found = [node for node in self.all_nodes() if node.node_id in names or node.name in names]
        if faults.known(request["name"]).real and any(node.virtual for node in found):
            raise LabError(f"fault {request['name']} is for real nodes only")
        if request.get("name") == "wrong-clock":
            wrong_clock.check()
        made = self.faults.add({**request, "nodes": [node.node_id for node in found]})
        self.apply_faults()
        if made.until is not None:
            self.timeline.after(made.until - self.clock.now(), self.apply_faults)

    def end_faults(self, name: str = "") -> None:
        """End all faults, or those of a name. A node whose reboot hung comes back."""
        self.faults.clear(name)
        self.apply_faults()
        if name in ("", "reboot-hangs"):
            for node in self.all_nodes():
                if node.hung:
                    self.power.on(node)

    def apply_faults(self) -> None:
        """Bring those faults about that are a state of a node rather than of an answer."""
        for node in self.all_nodes():
            if isinstance(node.agent, RealAgent):
                node.agent.fill_disk(full=self.faults.find("disk-full", node.place) is not None)
                wrong = self.faults.find("wrong-clock", node.place)
                node.agent.set_clock(wrong.numbers["seconds"] if wrong else None)
        for hook in self.on_faults:
            hook()

    def nodes(self, account: str, region: str) -> dict[str, ManagedNode]:
        """Managed nodes of one account and region by id; terminated instances are none."""
        found = self._nodes.get((account, region), {})
        return {key: node for key, node in found.items() if node.state in VALID_INSTANCE_STATES}

    def node(self, account: str, region: str, node_id: str) -> ManagedNode | None:
        """One managed node, or None."""
        found = self._nodes.get((account, region), {}).get(node_id)
        return found if found and found.state in VALID_INSTANCE_STATES else None

    def deregister(self, account: str, region: str, node_id: str) -> None:
        """Forget a hybrid node; EC2 instances cannot be deregistered."""
        if self._nodes[account, region][node_id].hybrid:
            self._nodes[account, region].pop(node_id)

    def store(self, kind: str, account: str, region: str) -> dict[str, Any]:
        """What operations keep of a kind, by id; empty again after a reset."""
        return self._stores.setdefault((kind, account, region), {})

    def stored(self, kind: str, identity: str) -> Iterator[tuple[str, str, Any]]:
        """What operations keep of a kind under an id, with account and region."""
        for (known, account, region), kept in self._stores.items():
            if known == kind and identity in kept:
                yield account, region, kept[identity]

    def all_nodes(self) -> Iterator[ManagedNode]:
        """Every node."""
        for nodes in self._nodes.values():
            yield from nodes.values()

    def tags(self, node: ManagedNode) -> dict[str, str]:
        """A node's tags, from where AWS keeps them: EC2 or Systems Manager."""
        if node.hybrid:
            return dict(ssm_backends[node.account][node.region].list_tags_for_resource("ManagedInstance", node.node_id))
        return {tag["key"]: tag["value"] for tag in node.instance.get_tags()}

    def set_check_only(self, *, on: bool) -> None:
        """Let nothing change but what check mode over Run Command needs, and watch for what is written on nodes."""
        notes = self._nodes_dir / writes.NOTES
        if on and not self.check_only:
            notes.write_text("")
        elif not on:
            notes.unlink(missing_ok=True)
        self.check_only = on

    def written(self) -> list[str]:
        """What was written on nodes while it was check-only, a line each."""
        try:
            return (self._nodes_dir / writes.NOTES).read_text().splitlines()
        except FileNotFoundError:
            return []

    def reset(self) -> None:
        """Make everything as it was after the start; ids and credentials stay."""
        from moto.core.base_backend import BackendDict

        with self.lock:
            self.timeline.clear()
            self.clock.ahead = 0.0
            self.faults.clear()
            self.read_only = self.enforce_iam = False
            self.set_check_only(on=False)
            for forget in self.on_reset:
                forget()
            processes.kill_inside(self._nodes_dir)
            for agent in self._agents.values():
                agent.reset()
            self._nodes.clear()
            self._stores.clear()
            planned = {spec.node_id for spec in self.scenario.nodes}
            self._agents = {key: agent for key, agent in self._agents.items() if key in planned}
            BackendDict.reset()
            self.build()

    def _create_user(self) -> None:
        account = self.scenario.accounts[0]
        iam = iam_backends[account]["aws"]
        iam.create_user(self.scenario.regions[0], "patchwave-lab")
        key = iam.create_access_key("patchwave-lab")
        iam.access_keys.pop(key.access_key_id)
        key.access_key_id, key.secret_access_key = self.access_key, self.secret_key
        iam.access_keys[self.access_key] = key

    def create_node(self, spec: NodeSpec, identity: str) -> ManagedNode:
        """Make a node and register it."""
        node = ManagedNode(
            node_id=identity,
            name=spec.name,
            account=spec.account,
            region=spec.region,
            platform=spec.platform,
            agent_on=spec.agent_on,
            registered=self.clock.now(),
            agent=self._agent(spec, identity),
            virtual=spec.model is not None,
            instance=None if spec.hybrid else self._run_instance(spec, identity),
        )
        self._nodes.setdefault((spec.account, spec.region), {})[identity] = node
        if isinstance(node.agent, RealAgent):
            node.agent.went_down = partial(self._went_down, node)
        if spec.hybrid:
            backend = ssm_backends[spec.account][spec.region]
            backend.add_tags_to_resource("ManagedInstance", identity, dict(spec.tags))
        return node

    def _went_down(self, node: ManagedNode) -> None:
        """A real node was rebooted by what runs in it."""
        with self.lock:
            self.power.reboot(node)

    def _agent(self, spec: NodeSpec, identity: str) -> Agent:
        if identity not in self._agents:
            home = self._nodes_dir / identity
            self._agents[identity] = (
                RealAgent(
                    Machine(home, identity, spec.name, spec.region),
                    dict(spec.files),
                    self._pool,
                    self.timeline,
                    partial(self._furnish, spec.platform),
                )
                if spec.model is None
                else VirtualAgent(identity, spec.model, self.timeline)
            )
        return self._agents[identity]

    def _furnish(self, platform: Platform, home: Path) -> None:
        """Make a node's directory one of its platform."""
        if platform.rpm:
            self._rpm_root.furnish(home, platform.identity, platform.name, platform.version)

    def _run_instance(self, spec: NodeSpec, identity: str) -> Any:
        backend = ec2_backends[spec.account][spec.region]
        make = backend.make_instance if spec.model is None else backend.copy_instance
        instance = make(identity, dict(spec.tags))
        instance.architecture = spec.architecture
        instance.platform = "windows" if spec.platform.type == "Windows" else None
        return instance
