# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services under a real systemd: `make systemd`, as root, where a systemd of its own can be started in namespaces."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import typing as t
from pathlib import Path

import pytest

from ..node.conftest import ENTER, NAMESPACES, Node

SYSTEMD = "/usr/lib/systemd/systemd"
#: In a control group of its own; with few units, none of which looks at devices or sets what the kernel has but once.
CGROUP = """
mkdir -p /mnt; mount -t tmpfs tmpfs /mnt; mkdir /mnt/cgroup; mount -t cgroup2 none /mnt/cgroup
mkdir /mnt/cgroup/{name}; echo $$ > /mnt/cgroup/{name}/cgroup.procs; umount /mnt/cgroup /mnt
exec unshare --cgroup --mount sh -c "$1"
"""
BOOT = """
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys
rm -rf /usr/lib/systemd/system/*.wants /usr/lib/systemd/system-generators /etc/systemd/system /usr/sbin/policy-rc.d
mkdir -p /etc/systemd/system; : > /etc/fstab
echo ready
export container=lab
exec {systemd} --system --unit=basic.target --show-status=0 --log-target=null
"""
REMOVE = """
mount -t cgroup2 none /mnt; cd /mnt
while [ -d "$1" ] && ! find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; do sleep 0.1; done
"""
UNIT = """[Service]
ExecStartPre=/bin/sh -c 'echo start {name} >> /var/order'
ExecStart=/opt/pw-app/current/daemon 600
ExecStopPost=/bin/sh -c 'echo stop {name} >> /var/order'
{more}
"""


class Machine(Node):
    """A node whose process 1 is systemd."""

    def __init__(self) -> None:
        self.name = f"patchwave-{os.getpid()}"
        inside = ENTER.partition("echo ready")[0] + BOOT.format(systemd=SYSTEMD)
        script = "set -e; mount --make-rprivate /" + CGROUP.format(name=self.name)
        super().__init__([*NAMESPACES, "--uts", "--ipc", "sh", "-c", script, "sh", inside])
        deadline = time.monotonic() + 30
        while (state := self.run("systemctl", "is-system-running", check=False).strip()) != "running":
            if time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"systemd does not come up here: {state}")
            time.sleep(0.1)

    def stop(self) -> None:
        os.kill(int(self.enter[2]), signal.SIGKILL)
        super().stop()
        subprocess.run(["unshare", "--mount", "sh", "-c", REMOVE, "sh", self.name], check=True, timeout=30)

    def unit(self, name: str, more: str = "") -> dict[str, t.Any]:
        """Make a service of the application, start it, and return it as a definition has it."""
        text = UNIT.format(name=name, more=more)
        self.sh('printf %s "$2" > /etc/systemd/system/$1.service; systemctl daemon-reload', name, text)
        self.run("systemctl", "start", name)
        return {"name": name, "timeout": 20}

    def state(self, *names: str) -> list[str]:
        return self.run("systemctl", "is-active", *names, check=False).split()

    def program(self, name: str) -> tuple[str, str]:
        """The main process of a service, and what it runs."""
        pid = self.run("systemctl", "show", "--property=MainPID", "--value", name).strip()
        return pid, self.run("readlink", f"/proc/{pid}/exe").strip()

    def kill_at(self, step: str, args: dict[str, t.Any]) -> list[str]:
        """Kill a run when it says that it begins a step; return the states of the services then, and try again."""
        log = Path(f"/proc/{self.enter[2]}/root/var/lib/patchwave/software_patch.log")
        log.unlink(missing_ok=True)
        environ = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        with subprocess.Popen(self.module(args), env=environ, start_new_session=True, **pipes) as run:
            assert run.stdin
            run.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode())
            run.stdin.close()
            while run.poll() is None and not (log.exists() and f'"step": "{step}"' in log.read_text()):
                time.sleep(0.001)
            with contextlib.suppress(ProcessLookupError):  # the run was quicker
                os.killpg(run.pid, signal.SIGKILL)
        names = [service["name"] for service in args["services"]]
        states = self.state(*names)
        assert self.patch(args)["outcome"] in ("patched", "current")
        assert self.state(*names) == ["active"] * len(names)
        version = args["archive"]["version"]
        assert {self.program(name)[1] for name in names} == {f"/opt/pw-app/{version}/daemon"}
        self.sh("ln -sfn 1.0 /opt/pw-app/current; systemctl restart " + " ".join(names))
        return states


