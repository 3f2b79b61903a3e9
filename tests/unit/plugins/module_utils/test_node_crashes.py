# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed, or that the disk fails, at every step and at random instants: one more run puts it right."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import processes, software
from ansible_collections.patchwave.aws.plugins.module_utils._node.commands import Commands
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk

from . import test_node_installer
from .test_node_binary import Program
from .test_node_files import Java
from .test_node_in_place import Application
from .test_node_transaction import Node, killed_at, pretend


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that was written, synced or not; and no process of this machine is of the node."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(processes, "_pids", list)


class Story(t.NamedTuple):
    """A run to disturb: how the node is made, and what is run on it."""

    make: t.Callable[[Path], t.Any]
    params: t.Callable[[t.Any], dict[str, t.Any]]
    may_be: set[str | None]


def fresh(root: Path) -> Node:
    return Node(root).install("1.0")


def grown(root: Path) -> Node:
    node = fresh(root)
    for version in ("1.1", "1.2"):
        node.run(node.params(version, keep=2))
    return node


def served(text: str = "") -> t.Callable[[Node], dict[str, t.Any]]:
    def params(node: Node) -> dict[str, t.Any]:
        return node.params("1.2", text, services=[node.service(), node.service("later", restart="after")])

    return params


def made_by_hand(root: Path) -> Node:
    """A node with a link to a version from outside, data in the version, and a version of ours that has data too."""
    node = fresh(root)
    (node.opt / "link").symlink_to(node.dest / "1.0" / "tool")
    (node.dest / "1.0" / "data").mkdir()
    (node.dest / "1.0" / "data/db").write_text("precious")
    (node.dest / "1.0" / "helper").write_text("x")
    (node.dest / "1.0" / "helper").chmod(0o4711)
    node.run(node.params("1.1"))
    (node.dest / "1.1" / "log").write_text("line")
    (node.opt / "link").unlink()
    (node.opt / "link").symlink_to(node.dest / "1.1" / "tool")
    (node.dest / "1.2").mkdir()
    (node.dest / "1.2" / "data").write_text("precious too")
    return node


def linked(text: str = "") -> t.Callable[[Node], dict[str, t.Any]]:
    def params(node: Node) -> dict[str, t.Any]:
        return node.params("1.2", text, keep=0, archive={"links": [str(node.opt / "link")]})

    return params


STORIES = {
    "made by hand": Story(made_by_hand, linked(), {"1.1", "1.2"}),
    "made by hand sick": Story(made_by_hand, linked("sick"), {"1.1", "1.2"}),
    "served": Story(fresh, served(), {"1.0", "1.2"}),
    "served sick": Story(fresh, served("sick"), {"1.0", "1.2"}),
    "served unstartable": Story(fresh, served("unstartable"), {"1.0", "1.2"}),
    "upgrade": Story(fresh, lambda node: node.params("1.2"), {"1.0", "1.2"}),
    "prune": Story(grown, lambda node: node.params("1.3"), {"1.2", "1.3"}),
    "install": Story(Node, lambda node: node.params("1.2", install_missing=True), {None, "1.2"}),
    "down": Story(grown, lambda node: node.params("1.1", allow_downgrade=True, keep=3), {"1.2", "1.1"}),
    "sick": Story(fresh, lambda node: node.params("1.2", "sick"), {"1.0", "1.2"}),
    "sick down": Story(grown, lambda node: node.params("1.1", "sick", allow_downgrade=True), {"1.2", "1.1"}),
    "sick install": Story(Node, lambda node: node.params("1.2", "sick", install_missing=True), {None, "1.2"}),
    "in place": Story(Application, lambda node: node.wanted(), {"1.0", "1.2"}),
    "in place sick": Story(Application, lambda node: node.wanted("sick"), {"1.0", "1.2"}),
    "binary": Story(Program, lambda node: node.wanted(), {"1.0", "1.2"}),
    "binary sick": Story(Program, lambda node: node.wanted("sick", "link"), {"1.0", "1.2"}),
    "checksum": Story(fresh, lambda node: node.params("1.2", archive={"sha256": "0" * 64}), {"1.0"}),
}


