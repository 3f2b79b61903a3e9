# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real node to patch: namespaces over this machine, whose /etc, /opt, /root, /usr and /var are copies in memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.modules import software_patch

NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
ENTER = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
for dir in etc opt root usr var; do
    mkdir /mnt/$dir /mnt/$dir.work
    mount -t overlay overlay -o lowerdir=/$dir,upperdir=/mnt/$dir,workdir=/mnt/$dir.work /$dir
done
echo ready
sleep infinity & wait  # not exec: somebody has to reap orphans
"""


class Node:
    """A node that lives as long as its process 1, which says when it is ready."""

    def __init__(self, command: t.Sequence[str] = (*NAMESPACES, "sh", "-c", ENTER)) -> None:
        self._init = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if not self._init.stdout or self._init.stdout.readline() != b"ready\n":
            self.stop()
            pytest.fail(f"cannot make a node: {self._init.stderr.read().decode() if self._init.stderr else ''}")
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        self.enter = ["nsenter", "--target", children[0], "--mount", "--pid"]

    def stop(self) -> None:
        self._init.kill()
        self._init.communicate()

    def start(self, *argv: object, **options: t.Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self.enter, *map(str, argv)], **options)

    def run(self, *argv: object, check: bool = True) -> str:
        options: dict[str, t.Any] = {"text": True, "errors": "surrogateescape", "timeout": 120}
        done = subprocess.run([*self.enter, *map(str, argv)], capture_output=True, check=False, **options)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout

    def sh(self, script: str, *argv: object) -> str:
        return self.run("sh", "-ec", script, "sh", *argv)

    def module(self, args: dict[str, t.Any]) -> list[str]:
        """Return the command that runs the module in the node; its arguments go to its standard input."""
        return [*self.enter, sys.executable, "-m", software_patch.__name__]

    def patch(self, args: dict[str, t.Any], **settings: bool) -> dict[str, t.Any]:
        given = dict(args, **{"_ansible_" + key: value for key, value in settings.items()})
        done = subprocess.run(
            self.module(args),
            input=json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode(),
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert len(done.stdout) < 2000, done.stdout
        result: dict[str, t.Any] = json.loads(done.stdout or done.stderr)
        return result

    def tree(self, *folders: str) -> str:
        """All below folders: owner, mode, path, target and checksum."""
        script = (
            'find "$@" -printf "%U:%G %m %y %p %l\\n" | sort; find "$@" -type f -print0 | sort -z | xargs -0r sha256sum'
        )
        return self.sh(script, *folders)


def to_rpm(node: Node) -> None:
    """Make a node one of the RPM family: an empty RPM database where that family has it, and none of Debian's."""
    if not shutil.which("rpmbuild"):  # a developer's machine; `make test` installs it, and CI allows no skip
        pytest.skip("needs rpmbuild (apt install rpm, or make system)")
    node.sh(
        "mkdir -p /etc/rpm; echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros; rm -rf /var/lib/rpm; rpm --initdb;"
        "mv /var/lib/dpkg/status /var/lib/dpkg/elsewhere"
    )


@pytest.fixture
def node() -> t.Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("needs root, for package managers in a node")
    made = Node()
    try:
        yield made
    finally:
        made.stop()