@pytest.fixture(scope="module")
def machine() -> t.Iterator[Machine]:
    if os.geteuid() != 0 or not os.path.exists(SYSTEMD):
        pytest.fail("needs root and systemd (apt install systemd)")
    made = Machine()
    try:
        yield made
    finally:
        made.stop()


def packed(folder: Path, version: str, program: str) -> dict[str, t.Any]:
    tree = folder / version
    tree.mkdir()
    (tree / "version").write_text(version)
    shutil.copy(program, tree / "daemon")
    made = folder / f"{version}.tar"
    with tarfile.open(made, "w") as tar:
        tar.add(tree, ".")
    return {"url": str(made), "sha256": hashlib.sha256(made.read_bytes()).hexdigest(), "version": version}


@pytest.fixture
def app(machine: Machine, tmp_path: Path) -> t.Iterator[dict[str, t.Any]]:
    """An application at 1.0 on the machine, and the definition of 1.2."""
    folder = tmp_path / "old"
    folder.mkdir()
    packed(folder, "1.0", "/bin/sleep")
    machine.sh("mkdir -p /opt/pw-app; cp -a $1 /opt/pw-app/; ln -s 1.0 /opt/pw-app/current", folder / "1.0")
    yield {
        "name": "pw-app",
        "fixed_in": "1.2",
        "archive": packed(tmp_path, "1.2", "/bin/sleep"),
        "dest": "/opt/pw-app",
        "probe": {"command": ["cat", "/opt/pw-app/current/version"]},
    }
    machine.sh(
        "cd /etc/systemd/system; systemctl stop *.service; rm -f *.service; systemctl daemon-reload;"
        "systemctl reset-failed; rm -rf /opt/pw-app /var/order /var/lib/patchwave"
    )


def test_services_restart_in_order_and_those_that_map_old_files_are_found(
    machine: Machine, app: dict[str, t.Any]
) -> None:
    db, web = machine.unit("db"), machine.unit("web", "Type=exec\nProtectSystem=full\nPrivateTmp=yes")
    machine.unit("helper", "PrivateTmp=yes\nPrivateDevices=yes")  # which the definition does not name
    machine.sh(": > /var/order")
    result = machine.patch(dict(app, services=[db, web]))
    assert (result["outcome"], result["reason"]) == ("rolled_back", "old_process"), result
    assert "of helper.service) still uses /opt/pw-app/1.0/daemon" in result["msg"]
    order = ["stop web", "stop db", "start db", "start web"]
    assert machine.run("cat", "/var/order").splitlines() == order * 2
    assert machine.program("web")[1] == "/opt/pw-app/1.0/daemon"
    machine.sh(": > /var/order")
    result = machine.patch(dict(app, services=[db, web], old_processes="restart"))
    assert (result["outcome"], result["version_after"]) == ("patched", "1.2"), result
    assert machine.run("cat", "/var/order").splitlines() == [*order, "stop helper", "start helper"]
    for name in ("db", "web", "helper"):
        assert machine.program(name)[1] == "/opt/pw-app/1.2/daemon"
    assert machine.patch(dict(app, services=[db, web]))["changed"] is False


def test_a_stopped_service_stays_so_and_a_missing_or_masked_one_is_refused(
    machine: Machine, app: dict[str, t.Any]
) -> None:
    db, off = machine.unit("db"), machine.unit("off")
    machine.run("systemctl", "stop", "off")
    for name in ("nobody", "masked"):
        machine.run("ln", "-sfn", "/dev/null", "/etc/systemd/system/masked.service")
        machine.run("systemctl", "daemon-reload")
        for check_mode in (True, False):
            result = machine.patch(dict(app, services=[db, {"name": name}]), check_mode=check_mode)
            assert (result["outcome"], result["reason"]) == ("failed", "service_missing"), result
    assert machine.patch(dict(app, services=[db, off]))["outcome"] == "patched"
    assert machine.state("db", "off") == ["active", "inactive"]


