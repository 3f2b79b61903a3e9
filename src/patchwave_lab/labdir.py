"""Where a lab keeps its files, and what is written there about the running lab.

This module is imported by every `patchwave lab` command, so it needs the standard library only.
"""

import json
import os
import re
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from patchwave_lab.errors import LabError

DEFAULT_NAME = "default"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
#: Directories that every node sees as a copy-on-write overlay over this machine's own.
OVERLAID = ("etc", "opt", "usr", "var", "root", "home", "srv")


@dataclass(frozen=True)
class NodeEntry:
    """One node as the command line needs it: who it is and where its files are."""

    node_id: str
    name: str
    account: str
    region: str
    real: bool


@dataclass(frozen=True)
class LabState:
    """What a running lab wrote down when it became ready. `started` is the server's start time in clock ticks."""

    name: str
    pid: int
    started: int
    endpoint: str
    access_key: str
    secret_key: str
    control_token: str
    region: str
    accounts: list[str]
    buckets: list[str]
    scenario: str
    nodes: list[NodeEntry] = field(default_factory=list)


@dataclass(frozen=True)
class LabDir:
    """The directory of one lab."""

    name: str
    path: Path

    @property
    def state_file(self) -> Path:
        """Written by the server when it is ready, mode 0600."""
        return self.path / "lab.json"

    @property
    def log_file(self) -> Path:
        """The server's own log."""
        return self.path / "server.log"

    @property
    def api_log(self) -> Path:
        """One JSON line per API call."""
        return self.path / "api.jsonl"

    @property
    def scenario_file(self) -> Path:
        """The scenario this lab was started with."""
        return self.path / "scenario.yml"

    @property
    def pid_file(self) -> Path:
        """The server's process id, written by `up`."""
        return self.path / "server.pid"

    @property
    def nodes(self) -> Path:
        """One directory per node."""
        return self.path / "nodes"

    def node(self, node_id: str) -> Path:
        """The directory of one node."""
        return self.nodes / node_id

    def write_state(self, state: LabState) -> None:
        """Write the state whole or not at all."""
        draft = self.state_file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(state), indent=1))
        draft.replace(self.state_file)

    def read_state(self) -> LabState | None:
        """The state, or None while there is none."""
        try:
            raw: dict[str, Any] = json.loads(self.state_file.read_text())
            raw["nodes"] = [NodeEntry(**entry) for entry in raw["nodes"]]
            return LabState(**raw)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            # Such as that of another version.
            again = f"patchwave lab down --name {self.name}"
            raise LabError(f"{self.state_file} is none of this version; start over with: {again}") from None


def root() -> Path:
    """The directory that holds all labs of this user."""
    chosen = os.environ.get("PATCHWAVE_LAB_DIR")
    if chosen:
        return Path(os.path.realpath(chosen))
    return Path(os.path.realpath(os.environ.get("TMPDIR") or "/tmp")) / f"patchwave-lab-{os.geteuid()}"


def find(name: str) -> LabDir:
    """The directory of the lab called `name`; nothing is created."""
    if not NAME_PATTERN.fullmatch(name):
        raise LabError(f"lab name {name!r}: use lower-case letters, digits, dot, dash and underscore, at most 32")
    return LabDir(name, root() / name)


def create_root() -> Path:
    """Make the directory of all labs, and refuse one that would not be safe or would not work."""
    where = root()
    for name in OVERLAID:
        if where.is_relative_to(f"/{name}"):
            raise LabError(
                f"the lab cannot live in {where}: /{name} is overlaid in every node and overlayfs refuses "
                "an upper directory inside its lower one; set PATCHWAVE_LAB_DIR to one elsewhere, such as /tmp/lab"
            )
    if re.search(r"[\s:,\\]", str(where)):
        raise LabError(f"the lab cannot live in {str(where)!r}: no blank, comma, colon or backslash in the path")
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"the lab cannot live in {where}: {error.strerror}; set PATCHWAVE_LAB_DIR") from None
    found = where.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise LabError(f"{where} must be a directory that only you can write to")
    return where


def require_running(name: str) -> tuple[LabDir, LabState]:
    """The running lab called `name`."""
    from patchwave_lab.processes import is_same_process

    lab = find(name)
    state = lab.read_state()
    again = "" if name == DEFAULT_NAME else f" --name {name}"
    if state is None:
        raise LabError(f"no lab named {name!r} is running; start it with: patchwave lab up{again}")
    if not is_same_process(state.pid, state.started):
        raise LabError(
            f"the server of lab {name!r} has died (its log: {lab.log_file}); "
            f"start over with: patchwave lab down{again} && patchwave lab up{again}"
        )
    return lab, state
