# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as it runs on a node: its own process, arguments on standard input, real programs, archives over HTTP."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import MODULE, REASONS
from ansible_collections.patchwave.aws.plugins.modules import software_patch

KEYS = {"name", "outcome", "reason", "msg", "version_before", "version_after", "changed", "failed", "seconds", "log"}
SECRET = "X-Amz-Signature=0123456789abcdef"
PROGRAM = """#!/bin/sh
case "$1" in
  health) {health} ;;
  *) echo "tool {version}"; {noise} ;;
esac
"""
NOISE = "head -c 1000000 /dev/zero | tr '\\0' '\\303'; head -c 1000000 /dev/zero | tr '\\0' '\"' >&2"


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *parts: t.Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> t.Iterator[str]:
    (tmp_path / "www").mkdir()

    def handler(*parts: t.Any) -> Silent:
        return Silent(*parts, directory=str(tmp_path / "www"))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def program(path: Path, version: str, health: str = "exit 0", noise: str = ":") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PROGRAM.format(version=version, health=health, noise=noise))
    path.chmod(0o755)


def arguments(tmp_path: Path, server: str, **how: str) -> dict[str, t.Any]:
    """Make a node at 1.0, an archive of 1.2, and the module's arguments to get from one to the other."""
    dest = tmp_path / "opt" / "tool"
    program(dest / "1.0" / "tool", "1.0.0", noise=how.get("noise", ":"))
    (dest / "current").symlink_to("1.0")
    program(tmp_path / "new" / "tool", "1.2.0", **how)
    packed = tmp_path / "www" / "tool.tgz"
    with tarfile.open(packed, "w:gz") as file:
        file.add(tmp_path / "new", "tool-1.2.0")
    command = str(dest / "current" / "tool")
    return {
        "name": "tool",
        "fixed_in": "1.1",
        "archive": {
            "url": f"{server}/tool.tgz?{SECRET}",
            "sha256": hashlib.sha256(packed.read_bytes()).hexdigest(),
            "version": "1.2.0",
            "strip": 1,
        },
        "dest": str(dest),
        "state_dir": str(tmp_path / "state"),
        "probe": {"command": [command, "--version"]},
        "health": {"command": [command, "health"], "retries": 1, "delay": 0.01},
    }


