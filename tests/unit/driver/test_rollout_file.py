from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from patchwave import yaml_file
from patchwave.errors import PatchwaveError
from patchwave.rollout_file import read_rollout

JUST = {
    "fixed_in": "1.42.0",
    "archive": {"url": "s3://bucket/just.tar.gz", "sha256": "0" * 64, "version": "1.42.4"},
    "dest": "/opt/just",
    "probe": {"command": ["/opt/just/current/just", "--version"]},
}
ROLLOUT = {
    "schema": 1,
    "name": "urgent",
    "inventory": "hosts.yml",
    "catalog": "software.yml",
    "software": "just",
    "waves": ["wave_1"],
    "bucket": "b",
}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    (tmp_path / "hosts.yml").write_text("", encoding="utf-8")

    def write(rollout: Any = None, catalog: Any = None) -> Path:
        (tmp_path / "software.yml").write_text(yaml.safe_dump({"just": JUST} if catalog is None else catalog))
        path = tmp_path / "rollout.yml"
        path.write_text(rollout if isinstance(rollout, str) else yaml.safe_dump({**ROLLOUT, **(rollout or {})}))
        return path

    return write


def test_a_good_file_is_read_with_its_defaults(write: Any, tmp_path: Path) -> None:
    rollout = read_rollout(write())
    assert rollout.inventory == tmp_path / "hosts.yml"
    assert rollout.software == {"just": JUST}
    assert (rollout.transport, rollout.error_budget, rollout.unreachable_budget) == ("run_command", 0, "100%")
    assert (rollout.wave_error_budget, rollout.require_windows) == ("50%", False)


def test_a_key_without_a_value_is_not_given(write: Any) -> None:
    empty = dict.fromkeys(("transport", "max_in_flight", "error_budget", "unreachable_budget", "override", "vars"))
    assert read_rollout(write(empty)) == read_rollout(write())


