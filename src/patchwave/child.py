"""Ansible's play as a child of the driver: it ends with the driver, and waits without burning a processor.

The driver starts this file in place of `ansible-playbook`, with its own process id before the arguments.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import termios

#: prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
#: Ansible wraps what it says to the terminal's width; nobody looks at this one.
_COLUMNS = 20_000
#: Seconds between two polls of Ansible's main process for a task's end; its own millisecond costs 5 % of a core.
_POLL = 0.01


def main() -> None:
    """Be `ansible-playbook`."""
    parent = int(sys.argv.pop(1))
    _end_with_parent(parent)
    with contextlib.suppress(OSError, termios.error):
        termios.tcsetwinsize(sys.stdout.fileno(), (50, _COLUMNS))
    from ansible import constants
    from ansible.cli import playbook

    constants.DEFAULT_INTERNAL_POLL_INTERVAL = _POLL
    sys.argv[0] = "ansible-playbook"
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