def run(args: dict[str, t.Any], **settings: bool) -> tuple[dict[str, t.Any], bytes]:
    """Run the module; return what it says, and everything it printed."""
    given = dict(args, **{"_ansible_" + key: value for key, value in settings.items()})
    done = subprocess.run(
        [sys.executable, "-m", software_patch.__name__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode(),
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        timeout=60,
        check=False,
    )
    result = json.loads(done.stdout)
    assert done.returncode == (1 if result.get("failed") else 0)
    assert b"Traceback" not in done.stdout + done.stderr
    return result, done.stdout + done.stderr


def until(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_check_then_patch_then_nothing_left_to_do(tmp_path: Path, server: str) -> None:
    args = arguments(tmp_path, server)
    promised, said = run(args, check_mode=True, diff=True)
    assert not (tmp_path / "state").exists()
    done, said_too = run(args, diff=True)
    for key in KEYS - {"seconds", "msg"}:
        assert promised[key] == done[key], key
    assert promised["diff"] == done["diff"] == {"before": "tool 1.0.0\n", "after": "tool 1.2.0\n"}
    assert (done["outcome"], done["reason"], done["changed"]) == ("patched", "upgraded", True)
    assert subprocess.check_output(args["probe"]["command"]) == b"tool 1.2.0\n"
    again, dummy = run(args)
    assert (again["outcome"], again["changed"]) == ("current", False)
    assert set(again) == KEYS | {"invocation"}
    assert b"0123456789abcdef" not in said + said_too + everything_written(tmp_path / "state")


def test_a_noisy_sick_version_is_rolled_back_in_few_words(tmp_path: Path, server: str) -> None:
    args = arguments(tmp_path, server, health=NOISE + "; exit 9", noise=NOISE)
    result, said = run(args, diff=True)
    assert (result["outcome"], result["reason"], result["failed"]) == ("rolled_back", "health_failed", True)
    assert result["version_after"] == "1.0.0"
    assert set(result) >= KEYS
    assert len(said) < 2000
    assert b"0123456789abcdef" not in said + everything_written(tmp_path / "state")
    assert sorted(os.listdir(args["dest"])) == ["1.0", "current"]


def test_the_answer_is_small_whatever_the_options(tmp_path: Path, server: str) -> None:
    args = arguments(tmp_path, server)
    args["probe"]["command"] = ["/no/such/" + "\u00e9" * 3000]
    args["state_dir"] = "/" + "\u00e9" * 33
    args["name"] = "x" * 64
    for changes in (
        {},
        {"name": "\u00e9" * 5000, "keep": 0, "lock_timeout": -1, "dest": "relative" * 500, "state_dir": "\u00e9" * 500},
    ):
        result, said = run(dict(args, **changes), check_mode=True, diff=True)
        assert result["reason"] in REASONS
        assert len(said) < 2000


def test_a_refused_download_does_not_tell_the_signature(tmp_path: Path, server: str) -> None:
    args = arguments(tmp_path, server)
    args["archive"]["url"] = f"{server}/none?{SECRET}"
    result, said = run(args)
    assert (result["outcome"], result["reason"]) == ("failed", "download_failed")
    assert "404" in result["msg"]
    assert b"0123456789abcdef" not in said + everything_written(tmp_path / "state")


@pytest.mark.parametrize(
    ("key", "value"), [("dest", None), ("archive", {}), ("keep", "many"), ("probe", {"command": []}), ("nonsense", 1)]
)
def test_wrong_arguments_are_an_answer_and_no_traceback(tmp_path: Path, server: str, key: str, value: object) -> None:
    result, said = run(dict(arguments(tmp_path, server), **{key: value}))
    assert result["failed"]
    assert key in result["msg"]
    assert b"0123456789abcdef" not in said


def test_of_two_copies_at_once_one_works_and_the_other_waits(tmp_path: Path, server: str) -> None:
    begun, go, lock = tmp_path / "begun", tmp_path / "go", tmp_path / "state" / "lock"
    args = arguments(tmp_path, server, health=f"touch {begun}; until test -e {go}; do sleep 0.05; done")

    def holders() -> int:
        found = 0
        for process in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
                found += any(path.readlink() == lock for path in Path("/proc", process, "fd").iterdir())
        return found

    with ThreadPoolExecutor() as pool:
        first = pool.submit(run, args)
        until(begun.exists)
        second = pool.submit(run, args)
        until(lambda: holders() == 2)
        time.sleep(0.4)
        assert not second.done()
        go.touch()
        results = [one.result()[0] for one in (first, second)]
    assert [result["outcome"] for result in results] == ["patched", "current"]
    assert results[1]["seconds"]["lock"] > 0.3


def test_ansible_ships_and_runs_it(tmp_path: Path, server: str) -> None:
    quiet = {
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "adhoc", "localhost", "-o", "-m", "patchwave.aws.software_patch"),
            *("-e", f"ansible_remote_tmp={tmp_path}/remote", "-a", json.dumps(arguments(tmp_path, server))),
        ],
        env=dict(os.environ, **quiet),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"outcome": "patched"' in done.stdout
    assert "0123456789abcdef" not in done.stdout + done.stderr


def several(tmp_path: Path, server: str, count: int, **last: str) -> dict[str, t.Any]:
    """Return arguments for some programs, of which the last one is made by C(last)."""
    made = []
    for number in range(count):
        folder = tmp_path / str(number)
        (folder / "www").mkdir(parents=True)
        args = arguments(folder, server, **(last if number == count - 1 else {}))
        (folder / "www" / "tool.tgz").rename(tmp_path / "www" / f"tool{number}.tgz")
        args["archive"]["url"] = f"{server}/tool{number}.tgz?{SECRET}"
        made.append({**args, "name": f"tool{number}", "state_dir": str(tmp_path / "state")})
    return {"definitions": made}


def test_several_programs_in_one_run(tmp_path: Path, server: str) -> None:
    args = several(tmp_path, server, 3)
    promised, dummy = run(args, check_mode=True, diff=True)
    done, said = run(args, diff=True)
    for key in ("name", "outcome", "reason", "changed", "version_before", "version_after", "diff"):
        assert promised[key] == done[key], key
    assert (done["name"], done["outcome"], done["changed"]) == ("tool0, tool1, tool2", "patched", True)
    assert done["version_after"] == "tool0 1.2.0, tool1 1.2.0, tool2 1.2.0"
    assert done["diff"]["before"] == "tool0 1.0.0\ntool1 1.0.0\ntool2 1.0.0\n"
    assert [program["outcome"] for program in done["programs"]] == ["patched"] * 3
    again, dummy = run(args)
    assert (again["outcome"], again["changed"]) == ("current", False)
    assert set(again) == KEYS | {"invocation", "programs"}
    assert b"0123456789abcdef" not in said + everything_written(tmp_path / "state")


@pytest.mark.parametrize("beside", [{"keep": 2}, {"unsafe_processes": ["backup"]}, {"state_dir": "/x"}, {"dest": "/x"}])
def test_an_option_beside_definitions_is_refused(tmp_path: Path, server: str, beside: dict[str, t.Any]) -> None:
    """It would do nothing, and somebody relies on it."""
    result, dummy = run({**several(tmp_path, server, 2), **beside})
    assert result["failed"]
    assert next(iter(beside)) in result["msg"]
    assert not (tmp_path / "state").exists()


def test_two_definitions_of_one_place_are_refused(tmp_path: Path, server: str) -> None:
    args = several(tmp_path, server, 2)
    args["definitions"][1]["dest"] = args["definitions"][0]["dest"]
    result, dummy = run(args)
    assert (result["reason"], "definitions[1].dest" in result["msg"]) == ("bad_definition", True), result


@pytest.mark.parametrize("key", ["name", "fixed_in"])
def test_an_empty_value_is_no_value(tmp_path: Path, server: str, key: str) -> None:
    result, dummy = run({**arguments(tmp_path, server), key: None})
    assert result["msg"] == f"{key}: is required and empty"
    made = several(tmp_path, server, 1)
    made["definitions"][0][key] = None
    result, dummy = run(made)
    assert (result["failed"], key in result["msg"]) == (True, True), result
    result, dummy = run({"definitions": []})
    assert (result["reason"], result["version_before"]) == ("bad_definition", ""), result


def test_what_comes_after_a_failure_is_left_alone(tmp_path: Path, server: str) -> None:
    args = several(tmp_path, server, 2, health="exit 9")
    args["definitions"].reverse()
    result, dummy = run(args)
    assert (result["outcome"], result["reason"], result["failed"]) == ("rolled_back", "health_failed", True)
    assert [(program["outcome"], program["reason"]) for program in result["programs"]] == [
        ("rolled_back", "health_failed"),
        ("skipped", "not_run"),
    ]
    assert result["version_after"] == "tool1 1.0.0, tool0 -"


def test_one_wrong_definition_stops_all_before_the_first(tmp_path: Path, server: str) -> None:
    args = several(tmp_path, server, 2)
    for key, value in (("keep", -1), ("name", "tool0")):
        wrong = {"definitions": [args["definitions"][0], {**args["definitions"][1], key: value}]}
        result, dummy = run(wrong)
        assert (result["outcome"], result["reason"]) == ("failed", "bad_definition")
        assert f"definitions[1].{key}: " in result["msg"]
    result, dummy = run({"definitions": []})
    assert result["reason"] == "bad_definition"
    for wrong in ({**args, "name": "tool", "fixed_in": "1"}, {**args, "dest": "/opt/x"}, {"name": "tool"}, {}):
        result, dummy = run(wrong)
        assert result["failed"]
        assert "msg" in result
    assert not (tmp_path / "state").exists()


def test_the_answer_about_many_programs_is_small(tmp_path: Path, server: str) -> None:
    args = several(tmp_path, server, 8)
    for number, definition in enumerate(args["definitions"]):
        definition["name"] = f"{number}" + "x" * 63
    result, said = run(args, check_mode=True)
    assert (result["outcome"], len(result["programs"])) == ("patched", 8)
    assert len(said) < 2000
    args["definitions"].append(args["definitions"][0])
    assert run(args)[0]["reason"] == "bad_definition"


def test_all_that_it_ships_is_written_in_python_3_8() -> None:
    plugins = Path(software_patch.__file__).parents[1]
    shipped = [Path(software_patch.__file__), *plugins.glob("module_utils/_node/*.py")]
    for path in [*shipped, *plugins.glob("module_utils/_core/*.py")]:
        ast.parse(path.read_text(), feature_version=(3, 8))


def test_documentation_and_argument_spec_agree() -> None:
    def compare(options: dict[str, t.Any], spec: dict[str, t.Any], where: str) -> None:
        assert set(options) == set(spec), where
        for key, option in spec.items():
            for part in ("type", "default", "choices", "elements"):
                assert options[key].get(part) == option.get(part), f"{where}{key}.{part}"
            assert options[key].get("required", False) == option.get("required", False), where + key
            compare(options[key].get("suboptions", {}), option.get("options", {}), f"{where}{key}.")

    documented = yaml.safe_load(software_patch.DOCUMENTATION)["options"]
    compare(documented, MODULE, "")


def test_every_reason_and_key_is_documented() -> None:
    documented = yaml.safe_load(software_patch.RETURN)
    assert set(documented) == KEYS - {"changed", "failed"} | {"programs", "unknown_copies", "copies_left"}
    for reason in REASONS:
        assert f"V({reason})" in software_patch.RETURN
    assert yaml.safe_load(software_patch.EXAMPLES)
