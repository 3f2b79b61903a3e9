# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError
from ansible_collections.patchwave.aws.plugins.module_utils._node.fetch import fetch
from ansible_collections.patchwave.aws.plugins.module_utils._node.text import scrubber

BODY = os.urandom(3_000_000)
SHA = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/denied":
            self.send_error(403, "SignatureDoesNotMatch topsecret")
            return
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/full?sig=topsecret")
            self.end_headers()
            return
        self.send_response(200)
        if path == "/packed":
            self.send_header("Content-Encoding", "gzip")
        if path != "/endless":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that has seen enough
            self.wfile.write(BODY[:1_000_000] if path == "/cut" else BODY)

    def log_message(self, *parts: t.Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> t.Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/full", "/moved", "/packed", "/endless"])
def test_the_stored_bytes_arrive(server: str, tmp_path: Path, path: str) -> None:
    assert fetch(server + path + "?sig=topsecret", SHA.upper(), str(tmp_path / "a"), Disk()) == len(BODY)
    assert (tmp_path / "a").read_bytes() == BODY


@pytest.mark.parametrize("form", ["{0}", "file://{0}"])
def test_a_file_on_the_node_will_do(tmp_path: Path, form: str) -> None:
    (tmp_path / "a b").write_bytes(BODY)
    url = form.format(str(tmp_path / "a b")).replace(" ", "%20" if "file" in form else " ")
    assert fetch(url, SHA, str(tmp_path / "c"), Disk()) == len(BODY)


@pytest.mark.parametrize(
    ("path", "said"),
    [("/denied", "403 (a presigned URL may have expired)"), ("/cut", "ended after 1000000 of 3000000 bytes")],
)
def test_a_failed_download_says_what_happened_and_not_where(server: str, tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(PatchError) as caught:
        fetch(server + path + "?sig=topsecret", SHA, str(tmp_path / "a"), Disk())
    assert caught.value.reason == "download_failed"
    assert said in caught.value.message
    assert "topsecret" not in caught.value.message
    assert "127.0.0.1" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "/no/such/topsecret",
        "file:///no/such/topsecret",
        "/dev/null",
        "/",
        "http://127.0.0.1:1/topsecret",
        "http://topsecret.invalid/",
    ],
)
def test_an_unreadable_source_is_an_answer(tmp_path: Path, url: str) -> None:
    with pytest.raises(PatchError) as caught:
        fetch(url, SHA, str(tmp_path / "a"), Disk())
    assert caught.value.reason == "download_failed"
    assert "topsecret" not in caught.value.message


def test_another_archive_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(PatchError) as caught:
        fetch(server + "/full", "0" * 64, str(tmp_path / "a"), Disk())
    assert caught.value.reason == "checksum_mismatch"
    assert SHA[:12] in caught.value.message


@pytest.mark.parametrize("path", ["/full", "/endless"])
def test_size_is_limited_whether_announced_or_not(server: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(PatchError, match="more than 2000000"):
        fetch(server + path, SHA, str(tmp_path / "a"), Disk(), limit=2_000_000)


def test_a_full_disk_is_known_before_the_download(server: str, tmp_path: Path) -> None:
    class Small(Disk):
        def free(self, path: str) -> int:
            return len(BODY)

    with pytest.raises(PatchError) as caught:
        fetch(server + "/full", SHA, str(tmp_path / "a"), Small())
    assert caught.value.reason == "no_space"
    assert os.listdir(tmp_path) == []


def test_scrubbing_hides_the_url_and_each_secret_in_it() -> None:
    scrub = scrubber("https://user:hunter22@example.com/a.tgz?X-Amz-Signature=0123456789abcdef&v=1")
    text = "0123456789abcdef hunter22 https://user:hunter22@example.com/a.tgz?X-Amz-Signature=0123456789abcdef&v=1 end"
    assert scrub(text) == "******** ******** ******** end"
