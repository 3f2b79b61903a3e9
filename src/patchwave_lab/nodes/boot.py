"""Starting a node's process 1, which keeps its namespaces alive from boot to reboot, and entering them."""

import fcntl
import os
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchwave_lab import processes
from patchwave_lab.errors import LabError
from patchwave_lab.nodes import namespaces, writes, wrong_clock

INSIDE = Path(__file__).with_name("inside")
#: Programs of a node that ask its process 1.
PROGRAMS = ("systemctl", "service", "reboot", "shutdown")
#: A node that was never started again has been up for this long, in seconds.
FIRST_UPTIME = 10 * 86_400
#: Stacks an overlay whose upper directory is a file system with no byte left.
FILL = """
full=/run/patchwave-lab/full
mkdir -p $full && mount -t tmpfs -o size=64k tmpfs $full
for name in opt var; do mkdir $full/$name $full/$name.wk; done
for name in opt var; do
    mount -t overlay overlay -o lowerdir=/$name,upperdir=$full/$name,workdir=$full/$name.wk /$name
done
dd if=/dev/zero of=$full/ballast bs=4k 2>/dev/null || :
"""


@dataclass(frozen=True)
class Machine:
    """A node as this machine knows it: its directory and its names."""

    home: Path
    node_id: str
    name: str
    region: str

    @property
    def _pid_file(self) -> Path:
        return self.home / "init.pid"

    def holder(self) -> int | None:
        """The process on this machine that holds the node's namespaces; None while the node is down."""
        try:
            pid, started = map(int, self._pid_file.read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        return pid if processes.is_same_process(pid, started) else None

    def boot(self) -> int:
        """Start the node unless it runs; the process that holds its namespaces."""
        with open(self.home / "init.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self.holder() or self._start()

    def fell(self, holder: int, patience: float = 3.0) -> bool:
        """Did the node go down? What ran in it is killed a moment before its holder ends."""
        deadline = time.monotonic() + patience
        while self.holder() == holder and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.holder() != holder

    def kill(self) -> None:
        """The plug is pulled: everything that runs in the node ends at once, and memory is lost."""
        holder = self.holder()
        if holder is not None:
            # Its child, process 1, goes with it (unshare --kill-child), and the kernel ends all others.
            processes.stop(holder, processes.start_time(holder) or 0, 0)
        processes.kill_inside(self.home)

    def fill_disk(self, *, full: bool) -> None:
        """Cover /opt and /var with a layer that has no room, or take it away with what little was written there."""
        script = FILL if full else "umount -l /opt /var /run/patchwave-lab/full"
        subprocess.run(
            namespaces.enter(self.boot(), "/", ["sh", "-ec", script]),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    def argv(self, command: Sequence[str], working_directory: str = "/root") -> list[str]:
        """The command line that runs `command` in the node, as its root; the node is started if it is down."""
        return self.enter(self.boot(), working_directory, command)

    def enter(self, holder: int, working_directory: str, command: Sequence[str]) -> list[str]:
        """The same for a node that runs, held by the process `holder`."""
        if writes.watched(self.home):
            program = (INSIDE / "check_only.py").read_text()
            command = ["unshare", "--mount", "python3", "-IS", "-c", program, *command]
        return namespaces.enter(holder, working_directory, command)

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of what runs inside the node."""
        return namespaces.environment(self.node_id, self.region) | wrong_clock.environment(self.home)

    def _start(self) -> int:
        self._renew()
        run = self.home / "run/patchwave-lab"
        run.mkdir(exist_ok=True)
        (run / "init.py").write_text((INSIDE / "init.py").read_text())
        program = ["python3", "-IS", "/run/patchwave-lab/init.py"]
        with (self.home / "init.log").open("ab") as log, processes.STARTING:
            holder = subprocess.Popen(
                namespaces.argv(self.home, self.name, "/", program, uptime=self._uptime()),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert holder.stdout is not None
        with holder.stdout as said:
            if said.readline() != b"ready\n":
                holder.wait()
                lines = (self.home / "init.log").read_text(errors="replace").splitlines() or ["no message"]
                raise LabError(f"node {self.name} does not start: {lines[-1]}")
        self._pid_file.write_text(f"{holder.pid} {processes.start_time(holder.pid) or 0}\n")
        return holder.pid

    def _renew(self) -> None:
        """A boot after the first: a new boot id, an empty /run and /tmp, the clock of the uptime at zero."""
        identity, again = self.home / "boot_id", self._pid_file.exists()
        if again:
            namespaces.empty(self.home)
        if again or not identity.exists():
            identity.write_text(f"{uuid.uuid4()}\n")
            booted = time.time() - (0 if again else FIRST_UPTIME)
            (self.home / "booted").write_text(f"{booted}\n")

    def _uptime(self) -> float:
        return time.time() - float((self.home / "booted").read_text())


def install_programs(node: Path) -> None:
    """Put `systemctl` and its kin where a node's PATH finds them before this machine's own."""
    folder = namespaces.upper_path(node, Path("/usr/local/sbin"))
    namespaces.make_directories(node, Path("/usr/local/sbin"))
    text = (INSIDE / "systemctl.py").read_text()
    first, *others = PROGRAMS
    (folder / first).write_text(text)
    (folder / first).chmod(0o755)
    for name in others:
        os.symlink(first, folder / name)
