"""The launcher is run for real, as a node's shell would run it."""

from __future__ import annotations

import base64
import email.utils
import errno
import hashlib
import http.server
import json
import os
import random
import re
import shutil
import signal
import string
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils import _launcher, _wire

RESULT = {"changed": True, "outcome": "patched", "msg": 'quotes " and \\ and ü'}

#: Exit codes of the scripts that ran.
EXITS: list[int] = []


def run(
    tmp_path: Path,
    module: str,
    sha256: str | None = None,
    timeout: int = 20,
    interpreter: str = "",
    variables: dict[str, str] | None = None,
    **config: Any,
) -> str:
    payload = tmp_path / "payload.py"
    payload.write_bytes(module.encode() + _wire.environment(variables or {}))
    config["environment"] = bool(variables)
    digest = sha256 or hashlib.sha256(payload.read_bytes()).hexdigest()
    config = {"url": payload.as_uri(), "sha256": digest, "size": payload.stat().st_size, "timeout": timeout, **config}
    script = _wire.script(config, interpreter)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment, check=False)
    EXITS.append(done.returncode)
    return done.stdout + done.stderr


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    output = run(tmp_path, f"print({json.dumps(json.dumps(RESULT))})")
    assert _wire.decode(output) == RESULT
    assert {path.name for path in tmp_path.iterdir()} == {"payload.py", "launcher.py", "run"}
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("noise", ["print('hello')", "print('a {word} in braces')", "print('hello ', end='')"])
def test_a_result_is_found_among_what_others_print(tmp_path: Path, noise: str) -> None:
    output = run(tmp_path, f"{noise}; print({json.dumps(json.dumps(RESULT))}); print('bye')")
    assert _wire.decode(output) == RESULT


def test_the_invocation_with_its_arguments_does_not_travel(tmp_path: Path) -> None:
    output = run(tmp_path, "import json; print(json.dumps({'invocation': {'module_args': {'url': 'SECRET'}}}))")
    assert "SECRET" not in output
    assert _wire.decode(output) == {}


def test_a_large_result_is_packed_into_what_aws_returns(tmp_path: Path) -> None:
    output = run(tmp_path, "import json; print(json.dumps({'msg': 'word ' * 2000}))")
    assert len(output) < 2500
    assert _wire.decode(output) == {"msg": "word " * 2000}


def test_a_module_without_a_result_failed(tmp_path: Path) -> None:
    result = _wire.decode(run(tmp_path, "raise SystemExit('no disk')"))
    assert result == {
        "failed": True,
        "outcome": "unknown",
        "reason": "no_result",
        "msg": "the module gave no result (exit 1): no disk",
    }


def test_a_module_that_was_killed_is_told_as_such(tmp_path: Path) -> None:
    result = _wire.decode(run(tmp_path, "import os; os.kill(os.getpid(), 9)"))
    assert (result["outcome"], result["reason"]) == ("unknown", "no_result")
    assert "killed by signal 9, out of memory?" in result["msg"]


