# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Downloads that were killed, signed files, a private CA and a proxy: each with a real server or program."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import re
import select
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import fetch, signature
from ansible_collections.patchwave.aws.plugins.module_utils._node.commands import Commands
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.download import Download
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError

from .test_node_transaction import Node, pretend, spawn

BODY = os.urandom(5_000_000)
SHA = hashlib.sha256(BODY).hexdigest()
HALF = 2_500_000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve the body: C(/cut) half of it, C(/stalls) half until it is asked for the rest, C(/whole) without ranges."""

    asked: t.ClassVar[list[str]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.asked.append(wanted)
        match = re.fullmatch(r"bytes=(\d+)-", wanted) if self.path != "/whole" else None
        start = int(match.group(1)) if match else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            if self.path == "/cut":
                self.wfile.write(BODY[start:HALF])
            elif self.path == "/stalls" and not match:
                self.wfile.write(BODY[:HALF])
                self.rfile.read(1)  # until the client is gone
            else:
                self.wfile.write(BODY[start:])

    def log_message(self, *parts: t.Any) -> None:
        pass


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> t.Iterator[int]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]  # type: ignore[index, misc]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def port() -> t.Iterator[int]:
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as number:
        yield number


def downloading(tmp_path: Path, url: str, **options: t.Any) -> Download:
    (tmp_path / "state").mkdir(exist_ok=True)
    return Download("tool", {"url": url, "sha256": SHA, **options}, str(tmp_path / "state"), Disk(), Commands(spawn))


def part(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tool.download" / ("part-" + SHA[:32])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0)


# -- resume ----------------------------------------------------------------------------------------------------------


def test_a_download_that_was_killed_goes_on_where_it_was(port: int, tmp_path: Path) -> None:
    wanted = downloading(tmp_path, f"http://127.0.0.1:{port}/stalls")
    child = os.fork()
    if child == 0:
        try:
            wanted.to(str(tmp_path / "file"))
        finally:
            os._exit(0)
    deadline = time.monotonic() + 10
    while not part(tmp_path).exists() or part(tmp_path).stat().st_size < 2 * 1024**2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    held = part(tmp_path).stat().st_size
    Handler.asked.clear()
    wanted.to(str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == BODY
    assert Handler.asked == [f"bytes={held}-"]
    assert os.listdir(tmp_path / "state") == []


@pytest.mark.parametrize(
    ("path", "begun", "asked"),
    [
        ("/stalls", BODY, []),  # all of it was there
        ("/whole", BODY[:HALF], ["bytes=2500000-"]),  # a server that knows no ranges sends it whole
        ("/full", b"x" * HALF, ["bytes=2500000-", ""]),  # what was there is wrong
        ("/full", BODY + b"x", ["bytes=5000001-", ""]),  # and longer than the file
    ],
)
def test_what_a_killed_download_left_is_used_or_read_again(
    port: int, tmp_path: Path, path: str, begun: bytes, asked: list[str]
) -> None:
    wanted = downloading(tmp_path, f"http://127.0.0.1:{port}{path}")
    part(tmp_path).parent.mkdir()
    part(tmp_path).write_bytes(begun)
    Handler.asked.clear()
    wanted.to(str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == BODY
    assert Handler.asked == asked
    assert os.listdir(tmp_path / "state") == []


def test_a_download_that_is_cut_short_leaves_the_node_as_before(port: int, tmp_path: Path) -> None:
    node = Node(tmp_path / "node").install("1.0")
    params = node.params("1.2")
    params["archive"].update(url=f"http://127.0.0.1:{port}/cut", sha256=SHA)
    before = node.tree()
    result = node.run(params)
    assert (result["outcome"], result["reason"]) == ("failed", "download_failed"), result
    assert "ended after 2500000 of 5000000 bytes" in result["msg"]
    assert (node.tree(), node.leftovers()) == (before, set())


def test_what_is_left_of_another_file_goes(port: int, tmp_path: Path) -> None:
    folder = part(tmp_path).parent
    folder.mkdir(parents=True)
    (folder / "part-of another").write_bytes(b"x")
    downloading(tmp_path, f"http://127.0.0.1:{port}/full").to(str(tmp_path / "file"))
    assert os.listdir(tmp_path / "state") == []


def test_a_run_that_needs_no_download_leaves_none(tmp_path: Path) -> None:
    node = Node(tmp_path / "node").install("1.2")
    (node.state / "tool.download").mkdir(parents=True)
    assert node.run(node.params("1.2"), check_mode=True)["outcome"] == "current"
    assert node.leftovers() == {"tool.download"}
    assert node.run(node.params("1.2"))["outcome"] == "current"
    assert node.leftovers() == set()


def test_what_a_killed_run_for_another_program_left_goes_in_time(tmp_path: Path) -> None:
    """Nobody may ever run for that program again."""
    node = Node(tmp_path / "node").install("1.2")
    for name, days in (("old", 4), ("newer", 2), ("begun", 4)):
        folder = node.state / f"{name}.download"
        folder.mkdir(parents=True)
        (folder / "part-x").write_bytes(b"x")
        then = time.time() - days * 24 * 3600
        os.utime(folder, (then, then))
        if name != "begun":
            os.utime(folder / "part-x", (then, then))
    (node.state / "link.download").symlink_to(node.opt)
    assert node.run(node.params("1.2"), check_mode=True)["outcome"] == "current"
    assert "old.download" in node.leftovers()
    assert node.run(node.params("1.2"))["outcome"] == "current"
    assert node.leftovers() == {"newer.download", "begun.download", "link.download"}


def test_it_may_be_moved_to_another_file_system(port: int, tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        shared = tmp_path
    target = shared / f"patchwave-test-{os.getpid()}"
    try:
        downloading(tmp_path, f"http://127.0.0.1:{port}/full").to(str(target))
        assert target.read_bytes() == BODY
    finally:
        target.unlink()
    assert os.listdir(tmp_path / "state") == []


# -- signatures ------------------------------------------------------------------------------------------------------


class Keys:
    """A key ring of one key, for ever or for so long, at a time that is said or now."""

    def __init__(self, home: Path, lasts: str = "never", at: str = "") -> None:
        home.mkdir(mode=0o700)
        self.home = home
        self.clock = ["--faked-system-time", f"{at}!"] if at else []
        self.gpg("--quick-gen-key", "Vendor <vendor@example.com>", "ed25519", "sign", lasts)
        self.public = self.gpg("--armor", "--export")

    def gpg(self, *options: object) -> str:
        command = ["gpg", "--homedir", self.home, "--batch", "--passphrase", "", *self.clock, *options]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout

    def sign(self, path: Path) -> str:
        return self.gpg("--armor", "--detach-sign", "--output", "-", path)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[Keys, Keys]]:
    if not (shutil.which("gpg") and shutil.which("gpgv")):
        pytest.skip("needs gpg and gpgv (make system)")
    folder = Path("/tmp") / f"patchwave-keys-{os.getpid()}"  # the agent's socket has a short path or none
    folder.mkdir(mode=0o700)
    made = Keys(folder / "a"), Keys(folder / "b")
    yield made
    for ring in made:
        subprocess.run(["gpgconf", "--homedir", ring.home, "--kill", "all"], check=False)
    shutil.rmtree(folder)


def patch_signed(node: Node, text: str, key: str) -> dict[str, t.Any]:
    params = node.params("1.2")
    params["archive"].update(signature=text, public_key=key)

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        return (spawn if argv[0] == "gpgv" else pretend)(argv, **options)

    return node.run(params, run_command=run_command)


def test_a_signed_file_is_taken_and_another_is_not(
    keys: tuple[Keys, Keys], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path / "node").install("1.0")
    packed = Path(node.params("1.2")["archive"]["url"])
    before, good, elsewhere = node.tree(), keys[0].sign(packed), keys[0].sign(Path(__file__))
    for text, key, reason in (
        (good, keys[1].public, "bad_signature"),
        (elsewhere, keys[0].public, "bad_signature"),
        (good, keys[0].public.replace("\n\n", "\n\n!"), "bad_definition"),
    ):
        result = patch_signed(node, text, key)
        assert (result["outcome"], result["reason"]) == ("failed", reason), result
        assert (node.tree(), node.leftovers()) == (before, set())
    monkeypatch.setattr(signature, "PROGRAM", "no-such-gpgv")
    result = patch_signed(node, good, keys[0].public)
    assert (result["outcome"], result["reason"]) == ("failed", "verifier_missing")
    assert not {"fetch", "stage"} & set(result["seconds"])
    monkeypatch.undo()
    assert patch_signed(node, good, keys[1].public + keys[0].public)["outcome"] == "patched"
    assert node.leftovers() == set()


def test_an_expired_key_proves_nothing(keys: tuple[Keys, Keys], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")

    def verify(lasts: str) -> None:
        ring = Keys(keys[0].home.parent / f"of-2020-{lasts}", lasts, "20200101T000000")
        proof = signature.Signature(ring.sign(tmp_path / "file"), ring.public)
        subprocess.run(["gpgconf", "--homedir", ring.home, "--kill", "all"], check=False)
        proof.verify(str(tmp_path / "file"), str(tmp_path), Commands(spawn), Disk())

    verify("never")
    with pytest.raises(PatchError) as caught:
        verify("1d")
    assert caught.value.reason == "bad_signature"


# -- a private CA, and a proxy ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[int, Path]]:
    """A TLS server whose certificate a CA of our own has signed: port, and that CA's certificate."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl (make system)")
    folder = tmp_path_factory.mktemp("ca")
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    run = [*new, "-subj", "/CN=our CA", "-keyout", "ca.key", "-out", "ca.pem"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)
    server = [*new, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-CA", "ca.pem"]
    run = [*server, "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.pem"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    with serving(httpd) as number:
        yield number, folder / "ca.pem"


class Proxy(socketserver.StreamRequestHandler):
    """A proxy that opens tunnels, and notes to where."""

    opened: t.ClassVar[list[str]] = []

    def handle(self) -> None:
        method, place, dummy = self.rfile.readline().decode().split()
        self.opened.append(f"{method} {place}")
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2]))) as far:
            self.wfile.write(b"HTTP/1.0 200 Connection established\r\n\r\n")
            ends = {far: self.connection, self.connection: far}
            while True:
                for source in select.select(list(ends), [], [])[0]:
                    chunk = source.recv(65536)
                    if not chunk:
                        return
                    ends[source].sendall(chunk)


def test_a_private_ca_is_trusted_where_it_is_given(secure: tuple[int, Path], tmp_path: Path) -> None:
    url = f"https://localhost:{secure[0]}/full"
    downloading(tmp_path, url, ca_path=str(secure[1])).to(str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == BODY
    with pytest.raises(PatchError, match="no trusted TLS connection") as caught:
        downloading(tmp_path, url).to(str(tmp_path / "other"))
    assert caught.value.reason == "download_failed"


def test_a_proxy_carries_tls_to_the_server(
    secure: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    Proxy.opened.clear()
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)) as proxy:
        url = f"https://localhost:{secure[0]}/full"
        wanted = downloading(tmp_path, url, ca_path=str(secure[1]), proxy=f"http://127.0.0.1:{proxy}")
        wanted.to(str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == BODY
    assert Proxy.opened == [f"CONNECT localhost:{secure[0]}"]
