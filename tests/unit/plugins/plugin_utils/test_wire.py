"""The launcher is run for real, as a node's shell would run it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils import _launcher, _wire

RESULT = {"changed": True, "outcome": "patched", "msg": 'quotes " and \\ and ü'}


def run(tmp_path: Path, module: str, sha256: str | None = None, timeout: int = 20, path: str | None = None) -> str:
    payload = tmp_path / "payload.py"
    payload.write_text(module, encoding="utf-8")
    digest = sha256 or hashlib.sha256(payload.read_bytes()).hexdigest()
    script = _wire.script(payload.as_uri(), digest, timeout)
    environment = {"PATH": path or "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment, check=False)
    return done.stdout + done.stderr


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    output = run(tmp_path, f"print({json.dumps(json.dumps(RESULT))})")
    assert _wire.decode(output) == RESULT
    assert list(tmp_path.iterdir()) == [tmp_path / "payload.py"]


def test_a_result_is_found_among_what_others_print(tmp_path: Path) -> None:
    output = run(tmp_path, f"print('hello'); print({json.dumps(json.dumps(RESULT))}); print('bye')")
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
    script = _wire.script("file:///x", "0" * 64, 5).replace("/usr/bin/python3", "/nowhere").replace("/usr/libexec", "")
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, env={"PATH": str(tmp_path / "bin")}, check=False
    )
    assert _wire.decode(done.stdout)["outcome"] == "unsupported"


@pytest.mark.parametrize(
    "output",
    ["", "PATCHWAVE1 {", "PATCHWAVE1Z !!", "PATCHWAVE1Z aGVsbG8=", "sh: not found", "PATCHWAVE1 []x", "PATCHWAVE1 7"],
)
def test_an_answer_that_cannot_be_read_is_unknown(output: str) -> None:
    result = _wire.decode(output)
    assert (result["failed"], result["outcome"], result["reason"]) == (True, "unknown", "unreadable_answer")


def test_the_url_is_never_shell_text() -> None:
    assert "a'b$(c)" not in _wire.script("https://x/?a'b$(c)", "0" * 64, 5)


def test_the_launcher_fits_into_a_document() -> None:
    # 64 KB with the document's own text (AWS General Reference, Systems Manager quotas).
    assert len(_wire.script("https://x/" + "y" * 2000, "0" * 64, 5)) < 16_000
    assert _launcher.INLINE_LIMIT < 2500
