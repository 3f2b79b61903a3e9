"""Benchmark tool `plain_ansible_ssh` of the cases `fan_out_N`: one task over ssh to real nodes of the lab.

A thousand real nodes do not fit on one machine, so it is measured at a few and scaled. What each node costs the
controller is the difference of the CPU time of many and of half as many, and the wall time is the nodes' own work,
FORKS at a time, and this CPU time on all cores. That is the least it can be: connections are open already, no core ever
idles, and nothing is added for memory. The nodes' CPU time, spent on the same machine, is not counted. Needs root.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from lab import Lab, output, running

from inventory import BIN, measured

#: Real nodes, and seconds of their work in the measurement.
NODES, WORK = 20, 1
#: Nodes at once, and seconds of their work in the cases.
FORKS, CASE_WORK = 100, 20
TRIES = 3
#: Lets a key in, with a host key and a configuration of the node's own.
ADMIT = """install -d -m 700 /root/.ssh; printf %s "$1" > /root/.ssh/authorized_keys; install -d -m 755 /run/sshd
printf '%s\\n' 'HostKey /etc/ssh/lab_key' 'StrictModes no' > /etc/ssh/lab_config
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab_key"""


def run(cases: list[int]) -> list[dict[str, Any]]:
    """Measure the task at all nodes and at half of them, and scale it to each case."""
    if os.geteuid():
        print("plain_ansible_ssh: not measured, real nodes take ssh only with root")
        return []
    node = {"name": "s", "count": NODES, "tags": {"PatchGroup": "all"}}
    with tempfile.TemporaryDirectory() as temporary, running(Path(temporary), node) as lab:
        line = command(lab, Path(temporary))
        few, many = (best(lab, [*line, "-l", f"all[0:{count - 1}]"]) for count in (NODES // 2, NODES))
    return [scaled(nodes, few, many) for nodes in cases]


def command(lab: Lab, folder: Path) -> list[str]:
    """Return a run of one task over ssh on every node."""
    key = folder / "key"
    output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    public, prefix = key.with_suffix(".pub").read_text(), [str(BIN / "patchwave"), "lab", "exec", "--name", lab.name]
    for number in range(1, NODES + 1):
        output([*prefix, f"s-{number:02}", "--", "sh", "-ec", ADMIT, "admit", public])
    proxy = f"{BIN / 'patchwave'} lab exec --name {lab.name} %n -- /usr/sbin/sshd -i -f /etc/ssh/lab_config"
    options = f"-F none -o ProxyCommand='{proxy}' -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    common = f"{options} -o ControlMaster=auto -o ControlPersist=600s -o ControlPath={folder}/%n -o LogLevel=ERROR"
    variables = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": common,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    hosts = {f"s-{number:02}": None for number in range(1, NODES + 1)}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": variables}}))
    tasks = [{"name": "Work", "ansible.builtin.command": f"sleep {WORK}", "changed_when": False}]
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    arguments = [str(folder / "play.yml"), "-i", str(folder / "hosts.yml"), "-f", str(NODES)]
    return [str(BIN / "ansible-playbook"), *arguments]


def best(lab: Lab, line: list[str]) -> dict[str, Any]:
    """Run it a few times and return the figures of the cheapest; the first run opens the connections."""
    measured(line, lab.environment)
    return min((measured(line, lab.environment) for _ in range(TRIES)), key=lambda figures: float(figures["cpu_s"]))


def scaled(nodes: int, few: dict[str, Any], many: dict[str, Any]) -> dict[str, Any]:
    """Scale it to so many nodes."""
    each = max(0.0, many["cpu_s"] - few["cpu_s"]) / (NODES - NODES // 2)
    cpu = many["cpu_s"] + each * (nodes - NODES)
    least, cores = nodes / FORKS * CASE_WORK, os.cpu_count() or 1
    return {
        "case": f"fan_out_{nodes}",
        "tool": "plain_ansible_ssh",
        "command": "run",
        "nodes": nodes,
        "ideal_s": least,
        **dict.fromkeys(("t50_s", "t95_s", "t100_s", "api_calls")),
        "wall_s": round(least + cpu / cores, 1),
        "cpu_s": round(cpu, 1),
        "rss_mb": many["rss_mb"],
        "places": FORKS,
        "wall_by_ideal": round((least + cpu / cores) / least, 2),
        "scaled_from": NODES,
        "scaling": f"{nodes} / {FORKS} * {CASE_WORK} s + {cpu:.1f} s / {cores} cores; {each:.3f} s of CPU a node",
    }
