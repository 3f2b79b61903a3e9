"""Which hosts a batch action works for, and with what: compared with what Ansible itself does for each host.

An action of the tests writes down, for each host, in which process its work was done and what it asked for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ACTION = """
from __future__ import annotations
import json, os
from ansible.plugins.action import ActionBase
from ansible_collections.patchwave.aws.plugins.plugin_utils._hosts import AtTask
from ansible_collections.patchwave.aws.plugins.plugin_utils._shared import Done, own_result


class ActionModule(ActionBase):
    _requires_connection = False
    ran = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        at_task = AtTask(self, task_vars)

        def work(alone, spent):
            groups = at_task.groups(alone)
            with open(os.environ["WORKED"], "a") as file:
                for group in groups:
                    for host in group.hosts:
                        file.write(json.dumps({"by": at_task.host, "host": host, **group.request._asdict()}) + "\\n")
            if os.environ.get("FAIL"):
                raise ValueError("the bucket is not there")
            return Done({host: {"own": host, "rc": 0} for group in groups for host in group.hosts}, 0)

        if self._task.run_once:
            return {"results": work(False, 0).results}
        again, self.ran = self.ran, True
        return own_result(at_task.execution, at_task.host, work, again)
"""

FILTER = """
from jinja2 import pass_context


@pass_context
def own(context, text):
    return context[text + "up"]


class FilterModule:
    def filters(self):
        return {"own": own}
"""

HOSTS: dict[str, dict[str, Any]] = {
    "web-1": {"group": "web"},
    "web-2": {"group": "web", "held": True},
    "db-1": {"group": "db", "ansible_python_interpreter": "/usr/bin/python3.9"},
    "db-2": {"group": "db", "program": "{{ inventory_hostname }}"},
    "app-1": {"group": "app", "broken": True},
}
ASK = {"name": "Ask", "ask": {"program": "{{ program | default('none') }}"}}

Run = Callable[..., tuple[list[dict[str, Any]], str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a play's tasks; return what was worked for each host, in order, and Ansible's output."""
    (tmp_path / "action_plugins").mkdir()
    (tmp_path / "action_plugins" / "ask.py").write_text(ACTION)
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": HOSTS}}, sort_keys=False))

    def play(*tasks: dict[str, Any], environment: dict[str, str] | None = None, **keywords: Any) -> Any:
        content = [{"name": "Play", "hosts": "all", "gather_facts": False, "tasks": list(tasks), **keywords}]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(content))
        worked = tmp_path / "worked"
        worked.write_text("")
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "inventory.yml", "play.yml"],
            cwd=tmp_path,
            env={
                **os.environ,
                "LC_ALL": "C.UTF-8",
                "WORKED": str(worked),
                "ANSIBLE_NOCOLOR": "1",
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return list(map(json.loads, worked.read_text().splitlines())), done.stdout + done.stderr

    return play


def hosts(worked: list[dict[str, Any]]) -> list[str]:
    return [one["host"] for one in worked]


def leaders(worked: list[dict[str, Any]]) -> set[str]:
    return {one["by"] for one in worked}


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("group == 'db'", {"db-1", "db-2"}),
        ("held is not defined", {"web-1", "db-1", "db-2", "app-1"}),
        ("inventory_hostname in groups['all'][1:3]", {"web-2", "db-1"}),
        ("group == 'none'", set()),
        ("ansible_connection == 'ssh' and group == 'web'", {"web-1", "web-2"}),
    ],
)
@pytest.mark.parametrize("how", ["task", "block", "import", "include"])
def test_conditions_choose_hosts_wherever_they_stand(
    run: Run, tmp_path: Path, how: str, condition: str, wanted: set[str]
) -> None:
    (tmp_path / "ask.yml").write_text(yaml.safe_dump([ASK]))
    task: dict[str, Any] = {
        "task": ASK,
        "block": {"block": [ASK]},
        "import": {"ansible.builtin.import_tasks": "ask.yml"},
        "include": {"ansible.builtin.include_tasks": "ask.yml"},
    }[how]
    worked, output = run({**task, "when": condition})
    assert (set(hosts(worked)), len(worked)) == (wanted, len(wanted)), output
    assert len(leaders(worked)) <= 1


def test_each_host_has_its_own_arguments_and_keywords(run: Run) -> None:
    task = {**ASK, "environment": {"GROUP": "{{ group }}"}, "become": True, "become_user": "{{ group }}"}
    worked, _ = run(task)
    by_host = {one["host"]: one for one in worked}
    for host, variables in HOSTS.items():
        asked = by_host[host]
        assert asked["args"]["program"] == ("db-2" if host == "db-2" else "none")
        assert asked["environment"] == {"GROUP": variables["group"]}
        assert asked["become_user"] == variables["group"]
        assert asked["interpreter"] == variables.get("ansible_python_interpreter", "")
    assert len(leaders(worked)) == 1


def test_hosts_in_the_rescue_of_a_block_and_failed_ones_are_not_at_the_task(run: Run) -> None:
    fail = {"ansible.builtin.fail": {"msg": "no"}, "when": "broken is defined"}
    worked, output = run({"block": [fail, ASK], "rescue": [{"ansible.builtin.debug": {"msg": "rescued"}}]})
    assert set(hosts(worked)) == set(HOSTS) - {"app-1"}, output
    worked, output = run(fail, ASK)
    assert set(hosts(worked)) == set(HOSTS) - {"app-1"}, output


