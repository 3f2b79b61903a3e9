# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real programs in two real versions, from the package registry, patched in a node; one of them while it serves."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import tarfile
import threading
import time
import typing as t
import zipfile
from pathlib import Path

from .conftest import Node

START = (
    "cd /; PYTHONPATH=/opt/waitress/current exec setsid {python} -m waitress --listen=127.0.0.1:{port} "
    "wsgiref.simple_server:demo_app"
)
CTL = """#!/bin/sh
pid=$(cat /var/waitress.pid 2>/dev/null)
case $1 in
  status) test -n "$pid" && kill -0 $pid 2>/dev/null ;;
  stop) kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.02; done; rm /var/waitress.pid ;;
  start) ({start}) > /dev/null 2>&1 & echo $! > /var/waitress.pid ;;
esac
"""


def wheel(folder: Path, name: str, version: str) -> Path:
    """Download one version with pip, as any user would."""
    target = folder / f"{name}-{version}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*command, "-d", target, f"{name}=={version}"], check=True, capture_output=True)
    return next(target.iterdir())


def archive(folder: Path, name: str, version: str, prefix: str) -> Path:
    """Pack the part of a wheel below C(prefix) as a tar archive."""
    made = folder / f"{name}-{version}.tar.gz"
    with zipfile.ZipFile(wheel(folder, name, version)) as package, tarfile.open(made, "w:gz") as tar:
        for entry in package.infolist():
            if entry.filename.startswith(prefix.format(version)) and not entry.is_dir():
                info = tarfile.TarInfo(entry.filename[len(prefix.format(version)) :])
                info.size, info.mode = entry.file_size, 0o755
                with package.open(entry) as content:
                    tar.addfile(info, content)
    return made


def definition(name: str, packed: Path, version: str, **changes: t.Any) -> dict[str, t.Any]:
    source = {"url": str(packed), "sha256": hashlib.sha256(packed.read_bytes()).hexdigest(), "version": version}
    return {"name": name, "fixed_in": version, "archive": source, "dest": f"/opt/{name}", **changes}


def test_a_native_binary(node: Node, tmp_path: Path) -> None:
    prefix = "rust_just-{}.data/scripts/"
    probe = {"command": ["/opt/just/current/just", "--version"]}
    for version, outcome in (("1.40.0", "patched"), ("1.42.4", "patched"), ("1.40.0", "current")):
        packed = archive(tmp_path, "rust-just", version, prefix)
        done = node.patch(definition("just", packed, version, probe=probe, install_missing=True))
        assert done["outcome"] == outcome, done
    assert node.run("/opt/just/current/just", "--version") == "just 1.42.4\n"


class Client(threading.Thread):
    """Ask a server again and again; count answers and failures, and note the longest time without an answer."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.answers, self.failures, self.gap = port, 0, 0, 0.0
        self.stopped = threading.Event()

    def wait_for(self, answers: int) -> None:
        deadline = time.monotonic() + 20
        while self.answers < answers:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)

    def run(self) -> None:
        last = time.monotonic()
        while not self.stopped.is_set():
            if self._ask():
                now = time.monotonic()
                self.answers, self.gap, last = self.answers + 1, max(self.gap, now - last), now
            else:
                self.failures += 1
            time.sleep(0.01)

    def _ask(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return connection.recv(12).endswith(b" 200")
        except OSError:
            return False


def test_a_server_that_answers_while_it_is_patched(node: Node, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ctl = tmp_path / "ctl"
    ctl.write_text(CTL.format(start=START.format(python=sys.executable, port=port)))
    ctl.chmod(0o755)
    old, new = archive(tmp_path, "waitress", "3.0.0", ""), archive(tmp_path, "waitress", "3.0.2", "")
    node.sh("mkdir -p /opt/waitress/3.0.0; tar xzf $1 -C /opt/waitress/3.0.0; ln -s 3.0.0 /opt/waitress/current", old)
    node.run(ctl, "start")
    list_folder = ["sh", "-c", "ls -d /opt/waitress/current/waitress-*.dist-info"]
    args = definition("waitress", new, "3.0.2", probe={"command": list_folder, "pattern": r"waitress-([\d.]+)\.dist"})
    args["health"] = {"http": {"url": f"http://127.0.0.1:{port}/", "pattern": "Hello"}, "delay": 0.2, "retries": 25}
    args["services"] = [{"name": "web", **{verb: [str(ctl), verb] for verb in ("start", "stop", "status")}}]
    client = Client(port)
    client.start()
    client.wait_for(5)
    done = node.patch(args)
    client.wait_for(client.answers + 5)
    client.stopped.set()
    client.join()
    assert (done["outcome"], done["version_after"]) == ("patched", "3.0.2"), done
    assert 0 < done["seconds"]["outage"] < 10
    assert client.gap < done["seconds"]["outage"] + 1
    print(f"outage {done['seconds']['outage']} s, {client.failures} failed requests, {client.answers} answers")
