"""Ansible's own modules by Run Command: the same results, and the same nodes after it, as the same modules over ssh."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BIN, BUCKET, ROOT

pytestmark = pytest.mark.needs_root

#: Each node twice: one is reached over ssh, the other by Run Command.
UNIT = "[Service]\nExecStart=/bin/sleep 1000\n"
FILES = {"/etc/systemd/system/app.service": UNIT, "/opt/app.conf": "level = 1\nname = app\n"}
PLATFORMS = {"deb": "Debian", "rpm": "Rocky"}
#: Makes a package to install, the same on both nodes.
PACKAGE = {
    "deb": r"mkdir -p /tmp/t/DEBIAN /tmp/t/opt/tool; echo 1 > /tmp/t/opt/tool/version; printf '%s\n' 'Package: pw-tool'"
    r" 'Version: 1' 'Architecture: all' 'Maintainer: t <t@example.com>' 'Description: t' > /tmp/t/DEBIAN/control;"
    r" dpkg-deb --root-owner-group --build /tmp/t /opt/tool.deb",
    "rpm": r"cd /opt; printf '%s\n' 'Name: pw-tool' 'Version: 1' 'Release: 1' 'Summary: t' 'License: t'"
    r" 'BuildArch: noarch' '%description' t '%files' > tool.spec;"
    r" rpmbuild -bb --quiet --define='_rpmdir /opt' tool.spec; mv noarch/*.rpm tool.rpm",
}
FACTS = ["ansible_distribution*", "ansible_system", "ansible_architecture", "ansible_python_version"]
COPY = {"src": "/opt/app.conf", "dest": "/opt/copy.conf", "remote_src": True, "owner": "root", "mode": "0640"}
LINE = {"path": "/opt/copy.conf", "regexp": "^level", "line": "level = 2"}
DEB = {"deb": "/opt/tool.deb"}
#: Over ssh, an action of Ansible's chooses the backend by what it knows of the host; by Run Command there is none.
DNF = {"use_backend": "dnf4"}
RPM = {"name": "/opt/tool.rpm", "state": "present", "disable_gpg_check": True, **DNF}
TASKS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "deb": [
        ("setup", {"gather_subset": ["!all", "distribution", "platform"], "filter": FACTS}),
        ("command", {"argv": ["sh", "-c", "echo 'it''s'; echo err >&2"]}),
        ("command", {"argv": ["sh", "-c", "exit 3"]}),
        ("copy", COPY),
        ("copy", COPY),
        ("lineinfile", LINE),
        ("file", {"path": "/opt/made", "state": "directory", "mode": "0750", "group": "adm"}),
        ("file", {"path": "/opt/made", "state": "no-such-state"}),
        ("group", {"name": "app", "gid": 4711}),
        ("user", {"name": "app", "uid": 4711, "group": "app", "home": "/srv/app", "create_home": True}),
        ("apt", DEB),
        ("systemd_service", {"name": "app", "state": "started"}),
    ],
    "rpm": [("dnf", RPM), ("dnf", {"list": "pw-tool", **DNF})],
}
#: What says when and where a thing was done, and not what.
NOT_COMPARED = {"start", "end", "delta", "diff", "invocation", "command_id", "warnings", "deprecations"}
NOT_COMPARED |= {"atime", "mtime", "ctime", "inode", "dev", "device_type", "status", "stdout_lines", "stderr_lines"}
NOT_COMPARED |= {"discovered_interpreter_python", "ansible_nodename", "ansible_hostname", "ansible_fqdn"}
NOT_COMPARED |= {"cache_update_time", "failed_when_result", "attempts", "exception", "_ansible_no_log", "outcome"}
STATE = {
    "deb": "cd /opt; stat -c '%n %a %U:%G' copy.conf made /srv/app; cat copy.conf tool/version; getent passwd app;"
    " getent group app; dpkg-query -W pw-tool; systemctl is-active app",
    "rpm": "rpm -q pw-tool",
}


@pytest.fixture(scope="module")
def lab(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    nodes = [
        {"name": f"{kind}-{way}", "platform": platform, "tags": {"PatchGroup": kind}, "files": FILES}
        for kind, platform in PLATFORMS.items()
        for way in ("ssh", "run")
    ]
    content = {"accounts": ["123456789012"], "regions": ["eu-central-1"], "buckets": [BUCKET], "nodes": nodes}
    scenario = tmp_path_factory.mktemp("stock") / "scenario.yml"
    scenario.write_text(yaml.safe_dump(content))
    made = make_lab("stock", scenario)
    for node in nodes:
        made.exec(node["name"], "sh", "-ec", PACKAGE[node["tags"]["PatchGroup"]])
    return made


def over_ssh(lab: Any, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run the tasks with Ansible's own connection."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    admit = (
        'install -d -m 700 /root/.ssh; printf %s "$1" > /root/.ssh/authorized_keys; install -d -m 755 /run/sshd;'
        "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab_key;"
        "printf '%s\\n' 'Subsystem sftp internal-sftp' 'StrictModes no' 'HostKey /etc/ssh/lab_key'"
        " > /etc/ssh/lab_config"
    )
    hosts = {}
    for kind in TASKS:
        node = f"{kind}-ssh"
        lab.exec(node, "sh", "-ec", admit, "admit", (folder / "key.pub").read_text())
        proxy = f"{BIN / 'patchwave'} lab exec --name {lab.name} {node} -- /usr/sbin/sshd -i -f /etc/ssh/lab_config"
        known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        known += f" -o ControlMaster=auto -o ControlPersist=20s -o ControlPath={folder}/%h"
        hosts[node] = {
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": f"-F none -i {folder}/key -o ProxyCommand='{proxy}' {known}",
            "ansible_ssh_pipelining": True,
        }
    (folder / "ssh.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    plays = []
    for kind, tasks in TASKS.items():
        steps = [
            {"name": f"{number}", f"ansible.builtin.{module}": args, "register": f"r{number}", "ignore_errors": True}
            for number, (module, args) in enumerate(tasks)
        ]
        plays.append(play(f"{kind}-ssh", steps, [f"r{number}" for number in range(len(tasks))], folder / f"ssh-{kind}"))
    (folder / "over_ssh.yml").write_text(yaml.safe_dump(plays))
    lab.run("ansible-playbook", folder / "over_ssh.yml", "-i", folder / "ssh.yml", check=False)
    return {kind: json.loads((folder / f"ssh-{kind}").read_text()) for kind in TASKS}


def by_run_command(lab: Any, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run the tasks by Run Command."""
    plays = []
    ids = lab.nodes()
    for kind, tasks in TASKS.items():
        host = ids[f"{kind}-run"]
        steps = [
            {
                "name": f"{number}",
                "patchwave.aws.run_module": {"module": f"ansible.builtin.{module}", "args": args, "bucket": BUCKET},
                "register": f"r{number}",
                "run_once": True,
            }
            for number, (module, args) in enumerate(tasks)
        ]
        results = [f"r{number}.results['{host}']" for number in range(len(tasks))]
        plays.append(play(host, steps, results, folder / f"run-{kind}"))
    (folder / "run_command.yml").write_text(yaml.safe_dump(plays))
    lab.run("ansible-playbook", folder / "run_command.yml", "-i", ROOT / "inventory", check=False)
    return {kind: json.loads((folder / f"run-{kind}").read_text()) for kind in TASKS}


