"""A node's directory and the command line that enters it.

A node is a set of namespaces in which /etc, /opt, /usr, /var, /root, /home and /srv are overlays over this
machine's own, and /tmp and /run are its own. To make them costs about 60 ms, to enter them 5 ms.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from patchwave_lab import processes
from patchwave_lab.errors import LabError
from patchwave_lab.labdir import OVERLAID

ENTER = Path(__file__).with_name("enter.sh")
#: There since Linux 5.6; without it a node has this machine's uptime.
TIME = Path("/proc/self/ns/time_for_children")
#: Without root, directories of the real root appear as nobody's. These are made the node's own.
WRITABLE_WITHOUT_ROOT = (
    *("etc/apt", "etc/ssh", "etc/systemd/system", "etc/default", "etc/profile.d"),
    *("usr/local/bin", "usr/local/sbin", "usr/local/lib", "usr/local/share", "usr/local/etc"),
    *("var/lib", "var/log", "var/cache", "var/spool", "var/tmp", "var/backups", "var/opt"),
)
#: Directories that are a node's own and empty at each boot. The third makes callers take it for systemd's.
VOLATILE = {
    "tmp": 0o1777,
    "run": 0o755,
    "run/systemd/system": 0o755,
    "run/lock": 0o1777,
    "run/sshd": 0o755,
    "run/patchwave-lab": 0o755,
}


def _is_root() -> bool:
    return os.geteuid() == 0


def create(node: Path) -> None:
    """Make a new node's directory."""
    node.mkdir(mode=0o755, parents=True)
    for name in OVERLAID:
        lower = Path("/", name)
        if not lower.is_dir():
            continue
        _mirror(lower, node / f"{name}.up")
        if os.access(lower, os.R_OK | os.X_OK):
            (node / f"{name}.wk").mkdir()
        else:
            (node / f"{name}.bind").touch()
    if not _is_root():
        for path in WRITABLE_WITHOUT_ROOT:
            make_directories(node, Path("/", path))
    _make_volatile(node)


def put_files(node: Path, files: Mapping[str, str]) -> None:
    """Put `files` (absolute path in the node to text) in place."""
    for name, text in files.items():
        inner = Path(name)
        make_directories(node, inner.parent)
        target = upper_path(node, inner)
        target.unlink(missing_ok=True)
        target.write_text(text)
        target.chmod(0o755 if text.startswith("#!") else 0o644)


def empty(node: Path) -> None:
    """What a reboot does to a node's files: /run and /tmp are empty again."""
    for name in ("run", "tmp"):
        processes.remove_tree(node / name)
    _make_volatile(node)


def _make_volatile(node: Path) -> None:
    for name, mode in VOLATILE.items():
        (node / name).mkdir(parents=True)
        (node / name).chmod(mode)
    _keep_resolver(node)


def upper_path(node: Path, inner: Path) -> Path:
    """Where a node's own copy of a file is on this machine; `inner` is its absolute path in the node."""
    first, *rest = inner.parts[1:]
    return Path(node, f"{first}.up" if first in OVERLAID else first, *rest)


def argv(
    node: Path, host_name: str, working_directory: str, command: Sequence[str], uptime: float | None = None
) -> list[str]:
    """The command line that makes a node's namespaces and runs `command` as its process 1.

    `uptime` (seconds) is what the node's /proc/uptime is to say.
    """
    made = ["--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
    options = ""
    if not _is_root():
        made += ["--user", "--map-root-user"]
        options = ",userxattr"
    if uptime is not None and TIME.exists():
        made += ["--time", f"--boottime={int(uptime - time.clock_gettime(time.CLOCK_BOOTTIME))}"]
    return ["unshare", *made, "sh", str(ENTER), str(node), options, host_name, working_directory, *command]


def enter(holder: int, working_directory: str, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` in the namespaces that process `holder` made, as the node's root."""
    of = f"/proc/{holder}/ns"
    options = [f"--mount={of}/mnt", f"--uts={of}/uts", f"--pid={of}/pid_for_children"]
    if not _is_root():
        options = [f"--user={of}/user", "--preserve-credentials", *options]
    if TIME.exists():
        options.append(f"--time={of}/time_for_children")
    change = 'cd "$1" || exit 1; shift; exec "$@"'
    return ["nsenter", *options, "sh", "-c", change, "sh", working_directory, *command]


def environment(node_id: str, region: str) -> dict[str, str]:
    """The whole environment of what runs inside a node."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "AWS_SSM_INSTANCE_ID": node_id,
        "AWS_SSM_REGION_NAME": region,
    }


def check(scratch: Path) -> None:
    """Enter a throw-away node once, and say what is missing if that fails."""
    for tool in ("unshare", "nsenter", "mount", "hostname", "sh", "python3"):
        if shutil.which(tool) is None:
            raise LabError(
                f"the lab needs the command {tool!r} (Debian packages: util-linux, mount, hostname, python3)"
            )
    create(scratch)
    probe = "touch /opt/probe /tmp/probe && rm /opt/probe && mkdir -p /var/lib/probe"
    try:
        done = subprocess.run(
            argv(scratch, "probe", "/", ["sh", "-c", probe]),
            env=environment("", ""),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError("this machine takes more than 10 s to enter a node") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise LabError(f"this machine cannot make lab nodes ({_missing(said)}): {said}")


def _missing(said: str) -> str:
    if "unshare" in said and not _is_root():
        return (
            "the kernel refuses user namespaces: see the sysctls user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns"
        )
    if "unshare" in said:
        return "the right to make namespaces, CAP_SYS_ADMIN, is missing: in a container, run it privileged"
    return "overlayfs or a mount is refused; it needs Linux 5.11 or newer and a file system that can hold an overlay"


def _mirror(lower: Path, upper: Path) -> None:
    """Make `upper` a directory like `lower`: overlayfs shows the upper one's mode and owner."""
    upper.mkdir()
    found = lower.stat()
    if _is_root():
        os.chown(upper, found.st_uid, found.st_gid)
    upper.chmod(found.st_mode & 0o7777 | (0 if _is_root() else 0o700))


def make_directories(node: Path, inner: Path) -> None:
    """Make a directory of a node and all above it, like this machine's own where there are such."""
    for part in [*reversed(inner.parents), inner]:
        if part == Path("/"):
            continue
        upper, lower = upper_path(node, part), part
        if upper.is_dir():
            continue
        if lower.is_dir() and part.parts[1] in OVERLAID:
            _mirror(lower, upper)
        else:
            upper.mkdir()


def _keep_resolver(node: Path) -> None:
    """Keep names resolvable where /etc/resolv.conf points into /run, which a node has for itself."""
    real = Path(os.path.realpath("/etc/resolv.conf"))
    if real.is_relative_to("/run") and real.is_file():
        copy = node.joinpath(*real.parts[1:])
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(real, copy)
