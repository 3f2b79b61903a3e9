"""Process 1 of a node: keeps its namespaces alive, buries its dead, and starts, stops and restarts its services.

Runs inside the node with the system's Python and the standard library only. Callers are `systemctl` and `service`:
one JSON object per connection to SOCKET, {"verb": ..., "unit": ...}, answered by one object.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import selectors
import shlex
import signal
import socket
import time
from typing import Any

SOCKET = "/run/patchwave-lab/init.sock"
#: Names of services that start with the node, one per line.
ENABLED = "/etc/patchwave-lab/enabled"
FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
#: Restarts within ten seconds after which a service is left failed (systemd's StartLimitBurst).
BURST = 5


class Unit:
    """One service: what its file says, and what it does now."""

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path
        #: The main process (0: none) and ActiveState.
        self.pid, self.state = 0, "inactive"
        #: How the last main process ended, and when it was started anew (monotonic seconds).
        self.status, self.starts = 0, list[float]()
        self.stopping = False
        self.read()

    def read(self) -> None:
        """Read the unit file; keys may occur several times."""
        self.keys: dict[tuple[str, str], list[str]] = {}
        section = ""
        with open(self.path, encoding="utf-8", errors="replace") as stream:
            for line in stream.read().replace("\\\n", " ").splitlines():
                line = line.strip()
                if line.startswith("["):
                    section = line.strip("[]")
                elif "=" in line and line[0] not in "#;":
                    key, _, value = line.partition("=")
                    self.keys.setdefault((section, key.strip()), []).append(value.strip())

    def get(self, key: str, default: str = "", section: str = "Service") -> str:
        """The last value of a key."""
        return self.keys.get((section, key), [default])[-1]

    def commands(self, key: str) -> list[tuple[list[str], bool]]:
        """Command lines of a key as lists, each with whether its failure is ignored."""
        found = []
        for line in self.keys.get(("Service", key), []):
            bare = line.lstrip("@-:+!")
            if bare:
                mark = line[: len(line) - len(bare)]
                found.append((shlex.split(bare.replace("$MAINPID", str(self.pid))), "-" in mark))
        return found

    def environment(self) -> dict[str, str]:
        """The environment of the service's processes."""
        values = dict(os.environ)
        for line in self.keys.get(("Service", "Environment"), []):
            for part in shlex.split(line):
                key, _, value = part.partition("=")
                values[key] = value
        for name in self.keys.get(("Service", "EnvironmentFile"), []):
            try:
                with open(name.lstrip("-"), encoding="utf-8") as stream:
                    lines = [line.strip() for line in stream]
            except OSError:
                continue
            for line in lines:
                if "=" in line and not line.startswith("#"):
                    key, _, value = line.partition("=")
                    values[key] = "".join(shlex.split(value))
        return values


