# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""One process does the work of a task for all its hosts; the other hosts' processes take their results from it.

The first process to come does the work and writes a file for each host into Ansible's own temporary folder, which is
private and goes with the run. Processes of the same task that come meanwhile wait for a lock, and so for the results.
A host that the first process did not foresee finds no file and does the work for itself alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import pathlib
import typing as t

from ansible import constants
from ansible.errors import AnsibleActionFail

Result = dict[str, t.Any]


class Works(t.Protocol):
    """Does the work, for all hosts or for the own one alone; returns a result for each host."""

    def __call__(self, alone: bool) -> dict[str, Result]: ...


def own_result(execution: t.Any, host: str, work: Works) -> Result:
    """Return the host's result; whoever comes first does the work for everybody.

    Args:
        execution: what tells this execution of a task from every other one; None to work alone.
        host: the host's name.
        work: does the work.

    Raises:
        AnsibleActionFail: the work failed as a whole, or whoever did it died.
    """
    if execution is None:
        return work(alone=True)[host]
    name = hashlib.sha256(json.dumps(execution).encode()).hexdigest()
    folder = pathlib.Path(constants.DEFAULT_LOCAL_TMP) / f"patchwave-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "begun").exists():
            (folder / "begun").touch()
            _lead(folder, work)
        result = _taken(folder, host)
    return work(alone=True)[host] if result is None else result


def _lead(folder: pathlib.Path, work: Works) -> None:
    try:
        results = work(alone=False)
    except Exception as error:
        (folder / "failed").write_text(str(error), encoding="utf-8")
        return
    for host, result in results.items():
        _file(folder, host).write_text(json.dumps(result), encoding="utf-8")
    (folder / "done").touch()


def _taken(folder: pathlib.Path, host: str) -> Result | None:
    """Take the host's result; None where nobody has foreseen the host."""
    if (folder / "failed").exists():
        raise AnsibleActionFail((folder / "failed").read_text(encoding="utf-8"))
    if not (folder / "done").exists():
        raise AnsibleActionFail("the process that worked for all hosts died; what it has sent to nodes may still run")
    file = _file(folder, host)
    with contextlib.suppress(FileNotFoundError):
        result = dict(json.loads(file.read_text(encoding="utf-8")))
        file.unlink()  # an execution that looks the same must not take it again
        return result
    return None


def _file(folder: pathlib.Path, host: str) -> pathlib.Path:
    return folder / f"host-{hashlib.sha256(host.encode()).hexdigest()}"