def test_a_payload_that_is_not_the_one_sent_never_runs(tmp_path: Path) -> None:
    result = _wire.decode(run(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')", sha256="0" * 64))
    assert (result["outcome"], result["reason"]) == ("unreachable", "payload_failed")
    assert not (tmp_path / "ran").exists()


def test_a_module_that_hangs_is_stopped(tmp_path: Path) -> None:
    result = _wire.decode(run(tmp_path, "import time; time.sleep(60)", timeout=1))
    msg = "the module ran longer than 1 s and was stopped; nobody knows what it has done"
    assert result == {"failed": True, "outcome": "unknown", "reason": "timeout", "msg": msg}


def test_a_python_that_is_named_is_the_one_that_runs(tmp_path: Path) -> None:
    own = tmp_path / "it's $(own)" / "python"
    own.parent.mkdir()
    own.symlink_to(sys.executable)
    module = "import json, sys; print(json.dumps({'msg': sys.executable}))"
    assert _wire.decode(run(tmp_path, module, interpreter=str(own)))["msg"] == str(own)


def test_and_no_other_where_it_is_missing(tmp_path: Path) -> None:
    output = run(tmp_path, "print('{}')", interpreter="/opt/it's \\n $(gone)/python")
    result = _wire.decode(output)
    assert (result["outcome"], result["reason"]) == ("unsupported", "no_python")
    assert result["msg"].startswith("no Python that works at /opt/it's \\n $(gone)/python (Python ")
    assert "; set ansible_python_interpreter, or" in result["msg"]


def test_variables_are_those_of_the_module_alone(tmp_path: Path) -> None:
    variables = {"A_TOKEN": "se'cret \u20ac", "PATH": "/bin"}
    module = (
        "import json, os; own = open(__file__).read();"
        "print(json.dumps({'a': os.environ['A_TOKEN'], 'path': os.environ['PATH'], "
        "'own': 'patchwave' + '-environment' in own}))"
    )
    assert _wire.decode(run(tmp_path, module, variables=variables)) == {
        "a": variables["A_TOKEN"],
        "path": "/bin",
        "own": False,
    }


def test_a_payload_that_looks_like_variables_is_none(tmp_path: Path) -> None:
    module = "print('{}')" + _wire.environment({"A": "1"}).decode()
    assert _wire.decode(run(tmp_path, module)) == {}


@pytest.mark.parametrize(
    "output",
    [
        "",
        "PATCHWAVE1 {",
        "PATCHWAVE1Z !!",
        "PATCHWAVE1Z aGVsbG8=",
        "sh: not found",
        "PATCHWAVE1 []x",
        "PATCHWAVE1 7",
        "PATCHWAVE1 []",
        "PATCHWAVE1 " + "[" * 24_000,
        "PATCHWAVE1 " + '{"a":' * 60 + "1" + "}" * 60,
        "PATCHWAVE1 {" + "9" * 5000 + "}",
        "PATCHWAVE1Z " + base64.b64encode(zlib.compress(b'{"a": "%s"}' % (b"x" * 5_000_000), 9)).decode(),
        "PATCHWAVE1Z " + base64.b64encode(zlib.compress(b"[" * 3_000_000, 9)).decode(),
        "PATCHWAVE1Z " + base64.b64encode(zlib.compress(b'{"a": 1}')[:-6]).decode(),
    ],
    ids=range(14),
)
def test_an_answer_that_cannot_be_read_is_unknown(output: str) -> None:
    result = _wire.decode(output)
    assert (result["failed"], result["outcome"], result["reason"]) == (True, "unknown", "unreadable_answer")


def said(result: Any) -> dict[str, Any]:
    return _wire.decode("PATCHWAVE1 " + (result if isinstance(result, str) else json.dumps(result)))


@pytest.mark.parametrize(
    "forged",
    [
        {"add_host": {"host_name": "x"}},
        {"add_group": "x"},
        {"_ansible_no_log": True},
        {"command_id": "x"},
        {"unreachable": True},
        {"source": "engine"},
        {"ansible_stats": {"data": {"a": 1}}},
        {"ansible_facts": "x"},
    ],
    ids=str,
)
def test_what_ansible_and_the_engine_take_for_their_own_is_not_for_a_node_to_say(forged: dict[str, Any]) -> None:
    assert said({"changed": True, **forged}) == {"changed": True}


def test_a_module_s_own_words_stay() -> None:
    own = {"source": "/etc/motd", "ansible_facts": {"a": 1}, "unreachable_hosts": 1, "warnings": ["w"]}
    own["deprecations"] = [{"msg": "d", "version": "3"}]
    assert said(own) == own


def test_warnings_are_texts() -> None:
    odd = {"warnings": ["w", 7, {"msg": "x"}], "deprecations": [{"msg": "d", "x": []}, {"version": "3"}, "x"]}
    assert said(odd) == {"warnings": ["w"], "deprecations": [{"msg": "d"}]}
    assert said({"warnings": 7, "deprecations": {"a": 1}}) == {"warnings": [], "deprecations": []}
    assert len(said({"warnings": ["w"] * 1000})["warnings"]) == 20


def test_halves_of_characters_and_numbers_that_json_does_not_have_are_texts() -> None:
    output = r'{"msg": "\ud83d \ud83d\ude00", "a": NaN, "b": [-Infinity, 1e999, -1e999, 1.5], "\ud83d": %s, "d": 12}'
    found = said(output % ("9" * 4000))
    expected = {"msg": "? \U0001f600", "a": "NaN", "b": ["-Infinity", "1e999", "-1e999", 1.5]}
    assert found == {**expected, "?": "9" * 100, "d": 12}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": "%s"}' % (b"x" * 500_000),
        b'{"a": [%s]}' % b",".join([b"1"] * 50_000),
        b'{"a": [%s]}' % b",".join([b"{}"] * 50_000),
        b"{%s}" % b",".join(b'"%d": 1' % number for number in range(50_000)),
    ],
    ids=["long", "list", "objects", "keys"],
)
def test_what_unpacks_to_too_much_is_unknown(content: bytes) -> None:
    packed = base64.b64encode(zlib.compress(content, 9)).decode()
    assert _wire.decode(f"PATCHWAVE1Z {packed}")["reason"] == "unreadable_answer"