def test_each_host_ends_with_its_own_result(run: Run) -> None:
    show = {"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} has {{ own.own }}"}}
    worked, output = run({**ASK, "register": "own", "failed_when": "own.own == 'db-1'", "ignore_errors": True}, show)
    assert len(leaders(worked)) == 1
    assert all(f"{host} has {host}" in output for host in HOSTS)
    assert output.count("...ignoring") == 1


def test_serial_and_run_once_and_handlers(run: Run) -> None:
    worked, output = run(ASK, serial=2)
    assert [set(hosts(worked)[:2]), set(hosts(worked)[2:4]), set(hosts(worked)[4:])] == [
        {"web-1", "web-2"},
        {"db-1", "db-2"},
        {"app-1"},
    ], output
    assert len(leaders(worked)) == 3
    worked, output = run({**ASK, "run_once": True, "when": "group != 'db'"})
    assert hosts(worked) == ["web-1", "web-2", "app-1"], output
    notify = {"ansible.builtin.debug": {"msg": "x"}, "notify": "Ask", "changed_when": "group == 'db'"}
    worked, output = run(notify, {"ansible.builtin.meta": "flush_handlers"}, notify, handlers=[ASK])
    assert sorted(hosts(worked)) == ["db-1", "db-1", "db-2", "db-2"], output


def test_with_run_once_the_loop_of_the_first_host_is_that_of_all(run: Run) -> None:
    task = {"name": "Ask", "ask": {"program": "{{ item }} {{ group }}"}, "loop": ["x", "y"], "run_once": True}
    worked, output = run(task)
    assert sorted(one["args"]["program"] for one in worked) == sorted(
        f"{item} {variables['group']}" for item in ("x", "y") for variables in HOSTS.values()
    ), output


def test_a_task_that_runs_again_works_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ask.yml").write_text(yaml.safe_dump([ASK]))
    worked, output = run({"ansible.builtin.include_tasks": "ask.yml", "loop": [1, 2]})
    assert sorted(hosts(worked)) == sorted([*HOSTS, *HOSTS]), output
    worked, output = run({**ASK, "register": "own", "retries": 1, "delay": 0, "until": "own.own != 'db-1'"})
    assert sorted(hosts(worked)) == sorted([*HOSTS, "db-1"]), output


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_where_the_hosts_at_a_task_are_not_known_nothing_is_done(run: Run, strategy: str) -> None:
    worked, output = run(ASK, strategy=f"ansible.builtin.{strategy}")
    assert worked == []
    assert "strategy: ask needs the strategy linear" in output


@pytest.mark.parametrize("late", ["now().year > 2000", "(100 | random) >= 0", "late", "lookup('pipe', 'date') != ''"])
def test_a_condition_that_changes_by_itself_is_refused(run: Run, late: str) -> None:
    worked, output = run({**ASK, "when": late}, vars={"late": "{{ now().year > 2000 }}"})
    assert worked == []
    assert "says something else for each host and moment" in output


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("loop", ["a"]), ("delegate_to", "localhost"), ("with_items", ["a"]), ("timeout", 9)],
)
def test_keywords_that_a_batch_cannot_honour_are_refused_by_name(run: Run, keyword: str, value: Any) -> None:
    worked, output = run({**ASK, keyword: value})
    assert worked == []
    name = "loop" if keyword == "with_items" else keyword
    assert f"{name}: ask does the work of all hosts at once" in output


def test_arguments_that_cannot_be_evaluated_fail_their_own_host_only(run: Run) -> None:
    task = {"ask": {"program": "{{ nothing if group == 'app' else 'x' }}"}}
    worked, output = run(task)
    assert set(hosts(worked)) == set(HOSTS) - {"app-1"}
    assert "'nothing' is undefined" in output
    worked, output = run({**task, "run_once": True})
    assert worked == []
    assert "host app-1: " in output
    assert "nothing was sent to any node" in output


def test_what_fails_as_a_whole_fails_every_host(run: Run) -> None:
    worked, output = run(ASK, environment={"FAIL": "1"})
    assert set(hosts(worked)) == set(HOSTS)
    assert len(leaders(worked)) == 1
    assert output.count("the bucket is not there") >= len(HOSTS)


@pytest.mark.parametrize(
    "program",
    [
        "{{ lookup('vars', 'group') }}",
        "{% include 'group.j2' %}",
        "{{ 'gro' | own }}",
        "{{ ['gro'] | map('own') | first }}",
        "{{ vars['group'] }}",
        "{{ hostvars[inventory_hostname].group }}",
        "{{ inner }}",
    ],
)
def test_what_no_template_names_is_evaluated_for_each_host(run: Run, tmp_path: Path, program: str) -> None:
    (tmp_path / "group.j2").write_text("{{ group }}")
    (tmp_path / "filter_plugins").mkdir()
    (tmp_path / "filter_plugins" / "own.py").write_text(FILTER)
    worked, output = run({"ask": {"program": program}}, vars={"inner": "{{ {'a': lookup('vars', 'group')}.a }}"})
    assert {one["host"]: one["args"]["program"] for one in worked} == {
        host: variables["group"] for host, variables in HOSTS.items()
    }, output
    assert len(leaders(worked)) == 1


def test_facts_that_a_host_has_alone_count_for_it_alone(run: Run) -> None:
    facts = {"ansible.builtin.set_fact": {"chosen": "{{ group }}"}, "when": "group != 'app'"}
    worked, _ = run(facts, {"ask": {"program": "{{ chosen | default('none') }}"}})
    assert {one["host"]: one["args"]["program"] for one in worked} == {
        **{host: variables["group"] for host, variables in HOSTS.items()},
        "app-1": "none",
    }
