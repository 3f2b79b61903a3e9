# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A version that was unpacked by hand, with a user's data, rights and links, as it is found on real nodes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from .conftest import Node
from .test_applications import source

#: A server that binds a port below 1024 as a user, as a copy of Python does with a capability, and a setuid helper.
BY_HAND = """
useradd --system app; useradd --system guest
mkdir -p /opt/srv/1.0/bin /opt/srv/1.0/data /opt/srv/1.0/conf
cp $1 /opt/srv/1.0/bin/server; cp /usr/bin/id /opt/srv/1.0/bin/helper
echo 'echo 1.0' > /opt/srv/1.0/version; echo orders > /opt/srv/1.0/data/db; echo mine > /opt/srv/1.0/conf/app.conf
chown -R app:app /opt/srv/1.0/data /opt/srv/1.0/conf
chmod 4755 /opt/srv/1.0/bin/helper; setcap cap_net_bind_service=+ep /opt/srv/1.0/bin/server
ln -s /opt/srv/1.0/bin/server /usr/local/bin/srv; ln -s /opt/srv/1.0/bin/helper /usr/local/bin/srv-helper
ln -s 1.0 /opt/srv/latest
"""


def archive(tmp_path: Path, version: str, program: str) -> dict[str, t.Any]:
    tree = tmp_path / version
    for name in ("bin", "conf"):
        (tree / name).mkdir(parents=True)
    shutil.copy(program, tree / "bin/server")
    shutil.copy("/usr/bin/id", tree / "bin/helper")
    (tree / "version").write_text(f"echo {version}\n")
    (tree / "conf/app.conf").write_text("default\n")
    packed = tmp_path / f"srv-{version}.tar.zst"
    subprocess.run(["tar", "--zstd", "-cf", packed, "-C", tree, "."], check=True)
    return source(packed, version, links=["/usr/local/bin/srv", "/usr/local/bin/srv-helper", "/opt/srv/latest"])


def test_a_version_made_by_hand(node: Node, tmp_path: Path) -> None:
    if not (shutil.which("setcap") and shutil.which("zstd")):
        pytest.skip("needs setcap and zstd (make system)")
    program = str(Path(sys.executable).resolve())
    node.sh(BY_HAND, program)
    bind = "import socket; socket.create_server(('127.0.0.1', 81)).close(); print('bound')"
    serve = f'runuser -u app -- /usr/local/bin/srv -S -c "{bind}"'
    assert node.sh(serve) == "bound\n"
    args = {
        "name": "srv",
        "fixed_in": "1.2",
        "dest": "/opt/srv",
        "probe": {"command": ["sh", "/opt/srv/latest/version"]},
        "health": {"command": ["sh", "-c", serve], "retries": 0},
    }
    before = node.tree("/opt/srv", "/usr/local/bin")
    sick = dict(args, archive=archive(tmp_path / "sick", "1.2", shutil.which("false") or "/bin/false"))
    result = node.patch(sick)
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    assert node.tree("/opt/srv", "/usr/local/bin") == before
    assert node.sh("runuser -u guest -- /opt/srv/1.0/bin/helper -u") == "0\n"
    assert node.sh(serve) == "bound\n"
    for version in ("1.2", "1.3", "1.4"):
        wanted = dict(args, fixed_in=version, archive=archive(tmp_path / "good", version, program), keep=0)
        result = node.patch(wanted)
        assert (result["outcome"], result["version_after"]) == ("patched", version), result
        assert node.sh(serve) == "bound\n"
        assert node.sh("runuser -u guest -- srv-helper -u") == "0\n"
        assert node.run("readlink", "-f", "/opt/srv/latest", "/usr/local/bin/srv").split() == [
            f"/opt/srv/{version}",
            f"/opt/srv/{version}/bin/server",
        ]
        assert node.sh("stat -c %U /opt/srv/current/conf/app.conf") == "app\n"
        for old in ("helper", "server"):
            assert node.run("runuser", "-u", "guest", "--", f"/opt/srv/1.0/bin/{old}", "-V", check=False) == ""
        assert node.sh("runuser -u app -- cat /opt/srv/1.0/data/db") == "orders\n"
    assert node.sh("ls /opt/srv").split() == ["1.0", "1.4", "current", "latest"]
    assert node.sh("cat /opt/srv/1.0/conf/app.conf") == "mine\n"