def test_a_result_that_no_output_can_carry_goes_without_its_largest_values(tmp_path: Path) -> None:
    noise = "''.join(random.choices(string.ascii_letters, k=60000))"
    module = (
        f"import json, random, string; print(json.dumps({{'rc': 0, 'stdout': {noise}, 'truncated': 3, 'msg': 'm'}}))"
    )
    output = run(tmp_path, module)
    assert len(output) < 24_000
    assert _wire.decode(output) == {"rc": 0, "msg": "m", "truncated": ["stdout"]}


def test_the_url_is_never_shell_text() -> None:
    assert "a'b$(c)" not in _wire.script({"url": "https://x/?a'b$(c)"})


def test_the_launcher_fits_into_a_document() -> None:
    # 64 KB with the document's own text (AWS General Reference, Systems Manager quotas).
    url = "https://x/" + "".join(random.choices(string.ascii_letters, k=2000))
    assert len(_wire.script({"url": url, "sha256": "0" * 64, "timeout": 5})) < 21_000
    assert Path(_launcher.__file__).read_text(encoding="utf-8").isascii()  # a node may have any locale
    assert _launcher.INLINE_LIMIT < 2500


NEEDS = "import json; print(json.dumps({'changed': True, 'reboot_required': True, 'msg': 'done'}))"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the launcher places of the test's own; return what changes more of its constants."""
    launcher = tmp_path / "launcher.py"
    text = Path(_launcher.__file__).read_text(encoding="utf-8")

    def change(**constants: object) -> None:
        nonlocal text
        for name, value in constants.items():
            text, found = re.subn(f"^{name} = .*$", f"{name} = {value!r}", text, flags=re.MULTILINE)
            assert found == 1
        launcher.write_text(text)

    change(FOLDER=str(tmp_path / "state"), BOOT_ID=str(tmp_path / "boot"), RUN=str(tmp_path / "run"))
    monkeypatch.setattr(_launcher, "__file__", str(launcher))
    (tmp_path / "run").mkdir()
    return change


@pytest.fixture
def node(tmp_path: Path) -> Any:
    """Run the launcher as a node whose boot id is in the file `boot`."""
    (tmp_path / "boot").write_text("first\n")

    def go(module: str, code: int, **config: Any) -> dict[str, Any]:
        output = run(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'a').write('x'); {module}", **config)
        assert EXITS[-1] == code
        return _wire.decode(output)

    return go


