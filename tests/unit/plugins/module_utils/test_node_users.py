# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who runs the commands of a definition, and in which environment."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import environment, users
from ansible_collections.patchwave.aws.plugins.module_utils._node.commands import Commands
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError
from ansible_collections.patchwave.aws.plugins.module_utils._node.health import check_health

from .test_node_transaction import Node, pretend, spawn

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may become another user")
DAEMON = pwd.getpwnam("daemon")


@pytest.fixture
def place() -> t.Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def script(path: Path, text: str = "id -un; echo 1.2", uid: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    os.chown(path, uid, -1)
    return path


def who(*argv: object) -> str:
    return users.reader([str(word) for word in argv]).name


@root_only
def test_what_another_user_may_change_is_not_run_by_root(place: Path) -> None:
    ours, theirs = script(place / "ours"), script(place / "bin" / "theirs", uid=DAEMON.pw_uid)
    link = place / "link"
    link.symlink_to(theirs)
    assert who(ours, theirs) == "daemon"  # it may run it, for all that anybody knows
    for command in ([theirs], [link], ["sh", theirs], ["env", "-i", theirs], ["bash", "-c", f"x=1; {link} --version"]):
        assert who(*command) == "daemon", command
    assert who("java", "-jar", ours) == "root"
    assert who("java", "-cp", f"/usr/share/java/x.jar:{theirs}", "Main") == "daemon"
    assert who("sh", "-c", f"{ours} --version > /dev/null; cd /tmp") == "root"
    theirs.chmod(0o644)
    assert who("env", "A=1", theirs) == "daemon"  # its mode is for its owner to change, at any time
    theirs.chmod(0o755)
    in_their_folder = script(place / "bin" / "ours")
    os.chown(place / "bin", DAEMON.pw_uid, -1)
    assert who(in_their_folder) == "daemon"


@root_only
def test_however_a_program_is_named_it_is_the_same_program(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, through others, from a folder, as a module; where a command finds it."""
    theirs = script(place / "bin" / "pw-theirs", uid=DAEMON.pw_uid)
    (place / "na").mkdir()
    (place / "na" / "index.js").write_text("")
    os.chown(place / "na", DAEMON.pw_uid, -1)
    monkeypatch.setattr(environment, "PATH", f"{environment.PATH}:{place / 'bin'}")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for command in (
        ["pw-theirs"],
        ["env", "A=1", "pw-theirs"],
        ["sh", "-c", "pw-theirs --version"],
        ["sh", "-c", f"cd {place}/na && ./tool"],
        ["flock", "/var/tmp/l", theirs],
        ["xargs", "-a", "/dev/null", "nice", "pw-theirs"],
        ["node", "-p", f"require('{place}/na/index').version"],
        ["python3", "-c", f"import sys; sys.path.insert(0, '{place}/na/deeper'); import x"],
        ["env", "python3", "-c", f"open('{place}/na/x')"],
        ["sh", "-c", f". {place}/na/env"],
        ["sh", "-c", f"A={place}/na; $A/tool"],
        ["sh", "-c", f"{place}/na/*"],
        ["env", "-C", f"{place}/na", "./tool"],
        ["perl", f"-I{place}/na", "-e", "use x"],
        ["dotnet", f"{place}/na/x.dll"],
        ["java", "-cp", f"/x.jar:{place}/na/*", "M"],
        ["java", f"@{place}/na/args"],
        ["tar", f"--use-compress-program={theirs}", "-tf", "/x"],
    ):
        assert who(*command) == "daemon", command
    for command in (["ls", "/usr/bin"], ["sh", "-c", "ls > /dev/null; cd /tmp"], ["curl", "http://127.0.0.1/a"]):
        assert who(*command) == "root", command
    assert Commands(spawn).probe({"command": ["pw-theirs"], "pattern": r"([\d.]+)", "timeout": 5}) == "1.2"


@root_only
def test_links_are_followed_as_the_kernel_does(place: Path) -> None:
    (place / "usr/bin").mkdir(parents=True)
    (place / "usr/share/zz").mkdir(parents=True)
    script(place / "usr/share/zz/zz", uid=DAEMON.pw_uid)
    (place / "usr/bin/zz").symlink_to("../share/zz/zz")
    (place / "bin").symlink_to("usr/bin")
    assert who(place / "bin" / "zz") == "daemon"
    (place / "cur").symlink_to("usr/share/zz")
    assert who(place / "cur" / ".." / "zz" / "zz") == "daemon"
    (place / "loop").symlink_to("loop")
    assert who(place / "loop") == "root"


@root_only
def test_a_member_whom_nobody_knows_is_somebody(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(place / "bin" / "tool")
    os.chown(place / "bin", 0, 5555)
    (place / "bin").chmod(0o775)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("deploy", "x", gid, ["gone"])))
    with pytest.raises(PatchError, match="several users may change"):
        who(path)


@root_only
def test_another_user_does_not_see_what_the_task_gave(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:hunter2@proxy")
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    theirs = str(script(place / "theirs", "env", DAEMON.pw_uid))
    text = Commands(spawn).run([theirs], 5, user=users.reader([theirs])).text
    assert ("hunter2" in text, "JAVA_HOME=/opt/java" in text) == (False, True)
    assert "hunter2" in Commands(spawn).run(["env"], 5).text


@root_only
def test_a_file_of_no_user_is_told_as_such(place: Path) -> None:
    path = script(place / "tool", uid=54321)
    with pytest.raises(PatchError, match="belongs to uid 54321, which no user has"):
        users.check_writer([str(path)], None, "command.run_as")


def test_files_that_commands_make_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert Commands(spawn).run(["touch", str(tmp_path / "a")], 5).rc == 0
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


@root_only
def test_groups_and_everybody_count_and_sticky_folders_do_not(place: Path) -> None:
    path = script(place / "bin" / "tool")
    folder = place / "bin"
    os.chown(folder, 0, DAEMON.pw_gid)
    folder.chmod(0o775)
    assert who(path) == "daemon"
    os.chown(folder, 0, 54321)  # a group that nobody is in, as staff of /usr/local/bin
    assert who(path) == "root"
    folder.chmod(0o1777)
    assert who(path) == "root"
    folder.chmod(0o777)
    with pytest.raises(PatchError, match="every user may change") as caught:
        who(path)
    assert caught.value.reason == "run_as_failed"
    assert users.reader([str(path)], "daemon").name == "daemon"


@root_only
def test_a_probe_and_a_health_check_run_as_the_owner_of_the_program(place: Path) -> None:
    commands = Commands(spawn)
    theirs = str(script(place / "theirs", "echo $(id -un) $(id -Gn) $HOME $USER; exit 3", DAEMON.pw_uid))
    answer = commands.run([theirs], 5, user=users.reader([theirs]))
    assert answer.rc == 3
    assert answer.text.split() == ["daemon", "daemon", DAEMON.pw_dir, "daemon"]
    probe = {"command": [str(script(place / "probe", "echo 1.$(id -u)", DAEMON.pw_uid))], "timeout": 5}
    probe["pattern"] = r"([\d.]+)"
    assert commands.probe(probe) == f"1.{DAEMON.pw_uid}"
    assert commands.probe({**probe, "run_as": "root"}) == "1.0"
    health = {"command": [str(script(place / "health", "test $(id -u) != 0"))], "timeout": 5, "retries": 0, "delay": 0}
    with pytest.raises(PatchError):
        check_health(health, commands)
    check_health({**health, "run_as": "daemon"}, commands)
    missing = commands.run(["/no/such"], 5, user=users.named("daemon"))
    assert (missing.rc, "No such file" in missing.text) == (1, True)


@root_only
def test_what_changes_the_node_needs_a_name_where_another_user_could_change_it(tmp_path: Path, place: Path) -> None:
    node = Node(tmp_path / "node").install("1.0")
    theirs = str(script(place / "ctl", "exit 0", DAEMON.pw_uid))
    service = {"name": "server", "manager": "auto", "restart": "around", "timeout": 1}
    service.update({verb: [theirs] for verb in ("start", "stop", "status")})
    command = {"command": [theirs], "undo": ["/bin/true"], "version": "1.2", "timeout": 5}
    ours = {**command, "command": ["/bin/true"], "undo": [theirs]}
    before = node.tree()
    for kind in ({"services": [service]}, {"archive": None, "command": command}, {"archive": None, "command": ours}):
        for check_mode in (True, False):
            params = node.params("1.2") | kind
            result = node.run(params, check_mode=check_mode)
            assert (result["outcome"], result["reason"]) == ("failed", "run_as_failed"), result
            assert f"daemon may change {theirs}, which root is to run; set " in result["msg"]
        assert node.tree() == before
    named = node.params("1.2", services=[{**service, "run_as": "nosuchuser"}])
    assert "no user nosuchuser" in node.run(named)["msg"]
    asked: list[list[str]] = []

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        asked.append(argv)
        return (0, "", "") if argv[-1] == theirs else pretend(argv, **options)

    assert node.run(node.params("1.2", services=[{**service, "run_as": "daemon"}]), run_command=run_command)["changed"]
    assert all(argv[3:6] == ["1", "1", "1"] for argv in asked if argv[-1] == theirs)


@root_only
def test_a_state_dir_that_another_user_could_change_is_refused(tmp_path: Path) -> None:
    """What stands in the journal is done by root."""
    node = Node(tmp_path / "node").install("1.0")
    before = node.tree()
    node.state.mkdir()
    node.state.chmod(0o777)
    params = node.params("1.2")
    link = node.opt / "state"
    for state in (node.state, node.state / "deeper"):
        for check_mode in (True, False):
            result = node.run(dict(params, state_dir=str(state)), check_mode=check_mode)
            assert (result["outcome"], result["reason"]) == ("failed", "unsafe_folder"), result
            assert str(node.state) in result["msg"]
    assert node.tree() == before
    node.state.chmod(0o700)
    link.symlink_to(node.state)
    assert node.run(dict(params, state_dir=str(link)))["outcome"] == "patched"


def test_commands_have_a_home_and_services_nothing_of_ours(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """The SSM agent starts what it runs without HOME and LANG."""
    locale = place / "locale.conf"
    locale.write_text("# of this node\nLANG=\"de_DE.UTF-8\"\nLC_TIME=C.UTF-8\nOTHER='x'\n")
    monkeypatch.setattr(environment, "_LOCALES", ("/no/such", str(locale)))
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("HOME")
    before = dict(os.environ)
    me = users.me()
    identity = {"HOME": me.home, "USER": me.name, "LOGNAME": me.name, "SHELL": "/bin/sh"}
    commands = Commands(spawn)

    def seen(**options: t.Any) -> dict[str, str]:
        text = commands.run(["/usr/bin/env"], 5, **options).text
        pairs = dict(line.partition("=")[::2] for line in text.split("\n") if "=" in line)
        assert pairs.pop("PATCHWAVE_RUN")
        return pairs

    ours = seen()
    expected = {**identity, "JAVA_HOME": "/opt/java", "LC_ALL": "C", "LANGUAGE": "C"}
    assert {key: ours.get(key) for key in expected} == expected
    assert ours["PATH"] == "/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"
    assert seen(clean=True) == {**identity, "PATH": environment.PATH, "LANG": "de_DE.UTF-8", "LC_TIME": "C.UTF-8"}
    assert dict(os.environ) == before
