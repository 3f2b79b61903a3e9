# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Run a command whose output nobody can rely on: it may never end, and what it has started may hold its pipes for ever.

AnsibleModule.run_command() keeps all that is printed in memory, and goes on for as long as anybody prints.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
import typing as t

#: Bytes of each stream that are kept; what comes after them is read and dropped.
MAX_BYTES = 32 * 1024**2
#: Seconds for which pipes are read on once the command itself has ended.
GRACE_SECONDS = 0.5

_CHUNK = 64 * 1024
#: What files that commands make are not: writable by others. It is what systemd and the SSM agent give, too.
_UMASK = 0o022


def run_command(
    argv: t.Sequence[str],
    cwd: str,
    environ: t.Mapping[str, str],
    begun: t.Callable[[t.Any], None],
) -> t.Tuple[int, str, str]:
    """Run a command until it has ended; return its code, output and errors, with odd bytes as os.listdir() has them.

    Args:
        argv: program and arguments.
        cwd: where it runs.
        environ: its environment.
        begun: is given the process, and may kill it.

    Raises:
        OSError: it does not start.
    """
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}  # type: t.Dict[str, t.Any]
    before = os.umask(_UMASK)  # Popen has an argument for it from Python 3.9 on
    try:
        process = subprocess.Popen(list(argv), cwd=cwd, env=dict(environ), **pipes)
    finally:
        os.umask(before)
    kept = {process.stdout: bytearray(), process.stderr: bytearray()}  # type: t.Dict[t.Any, bytearray]
    try:
        begun(process)
        with selectors.DefaultSelector() as selector:
            for stream in kept:
                selector.register(stream, selectors.EVENT_READ)
            _read(process, selector, kept)
    finally:
        for stream in kept:
            stream.close()
        process.wait()
    out, err = (bytes(kept[stream]).decode("utf-8", "surrogateescape") for stream in (process.stdout, process.stderr))
    return process.returncode, out, err


def _read(process: t.Any, selector: selectors.BaseSelector, kept: t.Mapping[t.Any, bytearray]) -> None:
    """Read until nobody can print any more, or until a moment after the command itself has ended."""
    until = float("inf")
    while selector.get_map() and time.monotonic() < until:
        for key, dummy in selector.select(0.05):
            chunk = os.read(key.fd, _CHUNK)
            if not chunk:
                selector.unregister(key.fileobj)
            kept[key.fileobj].extend(chunk[: MAX_BYTES - len(kept[key.fileobj])])
        if until == float("inf") and process.poll() is not None:
            until = time.monotonic() + GRACE_SECONDS