class Init:
    """All services of a node, driven by one loop: requests, dead children, what is due."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        #: Restarts to come: when (monotonic seconds), and what.
        self.due: list[tuple[float, Unit]] = []
        self.log = os.open("/var/log/patchwave-lab-services.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def find(self, name: str) -> Unit | None:
        """A unit by name, with or without .service; None when there is no file."""
        name = name[:-8] if name.endswith(".service") else name
        if "/" in name or not name:
            return None
        for folder in FOLDERS:
            path = os.path.join(folder, name + ".service")
            if os.path.isfile(path):
                if name not in self.units:
                    self.units[name] = Unit(name, path)
                return self.units[name]
        return self.units.get(name)

    def spawn(self, unit: Unit, argv: list[str]) -> int:
        """Start one process of a service in a session of its own; its id, 0 when the program is missing."""
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(self.log, 1)
            os.dup2(self.log, 2)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.chdir(unit.get("WorkingDirectory", "/").lstrip("-") or "/")
            values = unit.environment()
            if unit.get("User"):
                user = pwd.getpwnam(unit.get("User"))
                os.setgid(user.pw_gid)
                os.setuid(user.pw_uid)
            os.execvpe(argv[0], argv, values)
        except BaseException as error:
            os.write(2, f"{unit.name}: {argv[0]}: {error}\n".encode())
        os._exit(203)

    def run(self, unit: Unit, key: str) -> int:
        """Run the commands of a key one after the other; the first exit code that counts."""
        for argv, ignored in unit.commands(key):
            _, status = os.waitpid(self.spawn(unit, argv), 0)
            if status and not ignored:
                return os.waitstatus_to_exitcode(status)
        return 0

    def start(self, unit: Unit) -> str:
        """Start a service; an error text, empty on success."""
        if unit.pid or unit.state == "active":
            return ""
        unit.read()
        unit.stopping = False
        if not unit.commands("ExecStart"):
            return f"Unit {unit.name}.service has a bad unit file setting."
        code = self.run(unit, "ExecStartPre") or self.begin(unit)
        if code:
            unit.state, unit.status = "failed", code
            return f"Job for {unit.name}.service failed because the control process exited with error code."
        return ""

    def begin(self, unit: Unit) -> int:
        """Start the main process by the unit's type; an exit code."""
        kind = unit.get("Type", "simple")
        if kind in ("oneshot", "forking"):
            code = self.run(unit, "ExecStart")
            if not code:
                keep = kind == "forking" or unit.get("RemainAfterExit") in ("yes", "true", "1")
                unit.state = "active" if keep else "inactive"
                unit.pid = self.forked(unit) if kind == "forking" else 0
            return code
        unit.pid, unit.state = self.spawn(unit, unit.commands("ExecStart")[0][0]), "active"
        # What cannot even be executed shows at once.
        time.sleep(0.02)
        self.bury()
        return unit.status if unit.state == "failed" else 0

    def forked(self, unit: Unit) -> int:
        """The main process of a forking service, from its PID file."""
        for _ in range(100):
            try:
                with open(unit.get("PIDFile")) as stream:
                    return int(stream.read())
            except (OSError, ValueError):
                if not unit.get("PIDFile"):
                    return 0
                time.sleep(0.02)
        return 0

    def stop(self, unit: Unit) -> str:
        """Stop a service: ExecStop, SIGTERM to its session, SIGKILL after a while."""
        unit.stopping = True
        self.run(unit, "ExecStop")
        pid, deadline = unit.pid, time.monotonic() + float(unit.get("TimeoutStopSec", "10").rstrip("s"))
        if pid:
            self.kill(pid, getattr(signal, unit.get("KillSignal", "SIGTERM"), signal.SIGTERM))
        while unit.pid and alive(pid):
            if time.monotonic() > deadline:
                self.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
            self.bury()
        for other in session(pid) if pid else ():
            self.kill(other, signal.SIGKILL)
        unit.pid, unit.state = 0, "inactive"
        return ""

    @staticmethod
    def kill(pid: int, sign: int) -> None:
        """Send a signal to a process that may be gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)

    def bury(self) -> None:
        """Take the exit codes of children and orphans; restart what wants it."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for unit in self.units.values():
                if unit.pid == pid:
                    self.ended(unit, os.waitstatus_to_exitcode(status))

    def ended(self, unit: Unit, code: int) -> None:
        """The main process of a service ended by itself, or was stopped."""
        unit.pid, unit.status = 0, code
        bad = code not in (0, -signal.SIGTERM)
        unit.state = "failed" if bad and not unit.stopping else "inactive"
        policy = unit.get("Restart", "no")
        wanted = policy == "always" or (bad and policy in ("on-failure", "on-abnormal", "on-abort"))
        if unit.stopping or not wanted:
            return
        now = time.monotonic()
        unit.starts = [each for each in unit.starts if now - each < 10] + [now]
        if len(unit.starts) <= BURST:
            unit.state = "activating"
            self.due.append((now + float(unit.get("RestartSec", "0.1").rstrip("s") or 0.1), unit))

    def answer(self, request: dict[str, str]) -> dict[str, Any]:
        """Do what a caller asks; {"code", "error"} or a unit's properties."""
        verb, unit = request["verb"], self.find(request["unit"])
        if verb == "reboot":
            os._exit(0)
        if unit is None:
            return {"code": 5, "missing": True, "error": f"Unit {request['unit']} could not be found."}
        error = ""
        if verb in ("stop", "restart") and (unit.pid or unit.state != "inactive"):
            error = self.stop(unit)
        if verb in ("start", "restart") and not error:
            error = self.start(unit)
        if verb == "reload":
            error = "Job type reload is not applicable." if not unit.commands("ExecReload") else ""
            error = error or ("failed" if self.run(unit, "ExecReload") else "")
        return {"code": 1 if error else 0, "error": error, **self.show(unit)}

    def show(self, unit: Unit) -> dict[str, str]:
        """A unit's properties by systemd's names."""
        if unit.pid and not alive(unit.pid):
            self.ended(unit, 0)
        sub = {"active": "running" if unit.pid else "exited", "failed": "failed", "activating": "auto-restart"}
        return {
            "Id": unit.name + ".service",
            "Description": unit.get("Description", unit.name, "Unit"),
            "LoadState": "loaded",
            "ActiveState": unit.state,
            "SubState": sub.get(unit.state, "dead"),
            "MainPID": str(unit.pid),
            "ExecMainStatus": str(unit.status),
            "FragmentPath": unit.path,
            "UnitFileState": "enabled" if unit.name in enabled() else "disabled",
            "NeedDaemonReload": "no",
            "Type": unit.get("Type", "simple"),
        }

    def serve(self) -> None:
        """Work until killed."""
        server = socket.socket(socket.AF_UNIX)
        os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        server.bind(SOCKET)
        server.listen(16)
        wakeup, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(server, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        print("ready", flush=True)
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        for unit in filter(None, map(self.find, sorted(enabled()))):
            self.start(unit)
        while True:
            wait = max(0, min(at for at, _ in self.due) - time.monotonic()) if self.due else None
            for key, _ in selector.select(wait):
                if key.fileobj is server:
                    self.receive(server.accept()[0])
                else:
                    os.read(wakeup, 4096)
            self.bury()
            self.restart()

    def restart(self) -> None:
        """Start again what is due."""
        now = time.monotonic()
        ready, self.due = [unit for at, unit in self.due if at <= now], [each for each in self.due if each[0] > now]
        for unit in ready:
            if not unit.stopping:
                unit.state = "inactive"
                self.start(unit)

    def receive(self, connection: socket.socket) -> None:
        """Answer one caller; nothing that it sends may end process 1."""
        with connection:
            try:
                connection.settimeout(5)
                request = json.loads(connection.makefile("rb").readline())
                connection.sendall(json.dumps(self.answer(request)).encode() + b"\n")
            except Exception as error:
                os.write(self.log, f"init: {error!r}\n".encode())


def enabled() -> set[str]:
    """Names of services that start with the node."""
    try:
        with open(ENABLED, encoding="utf-8") as stream:
            return {line.strip() for line in stream if line.strip()}
    except OSError:
        return set()


def alive(pid: int) -> bool:
    """Is there such a process, and not a zombie?"""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def session(pid: int) -> list[int]:
    """Processes of a session."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getsid(int(name)) == pid:
                    found.append(int(name))
            except ProcessLookupError:
                continue
    return found


if __name__ == "__main__":
    os.umask(0o022)
    Init().serve()
