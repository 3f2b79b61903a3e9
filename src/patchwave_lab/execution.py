"""Running a command inside a node from the command line."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

from patchwave_lab.errors import LabError
from patchwave_lab.labdir import LabDir, LabState, NodeEntry
from patchwave_lab.nodes import writes
from patchwave_lab.nodes.boot import Machine


def find(state: LabState, wanted: str) -> NodeEntry:
    """A node by id or name."""
    found = [node for node in state.nodes if wanted in (node.node_id, node.name)]
    if not found:
        raise LabError(f"lab {state.name!r} has no node {wanted!r}; see: patchwave lab status --name {state.name}")
    if len(found) > 1:
        listed = ", ".join(f"{node.node_id} ({node.account} {node.region})" for node in found)
        raise LabError(f"{wanted!r} is the name of several nodes; use an id: {listed}")
    if not found[0].real:
        raise LabError(f"{wanted!r} is a virtual node: nothing can run in it")
    return found[0]


def replace_process(lab: LabDir, node: NodeEntry, command: Sequence[str]) -> NoReturn:
    """Become the command inside the node: stdin, stdout, stderr and the exit code are its own."""
    command_line, environment = _prepare(lab, node, command)
    home = lab.node(node.node_id)
    if writes.watched(home):
        before = writes.look(home)
        done = subprocess.run(command_line, env=environment, check=False)
        written = writes.note(home, node.name, before)
        print(written, end="", file=sys.stderr)
        sys.exit(1 if written else done.returncode)
    os.execvpe(command_line[0], command_line, environment)


def run_everywhere(lab: LabDir, state: LabState, command: Sequence[str]) -> int:
    """Run a command in every real node, each line of output behind the node's name; 0 if all succeeded, else 1."""
    failed = False
    for node in state.nodes:
        if not node.real:
            continue
        command_line, environment = _prepare(lab, node, command)
        done = subprocess.run(
            command_line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        for text, stream in ((done.stdout, sys.stdout), (done.stderr, sys.stderr)):
            for line in text.splitlines():
                print(f"{node.name}: {line}", file=stream)
        if done.returncode:
            print(f"{node.name}: exit code {done.returncode}", file=sys.stderr)
            failed = True
    return int(failed)


def _prepare(lab: LabDir, node: NodeEntry, command: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    machine = Machine(lab.node(node.node_id), node.node_id, node.name, node.region)
    environment = machine.environment
    if "TERM" in os.environ:
        environment["TERM"] = os.environ["TERM"]
    return machine.argv(command), environment