@pytest.mark.parametrize("more", ["", "Restart=always\nRestartSec=30", "Type=exec"])
def test_a_version_that_does_not_live_is_rolled_back(
    machine: Machine, app: dict[str, t.Any], tmp_path: Path, more: str
) -> None:
    service = dict(machine.unit("web", more), timeout=4)
    result = machine.patch(dict(app, archive=packed(tmp_path, "1.3", "/bin/false"), services=[service]))
    assert (result["outcome"], result["reason"]) == ("rolled_back", "service_failed"), result
    assert machine.program("web")[1] == "/opt/pw-app/1.0/daemon"


def test_killed_at_each_step_the_next_run_finds_services_running(machine: Machine, app: dict[str, t.Any]) -> None:
    args = dict(app, services=[machine.unit("db"), machine.unit("web", "ExecStartPre=/bin/sleep 0.3")])
    seen = {step: machine.kill_at(step, args) for step in ("fetch", "stop", "switch", "start", "verify", "commit")}
    assert seen["fetch"] == ["active", "active"]
    assert "inactive" in seen["switch"]


def test_the_service_that_the_patch_runs_in_is_left_alone(machine: Machine, app: dict[str, t.Any]) -> None:
    """As an agent that runs the module and has an old file mapped itself."""
    module = " ".join(machine.module(app)[len(machine.enter) :])
    given = json.dumps({"ANSIBLE_MODULE_ARGS": dict(app, old_processes="restart")})
    script = "#!/bin/sh\n/opt/pw-app/current/daemon 60 &\n" + f"{module} < /var/given > /var/result\nkill $!\n"
    unit = f"[Service]\nType=oneshot\nExecStart=/var/agent\nEnvironment=PYTHONPATH={os.pathsep.join(sys.path)}\n"
    for path, text in (("/var/given", given), ("/var/agent", script), ("/etc/systemd/system/agent.service", unit)):
        machine.sh('printf %s "$2" > $1; chmod 755 $1', path, text)
    machine.sh("systemctl daemon-reload; systemctl start agent")
    result = json.loads(machine.run("cat", "/var/result"))
    assert (result["outcome"], result["reason"]) == ("rolled_back", "old_process"), result
    assert "of agent.service" in result["msg"]


def test_a_service_of_the_distribution(machine: Machine, tmp_path: Path) -> None:
    """rsync as a daemon: as released, and as fixed since; its unit is the package's own."""
    versions = [line.split("|")[1].strip() for line in machine.run("apt-cache", "madison", "rsync").splitlines()]
    if len(versions) < 2:
        pytest.fail(f"apt offers rsync in {len(versions)} versions here, not two")
    old, new = versions[-1], versions[0]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    machine.sh("printf 'address = 127.0.0.1\\nport = %s\\n' $1 > /etc/rsyncd.conf", port)
    machine.sh("DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends rsync=$1", old)
    machine.sh("cd $1; apt-get download -qq rsync=$2", tmp_path, new)
    machine.run("systemctl", "start", "rsync")
    before = machine.program("rsync")
    assert before[1] == "/usr/bin/rsync"
    file = next(tmp_path.glob("*.deb"))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    args = {
        "name": "rsync",
        "fixed_in": new,
        "package_file": {"url": str(file), "sha256": sha256, "version": new},
        "services": [{"name": "rsync"}],
        "health": {"port": port, "retries": 20, "delay": 0.2},
    }
    sick = {"command": ["sh", "-c", f"! dpkg-query -W rsync | grep -qF '{new}'"], "retries": 0}
    result = machine.patch(dict(args, health=sick))
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    assert machine.run("dpkg-query", "-W", "-f", "${Status} ${Version}", "rsync") == f"install ok installed {old}"
    assert machine.run("dpkg", "--verify", "rsync") == ""
    assert machine.state("rsync") == ["active"]
    result = machine.patch(args)
    assert (result["outcome"], result["version_after"]) == ("patched", new), result
    after = machine.program("rsync")
    assert after[1] == "/usr/bin/rsync"
    assert after[0] != before[0]
    print(f"{old} -> {new}, outage {result['seconds']['outage']} s")
    assert machine.patch(args)["changed"] is False