def test_several_programs_keep_their_order(write: Any) -> None:
    catalog = {"just": JUST, "bat": {**JUST, "dest": "/opt/bat"}}
    assert list(read_rollout(write({"software": ["just", "bat"]}, catalog)).software) == ["just", "bat"]
    assert list(read_rollout(write({"software": ["bat", "just"]}, catalog)).software) == ["bat", "just"]


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ({"eror_budget": 1}, "rollout.yml: eror_budget: unknown key; did you mean 'error_budget'?"),
        ({"software": "jsut"}, "rollout.yml: software: 'jsut' is not in {0}/software.yml; known programs: just"),
        (
            {"software": ["just", "jsut"]},
            "rollout.yml: software: 'jsut' is not in {0}/software.yml; known programs: just",
        ),
        (
            {"software": ["just", "just"]},
            "rollout.yml: software: must be a program of the catalog, or a list of several",
        ),
        ({"software": []}, "rollout.yml: software: must be a program of the catalog, or a list of several"),
        ({"inventory": "nowhere"}, "rollout.yml: inventory: no such file or folder: {0}/nowhere"),
        ({"catalog": "nowhere.yml"}, "nowhere.yml: cannot be read: No such file or directory"),
        ({"bucket": None}, "rollout.yml: bucket: is required with transport run_command"),
        ({"override": {"by": " ", "reason": "x"}}, "rollout.yml: override.by: must not be empty"),
        ({"max_in_flight": -1}, "rollout.yml: max_in_flight: must be 0 (all of a wave at once) or more"),
        ({"waves": []}, "rollout.yml: waves: names no wave"),
        ({"waves": ["a", "b", "a"]}, "rollout.yml: waves[2]: 'a' is there twice"),
        ({"name": "n" * 151}, "rollout.yml: name: must have at most 150 bytes"),
        ({"not_in_waves": "yes"}, "rollout.yml: not_in_waves: must be one of attention, allowed, not 'yes'"),
        ("vars: {gate_minutes_left: .inf}", "rollout.yml: vars.gate_minutes_left: must be a finite number"),
        ("vars: {gate_minutes_left: 2026-01-01}", "rollout.yml: vars.gate_minutes_left: is a date to YAML"),
        ("vars: {a: {1: x}}", "rollout.yml: vars.a.1: is no name for a key"),
        ("vars: {a: {__ansible_unsafe: x}}", "rollout.yml: vars.a.__ansible_unsafe: is no name for a key"),
        ("vars: &a [*a]", "rollout.yml: vars[0][0]"),
        ("a: " + "[" * 45 + "]" * 45, "is nested too deeply"),
        ("a: " + "[" * 4000 + "]" * 4000, "is nested too deeply"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
            ),
            "rollout.yml: the file: has more than 200000 values",
        ),
        ({"name": "../up"}, "rollout.yml: name: must be letters, digits, ., _ and -"),
        ({"schema": 2}, "rollout.yml: schema: must be one of 1, not 2"),
        ({"name": None, "software": None}, "rollout.yml: name: is required and missing (and 1 more)"),
        ("a: [", "rollout.yml:1:5: is not YAML"),
        ("- a", "rollout.yml: the file: must be a mapping, not a list"),
        ("", "rollout.yml: the file: must be a mapping, not empty"),
    ],
)
def test_a_mistake_in_the_rollout_file_names_file_and_key(
    write: Any, tmp_path: Path, rollout: Any, message: str
) -> None:
    with pytest.raises(PatchwaveError) as caught:
        read_rollout(write(rollout))
    assert message.format(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"archive": {"url": "s3://b/k", "version": "1.42.4"}}, "just.archive.sha256: is required and missing"),
        ({"fixed_inn": "1"}, "just.fixed_inn: unknown key; did you mean 'fixed_in'?"),
        ({"dest": "opt/just"}, "just.dest: "),
        ({"archive": {**JUST["archive"], "sha256": "abc"}}, "just.archive.sha256: must be 64 hexadecimal digits"),
        ({"fixed_in": "1.43"}, "just.archive.version: 1.42.4 is still vulnerable"),
    ],
)
def test_a_mistake_in_the_catalog_names_file_and_key(write: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(PatchwaveError) as caught:
        read_rollout(write(catalog={"just": {**JUST, **change}}))
    assert f"software.yml: {message}" in str(caught.value)


BOMB = (
    "a: &a {" + ", ".join(f"k{n}: 1" for n in range(700)) + "}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(300))
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", ":3:1: key 'a' is there twice, first in line 1; keep one"),
        ("a: 1\n'a': 3\n", ":2:1: key 'a' is there twice"),
        ("vars:\n  x:\n  - {b: 1, b: 1}\n", ":3:12: key 'b' is there twice, first in line 3"),
        ("a: &a {b: 1}\nc: {<<: *a, b: 2, b: 3}\n", ":2:19: key 'b' is there twice"),
        ("a: &a {<<: *a}\n", "is nested too deeply"),
        ("a: &a {b: *a}\n", " is nested too deeply"),
        ("? &a [*a]\n: 1\n", ":1:3: is not YAML: found unhashable key"),
        (BOMB, "merges (<<) more than 200000 values"),
        ("a: 2026-13-45\n", ":1:4: '2026-13-45' is not what YAML takes it for; put it in quotes"),
        ("a: " + "9" * 5000, ":1:4: '999"),
        ("a: !!bool x\n", ":1:4: 'x' is not what YAML takes it for"),
        ("a: !!timestamp x\n", ":1:4: 'x' is not what YAML takes it for"),
        ("a: !!int ''\n", ":1:4: '' is not what YAML takes it for"),
        ("a: !!python/object:os.system x\n", ":1:4: is not YAML: could not determine a constructor"),
        ("a: 1\n---\nb: 1\n", ":2:1: is not YAML: but found another document"),
        (
            "error_budget: 010\n",
            ":1:15: error_budget: '010' is 8 to YAML; put it in quotes ",
        ),
        ("error_budget: 1:30\n", ":1:15: error_budget: '1:30' is 90 to YAML; "),
        ("a: {b: [1, 0x10]}\n", ":1:12: a.b[1]: '0x10' is 16 to YAML; "),
        ("a: 0b11\n", "a: '0b11' is 3 to YAML"),
        ("a: 1_000\n", "a: '1_000' is 1000 to YAML"),
        ("a: +5\n", "a: '+5' is 5 to YAML"),
        ("a: !!int '08_'\n", ":1:4: '08_' is not what YAML takes it for"),
        ("a: !!int '010'\n", "a: '010' is 8 to YAML"),
        ("just: {fixed_in: 1.10}\n", ":1:18: just.fixed_in: '1.10' is 1.1 to YAML; "),
        ("a: 1:30.5\n", "a: '1:30.5' is 90.5 to YAML"),
        ("a: 1_0.5\n", "a: '1_0.5' is 10.5 to YAML"),
        ("a: .5\n", "a: '.5' is 0.5 to YAML"),
        ("a: &x 010\nb: *x\n", "a: '010' is 8 to YAML"),
        *((f"a: {word}\n", f":1:4: a: '{word}' is true to YAML") for word in ("yes", "On", "YES")),
        *((f"a: {word}\n", f":1:4: a: '{word}' is false to YAML") for word in ("no", "off", "Off")),
        ("no: 1\n", ":1:1: 'no' is false to YAML"),
        ("a: {07: 1}\n", ":1:5: a: '07' is 7 to YAML"),
        ("\0", "has the character 0, which YAML does not allow; remove it"),
        ("a: " + "x" * 2_000_001, "has more than 2000000 bytes"),
    ],
)
def test_a_file_that_says_something_twice_or_without_end_is_refused(
    write: Any, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(PatchwaveError) as caught:
        read_rollout(write(text))
    assert message in str(caught.value)
    path = write()
    (tmp_path / "software.yml").write_text(text)
    with pytest.raises(PatchwaveError) as caught:
        read_rollout(path)
    assert str(caught.value).startswith(f"{tmp_path}/software.yml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_merge_keys_are_merged_and_overridden(write: Any) -> None:
    base = yaml.safe_dump(ROLLOUT) + "vars:\n"
    text = "  gate_minutes_left: &n 5\n  patch_software_execution_timeout: *n\noverride: &o {by: a, reason: b}\n"
    assert read_rollout(write(base + text)).vars == {"gate_minutes_left": 5, "patch_software_execution_timeout": 5}
    catalog = (
        f"base: &base {yaml.safe_dump(JUST, default_flow_style=True).strip()}\n"
        "just: {<<: *base, dest: /opt/one}\nbat: {<<: [*base, *base], dest: /opt/two}\nagain: {<<: *base}\n"
    )
    path = write({"software": ["just", "bat", "again"]})
    (path.parent / "software.yml").write_text(catalog)
    found = read_rollout(path).software
    assert {name: one["dest"] for name, one in found.items()} == {
        "just": "/opt/one",
        "bat": "/opt/two",
        "again": JUST["dest"],
    }


def test_a_rollout_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PatchwaveError, match=r"gone\.yml: cannot be read: No such file or directory"):
        read_rollout(tmp_path / "gone.yml")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, "unknown key; ") for name in ("node_id", "region", "account", "assume_role_arn", "environment")),
        *(
            (f"patch_software_{name}", "is given by the driver and cannot be set")
            for name in ("journal", "stop_file", "token", "node_results", "owner_lock", "latest_start")
        ),
        *(
            (name, "cannot be set here; of this kind only ansible_become")
            for name in (
                "ansible_host",
                "ansible_connection",
                "ansible_ssh_common_args",
                "patchwave_hosts",
                "gate_verdict",
            )
        ),
        ("gate_override", "has a key of its own in this file: override"),
        ("gate_require_windows", "has a key of its own in this file: require_windows"),
        *((name, "unknown key; ") for name in ("patch_windows", "patch_freezes", "patch_freezes_db")),
        ("patch_software_bucket", "has a key of its own in this file: bucket"),
        ("gate_minutes_lft", "unknown key; did you mean 'gate_minutes_left'?"),
    ],
)
def test_variables_cannot_override_where_nodes_are_or_what_the_driver_says(write: Any, name: str, said: str) -> None:
    with pytest.raises(PatchwaveError) as caught:
        read_rollout(write({"vars": {name: "x"}}))
    assert f"rollout.yml: vars.{name}: {said}" in str(caught.value)