def version_now(node: Node, params: dict[str, t.Any]) -> str | None:
    return Commands(pretend).probe(params["probe"])


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_killed_anywhere_once_or_twice_the_next_run_ends_as_if_nothing_had_happened(
    tmp_path: Path, story: Story
) -> None:
    clean = story.make(tmp_path / "clean")
    expected = clean.run(story.params(clean))
    number = kills = 0
    while True:
        for second in (None, number % 7) if number % 2 else (None,):
            node = story.make(tmp_path / f"{number}-{second}")
            params = story.params(node)
            if not killed_at(node, params, number):
                assert kills > 8
                return
            kills += 1
            assert version_now(node, params) in story.may_be
            if second is not None:
                killed_at(node, params, second)
                assert version_now(node, params) in story.may_be
            promised = node.run(params, check_mode=True)
            result = node.run(params)
            assert node.tree() == clean.tree(), number
            assert node.leftovers() == set(), number
            assert version_now(node, params) == expected["version_after"]
            if expected["outcome"] == "patched":
                assert result["outcome"] in ("patched", "current"), number
                assert promised["outcome"] == result["outcome"], number
                assert (promised["reason"], promised["changed"]) == (result["reason"], result["changed"]), number
                assert promised["version_before"] == result["version_before"], number
            else:
                assert (result["outcome"], result["reason"]) == (expected["outcome"], expected["reason"]), number
        number += 1


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_disk_error_at_any_step_is_an_answer_and_the_next_run_puts_it_right(
    tmp_path: Path, story: Story, lasting: bool
) -> None:
    clean = story.make(tmp_path / "clean")
    clean.run(story.params(clean))
    number = 0
    while True:
        seen: list[str] = []

        def checkpoint(label: str, seen: list[str] = seen, number: int = number) -> None:
            seen.append(label)
            if len(seen) == number + 1 or (lasting and len(seen) > number):
                raise OSError(errno.ENOSPC, "No space left on device")

        node = story.make(tmp_path / str(number))
        params = story.params(node)
        before = node.tree()
        result = node.run(params, disk=Disk(checkpoint))
        if len(seen) <= number:
            return
        assert version_now(node, params) in story.may_be
        if not lasting and result["outcome"] != "patched":
            assert result["reason"] != "rollback_failed" or node.leftovers()
            assert node.tree() == before or node.leftovers(), seen[-1]
        node.run(params)
        assert node.tree() == clean.tree(), seen[number]
        assert node.leftovers() == set()
        number += 1


RANDOM = {
    **{
        name: (*STORIES[name][:2], pretend)
        for name in ("served", "sick", "made by hand", "in place", "in place sick", "binary")
    },
    "files": (Java, lambda node: node.wanted(), pretend),
    "command": (test_node_installer.Host, lambda node: node.wanted("command"), test_node_installer.install),
    "installer": (test_node_installer.Host, lambda node: node.wanted("installer"), test_node_installer.install),
}


def started(params: dict[str, t.Any], program: t.Any, disk: Disk | None = None, profile: t.Any = None) -> int:
    """Run in a child and return its process id."""
    child = os.fork()
    if child == 0:
        sys.setprofile(profile)
        try:
            software.patch_software(params, program, disk=disk)
        finally:
            os._exit(0)
    return child


def calls_and_returns(params: dict[str, t.Any], program: t.Any) -> tuple[int, dict[str, t.Any]]:
    """Run undisturbed; return how often a function was entered or left, and the result."""
    seen: list[str] = []
    sys.setprofile(lambda dummy, event, argument: seen.append(event))
    try:
        result = software.patch_software(params, program)
    finally:
        sys.setprofile(None)
    return len(seen), result


def killed_after(calls: int, params: dict[str, t.Any], program: t.Any) -> bool:
    """Run in a child that is killed after so many calls and returns; tell whether it came to that."""
    left = itertools.count(calls, -1)

    def profile(*dummy: object) -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return os.WIFSIGNALED(os.waitpid(started(params, program, profile=profile), 0)[1])


@pytest.mark.parametrize("name", RANDOM)
def test_killed_at_random_instants_the_next_run_ends_as_if_nothing_had_happened(tmp_path: Path, name: str) -> None:
    make, params_of, program = RANDOM[name]
    clean = make(tmp_path / "clean")
    length, expected = calls_and_returns(params_of(clean), program)
    kills, chance = 0, random.Random(name)
    for number in range(36):
        node = make(tmp_path / str(number))
        params = params_of(node)
        moments = [chance.randrange(length) for dummy in range(1 + number % 3)]
        kills += sum([killed_after(moment, params, program) for moment in moments])
        result = software.patch_software(params, program)
        assert result["outcome"] in {expected["outcome"], "current" if expected["outcome"] == "patched" else ""}, (
            moments
        )
        assert node.tree() == clean.tree(), moments
        assert node.leftovers() == set(), moments
    assert kills > 30


