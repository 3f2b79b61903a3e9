# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import socket
import struct
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import fetch as module
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError
from ansible_collections.patchwave.aws.plugins.module_utils._node.fetch import Source, source_of
from ansible_collections.patchwave.aws.plugins.module_utils._node.fetch import fetch as fetch_source
from ansible_collections.patchwave.aws.plugins.module_utils._node.platforms import Platform, this_node
from ansible_collections.patchwave.aws.plugins.module_utils._node.text import scrubber

BODY = os.urandom(3_000_000)
ASKED: list[int] = []
SHA = hashlib.sha256(BODY).hexdigest()


def fetch(url: str, sha256: str, path: str, disk: Disk, **options: int) -> int:
    return fetch_source(Source([url], sha256), path, disk, **options)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/denied":
            self.send_error(403, "SignatureDoesNotMatch topsecret")
            return
        if path == "/breaks":  # after a third, once; goes on where it is asked to
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            ASKED.append(start)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(BODY) - start))
            self.end_headers()
            self.wfile.write(BODY[start:] if start else BODY[:1_000_000])
            return
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/full?sig=topsecret")
            self.end_headers()
            return
        if path == "/trickle":
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            with contextlib.suppress(OSError):
                for number in range(100):
                    self.wfile.write(BODY[number : number + 1])
                    time.sleep(0.1)
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


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)


def test_a_download_that_breaks_off_goes_on_where_it_was(server: str, tmp_path: Path) -> None:
    ASKED.clear()
    assert fetch(server + "/breaks", SHA, str(tmp_path / "a"), Disk()) == len(BODY)
    assert (tmp_path / "a").read_bytes() == BODY
    assert ASKED == [0, 1_000_000]


class Moody(http.server.BaseHTTPRequestHandler):
    """Serve the body after some answers of another sort, which C(moods) holds."""

    moods: t.ClassVar[list[str]] = []
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        mood = self.moods.pop(0) if self.moods else "well"
        if mood.isdigit():
            self.send_response(int(mood))
            self.send_header("Retry-After", "7")
            self.end_headers()
        elif mood == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif mood == "slow":
            with contextlib.suppress(OSError):
                for byte in b"HTTP/1.0 200 OK\r\nX: " + b"x" * 1000:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)
        else:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(BODY[: 1_000_000 if mood == "cut" else None])

    def log_message(self, *parts: t.Any) -> None:
        pass