def test_windows_are_required_and_a_wave_has_a_budget(write: Any) -> None:
    rollout = read_rollout(write({"require_windows": True, "wave_error_budget": 3}))
    assert (rollout.wave_error_budget, rollout.require_windows) == (3, True)
    for odd in ("yes", 1, []):
        with pytest.raises(PatchwaveError, match=r"rollout\.yml: require_windows: must be bool"):
            read_rollout(write({"require_windows": odd}))
    with pytest.raises(PatchwaveError, match=r"rollout\.yml: override\.reason: must not be empty"):
        read_rollout(write({"override": {"by": "Ada", "reason": "\u200b -"}}))


def test_variables_of_the_roles_can_be_set(write: Any) -> None:
    variables = {"gate_minutes_left": 60, "patch_software_execution_timeout": 100, "ansible_user": "admin"}
    assert read_rollout(write({"vars": variables})).vars == variables


@pytest.mark.parametrize("text", ["a: true", "a: True", "a: -5", "a: 0", "a: 1.5", "a: 2.0", "a: '010'", 'a: "no"'])
def test_what_is_written_as_it_is_meant_is_read(text: str) -> None:
    assert yaml_file.load(text) == yaml.safe_load(text)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa: 1\n", b"a: 1\r\nb: |\r\n  x\r\n"])
