"""The launcher is run for real, as a node's shell would run it."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import random
import re
import string
import subprocess
import sys
import threading
import time
import zlib
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
    script = _wire.script({"url": payload.as_uri(), "sha256": digest, "timeout": timeout, **config}, interpreter)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment, check=False)
    EXITS.append(done.returncode)
    return done.stdout + done.stderr


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    output = run(tmp_path, f"print({json.dumps(json.dumps(RESULT))})")
    assert _wire.decode(output) == RESULT
    assert list(tmp_path.iterdir()) == [tmp_path / "payload.py"]


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
    assert result == {"failed": True, "reason": "no_result", "msg": "the module gave no result (exit 1): no disk"}


def test_a_payload_that_is_not_the_one_sent_never_runs(tmp_path: Path) -> None:
    result = _wire.decode(run(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')", sha256="0" * 64))
    assert result["reason"] == "payload_failed"
    assert not (tmp_path / "ran").exists()


def test_a_module_that_hangs_is_stopped(tmp_path: Path) -> None:
    result = _wire.decode(run(tmp_path, "import time; time.sleep(60)", timeout=1))
    assert result == {"failed": True, "reason": "timeout", "msg": "the module ran longer than 1 s"}


def test_a_node_without_python_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = (
        _wire.script({"url": "file:///x", "sha256": "0" * 64, "timeout": 5})
        .replace("/usr/bin/python3", "/nowhere")
        .replace("/usr/libexec", "")
    )
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, env={"PATH": str(tmp_path / "bin")}, check=False
    )
    assert _wire.decode(done.stdout)["outcome"] == "unsupported"
    # What MaxErrors counts would keep AWS from sending to others.
    assert done.returncode == 0


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
    assert result["msg"].startswith("no Python at /opt/it's \\n $(gone)/python; set ansible_python_interpreter")


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
    assert len(_wire.script({"url": url, "sha256": "0" * 64, "timeout": 5})) < 16_000
    assert _launcher.INLINE_LIMIT < 2500


NEEDS = "import json; print(json.dumps({'changed': True, 'reboot_required': True, 'msg': 'done'}))"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the launcher as a node whose boot id is in the file `boot`."""
    launcher = tmp_path / "launcher.py"
    text = Path(_launcher.__file__).read_text(encoding="utf-8")
    for name, value in (("FOLDER", tmp_path / "state"), ("BOOT_ID", tmp_path / "boot")):
        text = re.sub(f"^{name} = .*$", f"{name} = {str(value)!r}", text, flags=re.MULTILINE)
    launcher.write_text(text)
    (tmp_path / "boot").write_text("first\n")
    monkeypatch.setattr(_launcher, "__file__", str(launcher))

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


def test_a_bucket_that_a_node_cannot_read_is_named_without_the_url(tmp_path: Path) -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *dummy: Any) -> None:
            pass

    asked: list[str] = []
    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/payload?secret"
        result = _wire.decode(run(tmp_path, "print('{}')", url=url))
        server.shutdown()
    assert asked == ["/payload?secret"]  # a refusal is not asked again
    assert (result["failed"], result["reason"]) == (True, "payload_failed")
    assert "HTTP Error 403: Forbidden; can the node reach the bucket" in result["msg"]
    assert "secret" not in result["msg"]