@pytest.fixture
def moody(server: str, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[tuple[str, list[float]]]:
    """A server, and the seconds that were waited between tries."""
    pauses: list[float] = []
    monkeypatch.setattr(module, "PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: pauses.append(seconds))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/a", pauses
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "moods", [["503", "429", "500"], ["reset", "reset"], ["cut"], ["cut", "503", "reset", "504", "502"]]
)
def test_a_busy_server_is_asked_again_later(moody: tuple[str, list[float]], tmp_path: Path, moods: list[str]) -> None:
    """Not all at once, or a thousand nodes would come back in the same second; and not before it wants."""
    Moody.moods[:] = moods
    url, pauses = moody
    assert fetch(url, SHA, str(tmp_path / "a"), Disk()) == len(BODY)
    assert (tmp_path / "a").read_bytes() == BODY
    busy = [mood for mood in moods if mood != "cut"]
    assert len(pauses) == len(busy)
    for number, mood in enumerate(busy):
        wanted = 7.0 if mood.isdigit() else 0.0
        assert wanted <= pauses[number] <= wanted + 2.0 ** (number + 1)
    assert not any(pause.is_integer() for pause in pauses)


def test_a_server_that_stays_busy_is_given_up(moody: tuple[str, list[float]], tmp_path: Path) -> None:
    Moody.moods[:] = ["503"] * 100
    with pytest.raises(PatchError, match="answered 503") as caught:
        fetch(moody[0], SHA, str(tmp_path / "a"), Disk())
    assert (caught.value.reason, len(moody[1])) == ("download_failed", module.TRIES - 1)
    Moody.moods[:] = ["403"] * 2
    with pytest.raises(PatchError, match="answered 403"):
        fetch(moody[0], SHA, str(tmp_path / "a"), Disk())
    assert Moody.moods == ["403"]


def test_a_name_that_is_not_found_at_once_is_asked_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [socket.gaierror(socket.EAI_AGAIN, "try again"), socket.gaierror(socket.EAI_AGAIN, "try again")]
    true = socket.getaddrinfo

    def getaddrinfo(*args: t.Any, **options: t.Any) -> t.Any:
        if answers:
            raise answers.pop()
        return true(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert fetch(server + "/full", SHA, str(tmp_path / "a"), Disk()) == len(BODY)


@pytest.mark.parametrize("mood", ["slow", "trickle"])
def test_the_time_limit_holds_at_a_byte_now_and_then(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    monkeypatch.setattr(module, "TOTAL_SECONDS", 0.6)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody) as httpd:
        threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        Moody.moods[:] = ["slow"]
        url = f"http://127.0.0.1:{httpd.server_port}/" if mood == "slow" else server + "/trickle"
        start = time.monotonic()
        with pytest.raises(PatchError, match="took longer than"):
            fetch(url, SHA, str(tmp_path / "a"), Disk())
        assert time.monotonic() - start < 3
        httpd.shutdown()


def test_mirrors_are_tried_in_turn(server: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 4_000_000)
    urls = [server + "/denied", "/no/such/file", str(other), server + "/cut", server + "/full"]
    assert fetch_source(Source(urls, SHA), str(tmp_path / "a"), Disk()) == len(BODY)
    assert (tmp_path / "a").read_bytes() == BODY
    with pytest.raises(PatchError) as caught:
        fetch_source(Source(urls[:3], SHA), str(tmp_path / "b"), Disk())
    assert caught.value.reason == "checksum_mismatch"


def test_a_proxy_is_asked_and_then_forgotten(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    source = Source(["http://artifacts.invalid/full"], SHA, proxy=server)
    with contextlib.suppress(PatchError):  # the handler sees an absolute URL and says what it says
        fetch_source(source, str(tmp_path / "a"), Disk())
    assert (tmp_path / "a").stat().st_size == len(BODY)
    assert "http_proxy" not in os.environ


def test_the_first_fitting_variant_is_the_source() -> None:
    options = {"url": "/any", "sha256": "a", "mirrors": ["/mirror"], "proxy": "http://p"}
    options["variants"] = [
        {"architecture": "arm64", "platform": None, "url": "/arm", "sha256": "b"},
        {"architecture": "x86_64", "platform": "rhel", "url": "/rhel", "sha256": "c"},
        {"architecture": None, "platform": "debian", "url": "/debian", "sha256": "d"},
    ]

    def chosen(*node: t.Any) -> Source:
        return source_of(options, Platform(node[0], frozenset(node[1:])))

    assert chosen("aarch64", "rhel") == Source(["/arm"], "b", "http://p")
    assert chosen("x86_64", "rhel", "fedora").urls == ["/rhel"]
    assert chosen("x86_64", "debian", "ubuntu").urls == ["/debian"]
    assert chosen("x86_64", "suse") == Source(["/any", "/mirror"], "a", "http://p")
    assert this_node().fits(os.uname().machine, "linux")


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


def test_time_is_limited_too(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.patchwave.aws.plugins.module_utils._node.fetch.TOTAL_SECONDS", -1)
    with pytest.raises(PatchError, match="took longer than"):
        fetch(server + "/full", SHA, str(tmp_path / "a"), Disk())


def test_a_full_disk_is_known_before_the_download(server: str, tmp_path: Path) -> None:
    class Small(Disk):
        def free(self, path: str) -> int:
            return len(BODY)

    with pytest.raises(PatchError) as caught:
        fetch(server + "/full", SHA, str(tmp_path / "a"), Small())
    assert caught.value.reason == "no_space"
    assert (tmp_path / "a").stat().st_size == 0


def test_scrubbing_hides_the_url_and_each_secret_in_it() -> None:
    scrub = scrubber("https://user:hunter22@example.com/a.tgz?X-Amz-Signature=0123456789abcdef&v=1")
    text = "0123456789abcdef hunter22 https://user:hunter22@example.com/a.tgz?X-Amz-Signature=0123456789abcdef&v=1 end"
    assert scrub(text) == "******** ******** ******** end"


def test_an_s3_source_is_read_by_the_urls_that_came_with_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"url": "s3://bucket/a", "mirrors": ["/b", "s3://bucket/c"], "sha256": SHA}
    with pytest.raises(PatchError, match="presign=true") as caught:
        source_of(options, this_node())
    assert caught.value.reason == "download_failed"
    urls = tmp_path / "urls.json"
    urls.write_text('{"s3://bucket/a": "https://a?secret", "s3://bucket/c": "https://c?secret"}')
    monkeypatch.setenv("PATCHWAVE_S3_URLS", str(urls))
    assert list(source_of(options, this_node()).urls) == ["https://a?secret", "/b", "https://c?secret"]