def test_a_node_reboots_once_and_then_returns_the_kept_result(node: Any, tmp_path: Path) -> None:
    node(NEEDS, 194, reboot="work")
    (state,) = (tmp_path / "state").iterdir()
    assert (state.stat().st_mode & 0o777, (tmp_path / "state").stat().st_mode & 0o777) == (0o600, 0o700)
    (tmp_path / "boot").write_text("second\n")
    result = node(NEEDS, 0, reboot="work")
    assert result.pop("uptime") > 0
    assert result == {
        "changed": True,
        "reboot_required": True,
        "msg": "done",
        "rebooted": True,
        "boot_id": "second",
        "boot_id_before": "first",
    }
    assert (tmp_path / "ran").read_text() == "x"
    assert not list((tmp_path / "state").iterdir())


def test_a_node_that_did_not_reboot_fails_and_says_so(node: Any, tmp_path: Path) -> None:
    node(NEEDS, 194, reboot="work")
    state = tmp_path / "state" / "work"
    state.write_text(json.dumps({**json.loads(state.read_text()), "time": time.time() - 181}))
    result = node(NEEDS, 0, reboot="work")
    assert (result["failed"], result["outcome"], result["reason"]) == (True, "failed", "not_rebooted")
    assert (result["rebooted"], result["changed"]) == (False, True)
    assert (tmp_path / "ran").read_text() == "x"


def test_what_waits_for_a_reboot_for_two_days_is_forgotten(node: Any, tmp_path: Path) -> None:
    node(NEEDS, 194, reboot="work")
    state = tmp_path / "state" / "work"
    state.write_text(json.dumps({**json.loads(state.read_text()), "time": time.time() - 200_000}))
    node(NEEDS, 194, reboot="work")
    assert (tmp_path / "ran").read_text() == "xx"


@pytest.mark.parametrize(
    ("module", "config", "expected"),
    [
        (NEEDS, {}, {"reboot_required": True}),
        ("import json; print(json.dumps({'failed': True, 'reboot_required': True}))", {"reboot": "work"}, {}),
        ("print('{}')", {"reboot": "work"}, {}),
    ],
)
def test_a_node_does_not_reboot(node: Any, module: str, config: dict[str, Any], expected: dict[str, Any]) -> None:
    result = node(module, 0, **config)
    assert expected.items() <= result.items()
    assert "rebooted" not in result


def test_nothing_begins_after_the_latest_start(node: Any, tmp_path: Path) -> None:
    result = node(NEEDS, 0, latest_start=time.time() - 1)
    assert (result["outcome"], result["reason"]) == ("skipped", "too_late")
    assert not (tmp_path / "ran").exists()
    latest = time.time() + 3
    slow = f"import time; time.sleep(max(0, {latest} + 0.1 - time.time())); "
    result = node(slow + NEEDS, 0, latest_start=latest, reboot="work")
    assert (result["outcome"], result["reason"], result["rebooted"]) == ("reboot_pending", "too_late", False)


def test_a_node_without_a_boot_id_is_not_rebooted(node: Any, tmp_path: Path) -> None:
    (tmp_path / "boot").unlink()
    result = node(NEEDS, 0, reboot="work")
    assert (result["outcome"], result["reason"]) == ("reboot_pending", "no_boot_id")


