# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services, processes, health checks and preconditions."""

from __future__ import annotations

import contextlib
import errno
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core import moments
from ansible_collections.patchwave.aws.plugins.module_utils._node import processes, services
from ansible_collections.patchwave.aws.plugins.module_utils._node.commands import Commands
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError
from ansible_collections.patchwave.aws.plugins.module_utils._node.health import check_health
from ansible_collections.patchwave.aws.plugins.module_utils._node.preconditions import Preconditions
from ansible_collections.patchwave.aws.plugins.module_utils._node.services import Services

from .test_node_transaction import Node, pretend, serve, spawn

LATE = "2026-11-22T04:00:00Z"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node").install("1.0")


class Init:
    """A systemd or System V init without one: answers the commands, remembers them."""

    def __init__(self, *known: str) -> None:
        self.known, self.active, self.said = set(known), set(known), []  # type: ignore[var-annotated]
        self.deaf: set[str] = set()

    def __call__(self, argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        name = argv[-1]
        if argv[:2] == ["systemctl", "show"]:
            return 0, "loaded\n" if name in self.known else "not-found\n", ""
        verb = argv[1]
        if verb == "is-active":
            return (0, "active\n", "") if name in self.active else (3, "inactive\n", "")
        self.said.append(f"{verb} {name}")
        if name not in self.deaf:
            (self.active.add if verb == "start" else self.active.discard)(name)
        return 0, "", ""


def unit(name: str, **changes: t.Any) -> dict[str, t.Any]:
    return {"name": name, "manager": "systemd", "restart": "around", "timeout": 1, **changes}


def test_services_stop_in_the_reverse_order_and_only_those_that_ran() -> None:
    init = Init("db", "app", "idle")
    init.active.discard("idle")
    group = Services([unit("db"), unit("app"), unit("idle")], Commands(init))
    group.check()
    ran = group.running()
    group.stop(ran)
    group.start(ran)
    assert init.said == ["stop app", "stop db", "start db", "start app"]
    group.start(ran)  # what still runs is restarted
    assert init.said[4:] == ["stop db", "start db", "stop app", "start app"]


def test_a_missing_service_and_one_that_does_not_stop_are_told() -> None:
    init = Init("db")
    with pytest.raises(PatchError, match="no service app by systemd") as caught:
        Services([unit("db"), unit("app")], Commands(init)).check()
    assert caught.value.reason == "service_missing"
    init.deaf.add("db")
    with pytest.raises(PatchError, match="stop of service db left it active") as caught:
        Services([], Commands(init)).stop([unit("db", timeout=0)])
    assert caught.value.reason == "service_failed"


def saying(*answers: tuple[int | None, str, str]) -> Services:
    """A group of one systemd service that is asked for as often as there are answers; other commands succeed."""
    left = list(answers)

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        if argv[1] != "is-active":
            return 0, "", ""
        rc, out, err = left.pop(0)
        if rc is None:
            raise FileNotFoundError(2, "No such file or directory")
        return rc, out, err

    return Services([unit("app", timeout=5)], Commands(run_command), lambda seconds: None)


def test_noise_does_not_hide_that_a_service_runs() -> None:
    group = saying((0, "active\n", "ERROR: ld.so: object 'x.so' cannot be preloaded\n"))
    assert [service["name"] for service in group.running()] == ["app"]


@pytest.mark.parametrize("answer", [(1, "", "Failed to connect to bus: Connection refused"), (None, "", "")])
def test_a_service_of_which_nobody_knows_is_not_taken_for_one_that_does_not_run(
    answer: tuple[int | None, str, str],
) -> None:
    with pytest.raises(PatchError, match="nobody can say whether service app runs") as caught:
        saying(answer).running()
    assert caught.value.reason == "service_failed"


UP, AGAIN, FAILED = (0, "active\n", ""), (3, "activating\n", ""), (3, "failed\n", "")


def test_a_service_that_ends_as_soon_as_it_is_started_has_not_started() -> None:
    with pytest.raises(PatchError, match="start of service app left it failed"):
        saying(FAILED, AGAIN, AGAIN, FAILED).start([unit("app", timeout=5)])
    group = saying(UP, FAILED, AGAIN, UP, FAILED)
    ran = group.running()
    group.start(ran)
    with pytest.raises(PatchError, match="service app was started and is failed now"):
        group.still_run(ran)


def test_a_service_that_never_came_up_before_need_not_come_up_now() -> None:
    group = saying(AGAIN, AGAIN, FAILED, AGAIN, AGAIN)
    ran = group.running()
    group.start(ran)
    group.still_run(ran)


def test_a_system_v_script_is_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, state = tmp_path / "web", tmp_path / "running"
    script.write_text(
        f"#!/bin/sh\ncase $1 in start) touch {state};; stop) rm {state};; status) test -e {state};; esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(services, "_SYSV", f"{tmp_path}/")
    monkeypatch.setattr(services, "_SYSTEMD", "/no/such")
    group = Services([unit("web", manager="auto")], Commands(spawn))
    group.check()
    assert group.running() == []
    group.start([unit("web", manager="sysv")])
    ran = group.running()
    assert [service["manager"] for service in ran] == ["sysv"]
    group.stop(ran)
    assert not state.exists()


def test_a_service_is_stopped_before_the_switch_and_its_outage_is_told(node: Node) -> None:
    told: list[tuple[str, str]] = []

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        told.append((argv[1] if argv[0] == "true" else "run", os.readlink(node.dest / "current")))
        return pretend(argv, **options)

    result = node.run(node.params("1.2", services=[node.service()]), run_command=run_command)
    assert result["outcome"] == "patched"
    assert [entry for entry in told if entry[0] in ("stop", "start")] == [("stop", "1.0"), ("start", "1.2")]
    assert (node.opt / "server.state").read_text() == "1.2 "
    assert result["seconds"].keys() >= {"stop", "switch", "start", "outage"}


@pytest.mark.parametrize("text", ["sick", "unstartable", "liar 1.1"])
def test_after_a_roll_back_the_service_runs_the_old_version(node: Node, text: str) -> None:
    params = node.params("1.2", text, services=[node.service(), node.service("later", restart="after")])
    before = node.tree()
    result = node.run(params)
    reason = {"sick": "health_failed", "unstartable": "service_failed"}.get(text, "wrong_version")
    assert (result["outcome"], result["reason"]) == ("rolled_back", reason)
    assert node.tree() == before


def test_services_run_again_whatever_else_fails(node: Node) -> None:
    """Also when the roll back fails, and fails again in the next run, and when one of them does not start."""
    broken: list[str] = []

    def checkpoint(label: str) -> None:
        if label.startswith("switch") and label.endswith("to 1.0"):
            broken.append(label)
            raise OSError(errno.EIO, "I/O error")

    services = [node.service("first"), node.service("second")]
    (node.opt / "shut").mkdir()
    services[0]["start"] = ["true", "start", str(node.opt / "shut" / "first.state"), services[0]["start"][3]]
    services[0]["status"][2] = services[0]["stop"][2] = services[0]["start"][2]
    serve("start", *services[0]["start"][2:])
    for second in (False, True):
        if second:
            shutil.rmtree(node.opt / "shut")  # where nothing can start
        result = node.run(node.params("1.2", "sick", services=services), disk=Disk(checkpoint), run_command=lenient)
        assert (result["outcome"], result["reason"]) == ("failed", "rollback_failed"), result
        assert (node.opt / "shut" / "first.state").exists() != second
        assert (node.opt / "second.state").exists()
    assert len(broken) == 2
    (node.opt / "shut").mkdir()
    result = node.run(node.params("1.2", "sick", services=services))
    assert (result["outcome"], result["reason"]) == ("rolled_back", "health_failed"), result
    for service in services:
        assert Path(service["status"][2]).read_text() == "1.0 "


def lenient(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
    try:
        return pretend(argv, **options)
    except OSError as error:
        return 1, "", str(error)


def test_a_service_that_does_not_live_until_the_commit_rolls_back(node: Node) -> None:
    params = node.params("1.2", services=[node.service()])
    before, asked = node.tree(), []

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        answer = pretend(argv, **options)
        if argv[-1] == "health" and "1.2" in Path(argv[0]).read_text():
            asked.append(argv)
            serve("stop", argv_of_state, "")
        return answer

    argv_of_state = params["services"][0]["status"][2]
    result = node.run(params, run_command=run_command)
    assert asked
    assert (result["outcome"], result["reason"]) == ("rolled_back", "service_failed"), result
    assert node.tree() == before


def test_a_service_that_does_not_run_stays_so(node: Node) -> None:
    service = node.service()
    (node.opt / "server.state").unlink()
    assert node.run(node.params("1.2", services=[service]))["outcome"] == "patched"
    assert not (node.opt / "server.state").exists()


def test_a_missing_service_is_refused_before_anything_is_touched(node: Node) -> None:
    params = node.params("1.2", services=[node.service(status=["/no/such"])])
    before = node.tree()
    for check_mode in (True, False):
        result = node.run(params, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("failed", "service_missing")
    assert node.tree() == before


def test_a_program_that_is_not_there_yet_need_not_have_its_services(node: Node) -> None:
    """One catalog entry is for nodes with and without it."""
    service = node.service(status=["/no/such"])
    present = node.service("present")
    (node.dest / "current").unlink()
    params = node.params("1.2", services=[service, present], install_missing=True)
    for check_mode in (True, False):
        result = node.run(params, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("patched", "upgraded"), result
    assert Path(present["status"][2]).read_text() == "1.2 "


# -- the right time --------------------------------------------------------------------------------------------------


def test_too_late_leaves_the_node_for_another_time(node: Node) -> None:
    before = node.tree()
    for check_mode in (True, False):
        result = node.run(node.params("1.2", latest_start="2020-01-01T00:00:00Z"), check_mode=check_mode)
        assert (result["outcome"], result["reason"], result["failed"]) == ("skipped", "too_late", False)
    assert node.tree() == before
    assert node.run(node.params("1.0", latest_start="2020-01-01T00:00:00Z"))["outcome"] == "current"


def test_the_latest_start_is_checked_again_before_the_switch(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def check_now(self: Preconditions) -> None:
        asked.append(1)
        if len(asked) == 2:
            raise PatchError("too_late", "it took too long")

    monkeypatch.setattr(Preconditions, "check_now", check_now)
    before = node.tree()
    result = node.run(node.params("1.2", services=[node.service()]))
    assert (result["outcome"], result["reason"]) == ("skipped", "too_late")
    assert "stop" not in result["seconds"]
    (node.opt / "server.state").unlink()
    assert node.tree() == before
    assert node.leftovers() == set()


@pytest.mark.parametrize(
    ("late", "seconds"), [(LATE, 0), ("2026-11-22T05:30:00+01:30", 0), ("2026-11-22T04:00:01Z", -1)]
)
def test_a_moment_is_the_same_in_every_zone(late: str, seconds: int) -> None:
    edge = moments.seconds(LATE)
    Preconditions(late, [], Services([], Commands(pretend)), lambda: edge).check()
    with pytest.raises(PatchError):
        Preconditions(late, [], Services([], Commands(pretend)), lambda: edge - seconds + 0.5).check()


@pytest.mark.parametrize("text", ["2026-11-22T04:00:00", "2026-11-22", "2026-13-22T04:00:00Z", "soon", "", 5, None])
def test_a_moment_without_a_zone_is_none(text: object) -> None:
    assert not moments.is_moment(text)


def test_an_unsafe_process_is_not_disturbed(node: Node) -> None:
    with process(shutil.copy("/bin/sleep", node.root / "pw-backup"), "30"):
        result = node.run(node.params("1.2", unsafe_processes=["pw-backup", "other"]))
        assert (result["outcome"], result["reason"]) == ("skipped", "unsafe_process")
        assert "pw-backup runs" in result["msg"]
    assert node.run(node.params("1.2", unsafe_processes=["pw-backup"]))["outcome"] == "patched"


# -- processes -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def process(*argv: object) -> t.Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([str(word) for word in argv]) as running:
        try:
            deadline = time.monotonic() + 5
            while os.readlink(f"/proc/{running.pid}/exe") == os.path.realpath(sys.executable):
                if time.monotonic() > deadline or sys.executable in argv:
                    break
                time.sleep(0.01)
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("policy", ["fail", "restart", "ignore"])
def test_a_process_of_the_old_version_is_found(node: Node, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.patchwave.aws.plugins.module_utils._node.proof.SETTLE_SECONDS", 0.2)
    shutil.copy("/bin/sleep", node.dest / "1.0" / "daemon")
    with process(node.dest / "current" / "daemon", "30") as running:
        result = node.run(node.params("1.2", old_processes=policy))
        if policy == "ignore":
            assert result["outcome"] == "patched"
        else:
            assert (result["outcome"], result["reason"]) == ("rolled_back", "old_process")
            assert f"process {running.pid} (daemon)" in result["msg"]


@pytest.mark.parametrize("left", [False, True])
def test_the_service_of_an_old_process_is_restarted_and_again_when_rolled_back(
    node: Node, monkeypatch: pytest.MonkeyPatch, left: bool
) -> None:
    """Not the service that the patch itself runs in, nor one that users' sessions need."""
    monkeypatch.setattr("ansible_collections.patchwave.aws.plugins.module_utils._node.proof.SETTLE_SECONDS", 0.2)
    groups = {
        7: "0::/system.slice/app.service\n",
        8: "1:name=systemd:/user.slice/user-7.slice/user@7.service/app.slice/x.service\n0::/\n",
        9: "0::/system.slice/agent.service/x\n",
        10: "0::/system.slice/dbus.service\n",
        os.getpid(): "0::/system.slice/agent.service\n",
    }
    monkeypatch.setattr(processes, "_read", lambda pid, name: groups[pid].encode() if name == "cgroup" else b"")
    restarted: list[tuple[str, str]] = []

    def using(*how: t.Any) -> list[processes.Process]:
        pids = (7, 8, 9, 10) if left or not restarted else ()
        return [processes.Process(pid, "daemon", "/old", processes.unit_of(pid)) for pid in pids]

    def run_command(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        if argv[0] != "systemctl":
            return pretend(argv, **options)
        restarted.append((" ".join(argv[1:]), os.readlink(node.dest / "current")))
        return 0, "", ""

    monkeypatch.setattr(processes, "using", using)
    result = node.run(node.params("1.2", old_processes="restart"), run_command=run_command)
    assert result["outcome"] == ("rolled_back" if left else "patched"), result
    assert restarted == [("restart app.service", version) for version in (["1.2", "1.0"] if left else ["1.2"])]


def test_a_process_that_ends_by_itself_is_waited_for(node: Node) -> None:
    shutil.copy("/bin/sleep", node.dest / "1.0" / "daemon")
    with process(node.dest / "current" / "daemon", "0.6"):
        assert node.run(node.params("1.2"))["outcome"] == "patched"


def test_a_script_that_started_before_the_switch_is_old_and_one_after_is_not(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text("import time; time.sleep(30)")

    def is_old(path: str, deleted: bool) -> bool:
        return path == str(script)

    with process(sys.executable, "-u", script) as running:
        time.sleep(0.05)
        assert [found.pid for found in processes.using(is_old, processes.now())] == [running.pid]
        assert processes.using(is_old, 0) == []
        fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
        tick = 1 / os.sysconf("SC_CLK_TCK")
        started = int(fields[19]) * tick  # or up to one tick later
        assert processes.using(is_old, started + 0.9 * tick) == []
        assert len(processes.using(is_old, started + 1.1 * tick)) == 1


@pytest.mark.parametrize("how", ["path", "process"])
def test_a_program_that_is_elsewhere_is_not_called_missing(
    node: Node, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copy("/bin/sleep", tmp_path / "pw-tool"))
    params = node.params("1.2")
    params["probe"]["command"] = [str(node.dest / "no" / "pw-tool")]
    (node.dest / "current").unlink()
    before = node.tree()
    if how == "path":
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for check_mode in (True, False):
        with process(other, "30") if how == "process" else contextlib.nullcontext():
            result = node.run(params, check_mode=check_mode)
        assert (result["outcome"], result["reason"]) == ("unsupported", "installed_elsewhere"), result
        assert ("process " if how == "process" else str(other)) in result["msg"]
    assert node.tree() == before
    other.unlink()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert node.run(params)["reason"] == "not_installed"


SLEEPER = "import time; time.sleep(30)"


@pytest.mark.parametrize("how", ["relative", "cwd", "module", "folder", "argument", "variable", "link", "shell"])
def test_an_interpreter_with_a_program_in_the_old_version_is_found(
    node: Node, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds nothing open, and its command line need not say a whole path."""
    monkeypatch.setattr("ansible_collections.patchwave.aws.plugins.module_utils._node.proof.SETTLE_SECONDS", 0.1)
    old = node.dest / "1.0"
    (old / "app.py").write_text(SLEEPER)
    (old / "run").write_text("sleep 30; true")
    (tmp_path / "link.py").symlink_to(node.dest / "current" / "app.py")
    launcher = tmp_path / "launcher.py"
    launcher.write_text(SLEEPER)
    python, current = sys.executable, node.dest / "current"
    command, folder, variables = {
        "relative": ([python, "app.py"], current, {}),
        "cwd": ([python, launcher], current, {}),
        "module": ([python, "-m", "app"], current, {}),
        "folder": ([python, launcher, f"--lib=/no/such:{current}"], "/", {}),
        "argument": ([python, launcher, "-cp", f"/no/such.jar:{current}/lib/*"], "/", {}),
        "variable": ([python, launcher], "/", {"CLASSPATH": f"/no/such:{current}/lib.jar"}),
        "link": ([python, tmp_path / "link.py"], "/", {}),
        "shell": (["sh", "run"], current, {}),
    }[how]
    with started(*command, cwd=folder, env={**os.environ, **variables}) as running:
        result = node.run(node.params("1.2"))
        assert (result["outcome"], result["reason"]) == ("rolled_back", "old_process"), result
        assert f"process {running.pid} " in result["msg"]
    assert node.run(node.params("1.2"))["outcome"] == "patched"


@pytest.mark.parametrize("how", ["shell", "data", "log", "typed"])
def test_what_only_stands_in_the_old_version_is_left_alone(node: Node, how: str) -> None:
    """A shell that an administrator has left there, a reader of its log, a program that is given its name."""
    current = node.dest / "current"
    (node.dest / "1.0" / "log").write_text("")
    command, folder = {
        "shell": (["sh", "-c", f"sleep 30; ls {current}"], current),
        "data": (["sleep", "30"], current),
        "log": (["tail", "-f", current / "log"], current),
        "typed": ([sys.executable], current),
    }[how]
    with started(*command, cwd=folder, stdin=subprocess.PIPE):
        assert node.run(node.params("1.2"))["outcome"] == "patched"


@contextlib.contextmanager
def started(*argv: object, **options: t.Any) -> t.Iterator[subprocess.Popen[bytes]]:
    """A process group that is there for longer than a tick of the clock that processes are told in."""
    options.setdefault("stdin", subprocess.DEVNULL)
    with subprocess.Popen([str(word) for word in argv], start_new_session=True, **options) as running:
        try:
            time.sleep(0.1)
            yield running
        finally:
            os.killpg(running.pid, signal.SIGKILL)


def test_a_deleted_file_and_an_open_one_are_seen(tmp_path: Path) -> None:
    program = Path(shutil.copy("/bin/sleep", tmp_path / "old"))
    jar, data = tmp_path / "a.jar", tmp_path / "a.log"
    with process(program, "30") as running, open(jar, "w") as first, open(data, "w") as second:
        program.unlink()
        found = processes.using(lambda path, deleted: deleted and path == str(program), 0)
        assert [entry.pid for entry in found] == [running.pid]
        with subprocess.Popen(["/bin/sleep", "30"], pass_fds=[first.fileno(), second.fileno()]) as reader:
            for file, files_too, seen in ((jar, False, True), (data, False, False), (data, True, True)):
                found = processes.using(lambda path, deleted, file=file: path == str(file), 0, files_too)
                assert (reader.pid in [entry.pid for entry in found]) == seen
            reader.kill()


def test_all_that_a_command_started_is_killed_with_it(tmp_path: Path) -> None:
    def begun(argv: list[str], **options: t.Any) -> tuple[int, str, str]:
        def go_on(process: subprocess.Popen[str]) -> None:
            while not (tmp_path / "pid").exists():
                time.sleep(0.01)
            options["begun"](process)

        return spawn(argv, **{**options, "begun": go_on})

    script = f"setsid sleep 77 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 78"
    answer = Commands(begun).run(["sh", "-c", script], 0.1)
    assert answer.timed_out
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 5
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_is_not_over_before_all_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = []

    def kill(mark: str) -> None:
        time.sleep(0.2)
        killed.append(mark)

    monkeypatch.setattr(processes, "kill_marked", kill)
    assert Commands(spawn).run(["sleep", "60"], 0.1).timed_out
    assert len(killed) == 1


# -- health ----------------------------------------------------------------------------------------------------------


class Page(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        Page.asked += 1
        self.send_response(503 if self.path == "/sick" or Page.asked < 3 else 200)
        self.end_headers()
        self.wfile.write(b"status: green")

    def log_message(self, *parts: t.Any) -> None:
        pass


@pytest.fixture
def port() -> t.Iterator[int]:
    Page.asked = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield httpd.server_port
        httpd.shutdown()
        thread.join()


def page(port: int, path: str = "", **changes: t.Any) -> dict[str, t.Any]:
    url = f"http://user:secret@127.0.0.1:{port}/{path}"
    asked = {"url": url, "status": 200, "pattern": None, "validate_certs": True, **changes}
    return {"http": asked, "retries": 2, "delay": 0, "timeout": 5}


def test_a_page_that_comes_a_byte_now_and_then_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            with listener.accept()[0] as connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                for dummy in range(100):
                    connection.sendall(b"x")
                    time.sleep(0.1)

        thread = threading.Thread(target=trickle)
        thread.start()
        start = time.monotonic()
        asked = {**page(listener.getsockname()[1]), "timeout": 0.5, "retries": 0}
        with pytest.raises(PatchError, match="TimeoutError"):
            check_health(asked, Commands(pretend))
        assert time.monotonic() - start < 3
        thread.join()


def test_a_page_is_asked_until_it_is_healthy(port: int) -> None:
    assert check_health(page(port, pattern="gr.en"), Commands(pretend)) == 3
    for options, text in (
        (page(port, "sick"), "got status 503, not 200"),
        (page(port, pattern="red"), "does not match"),
        (page(1), "got no answer"),
    ):
        with pytest.raises(PatchError, match=text) as caught:
            check_health(options, Commands(pretend))
        assert caught.value.reason == "health_failed"
        assert "secret" not in caught.value.message


def test_a_port_is_healthy_when_it_takes_connections() -> None:
    options = {"host": "127.0.0.1", "retries": 0, "delay": 0, "timeout": 2}
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        assert check_health(dict(options, port=number), Commands(pretend)) == 1
    with pytest.raises(PatchError, match=f"of port {number} failed: Connection refused"):
        check_health(dict(options, port=number), Commands(pretend))


def test_health_says_how_the_last_try_ended() -> None:
    slept: list[float] = []
    options = {
        "command": ["sh", "-c", "echo first; echo 'disk\tmissing' >&2; exit 4"],
        "retries": 2,
        "delay": 7,
        "timeout": 5,
    }
    with pytest.raises(PatchError, match=r"sh ended with 4: disk missing \(3 tries\)"):
        check_health(options, Commands(spawn), slept.append)
    assert slept == [7, 7]
