# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Which hosts a task runs for, and with which arguments: what Ansible itself would decide for each of them.

Ansible runs a task once for each host, each time in a process of its own, and evaluates conditions and templates there.
A batch action does the work of all these hosts in the first process, so it has to know the others before they come.

The hosts that are at the task (includes, blocks with C(rescue), C(serial), failed hosts) are known to the strategy.
Ansible hands them to no plugin, so they are read from the strategy's stack frame, which the forked process still has.
Where there is none, as with the strategy C(free), nobody knows them, and the action is refused. Conditions and
templates are evaluated by Ansible's own classes.
"""

from __future__ import annotations

import sys
import types
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.playbook.handler import Handler

from ._sameness import Sameness, varying

#: Variables that change how a task runs without being named in it.
_CONNECTION = ("ansible_become", "ansible_become_user", "ansible_python_interpreter")
#: Task keywords that a batch cannot honour: name and attribute of the task, and what to do.
_REFUSED = (
    ("delegate_to", "delegate_to", "remove it"),
    ("async", "async_val", "remove it"),
    ("timeout", "timeout", "use delivery_timeout and execution_timeout"),
    *(
        ("loop", name, "put the task into a file of its own and loop over include_tasks")
        for name in ("loop", "loop_with")
    ),
)


class Request(t.NamedTuple):
    """What a task asks for on one host: its arguments and the keywords that reach a node."""

    args: dict[str, t.Any]
    environment: dict[str, str]
    become_user: str
    interpreter: str
    check_mode: bool


class Group(t.NamedTuple):
    """Hosts that ask for the same."""

    request: Request
    hosts: list[str]


class AtTask:
    """The hosts that are at an action's task."""

    def __init__(self, action: t.Any, task_vars: dict[str, t.Any]) -> None:
        """Take the running action and the variables that it was given."""
        self._action, self._task, self._vars = action, action._task, task_vars
        self.host = str(task_vars["inventory_hostname"])
        frame = _strategy_frame(self._task)
        hosts = [host for host, task in frame.get("host_tasks", ()) if task and task._uuid == self._task._uuid]
        if self.host not in (host.name for host in hosts):
            raise AnsibleActionFail(f"strategy: {self._task.action} needs the strategy linear, or one made from it")
        self._strategy, self._iterator, self._play_context = frame["self"], frame["iterator"], frame["play_context"]
        self._hosts = [host for host in hosts if not _has_run(frame, host)]
        self._by_name = {host.name: host for host in self._hosts}
        self._raw = _raw_task(frame["task"], self._strategy, action._loader)

    @property
    def execution(self) -> tuple[t.Any, ...]:
        """What tells this execution of the task from every other one of the same play."""
        return self._task._uuid, getattr(self._iterator, "cur_task", None), [host.name for host in self._hosts]

    def __len__(self) -> int:
        """Return how many hosts are at the task."""
        return len(self._hosts)

    def groups(self, alone: bool = False) -> list[Group]:
        """Return what is asked for, each with its hosts: those for which the task, with its conditions, runs.

        With `alone`, that is the own host only.

        A host whose condition or arguments cannot be evaluated is left out: its own process ends with Ansible's error.
        With C(run_once) there is no such process, so the error is raised.

        Raises:
            AnsibleActionFail: a keyword that a batch cannot honour.
        """
        self._refuse_keywords()
        found = [Group(self._own(), [self.host])]
        alike: dict[t.Any, Group | None] = {}
        raw = self._raw
        keywords = (raw.module_defaults, raw.environment, raw.become, raw.become_user, raw.check_mode)
        same = Sameness([*raw.when, *_CONNECTION], raw.args, *keywords)
        others = [] if alone else [host for host in self._hosts if host.name != self.host]
        for host in others:
            variables = self._variables(host)
            key = same.key(host.name, variables)
            if key not in alike:
                request = self._request(host, variables)
                alike[key] = self._grouped(found, request) if request else None
            group = alike[key]
            if group:
                group.hosts.append(host.name)
        return found

    def _grouped(self, found: list[Group], request: Request) -> Group:
        group = next((one for one in found if one.request == request), None)
        if not group:
            group = Group(request, [])
            found.append(group)
        return group

    def _refuse_keywords(self) -> None:
        for name, attribute, hint in _REFUSED:
            if getattr(self._raw, attribute, None) and not (name == "loop" and self._task.run_once):
                raise AnsibleActionFail(f"{name}: {self._task.action} does the work of all hosts at once; {hint}")
        found = varying(self._raw.when, self._vars)
        if found:
            hint = "the hosts of a batch are chosen once; decide before it, with set_fact"
            raise AnsibleActionFail(f"when: {found!r} says something else for each host and moment; {hint}")

    def variables(self, host: str, manager: t.Any) -> dict[str, t.Any]:
        """Return what a host's variables in the task are for a variable manager, which may know less than Ansible's."""
        return {**self._variables(self._by_name[host], manager), "ansible_search_path": self._task.get_search_path()}

    def _variables(self, host: t.Any, manager: t.Any = None) -> dict[str, t.Any]:
        strategy = t.cast(t.Any, self._strategy)
        play = t.cast(t.Any, self._iterator)._play
        known = {"_hosts": strategy._hosts_cache, "_hosts_all": strategy._hosts_cache_all}
        manager = manager or strategy._variable_manager
        variables = manager.get_vars(play=play, host=host, task=self._raw, **known)
        strategy.add_tqm_variables(variables, play=play)
        # With run_once, the first host's loop is that of all.
        looping = ("ansible_loop", self._vars.get("ansible_loop_var"), self._vars.get("ansible_index_var"))
        return {**variables, **{name: self._vars[name] for name in looping if name in self._vars}}

    def _own(self) -> Request:
        """Return what Ansible has evaluated for the action's own host."""
        templar = template_engine(self._action._loader, self._vars)
        return _request(self._task, templar, self._vars)

    def _request(self, host: t.Any, variables: dict[str, t.Any]) -> Request | None:
        """Evaluate the task for another host; return None where it does not run."""
        templar = template_engine(self._action._loader, variables)
        try:
            # Conditions see connection variables that are set nowhere, such as ansible_connection.
            context = t.cast(t.Any, self._play_context)
            context = context.set_task_and_variable_override(task=self._raw, variables=variables, templar=templar)
            context.post_validate(templar=templar)
            context.update_vars(variables)
            if not _condition_holds(self._raw, templar, variables):
                return None
            return _request(_finished(self._raw, templar, variables), templar, variables)
        except AnsibleError as error:
            if not self._task.run_once:
                return None
            raise AnsibleActionFail(f"host {host.name}: {error}; nothing was sent to any node") from None