def test_urls_of_objects_are_in_a_file_of_the_module_s_own_user(tmp_path: Path) -> None:
    module = (
        "import json, os; path = os.environ['PATCHWAVE_S3_URLS'];"
        "print(json.dumps({'mode': os.stat(path).st_mode & 0o777, 'urls': json.load(open(path)), 'path': path}))"
    )
    urls = {"s3://bucket/key": "https://example.com/?secret"}
    result = _wire.decode(run(tmp_path, module, objects=urls))
    assert (result["mode"], result["urls"]) == (0o600, urls)
    assert not Path(result["path"]).exists()
    assert _wire.decode(run(tmp_path, "import os; print('{}' if 'PATCHWAVE_S3_URLS' not in os.environ else 1)")) == {}


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture
def served() -> Iterator[Callable[[Answer], str]]:
    """Answer requests; return the URL, which has a secret in it."""
    servers: list[http.server.HTTPServer] = []

    def serve(answer: Answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *dummy: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/payload?secret"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (403, {}, "", "HTTP Error 403: Forbidden; can the node reach"),
        (
            403,
            {},
            "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
            "HTTP Error 403: Forbidden, AccessDenied, Request has expired; can",
        ),
        (
            301,
            {"x-amz-bucket-region": "eu-south-2"},
            "<Error><Code>PermanentRedirect</Code></Error>",
            "HTTP Error 301: Moved Permanently, PermanentRedirect, the bucket is in eu-south-2; can",
        ),
        (
            404,
            {},
            "<Code>NoSuchBucket</Code>\n<Message>/payload?X-Amz-Signature=secret</Message>",
            "Found, NoSuchBucket; can",
        ),
    ],
)
def test_a_bucket_that_a_node_cannot_read_is_named_without_the_url(
    tmp_path: Path, served: Any, status: int, headers: dict[str, str], body: str, expected: str
) -> None:
    def refuse(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body.encode())

    asked: list[str] = []
    result = _wire.decode(run(tmp_path, "print('{}')", url=served(refuse)))
    assert asked == ["/payload?secret"]  # a refusal is not asked again
    assert (result["outcome"], result["reason"]) == ("unreachable", "payload_failed")
    assert expected in result["msg"]
    assert "secret" not in result["msg"]