def play(host: str, steps: list[dict[str, Any]], results: list[str], file: Path) -> dict[str, Any]:
    """Return a play of the steps that writes their results into a file."""
    keep = {"content": "{{ [" + ", ".join(results) + "] | to_json }}", "dest": str(file)}
    last = {"name": "Keep", "ansible.builtin.copy": keep, "delegate_to": "localhost"}
    # The lab's systemctl comes before this machine's in the path of an agent, but not of sshd.
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    common = {"gather_facts": False, "environment": {"PATH": path}}
    return {"name": host, "hosts": host, "tasks": [*steps, last], **common}


def essence(value: Any) -> Any:
    """Return a result without what differs from run to run."""
    if isinstance(value, dict):
        kept = {key: essence(each) for key, each in value.items() if key not in NOT_COMPARED}
        return {key: each for key, each in kept.items() if (key, each) not in (("failed", False), ("changed", False))}
    return [essence(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def results(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("plays")
    with ThreadPoolExecutor() as pool:
        left, right = pool.submit(over_ssh, lab, folder), pool.submit(by_run_command, lab, folder)
        return left.result(), right.result()


@pytest.mark.parametrize(
    ("kind", "number"),
    [(kind, number) for kind, tasks in TASKS.items() for number in range(len(tasks))],
    ids=[f"{number}-{module}" for tasks in TASKS.values() for number, (module, _) in enumerate(tasks)],
)
def test_the_result_is_the_same_as_over_ssh(results: Any, kind: str, number: int) -> None:
    over_ssh, by_run_command = (each[kind][number] for each in results)
    assert essence(by_run_command) == essence(over_ssh)


@pytest.mark.parametrize("kind", TASKS)
def test_the_node_is_the_same_as_over_ssh(lab: Any, results: Any, kind: str) -> None:
    left, right = (lab.exec(f"{kind}-{way}", "sh", "-c", STATE[kind]) for way in ("ssh", "run"))
    assert left == right
    assert "active" in left or "pw-tool-1-1" in left


def test_enough_of_it_worked(results: Any) -> None:
    changed = [
        module
        for kind, tasks in TASKS.items()
        for (module, _), result in zip(tasks, results[1][kind], strict=True)
        if result.get("changed") and not result.get("failed")
    ]
    assert set(changed) >= {"command", "copy", "lineinfile", "file", "group", "user", "apt", "systemd_service", "dnf"}


def test_what_runs_on_the_controller_is_refused(lab: Any, tmp_path: Path) -> None:
    modules = ["template", "package", "script", "shell", "raw", "reboot"]
    task = {
        "name": "Refused",
        "patchwave.aws.run_module": {"module": "ansible.builtin.{{ item }}", "bucket": BUCKET},
        "run_once": True,
        "ignore_errors": True,
        "register": "tries",
        "loop": modules,
    }
    messages = "tries.results | map(attribute='msg')"
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play("managed_nodes", [task], [messages], tmp_path / "kept")]))
    before = lab.calls()
    lab.run("ansible-playbook", tmp_path / "play.yml", "-i", ROOT / "inventory", check=False)
    refused = [f"run_module ships Python modules; ansible.builtin.{module} is not one" for module in modules]
    assert json.loads((tmp_path / "kept").read_text()) == [refused]
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}
