"""Ansible's programs as children of the driver: they end with it, and wait without burning a processor.

The driver runs this module in their place, as `python -m patchwave.child PROGRAM DRIVER ...`, with its own process id.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import termios
import time
from pathlib import Path
from typing import Any

#: The variables that the driver needs of each host, and those that the inventory sets for all hosts alike.
HOST_VARIABLES = ("node_id", "node_name", "account", "region", "patch_group", "not_patchable")
VARIABLES_OF_ALL = ("unread", "left_out", "inventory_warnings", "out_of_scope")
#: prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
#: Ansible wraps what it says to the terminal's width; nobody looks at this one.
_COLUMNS = 20_000
#: Seconds between two polls: of Ansible's main process for a task's end, where its own millisecond costs 5 % of a core,
#: and of a play that is loaded for what it is to play.
_POLL = 0.01


def command(program: str) -> list[str]:
    """Return the command that runs `inventory` or `playbook` as a child of this process, without its arguments."""
    # -P: what lies in the user's folder is not to be imported.
    return [sys.executable, "-P", "-m", __name__, program, str(os.getpid())]


def main() -> None:
    """Be `ansible-inventory` or `ansible-playbook`."""
    program, driver = sys.argv[1], int(sys.argv[2])
    _end_with_parent(driver)
    sys.argv[:3] = [f"ansible-{program}"]
    if program == "inventory":
        _inventory()
    else:
        _playbook(driver)


def _inventory() -> None:
    """Be `ansible-inventory --list`, which writes only what the driver needs, and not in a hundred lines a host."""
    from ansible.cli.inventory import InventoryCLI

    class Listing(InventoryCLI):
        @staticmethod
        def dump(stuff: dict[str, Any]) -> str:
            """Return what is written."""
            return json.dumps(_lean(stuff), default=str)

    Listing.cli_executor()


def _lean(found: dict[str, Any]) -> dict[str, Any]:
    """Return the part of an inventory that the driver needs; what is alike on all hosts, once."""
    hostvars: dict[str, dict[str, Any]] = found.get("_meta", {}).get("hostvars", {})
    of_all: dict[str, list[Any]] = {
        name: next((known[name] for known in hostvars.values() if known.get(name)), []) for name in VARIABLES_OF_ALL
    }
    lean = {host: {name: known[name] for name in HOST_VARIABLES if name in known} for host, known in hostvars.items()}
    return {**found, "_meta": {"hostvars": lean, "of_all": of_all}}


def _playbook(driver: int) -> None:
    """Be `ansible-playbook`, with the arguments that the driver writes into a file once it knows them."""
    with contextlib.suppress(OSError, termios.error):
        termios.tcsetwinsize(sys.stdout.fileno(), (50, _COLUMNS))
    from ansible import constants
    from ansible.cli import playbook
    from ansible.executor import playbook_executor  # loaded while the driver still reads the inventory

    constants.DEFAULT_INTERNAL_POLL_INTERVAL = _POLL
    file = Path(sys.argv.pop())
    while not file.exists():
        if os.getppid() != driver:
            sys.exit("patchwave: the driver is gone")
        time.sleep(_POLL)
    sys.argv += json.loads(file.read_text(encoding="utf-8"))
    del playbook_executor
    sys.exit(playbook.main())


def _end_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when the driver dies, and its workers with it.

    Elsewhere the lock that the driver holds has to do.
    """
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.register_at_fork(after_in_child=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit("patchwave: the driver is gone")


if __name__ == "__main__":
    main()