def answer(status: int, body: bytes = b"", ahead: float = 0.0) -> Answer:
    """Return what answers a request by a clock that is so many seconds ahead."""

    def to(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response_only(status)
        request.send_header("Date", email.utils.formatdate(time.time() + ahead, usegmt=True))
        request.end_headers()
        request.wfile.write(body)

    return to


@pytest.mark.parametrize("which", ["url", "permit"])
def test_a_payload_that_was_taken_away_is_not_begun(tmp_path: Path, served: Any, which: str) -> None:
    gone = answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
    result = _wire.decode(run(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')", **{which: served(gone)}))
    assert (result["outcome"], result["reason"]) == ("unreachable", "withdrawn")
    assert result["msg"] == "the payload was taken away, for the run was stopped or has ended; nothing was started"
    assert not (tmp_path / "ran").exists()


def test_a_permit_that_is_there_lets_the_module_begin(tmp_path: Path, served: Any) -> None:
    permit = served(answer(200, b"patchwave\n"))
    assert _wire.decode(run(tmp_path, "print('{}')", permit=permit)) == {}


@pytest.mark.parametrize(("ahead", "how"), [(420, "behind"), (-420, "ahead of"), (86400, "behind")])
def test_a_node_with_a_wrong_clock_does_not_begin_what_is_timed(
    tmp_path: Path, served: Any, ahead: float, how: str
) -> None:
    module = b"print('{}')"
    given = {"sha256": hashlib.sha256(module).hexdigest(), "size": len(module)}
    config = {**given, "url": served(answer(200, module, ahead)), "latest_start": time.time() + 90000}
    result = _wire.decode(run(tmp_path, "", **config))
    assert (result["outcome"], result["reason"]) == ("unreachable", "clock_wrong")
    assert re.match(rf"the node's clock is \d+ s {how} S3's, so", result["msg"])
    assert _wire.decode(run(tmp_path, "", **{**config, "latest_start": None})) == {}


@pytest.mark.parametrize("ahead", [250, -250])
def test_it_is_too_late_by_the_clock_of_s3(tmp_path: Path, served: Any, ahead: float) -> None:
    module = b"print('{}')"
    given = {"sha256": hashlib.sha256(module).hexdigest(), "size": len(module)}
    late = time.time() + ahead / 2  # passed by one of the two clocks
    result = _wire.decode(run(tmp_path, "", **given, url=served(answer(200, module, ahead)), latest_start=late))
    assert result.get("reason") == ("too_late" if ahead > 0 else None)


def test_no_more_is_read_than_was_sent(tmp_path: Path, served: Any) -> None:
    def flood(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"x" * 65536)
                written.append(65536)
        except OSError:
            gone.set()

    written: list[int] = []
    gone = threading.Event()
    result = _wire.decode(run(tmp_path, "print('{}')", url=served(flood)))
    assert (result["reason"], result["msg"]) == ("payload_failed", "the payload is not the one that was sent")
    assert gone.wait(20)
    assert sum(written) < 50_000_000  # what the sockets hold, and not what a node's memory would


@pytest.mark.parametrize("part", ["head", "body"])
def test_the_whole_download_has_an_end(tmp_path: Path, served: Any, own_places: Any, part: str) -> None:
    def trickle(request: http.server.BaseHTTPRequestHandler) -> None:
        head = b"HTTP/1.0 200 OK\r\n" + (b"\r\n" if part == "body" else b"X-Slow: ")
        try:
            request.wfile.write(head)
            for dummy in range(200):
                if over.wait(0.1):
                    break
                request.wfile.write(b"x")
        except OSError:
            pass

    over = threading.Event()
    own_places(FETCH=1)
    began = time.monotonic()
    result = _wire.decode(run(tmp_path, "print('{}')" + " " * 1000, url=served(trickle)))
    over.set()
    assert (result["reason"], result["msg"]) == ("payload_failed", "the payload could not be fetched in 1 s")
    assert time.monotonic() - began < 15


def test_the_owner_of_the_bucket_is_sent_along(tmp_path: Path, served: Any) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        owners.append(request.headers["x-amz-expected-bucket-owner"])
        request.send_error(404)

    owners: list[str] = []
    url = served(answer)
    for owner in ("123456789012", None):
        run(tmp_path, "print('{}')", url=url, owner=owner)
    assert owners == ["123456789012", None]


def test_no_user_of_the_node_sees_the_url(tmp_path: Path) -> None:
    module = """
import json, os
seen, pid = [], os.getppid()
while pid > 1 and len(seen) < 9:
    seen.append([open("/proc/%d/cmdline" % pid).read(), os.stat("/proc/%d/environ" % pid).st_mode & 0o77])
    pid = int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[1])
own = [name for name in os.environ if name.startswith("PATCHWAVE")]
print(json.dumps({"launcher": seen[0], "own": own}))
"""
    result = _wire.decode(run(tmp_path, module))
    line, mode = result["launcher"]
    assert (mode, result["own"]) == (0, [])
    assert line.split("\0")[1:-1] == ["-I", "-c", 'import os; exec(os.environ.pop("PATCHWAVE_LAUNCHER"))']
    # Some shells put a here-document into a file in /tmp, which may be full.
    assert "<<" not in _wire.script({"url": "x"})


def seen(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_what_a_killed_launcher_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    module = f"import time; open({str(tmp_path / 'begun')!r}, 'w'); time.sleep(60)"
    running = threading.Thread(target=run, args=(tmp_path, module), kwargs={"timeout": 60}, daemon=True)
    running.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    (folder,) = (tmp_path / "run").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert _wire.decode(run(tmp_path, "print('{}')")) == {}
    assert list((tmp_path / "run").iterdir()) == [folder]  # it lives
    (module_pid, launcher) = next(
        (int(path.parent.name), int((path.parent / "stat").read_text().rpartition(")")[2].split()[1]))
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(folder) in seen(path)
    )
    os.kill(launcher, signal.SIGKILL)
    assert _wire.decode(run(tmp_path, "print('{}')")) == {}
    assert list((tmp_path / "run").iterdir()) == [folder]  # its module lives, and may read its URLs
    os.kill(module_pid, signal.SIGKILL)
    running.join()
    assert (folder / "module.py").exists()
    assert _wire.decode(run(tmp_path, "print('{}')")) == {}
    assert not list((tmp_path / "run").iterdir())


def test_only_what_is_ours_and_let_go_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launcher, "RUN", str(tmp_path / "run"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (tmp_path / "run" / "patchwave-run-link").symlink_to(tmp_path / "elsewhere")
    for name in ("patchwave-run-left", "patchwave-lab", "patchwave-run-held", "other"):
        (tmp_path / "run" / name).mkdir()
    held = _launcher.hold(str(tmp_path / "run" / "patchwave-run-held"))
    assert held is not None
    folder, own = _launcher.private()
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"patchwave-run-link", "patchwave-lab", "patchwave-run-held", "other", Path(folder).name}
    assert (tmp_path / "elsewhere" / "file").exists()
    assert _launcher.hold(folder) is None
    monkeypatch.setattr(_launcher.os, "geteuid", lambda: 12345)
    os.close(held)
    assert _launcher.hold(str(tmp_path / "run" / "patchwave-run-held")) is None  # somebody else's
    os.close(own)


def test_a_node_without_run_takes_the_usual_place(tmp_path: Path, own_places: Any) -> None:
    own_places(RUN=str(tmp_path / "nowhere"))
    module = "import json; print(json.dumps({'msg': __file__}))"
    path = Path(_wire.decode(run(tmp_path, module))["msg"])
    assert path.parent.parent == tmp_path
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (errno.ENOSPC, "disk_full", "no room on the node's disk"),
        (errno.EDQUOT, "disk_full", "no room on the node's disk"),
        (errno.EROFS, "not_writable", "the node has no place to run a module from"),
        (errno.ENOMEM, "not_started", "the module could not be started"),
    ],
)
@pytest.mark.parametrize("place", ["write", "room", "start"])
def test_a_node_without_room_is_no_matter_of_the_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, place: str, code: int, reason: str, words: str
) -> None:
    def fail(*dummy: Any) -> None:
        raise OSError(code, os.strerror(code), "/somewhere")

    payload = tmp_path / "payload"
    payload.write_bytes(b"print('{}')")
    digest = hashlib.sha256(payload.read_bytes()).hexdigest()
    config = {"url": payload.as_uri(), "sha256": digest, "size": 11, "timeout": 20}
    monkeypatch.setattr(_launcher, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(_launcher, place, fail)
    assert _launcher.main(base64.b64encode(zlib.compress(json.dumps(config).encode())).decode()) == 0
    result = _wire.decode(capsys.readouterr().out)
    assert (result["outcome"], result["reason"], result["unreachable"]) == ("unreachable", reason, True)
    assert result["msg"].startswith(words)
    assert "/somewhere: " in result["msg"]
    assert "bucket" not in result["msg"]
    assert not list((tmp_path / "run").iterdir())


def test_full_temporary_folders_are_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*dummy: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(_launcher.tempfile, "TemporaryFile", none)
    for free, reason in ((0, "disk_full"), (1_000_000, "not_writable")):
        disk = os.statvfs_result((4096, 4096, 9, free, free, 9, 9, 9, 0, 255))
        monkeypatch.setattr(_launcher.os, "statvfs", lambda path, disk=disk: disk)
        with pytest.raises(OSError, match="No usable") as error:
            _launcher.room(100)
        assert _launcher.unwritten(error.value).reason == reason


@pytest.mark.parametrize(
    "said", ['{"reason": "agent_offline"}', '{"reason": []}', "{}", "x", "[]", '{"outcome": "patched"}']
)
def test_only_what_the_launcher_says_counts_as_not_begun(said: str) -> None:
    result = _wire.decode(f"PATCHWAVE1N {said}")
    assert (result["outcome"], result["reason"]) == ("unknown", "unreadable_answer")


def test_a_node_that_was_not_begun_says_nothing_else() -> None:
    said = {"reason": "disk_full", "msg": "m", "outcome": "patched", "changed": True, "add_host": {}}
    expected = {"unreachable": True, "outcome": "unreachable", "reason": "disk_full", "msg": "m"}
    assert _wire.decode(f"PATCHWAVE1N {json.dumps(said)}") == expected


WORKS = f'exec {sys.executable} "$@"'
#: A Python of another version, and one that cannot work.
OLD, BROKEN = "echo {}", "echo python: command not found >&2; exit 127"


def choose(tmp_path: Path, pythons: dict[str, str], interpreter: str = "") -> dict[str, Any]:
    """Run a module on a node that has these Pythons, and no other."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in pythons.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    for tool in ("sh", "timeout", "true"):
        (folder / tool).symlink_to(shutil.which(tool) or "")
    payload = tmp_path / "payload.py"
    payload.write_text('print(\'{"msg": "ran"}\')')
    config = {"url": payload.as_uri(), "sha256": hashlib.sha256(payload.read_bytes()).hexdigest(), "size": 99}
    script = _wire.script({**config, "timeout": 20}, interpreter)
    for path in ("/usr/bin/python3", "/usr/libexec/platform-python"):
        script = script.replace(f" {path}", f" {folder}{path.rpartition('/')[0]}-{path.rpartition('/')[2]}")
    environment = {"PATH": str(folder)}
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0  # what MaxErrors counts would keep AWS from sending to others
    return _wire.decode(done.stdout)


@pytest.mark.parametrize(
    "bad", [BROKEN, OLD.format("3.6.8"), OLD.format("3.7.16"), "exit 0", "echo works-not", "exit 1"]
)
@pytest.mark.parametrize("good", ["python3.13", "python3.11", "python3.8"])
def test_a_python_that_does_not_work_is_passed_over(tmp_path: Path, bad: str, good: str) -> None:
    assert choose(tmp_path, {"python3": bad, "python3.12": bad, good: WORKS}) == {"msg": "ran"}


def test_a_python_that_says_more_than_it_was_asked_works(tmp_path: Path) -> None:
    assert choose(tmp_path, {"python3": f"echo welcome; echo welcome >&2; {WORKS}"})["msg"] == "ran"


@pytest.mark.parametrize(
    ("pythons", "versions"),
    [
        ({"python3": OLD.format("3.6.8")}, "3.6.8"),
        ({"python3": OLD.format("3.7.16"), "python3.8": BROKEN}, "3.7.16"),
        ({"python3": OLD.format("3.7.16"), "python3.8": OLD.format("2.7.5")}, "3.7.16 2.7.5"),
        ({"python3": OLD.format("3.6.8"), "python3.9": OLD.format("3.6.8")}, "3.6.8"),
    ],
)
def test_a_node_with_old_pythons_alone_is_unsupported(tmp_path: Path, pythons: dict[str, str], versions: str) -> None:
    result = choose(tmp_path, pythons)
    assert (result["outcome"], result["reason"]) == ("unsupported", "python_too_old")
    assert result["msg"].startswith(f"the node has Python {versions}, which is too old: Python 3.")


@pytest.mark.parametrize("python", [None, BROKEN, "echo '3.6\"'", "echo 3.x"])
def test_a_node_without_a_python_that_works_is_unsupported(tmp_path: Path, python: str | None) -> None:
    result = choose(tmp_path, {"python3": python} if python else {})
    assert (result["outcome"], result["reason"]) == ("unsupported", "no_python")


@pytest.mark.parametrize(("python", "reason"), [(OLD.format("3.6.8"), "python_too_old"), (BROKEN, "no_python")])
def test_a_python_that_is_named_has_no_deputy(tmp_path: Path, python: str, reason: str) -> None:
    result = choose(tmp_path, {"mine": python, "python3": WORKS}, interpreter="mine")
    assert (result["outcome"], result["reason"]) == ("unsupported", reason)
    assert "mine" in result["msg"]


@pytest.mark.parametrize("version", [(3, 6, 8), (3, 7, 16), (2, 7, 18), (3, 8, 0), (3, 13, 0)])
def test_the_check_tells_versions(version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    exec(_wire._CHECK.format(minimum=(3, 8)))
    assert capsys.readouterr().out.strip() == ("works" if version >= (3, 8) else ".".join(map(str, version)))