def test_marks_and_line_ends_of_other_systems_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.yml").write_bytes(content)
    assert yaml_file.load(yaml_file.read(tmp_path / "f.yml")) == yaml.safe_load(content)


def make(path: Path, kind: str) -> None:
    """Put something in a file's place that is none."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "circle":
        path.symlink_to(path)
    else:
        path.write_bytes({"utf-16": "a: 1".encode("utf-16"), "latin-1": b"a: \xe4", "nothing": b"\xff\xfe"}[kind])


@pytest.mark.parametrize("which", ["rollout.yml", "software.yml"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pipe", "is a pipe or a device, where a file is needed"),
        ("device", "is a pipe or a device, where a file is needed"),
        ("folder", "is a folder, where a file is needed"),
        ("circle", "cannot be read: Too many levels of symbolic links"),
        ("utf-16", "is not UTF-8 text; save it as UTF-8"),
        ("latin-1", "is not UTF-8 text; save it as UTF-8"),
        ("nothing", "is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_what_is_no_file_of_text_is_refused_at_once(
    write: Any, tmp_path: Path, which: str, kind: str, said: str
) -> None:
    path = write()
    (tmp_path / which).unlink()
    make(tmp_path / which, kind)
    with pytest.raises(PatchwaveError) as caught:
        read_rollout(path)
    assert str(caught.value) == f"{tmp_path / which}: {said}"


LONG = "n" * 300


@pytest.mark.parametrize("key", ["catalog", "inventory"])
@pytest.mark.parametrize(
    ("value", "said"),
    [(LONG, "File name too long"), ("a/" * 3000, "File name too long"), ("a\0b", "null byte")],
)
def test_a_path_that_is_none_is_one_line(write: Any, key: str, value: str, said: str) -> None:
    with pytest.raises(PatchwaveError) as caught:
        read_rollout(write({key: value}))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_inventory_that_is_a_pipe_is_refused(write: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    with pytest.raises(PatchwaveError, match=r"rollout\.yml: inventory: is neither a file nor a folder: .*/pipe\.yml$"):
        read_rollout(write({"inventory": "pipe.yml"}))


def test_a_path_of_the_rollout_itself_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PatchwaveError, match="cannot be read: File name too long"):
        read_rollout(tmp_path / LONG)