@pytest.mark.parametrize("name", ["files", "command", "installer"])
def test_a_full_disk_at_any_step_of_the_other_kinds(tmp_path: Path, name: str) -> None:
    make, params_of, program = RANDOM[name]
    clean = make(tmp_path / "clean")
    before = clean.tree()
    software.patch_software(params_of(clean), program)
    seen = [""]
    for number in range(100):
        seen.clear()

        def checkpoint(label: str, number: int = number) -> None:
            seen.append(label)
            if len(seen) == number + 1:
                raise OSError(errno.ENOSPC, "No space left on device")

        node = make(tmp_path / str(number))
        result = software.patch_software(params_of(node), program, disk=Disk(checkpoint))
        if len(seen) <= number:
            break
        if result["outcome"] != "patched" and not node.leftovers():
            assert node.tree() == before, seen[-1]
        assert software.patch_software(params_of(node), program)["outcome"] in ("patched", "current")
        assert node.tree() == clean.tree(), seen[number]
        assert node.leftovers() == set()
    assert 5 < number < 100


@pytest.mark.parametrize("name", RANDOM)
def test_a_definition_of_another_kind_puts_an_interrupted_patch_right(tmp_path: Path, name: str) -> None:
    make, params_of, program = RANDOM[name]
    node = make(tmp_path / "node")
    params = params_of(node)
    before = node.tree()
    assert killed_at_label(params, program, ("switch", "keep", "run "))
    other = dict(params, archive=None, binary=None, files=None, installer=None, dest=None, services=[], health=None)
    other["command"] = {"command": ["true"], "version": "9", "undo": ["true"], "timeout": 5}
    other.update(fixed_in="9", probe={"command": ["/no/such"], "pattern": "(.)", "timeout": 1})
    result = software.patch_software(other, program)
    assert (result["outcome"], result["changed"]) == ("current", True), result
    if not params["services"]:  # which the other definition does not have
        assert node.tree() == before
    assert node.leftovers() == set()


def test_what_a_killed_recovery_started_is_found_by_the_next_one(tmp_path: Path) -> None:
    make, params_of, program = RANDOM["command"]
    node = make(tmp_path / "node")
    params = params_of(node)
    marks = []
    for label in ("ran ", "run "):  # the command has run; its undo is about to
        child = killed_at_label(params, program, (label,))
        journal = json.loads((node.state / "tool.journal.json").read_text())
        assert journal["run"].startswith(f"{child}-")
        marks.append(journal.pop("run"))
    assert marks[0] != marks[1]
    assert software.patch_software(params, program)["outcome"] == "patched"


def test_services_that_a_killed_run_has_started_end_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They carry its mark, and without being stopped first they would be killed with a stuck command."""
    make, params_of, program = RANDOM["served"]
    node = make(tmp_path / "node")
    params = params_of(node)
    parent, said = os.getpid(), []

    def run_command(argv: list[str], **options: t.Any) -> t.Any:
        if argv[-1] == "health" and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        said.extend(argv[1:2] if argv[0] == "true" else [])
        return program(argv, **options)

    assert os.WIFSIGNALED(os.waitpid(started(params, run_command), 0)[1])
    assert (node.opt / "server.state").read_text() == "1.2 "
    monkeypatch.setattr(processes, "kill_marked", lambda mark: said.append("kill"))
    assert software.patch_software(params, run_command)["outcome"] == "patched"
    assert [word for word in said if word != "status"][:3] == ["stop", "stop", "kill"]


@pytest.mark.parametrize(("label", "lives"), [("unlink ", True), ("run ", False)])
def test_what_a_killed_run_started_is_left_alone_once_it_is_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, lives: bool
) -> None:
    """A service by commands, or what an installer started, carries the mark of the run as a stuck command does."""
    make, params_of, program = RANDOM["installer"]
    node = make(tmp_path / "node")
    params = params_of(node)
    child = killed_at_label(params, program, (label,))
    journal = json.loads((node.state / "tool.journal.json").read_text())
    assert (journal["phase"], journal["run"].startswith(f"{child}-")) == ("commit" if lives else "switch", True)
    environ = dict(os.environ, **{processes.MARK: journal["run"] + ".3"})
    with subprocess.Popen(["sleep", "60"], env=environ) as daemon:
        monkeypatch.setattr(processes, "_pids", lambda: [daemon.pid] if daemon.poll() is None else [])
        result = software.patch_software(params, program)
        assert result["outcome"] == "patched", result
        assert result["reason"] == ("recovered" if lives else "upgraded")
        assert (daemon.poll() is None) == lives
        daemon.kill()


def killed_at_label(params: dict[str, t.Any], program: t.Any, labels: tuple[str, ...]) -> int:
    """Run in a child that kills itself before a step of the switch; return its process id, or 0 if it did not."""

    def checkpoint(label: str) -> None:
        if label.startswith(labels):
            os.kill(os.getpid(), signal.SIGKILL)

    child = started(params, program, Disk(checkpoint))
    return child if os.WIFSIGNALED(os.waitpid(child, 0)[1]) else 0
