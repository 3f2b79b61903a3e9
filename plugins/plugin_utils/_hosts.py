# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Which hosts a task runs for, and with which arguments: what Ansible itself would decide for each of them.

Ansible runs a task once for each host, each time in a process of its own, and evaluates conditions and templates there.
A batch action does the work of all these hosts in the first process, so it has to know the others before they come.

The hosts that are at the task (includes, blocks with C(rescue), C(serial), failed hosts) are known to the strategy.
Ansible hands them to no plugin, so they are read from the strategy's stack frame, which the forked process still has.
Where there is none, as with the strategy C(free), the action does the work of its own host only: slow, never wrong.
Conditions and templates are evaluated by Ansible's own classes.
"""

from __future__ import annotations

import json
import re
import sys
import types
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean

#: Identifiers in a template. Names that are no variables do no harm, they are in no host's variables.
_NAME = re.compile(r"[A-Za-z_]\w*")
#: What makes a template depend on more than the values of the variables that it names.
_VARYING = frozenset(("lookup", "query", "q", "vars", "varnames", "now", "random", "shuffle", "random_mac"))
#: Variables that change how a task runs without being named in it.
_CONNECTION = ("ansible_become", "ansible_become_user", "ansible_python_interpreter")
#: Task keywords that a batch cannot honour.
_REFUSED = ("delegate_to", "loop", "loop_with", "async_val")


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
        self._strategy = frame["self"] if frame else None
        self._iterator = frame["iterator"] if frame else None
        self._play_context = frame["play_context"] if frame else None
        self._hosts = (
            [host for host, task in frame["host_tasks"] if task and task._uuid == self._task._uuid] if frame else []
        )
        if self.host not in (host.name for host in self._hosts):
            self._hosts = []
        self._raw = _raw_task(frame["task"], self._strategy, action._loader) if self._hosts and frame else None

    @property
    def execution(self) -> tuple[t.Any, ...] | None:
        """What tells this execution of the task from every other one of the same play; None where nobody knows."""
        if not self._hosts:
            return None
        return self._task._uuid, getattr(self._iterator, "cur_task", None), [host.name for host in self._hosts]

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
        keys = _Keys(self._raw)
        others = [] if alone else [host for host in self._hosts if host.name != self.host]
        for host in others:
            variables = self._variables(host)
            key = keys.of(host.name, variables)
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
        task = self._raw or self._task
        for keyword in _REFUSED:
            if getattr(task, keyword, None):
                name = {"async_val": "async", "loop_with": "loop"}.get(keyword, keyword)
                hint = (
                    "put the task into a file of its own and loop over include_tasks" if name == "loop" else "remove it"
                )
                raise AnsibleActionFail(f"{name}: {task.action} does the work of all hosts at once; {hint}")

    def _variables(self, host: t.Any) -> dict[str, t.Any]:
        strategy = t.cast(t.Any, self._strategy)
        play = t.cast(t.Any, self._iterator)._play
        known = {"_hosts": strategy._hosts_cache, "_hosts_all": strategy._hosts_cache_all}
        variables = strategy._variable_manager.get_vars(play=play, host=host, task=self._raw, **known)
        strategy.add_tqm_variables(variables, play=play)
        return dict(variables)

    def _own(self) -> Request:
        """Return what Ansible has evaluated for the action's own host."""
        templar = _templar(self._action._loader, self._vars)
        return _request(self._task, templar, self._vars)

    def _request(self, host: t.Any, variables: dict[str, t.Any]) -> Request | None:
        """Evaluate the task for another host; return None where it does not run."""
        templar = _templar(self._action._loader, variables)
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


def routing(variables: t.Mapping[str, t.Any]) -> t.Callable[[str], dict[str, t.Any]]:
    """Return what gives the variables of a host that the inventory alone has set.

    Facts, registered results, extra variables and those of plays and roles are none of them: a node or a rollout file
    must not say where commands are sent, or by which role.
    """
    manager = variables["hostvars"]._variable_manager
    inventory = manager._inventory

    def known(name: str) -> dict[str, t.Any]:
        host = inventory.get_host(name)
        if host is None:
            return {}
        found: dict[str, t.Any] = {}
        for group in sorted(host.get_groups(), key=lambda group: (group.depth, group.priority, group.name)):
            found.update(group.get_vars())
        found.update(host.get_vars())
        if not found.get("region"):
            found = {**_from_files(manager, host), **found}
        return found

    return known


def _from_files(manager: t.Any, host: t.Any) -> dict[str, t.Any]:
    """Return the variables of a host that lie in files beside the inventory."""
    from ansible.vars.plugins import get_vars_from_inventory_sources

    entities = [*sorted(host.get_groups(), key=lambda group: (group.depth, group.priority, group.name)), host]
    sources = manager._inventory._sources
    return dict(get_vars_from_inventory_sources(manager._loader, sources, entities, "task"))


def _strategy_frame(task: t.Any) -> dict[str, t.Any] | None:
    """Return the variables of the strategy's frame below which this process was forked to run a task."""
    frame: types.FrameType | None = sys._getframe()
    while frame:
        found = frame.f_locals
        if all(name in found for name in ("self", "iterator", "play_context", "host_tasks", "task")):
            return found if found["task"] is not None and found["task"]._uuid == task._uuid else None
        frame = frame.f_back
    return None


def _raw_task(task: t.Any, strategy: t.Any, loader: t.Any) -> t.Any:
    """Return the task as its file has it, for Ansible has put its own host's values into the one that runs."""
    load = type(task).load
    return load(
        task.get_ds(), block=task._parent, role=task._role, variable_manager=strategy._variable_manager, loader=loader
    )


def _templar(loader: t.Any, variables: dict[str, t.Any]) -> t.Any:
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


class _Keys:
    """Tells hosts apart for which a task may be evaluated differently: by the variables that its templates name."""

    def __init__(self, task: t.Any) -> None:
        self._kept: list[t.Any] = []  # what is known by its id must live on, or another object gets that id
        self._inner: dict[int, frozenset[str]] = {}
        whole = (task.args, task.when, task.environment, task.become, task.become_user, task.check_mode) if task else ()
        self._names = frozenset(_CONNECTION).union(*(_names(part, always=True) for part in whole))

    def of(self, host: str, variables: t.Mapping[str, t.Any]) -> t.Any:
        """Return a key that two hosts share only where the task is evaluated to the same."""
        waiting, seen, parts = set(self._names), set(), []
        while waiting:
            name = waiting.pop()
            if name in _VARYING:
                return host
            if name in seen:
                continue
            seen.add(name)
            if name in variables and name != "omit":
                parts.append((name, self._mark(variables[name])))
                waiting |= self._names_in(variables[name])
        return tuple(sorted(parts))

    def _mark(self, value: t.Any) -> str:
        if isinstance(value, (str, int, float, type(None))):
            return f"{type(value).__name__} {value}"
        self._kept.append(value)
        try:
            return json.dumps(value, sort_keys=True)
        except (TypeError, ValueError):
            return f"id {id(value)}"

    def _names_in(self, value: t.Any) -> frozenset[str]:
        if isinstance(value, str):
            return _names(value)
        if id(value) not in self._inner:
            self._kept.append(value)
            self._inner[id(value)] = _names(value)
        return self._inner[id(value)]


def _names(value: t.Any, always: bool = False) -> frozenset[str]:
    """Return the identifiers in the templates of a value; `always` takes each text for one, as conditions are."""
    if isinstance(value, str):
        return frozenset(_NAME.findall(value)) if always or "{{" in value or "{%" in value else frozenset()
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        return frozenset().union(*(_names(part, always) for part in value))
    return frozenset()
