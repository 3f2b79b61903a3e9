# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program here is one file; its text says its version, and C(sick), C(silent) or C(liar <version>) how it behaves."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.schemes import SCHEMES
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import DEFINITION, REASONS
from ansible_collections.patchwave.aws.plugins.module_utils._node import software
from ansible_collections.patchwave.aws.plugins.module_utils._node.archive import Limits
from ansible_collections.patchwave.aws.plugins.module_utils._node.bounded import run_command as spawn
from ansible_collections.patchwave.aws.plugins.module_utils._node.commands import Commands
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError
from ansible_collections.patchwave.aws.plugins.module_utils._node.log import MAX_BYTES, Log
from ansible_collections.patchwave.aws.plugins.module_utils._node.text import scrubber

Tree = dict[str, tuple[int, str]]
LASTING = {"lock", "software_patch.log", "tool.versions.json"}


def pretend(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
    """Run a program of these tests without a process, whoever is to run it: quick, and safe in a forked child."""
    argv = argv[6:] if argv[1:2] == ["-ISc"] else argv
    if argv[0] == "true":
        return serve(*argv[1:])
    words = Path(argv[0]).read_text().split()
    if argv[1:] == ["health"]:
        return (1, "", "not feeling well") if "sick" in words else (0, "", "")
    if "silent" in words:
        return 0, "no idea", ""
    return 0, "tool {}\n".format(words[words.index("liar") + 1] if "liar" in words else words[0]), ""


def serve(verb: str, state: str, program: str) -> tuple[int, str, str]:
    """A service that is a file: it holds what the program said when the service started."""
    if verb == "status":
        return (0 if os.path.exists(state) else 3), "", ""
    if verb == "start":
        if "unstartable" in Path(program).read_text():
            return 1, "", "no way"
        Path(state).write_text(Path(program).read_text())
    elif os.path.exists(state):
        os.unlink(state)
    return 0, "", ""


class Node:
    """A node in a folder: C(/opt) with a program at version 1.0, and archives beside it."""

    def __init__(self, root: Path) -> None:
        self.root, self.opt, self.state = root, root / "opt", root / "state"
        self.dest = self.opt / "tool"
        self.opt.mkdir(parents=True)

    def install(self, version: str, text: str = "") -> Node:
        folder = self.dest / version
        folder.mkdir(parents=True)
        (folder / "tool").write_text(version + " " + text)
        if os.path.lexists(self.dest / "current"):
            (self.dest / "current").unlink()
        (self.dest / "current").symlink_to(version)
        return self

    def params(self, version: str, text: str = "", **changes: t.Any) -> dict[str, t.Any]:
        packed = self.root / "{}-{}.tar".format(version, text.replace(" ", "-"))
        content = f"{version} {text}".encode()
        with tarfile.open(packed, "w") as file:
            info = tarfile.TarInfo("tool")
            info.size, info.mode = len(content), 0o755
            file.addfile(info, io.BytesIO(content))
        command = [str(self.dest / "current" / "tool")]
        filled = {key: option.get("default") for key, option in DEFINITION.items()}
        probe, health = DEFINITION["probe"]["options"], DEFINITION["health"]["options"]
        filled.update(
            name="tool",
            fixed_in=version,
            archive={
                "url": str(packed),
                "sha256": hashlib.sha256(packed.read_bytes()).hexdigest(),
                "version": version,
                "strip": 0,
                "format": "auto",
            },
            dest=str(self.dest),
            state_dir=str(self.state),
            probe={"command": command, "pattern": probe["pattern"]["default"], "timeout": 10},
            health={"command": [*command, "health"], "retries": 1, "delay": 0, "timeout": health["timeout"]["default"]},
        )
        archive = dict(filled["archive"], **changes.pop("archive", {}))
        return dict(filled, **dict(changes, archive=archive))

    def service(self, name: str = "server", **changes: t.Any) -> dict[str, t.Any]:
        """Start a service by commands and return its definition."""
        state, program = str(self.opt / (name + ".state")), str(self.dest / "current" / "tool")
        serve("start", state, program)
        verbs = {verb: ["true", verb, state, program] for verb in ("start", "stop", "status")}
        return {"name": name, "manager": "auto", "restart": "around", "timeout": 1, **verbs, **changes}

    def run(self, params: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        result = software.patch_software(params, options.pop("run_command", pretend), **options)
        assert result["reason"] in REASONS
        assert result["failed"] == (result["outcome"] in ("failed", "rolled_back"))
        assert len(json.dumps(result)) < 1800
        return result

    def tree(self) -> Tree:
        """All below C(/opt): mode and content, or target, of each name."""
        found = {}
        for path in sorted(self.opt.rglob("*")):
            mode = path.lstat().st_mode
            target = os.readlink(path).replace(str(self.root), "") if path.is_symlink() else ""
            text = target or (path.read_text() if path.is_file() else "")
            found[str(path.relative_to(self.opt))] = (mode, text)
        return found

    def leftovers(self) -> set[str]:
        return set(os.listdir(self.state)) - LASTING if self.state.is_dir() else set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that was written, synced or not: tests of it need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node").install("1.0")


# -- the way it should go --------------------------------------------------------------------------------------------


def test_a_vulnerable_node_is_patched_once(node: Node) -> None:
    params = node.params("1.2")
    result = node.run(params)
    assert (result["outcome"], result["reason"], result["changed"]) == ("patched", "upgraded", True)
    assert (result["version_before"], result["version_after"]) == ("1.0", "1.2")
    assert sorted(os.listdir(node.dest)) == ["1.0", "1.2", "current"]
    assert os.readlink(node.dest / "current") == "1.2"
    assert node.leftovers() == set()
    before = node.tree()
    again = node.run(params)
    assert (again["outcome"], again["reason"], again["changed"]) == ("current", "already_fixed", False)
    assert node.tree() == before


def test_check_mode_says_what_the_run_will_do_and_does_nothing(node: Node) -> None:
    before = node.tree()
    params = node.params("1.2")
    promised = node.run(params, check_mode=True)
    assert node.tree() == before
    assert not node.state.exists()
    done = node.run(params)
    for key in ("outcome", "reason", "changed", "failed", "version_before", "version_after"):
        assert promised[key] == done[key]
    assert software.diff(done) == {"before": "tool 1.0\n", "after": "tool 1.2\n"}


@pytest.mark.parametrize("install", [False, True])
def test_a_missing_program_is_installed_only_when_asked(tmp_path: Path, install: bool) -> None:
    node = Node(tmp_path / "node")
    params = node.params("1.2", install_missing=install)
    promised, done = node.run(params, check_mode=True), node.run(params)
    assert promised["outcome"] == done["outcome"] == ("patched" if install else "current")
    assert done["reason"] == ("upgraded" if install else "not_installed")
    assert done["version_before"] is None
    assert node.dest.exists() == install


def test_a_link_without_its_program_is_a_fault_and_not_a_missing_program(node: Node) -> None:
    (node.dest / "1.0" / "tool").unlink()
    result = node.run(node.params("1.2"))
    assert (result["outcome"], result["reason"]) == ("failed", "probe_failed")
    repaired = node.run(node.params("1.2", install_missing=True))
    assert (repaired["outcome"], repaired["version_after"]) == ("patched", "1.2")


def test_old_versions_are_kept_as_asked_and_strangers_always(node: Node) -> None:
    (node.dest / "0.9").mkdir()
    for version in ("1.1", "1.2", "1.3"):
        assert node.run(node.params(version, keep=2))["outcome"] == "patched"
    assert sorted(os.listdir(node.dest)) == ["0.9", "1.0", "1.1", "1.2", "1.3", "current"]  # 1.0 was made by hand
    assert node.run(node.params("1.4"))["outcome"] == "patched"
    assert sorted(os.listdir(node.dest)) == ["0.9", "1.0", "1.3", "1.4", "current"]
    assert node.run(node.params("1.5", keep=0))["outcome"] == "patched"
    assert sorted(os.listdir(node.dest)) == ["0.9", "1.0", "1.5", "current"]


def test_a_link_to_elsewhere_is_followed_and_put_back(node: Node) -> None:
    outside = node.opt / "elsewhere"
    (node.dest / "1.0").rename(outside)
    (node.dest / "current").unlink()
    (node.dest / "current").symlink_to(outside)
    before = node.tree()
    assert node.run(node.params("1.2", "sick"))["outcome"] == "rolled_back"
    assert node.tree() == before
    assert node.run(node.params("1.2"))["outcome"] == "patched"
    assert node.run(node.params("1.3"))["outcome"] == "patched"
    assert outside.is_dir()


def test_going_down_needs_consent_and_reuses_no_old_folder(node: Node) -> None:
    node.run(node.params("1.2"))
    (node.dest / "1.0" / "tool").write_text("1.0 tampered")
    assert node.run(node.params("1.0"))["reason"] == "already_fixed"
    result = node.run(node.params("1.0", allow_downgrade=True))
    assert (result["outcome"], result["reason"], result["version_after"]) == ("patched", "downgraded", "1.0")
    assert (node.dest / "1.0" / "tool").read_text() == "1.0 "
    assert (node.dest / "1.0.left" / "tool").read_text() == "1.0 tampered"
    assert "1.0.left has what no archive brought" in result["msg"]
    assert node.run(node.params("1.0", allow_downgrade=True))["outcome"] == "current"


def test_health_is_tried_again(node: Node) -> None:
    calls: list[str] = []

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        calls.append(argv[-1])
        return (1, "", "") if calls.count("health") in (1, 2) and argv[-1] == "health" else pretend(argv, **options)

    params = node.params("1.2")
    params["health"].update(retries=2)
    assert node.run(params, run_command=run_command)["outcome"] == "patched"
    assert calls.count("health") == 3


# -- bad input: each with its own reason, and the node as before ------------------------------------------------------


def failing(node: Node) -> dict[str, tuple[dict[str, t.Any], dict[str, t.Any]]]:
    """Reason -> (parameters, how to run)."""
    cut = node.root / "cut.tar"
    cut.write_bytes(Path(node.params("1.2")["archive"]["url"]).read_bytes()[:700])
    bomb = node.root / "bomb.tgz"
    with tarfile.open(bomb, "w:gz") as file:
        info = tarfile.TarInfo("zeros")
        info.size = 3_000_000
        file.addfile(info, io.BytesIO(b"\0" * info.size))

    def of(path: Path) -> dict[str, t.Any]:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return node.params("1.2", archive={"url": str(path), "sha256": sha256})

    def evil(name: str, link: str = "") -> dict[str, t.Any]:
        path = node.root / f"evil {len(name + link)}.tar"
        with tarfile.open(path, "w") as file:
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            file.addfile(info)
        return of(path)

    class Full(Disk):
        def free(self, path: str) -> int:
            return 1000

    return {
        "checksum_mismatch": (node.params("1.2", archive={"sha256": "0" * 64}), {}),
        "download_failed": (node.params("1.2", archive={"url": "/no/such/file"}), {}),
        "bad_archive": (of(cut), {}),
        "unsafe_archive climbs": (evil("../out"), {}),
        "unsafe_archive absolute": (evil("/tmp/out"), {}),
        "unsafe_archive link": (evil("tool", "../../../etc/passwd"), {}),
        "unsafe_archive absolute link": (evil("tool", "/etc/passwd"), {}),
        "unsafe_archive bomb": (of(bomb), {"limits": Limits(ratio_floor=1000)}),
        "bad_definition": (node.params("1.2", fixed_in="2.0"), {}),
        "bad_definition of two kinds": (
            node.params("1.2", command={"command": ["x"], "version": "1.2", "undo": ["x"], "timeout": 1}),
            {},
        ),
        "no_space": (node.params("1.2"), {"disk": Full()}),
        "health_missing": (
            node.params("1.2", health={"command": ["/no/such"], "retries": 0, "delay": 0, "timeout": 1}),
            {},
        ),
        "health_missing inside": (
            node.params(
                "1.2", health={"command": [str(node.dest / "current/check")], "retries": 0, "delay": 0, "timeout": 1}
            ),
            {},
        ),
        "health_failed": (node.params("1.2", "sick"), {}),
        "wrong_version": (node.params("1.2", "liar 1.1"), {}),
        "probe_failed": (node.params("1.2", "silent"), {}),
    }


CASES = [
    "checksum_mismatch",
    "download_failed",
    "bad_archive",
    "unsafe_archive climbs",
    "unsafe_archive absolute",
    "unsafe_archive link",
    "unsafe_archive absolute link",
    "unsafe_archive bomb",
    "bad_definition",
    "bad_definition of two kinds",
    "no_space",
    "health_missing",
    "health_missing inside",
    "health_failed",
    "wrong_version",
    "probe_failed",
]


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_its_own_reason_and_the_node_as_before(node: Node, case: str) -> None:
    params, options = failing(node)[case]
    before = node.tree()
    result = node.run(params, **options)
    outcome = "rolled_back" if case in ("health_failed", "wrong_version", "probe_failed") else "failed"
    assert (result["outcome"], result["reason"]) == (outcome, case.split()[0]), result
    assert (result["changed"], result["failed"]) == (False, True)
    assert result["msg"].startswith(("tool: ", "archive.version: ", "command: "))
    assert node.tree() == before
    assert node.leftovers() == set()
    assert result["version_after"] == result["version_before"]
    assert node.run(node.params("1.2"))["outcome"] == "patched"  # and nothing stands in the way of the right one


def test_s3_without_a_url_from_the_controller_is_refused_in_check_mode_too(node: Node) -> None:
    params = node.params("1.2", archive={"url": "s3://bucket/tool.tar"})
    before = node.tree()
    for check_mode in (True, False):
        result = node.run(params, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("failed", "download_failed")
        assert "presign" in result["msg"]
    assert node.tree() == before
    assert node.leftovers() == set()


def test_a_version_folder_that_cannot_be_renamed_is_copied_aside(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an overlay, whose lower folders cannot be renamed."""
    (node.dest / "1.2" / "old").mkdir(parents=True)
    before, real = node.tree(), os.rename

    def rename(source: str, target: str) -> None:
        if source == str(node.dest / "1.2"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert node.run(node.params("1.2", "sick"))["outcome"] == "rolled_back"
    assert node.tree() == before
    assert node.run(node.params("1.2"))["outcome"] == "patched"
    assert os.listdir(node.dest / "1.2") == ["tool"]


@pytest.mark.parametrize("case", ["health_failed", "wrong_version", "checksum_mismatch"])
def test_a_failed_first_installation_leaves_nothing(tmp_path: Path, case: str) -> None:
    node = Node(tmp_path / "node")
    params, options = failing(node)[case]
    result = node.run(dict(params, install_missing=True), **options)
    assert result["reason"] == case
    assert node.tree() == {}
    assert node.leftovers() == set()


def test_a_lower_version_is_refused_even_if_the_definition_was_not_checked(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software, "check_definition", lambda name, definition: [])
    monkeypatch.setattr(software, "_scheme", lambda params, kind: SCHEMES["dotted"])
    before = node.tree()
    result = node.run(node.params("0.9", fixed_in="1.1"))
    assert (result["outcome"], result["reason"]) == ("failed", "downgrade_refused")
    assert node.tree() == before


@pytest.mark.parametrize("what", ["current is a folder", "dest is a file", "version is a file", "version is in use"])
def test_what_stands_in_the_way_is_left_alone(node: Node, what: str) -> None:
    params = node.params("1.2")
    if what == "current is a folder":
        (node.dest / "current").unlink()
        (node.dest / "1.0").rename(node.dest / "current")
    elif what == "dest is a file":
        elsewhere = node.root / "tool"
        elsewhere.write_text("1.0")
        params["probe"]["command"] = [str(elsewhere)]
        params["dest"] = str(node.opt / "file")
        (node.opt / "file").write_text("x")
    elif what == "version is a file":
        (node.dest / "1.2").write_text("x")
    else:
        (node.dest / "1.0").rename(node.dest / "1.2")
        (node.dest / "current").unlink()
        (node.dest / "current").symlink_to("1.2")
    before = node.tree()
    for check_mode in (True, False):
        assert node.run(params, check_mode=check_mode)["reason"] == "dest_conflict"
        assert node.tree() == before


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "no_space"),
        (errno.EROFS, "not_writable"),
        (errno.EACCES, "not_writable"),
        (errno.EIO, "io_error"),
    ],
)
@pytest.mark.parametrize("where", ["mkdir", "download", "sync", "write", "rename"])
def test_a_disk_error_before_the_switch_has_a_reason(node: Node, number: int, reason: str, where: str) -> None:
    def checkpoint(label: str) -> None:
        if label.startswith(where) and "journal" not in label:
            raise OSError(number, os.strerror(number), "topsecret")

    before = node.tree()
    result = node.run(node.params("1.2"), disk=Disk(checkpoint))
    assert (result["outcome"], result["reason"]) == ("failed", reason)
    assert "topsecret" not in json.dumps(result)
    assert node.tree() == before
    assert node.leftovers() == set()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses /proc")
def test_a_dest_that_cannot_be_written_is_named(node: Node) -> None:
    params = node.params("1.2", dest="/proc/self/tool")
    result = node.run(params)
    assert result["outcome"] == "failed"
    assert result["reason"] in ("not_writable", "no_space")  # /proc has no room either
    assert "/proc/self" in result["msg"]


def test_a_state_folder_that_cannot_be_made_is_an_answer(node: Node) -> None:
    (node.root / "file").write_text("")
    result = node.run(node.params("1.2", state_dir=str(node.root / "file" / "state")))
    assert (result["outcome"], result["reason"]) == ("failed", "io_error")


def test_the_log_is_scrubbed_cut_and_bounded(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), "tool", scrubber("https://example.com/a?sig=topsecret"))
    log.event("step", message="sig=topsecret \x1b[31m\n" + "x" * 5000, count=3)
    line = json.loads((tmp_path / "log").read_text())
    assert (line["name"], line["step"], line["count"]) == ("tool", "step", 3)
    assert line["message"].startswith("******** [31m xxx")
    assert len(line["message"]) == 400
    for dummy in range(1500):
        log.event("step", message="x" * 400)
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2 * (MAX_BYTES + 1000)


def test_a_journal_that_was_never_finished_being_written_is_swept_away(node: Node) -> None:
    node.run(node.params("1.2"))
    (node.state / "tool.journal.json.tmp").write_text("{")
    assert node.run(node.params("1.2"))["outcome"] == "current"
    assert node.leftovers() == set()


@pytest.mark.parametrize("text", ["[]", "{", '{"dest": 1}', '{"versions": [".."]}'])
def test_a_damaged_list_of_versions_costs_only_tidiness(node: Node, text: str) -> None:
    node.state.mkdir()
    (node.state / "tool.versions.json").write_text(text)
    assert node.run(node.params("1.2"))["outcome"] == "patched"
    assert node.leftovers() == set()


def test_a_log_that_cannot_be_written_stops_no_patch(node: Node) -> None:
    (node.state / "software_patch.log").mkdir(parents=True)
    assert node.run(node.params("1.2"))["outcome"] == "patched"


def test_nothing_is_switched_to_before_it_is_on_the_disk(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.readlink(f"/proc/self/fd/{handle}")))
    node.run(node.params("1.2"), disk=Disk(done.append))
    staging, journal = str(node.dest / ".staging-tool"), str(node.state / "tool.journal.json")
    switch = next(index for index, label in enumerate(done) if label.startswith("switch"))
    packed = next(label for label in done if "/tool.download/part-" in label and label.startswith("/"))
    for path in (packed, staging + "/tree/tool", staging + "/tree", str(node.dest), journal + ".tmp"):
        assert path in done[:switch], path
    assert done.index(journal + ".tmp") < done.index("mkdir " + staging)
    assert str(node.dest) in done[switch:]


@pytest.mark.parametrize("text", ["", "sick"])
def test_the_url_is_in_no_file_at_any_time(node: Node, text: str) -> None:
    params = node.params("1.2", text)
    texts: list[str] = []

    def checkpoint(label: str) -> None:
        texts.extend(path.read_text() for path in node.state.rglob("*") if path.is_file())
        texts.append(label)

    result = node.run(params, disk=Disk(checkpoint))
    texts.append(json.dumps(result))
    assert any('"phase": "switch"' in text for text in texts)
    assert not [text for text in texts if params["archive"]["url"] in text]


# -- rolling back ----------------------------------------------------------------------------------------------------


def test_an_old_version_that_cannot_be_proven_is_not_called_rolled_back(node: Node) -> None:
    (node.dest / "1.0" / "tool").write_text("1.0 sick")
    result = node.run(node.params("1.2", "sick"))
    assert (result["outcome"], result["reason"]) == ("failed", "rollback_failed")
    assert os.readlink(node.dest / "current") == "1.0"
    assert "look at this node" in result["msg"]
    assert node.run(node.params("1.3"))["outcome"] == "patched"  # the way forward stays open


def test_a_health_command_the_old_version_never_had_does_not_spoil_the_rollback(node: Node) -> None:
    params = node.params("1.2", "sick")
    (node.dest / "1.0" / "probe").write_text("1.0")
    checked = [str(node.dest / "current" / "tool"), "health"]
    params["probe"]["command"] = [str(node.root / "probe")]
    (node.root / "probe").symlink_to(node.dest / "1.0" / "probe")
    (node.dest / "1.0" / "tool").unlink()
    params["health"]["command"] = checked
    result = node.run(params)
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed")


def test_a_roll_back_that_the_disk_refuses_is_tried_again_by_the_next_run(node: Node) -> None:
    broken: list[str] = []

    def checkpoint(label: str) -> None:
        if label.startswith("switch") and label.endswith("to 1.0"):
            broken.append(label)
            raise OSError(errno.EIO, "I/O error")

    before = node.tree()
    result = node.run(node.params("1.2", "sick"), disk=Disk(checkpoint))
    assert broken
    assert (result["outcome"], result["reason"]) == ("failed", "rollback_failed")
    assert node.leftovers() == {"tool.journal.json"}
    assert node.run(node.params("1.2", "sick"))["outcome"] == "rolled_back"
    assert node.tree() == before


def test_a_damaged_journal_stops_everything(node: Node) -> None:
    node.state.mkdir()
    for text in ("", "{", "[]", '{"schema": 99}', '{"schema": 1, "undo": {}}'):
        (node.state / "tool.journal.json").write_text(text)
        before = node.tree()
        assert node.run(node.params("1.2"))["reason"] == "journal_invalid"
        assert node.tree() == before


def killed_at(node: Node, params: dict[str, t.Any], number: int) -> bool:
    """Run in a child that kills itself at its step C(number); tell whether it came to that."""
    child = os.fork()
    if child == 0:
        steps = iter(range(number + 1))

        def checkpoint(label: str) -> None:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            software.patch_software(params, pretend, disk=Disk(checkpoint))
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status)


def test_a_place_with_an_interrupted_patch_of_another_name_is_left_alone(node: Node) -> None:
    """The undo of that one would take away what this one brings."""
    first = node.params("1.2")
    for number in range(100):
        assert killed_at(node, first, number)
        if os.path.lexists(node.dest / "1.2"):
            break
    before = node.tree()
    other = {**node.params("1.3"), "name": "other", "dest": str(node.dest) + "/"}
    for check_mode in (True, False):
        result = node.run(other, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("failed", "dest_conflict"), result
        assert "interrupted patch of tool" in result["msg"]
        assert node.tree() == before
    assert node.run(first)["outcome"] == "patched"
    assert node.run(other)["outcome"] == "patched"


# -- two at once -----------------------------------------------------------------------------------------------------


def test_a_second_run_waits_for_the_first(node: Node) -> None:
    waiting: list[bool] = []
    results: list[dict[str, t.Any]] = []

    def checkpoint(label: str) -> None:
        if label.startswith("switch"):
            second.start()
            second.join(0.3)
            waiting.append(second.is_alive())

    params = node.params("1.2")
    second = threading.Thread(target=lambda: results.append(node.run(params)))
    first = threading.Thread(target=lambda: results.append(node.run(params, disk=Disk(checkpoint))))
    first.start()
    first.join(10)
    second.join(10)
    assert waiting == [True]
    assert [result["outcome"] for result in results] == ["patched", "current"]


def test_a_lock_that_stays_held_is_an_answer(node: Node) -> None:
    node.state.mkdir()
    before = node.tree()
    with open(node.state / "lock", "w") as held:
        held.write("4711\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        for check_mode in (True, False):
            result = node.run(node.params("1.2", lock_timeout=0), check_mode=check_mode)
            assert (result["outcome"], result["reason"]) == ("failed", "locked")
            assert "4711" in result["msg"]
    assert node.tree() == before


# -- commands --------------------------------------------------------------------------------------------------------


def test_a_command_that_hangs_is_killed_in_time() -> None:
    start = time.monotonic()
    answer = Commands(spawn).run(["sleep", "5"], 0.1)
    assert time.monotonic() - start < 3
    assert answer.timed_out
    assert answer.excuse() == "timed out"


@pytest.mark.parametrize(
    "script", ["yes", "yes >&2", "(yes &)", "(sleep 60 &)", "(env -i sh -c 'exec yes' &); sleep 60"]
)
def test_a_command_that_never_stops_printing_is_over_in_time(script: str) -> None:
    """Nor does it take the node's memory, or what it has started hold it up, also where that hides from its mark."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    answer = Commands(spawn).run(["sh", "-c", script], 0.4)
    assert time.monotonic() - start < 4
    assert answer.timed_out == ("(" not in script or "; sleep" in script)
    assert len(answer.text) <= 2 * 64 * 1024 + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes
    subprocess.run(["pkill", "-x", "yes"], check=False)


def test_a_probe_that_hangs_or_fails_is_no_missing_program() -> None:
    options = {"pattern": r"(\d+\.\d+)", "timeout": 5}
    assert Commands(spawn).probe(dict(options, command=["/no/such"])) is None
    assert Commands(spawn).probe(dict(options, command=["no-such-program"])) is None
    assert Commands(spawn).probe(dict(options, command=["sh", "-c", "echo v 1.5 >&2"])) == "1.5"
    for script in ("echo 1.5; exit 3", "echo none"):
        with pytest.raises(PatchError) as caught:
            Commands(spawn).probe(dict(options, command=["sh", "-c", script]))
        assert caught.value.reason == "probe_failed"
