"""Starting, resetting and stopping a lab's server, as the command line does it."""

import contextlib
import fcntl
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from patchwave_lab import labdir, processes
from patchwave_lab.errors import LabError
from patchwave_lab.labdir import LabDir, LabState

#: How long `up` waits for the server to be ready, in seconds.
START_PATIENCE = 60.0
#: How long `reset` may take, in seconds.
RESET_PATIENCE = 60.0


def require_extra() -> None:
    """Say what to install when the server's libraries are not there."""
    if any(importlib.util.find_spec(module) is None for module in ("moto", "werkzeug")):
        raise LabError("patchwave lab needs the extra 'lab': pip install 'patchwave[lab]'")


def up(name: str, source: str, text: str, port: int) -> LabState:
    """Start a lab with a scenario (name for messages, YAML text) and wait until it is ready."""
    from patchwave_lab import scenario
    from patchwave_lab.nodes import namespaces, rpm_root

    lab = labdir.find(name)
    if any(node.platform.rpm and node.model is None for node in scenario.parse(source, text).nodes):
        rpm_root.check()
    labdir.create_root()
    with _lock(lab):
        if lab.path.exists():
            _refuse_second(lab)
        lab.path.mkdir(mode=0o700)
        try:
            lab.scenario_file.write_text(text)
            namespaces.check(lab.path / "probe")
            processes.remove_tree(lab.path / "probe")
            return _start(lab, port, source)
        except BaseException:
            _remove(lab)
            raise


def down(name: str) -> str:
    """Stop a lab and everything that runs in its nodes; what was done, for people."""
    lab = labdir.find(name)
    if not lab.path.exists():
        return f"no lab named {name!r}; nothing to do"
    with _lock(lab):
        _remove(lab)
    return f"lab {name!r} is down"


def reset(name: str) -> LabState:
    """Make a running lab as new."""
    _, state = labdir.require_running(name)
    ask(state, "reset")
    return state


def ask(state: LabState, verb: str, **body: Any) -> dict[str, Any]:
    """Tell a running lab something, and what it answers."""
    where = urlsplit(state.endpoint)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=RESET_PATIENCE)
    try:
        headers = {"X-Patchwave-Lab-Token": state.control_token}
        connection.request("POST", f"/_lab/{verb}", body=json.dumps(body), headers=headers)
        answer = connection.getresponse()
        found = json.loads(answer.read() or b"{}")
    except (OSError, ValueError) as error:
        raise LabError(f"the lab's server does not answer: {error}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise LabError(found.get("error") or f"the server refused to {verb}: {answer.status}; see its server.log")
    return dict(found)


@contextlib.contextmanager
def _lock(lab: LabDir) -> Iterator[None]:
    """One `up` or `down` of a lab at a time."""
    path = lab.path.parent / f".{lab.name}.lock"
    while True:
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held it before may have removed it with the lab.
            if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                yield
                return


def _refuse_second(lab: LabDir) -> None:
    state = lab.read_state()
    if state and processes.is_same_process(state.pid, state.started):
        raise LabError(f"lab {lab.name!r} is already running on {state.endpoint} (process {state.pid})")
    raise LabError(f"lab {lab.name!r} was not stopped properly; first: patchwave lab down --name {lab.name}")


def _start(lab: LabDir, port: int, source: str) -> LabState:
    with lab.log_file.open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "patchwave_lab.server", str(lab.path), str(port), source],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=_server_environment(),
        )
    lab.pid_file.write_text(f"{server.pid} {processes.start_time(server.pid) or 0}\n")
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        if (state := lab.read_state()) is not None:
            return state
        if server.poll() is not None:
            said = lab.log_file.read_text(errors="replace").strip().splitlines()
            raise LabError(
                f"the lab's server ended with code {server.returncode}: {said[-1] if said else 'no message'}"
            )
        time.sleep(0.02)
    raise LabError(f"the lab's server was not ready within {START_PATIENCE:.0f} s")


def _server_environment() -> dict[str, str]:
    """This process's environment without what would point the server at some AWS, and with moto's settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MOTO_"))}
    # Without the first, moto lists 1,300 snapshots of images that nobody asked for.
    return {**kept, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false", "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}


def _remove(lab: LabDir) -> None:
    """Kill the server, then everything inside the nodes, then remove the directory."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid, started = lab.pid_file.read_text().split()
        processes.stop(int(pid), int(started))
    for left in processes.servers(lab.path):
        processes.stop(left, processes.start_time(left) or 0, 0)
    processes.kill_inside(lab.path)
    processes.remove_tree(lab.path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(lab.path.parent / f".{lab.name}.lock")