def _strategy_frame(task: t.Any) -> dict[str, t.Any]:
    """Return the variables of the strategy's frame in which this process was forked to run a task, if there is one."""
    frame: types.FrameType | None = sys._getframe()
    while frame:
        found = frame.f_locals
        if all(name in found for name in ("self", "iterator", "play_context", "host_tasks", "task")):
            return found if found["task"] is not None and found["task"]._uuid == task._uuid else {}
        frame = frame.f_back
    return {}


def _has_run(frame: dict[str, t.Any], host: t.Any) -> bool:
    """Say whether the strategy leaves a host out because the task's role has run there; newer ones do so before."""
    task, strategy = frame["task"], frame["self"]
    if hasattr(task, "_resolve_conditional") or isinstance(task, Handler) or not task._role:
        return False
    role = strategy._get_cached_role(task, frame["iterator"]._play)  # ansible-core 2.18
    return bool(role.has_run(host)) and task._role._metadata.allow_duplicates is False


def _raw_task(task: t.Any, strategy: t.Any, loader: t.Any) -> t.Any:
    """Return the task as its file has it, for Ansible has put its own host's values into the one that runs."""
    load = type(task).load
    return load(
        task.get_ds(), block=task._parent, role=task._role, variable_manager=strategy._variable_manager, loader=loader
    )


def template_engine(loader: t.Any, variables: dict[str, t.Any]) -> t.Any:
    """Return what evaluates templates with these variables."""
    try:
        from ansible._internal._templating._engine import TemplateEngine
    except ImportError:  # ansible-core 2.18
        from ansible.template import Templar as TemplateEngine
    return TemplateEngine(loader=loader, variables=variables)


def _condition_holds(task: t.Any, templar: t.Any, variables: dict[str, t.Any]) -> bool:
    if hasattr(task, "_resolve_conditional"):  # since ansible-core 2.19
        return bool(task._resolve_conditional(task.when, variables))
    return bool(task.evaluate_conditional(templar, variables))


def _finished(task: t.Any, templar: t.Any, variables: dict[str, t.Any]) -> t.Any:
    """Return a task with the values of one host, as Ansible makes it before an action runs."""
    copy = task.copy(exclude_parent=True, exclude_tasks=True)
    copy._parent = task._parent
    copy.post_validate(templar=templar)
    if not hasattr(copy, "_post_validate_module_defaults"):  # ansible-core 2.18
        from ansible.executor.module_common import get_action_args_with_defaults

        name, groups = copy.resolved_action or copy.action, copy._parent._play._action_groups
        args = get_action_args_with_defaults(name, copy.args, copy.module_defaults, templar, action_groups=groups)
        copy.args = {name: value for name, value in args.items() if value != variables.get("omit")}
    return copy


def _request(task: t.Any, templar: t.Any, variables: dict[str, t.Any]) -> Request:
    """Take what is asked for out of a task that has one host's values."""

    def value(name: str, otherwise: t.Any) -> t.Any:
        given = variables.get(name)
        return otherwise if given is None else templar.template(given)

    interpreter = str(value("ansible_python_interpreter", ""))
    become = boolean(value("ansible_become", task.become) or False, strict=False)
    return Request(
        args=dict(task.args),
        environment={str(name): str(text) for name, text in _merged(task.environment).items()},
        become_user=str(value("ansible_become_user", task.become_user) or "") if become else "",
        interpreter="" if interpreter.startswith("auto") else interpreter,
        check_mode=bool(task.check_mode),
    )


def _merged(environment: t.Any) -> dict[str, t.Any]:
    parts = environment if isinstance(environment, list) else [environment or {}]
    return {name: text for part in parts for name, text in part.items()}
