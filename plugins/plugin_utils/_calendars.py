# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Where a host's windows and freezes come from.

Ansible keeps of all variables of one name only one, so that a group's C(patch_freezes) would hide those of another,
and C(-e) those of all. So each group's and host's own variables are read, as Ansible's variable manager reads them:
those of the inventory, and C(group_vars) and C(host_vars) beside the inventory and beside the playbook.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import difflib
import functools
import inspect
import os
import re
import typing as t
from collections.abc import Mapping

from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.helpers import sort_groups
from ansible.inventory.host import Host
from ansible.inventory.manager import IGNORED, InventoryManager
from ansible.plugins.loader import vars_loader
from ansible.vars.plugins import get_vars_from_path

from ._hosts import template_engine
from ._sameness import Sameness

#: The host variable with windows.
WINDOWS = "patch_windows"
#: The host variables with freezes.
FREEZES = re.compile(r"patch_freezes(_\w+)?", re.ASCII)
#: What is certainly meant as one of these; it would leave the gate open.
_LIKE = re.compile(r"patch(wave)?[\W_]*(win|fre).*", re.IGNORECASE | re.DOTALL)
#: What may be meant so, or be another tool's: such a word alone, or behind the name of something.
_PERHAPS = re.compile(
    r"freezes?|(.*[\W_])?(maintenance|patch\w*|update|change|blackout|deploy\w*)[\W_]*(windows?|freezes?)([\W_].*)?",
    re.IGNORECASE | re.DOTALL,
)
#: How much alike a name is that has a letter too many or too few.
_ALIKE = 0.85
#: What a file holds that sets windows or freezes, and one with settings of an inventory plugin.
_NAMED, _PLUGIN = re.compile(r"patch_(windows|freezes)"), re.compile(r"""^["']?plugin["']?\s*:""", re.MULTILINE)

#: What Ansible's loader is told of files since ansible-core 2.19.
_TRUST = "trusted_as_template"

Values = list[tuple[str, t.Any]]
#: Gives the variables that a host has in the task, with a variable manager.
AtTask = t.Callable[[str, t.Any], t.Mapping[str, t.Any]]
#: How templates are evaluated that may name the inventory's variables alone.
_ALONE = "from the inventory alone"


class Sources(t.NamedTuple):
    """What a host's calendar is made of, with templates evaluated.

    Attributes:
        windows: the windows of its most specific group, or its own; where nobody has any, none.
        freezes: those of all its groups and its own, and what was set elsewhere, each with its variable's name.
        wrong: a line for each variable that closes the gate whatever it holds.
        doubtful: names of variables that may be meant as windows or freezes.
    """

    windows: Values
    freezes: Values
    wrong: list[str]
    doubtful: list[str]


class Reader:
    """Reads what is set for hosts."""

    def __init__(self, hostvars: t.Any, at_task: AtTask, folders: list[str]) -> None:
        """Take Ansible's C(hostvars), what gives a host's variables in the task, and the play's folders."""
        self._hostvars, self._loader = hostvars, hostvars._loader
        self._inventory, self._folders, self._at_task = hostvars._inventory, folders, at_task
        self._of_entity: dict[tuple[str, t.Any], list[dict[str, t.Any]]] = {}
        self._same: dict[tuple[int, ...], tuple[Sameness, Values]] = {}
        self._readings: dict[t.Any, Values] = {}
        self._usual = hostvars._variable_manager
        self._extra_ours = any(map(_role, filter(_is_text, self._usual.extra_vars)))
        none: dict[str, t.Any] = {"_fact_cache": _NoFacts(), "_vars_cache": {}, "_nonpersistent_fact_cache": {}}
        self._without_extra = _manager(hostvars, _extra_vars={})
        self._without_facts = _manager(hostvars, _extra_vars={}, **none)

    def read(self, host: str) -> Sources:
        """Return what is set for a host."""
        inside = self._layers(self._inventory.get_host(host))
        usual = self._at_task(host, self._usual)
        contexts = {"": usual}
        if _others([usual], inside) or self._extra_ours:
            contexts.update(self._contexts(host, usual, None))
        elif _has_template([*inside.values()]):
            values = [(name, value) for name, several in inside.items() for value in several]
            names = self._sameness(values).names(_for_all(usual))
            contexts.update(self._contexts(host, usual, None if names and "hostvars" in names else names))
        outside = _others([one for kind, one in contexts.items() if kind != _ALONE], inside)
        found = Sources([], [], [], [])
        for name in sorted({*inside, *outside}):
            self._sort(found, name, inside.get(name, []), outside.get(name, []))
        return self._evaluated(found, host, contexts)

    def _contexts(
        self, host: str, usual: t.Mapping[str, t.Any], names: t.AbstractSet[str] | None
    ) -> dict[str, t.Mapping[str, t.Any]]:
        """Return less and less than all variables, for what one place sets may hide what another does.

        Where only some names matter, what does not set them is left out.
        """
        found = {}
        if names is None or not names.isdisjoint(self._extra()):
            found["without extra variables"] = self._at_task(host, self._without_extra)
        if names is None or self._facts(host, names):
            found["without facts"] = self._at_task(host, self._without_facts)
        path = {name: usual[name] for name in ("ansible_search_path",) if name in usual}
        return {**found, _ALONE: {**self._without_facts.get_vars(host=self._inventory.get_host(host)), **path}}

    def _facts(self, host: str, names: t.AbstractSet[str]) -> bool:
        """Say whether a host was given some of these by set_fact, register or include_vars, or has facts at all."""
        given = (self._usual._vars_cache, self._usual._nonpersistent_fact_cache)
        try:
            return any(not names.isdisjoint(one.get(host, ())) for one in given) or bool(
                self._usual._fact_cache.get(host)
            )
        except KeyError:
            return False

    def _evaluated(self, found: Sources, host: str, contexts: dict[str, t.Mapping[str, t.Any]]) -> Sources:
        """Evaluate templates with what Ansible would take, and with less, down to the variables of the inventory alone.

        Freezes of all readings count. Windows are the inventory's, and another reading of them closes the gate.
        """
        windows = [self._reading(kind, found.windows, host, variables) for kind, variables in contexts.items()]
        freezes = {kind: self._reading(kind, found.freezes, host, variables) for kind, variables in contexts.items()}
        wrong = list(found.wrong)
        if len(_unlike(windows)) > 1:
            wrong.append(
                f"{WINDOWS}: extra variables, a play or facts change what its template says; "
                "it may name variables of the inventory alone"
            )
        everything: Values = []
        for kind, reading in freezes.items():
            for (name, value), (dummy, usual) in zip(reading, freezes[""], strict=True):
                if isinstance(value, _Unreadable) and not isinstance(usual, _Unreadable):
                    value = _Unreadable(f"{kind}: {value.why}; give the template a default")
                everything.append((name, value))
        return found._replace(windows=windows[-1], freezes=_unlike(everything), wrong=wrong)

    def _sameness(self, values: Values) -> Sameness:
        ids = tuple(id(value) for dummy, value in values)
        if ids not in self._same:  # the values are kept, for another object may get the id of one that is gone
            self._same[ids] = Sameness([], *(_texts(value) for dummy, value in values)), values
        return self._same[ids][0]

    def _reading(self, kind: str, values: Values, host: str, variables: t.Mapping[str, t.Any]) -> Values:
        """Return values with templates evaluated; once for all hosts that share all that these name."""
        same = self._sameness(values).key(host, _for_all(variables))
        key = (kind, tuple((name, id(value)) for name, value in values), same)
        if key not in self._readings:
            self._readings[key] = _evaluated(template_engine(self._loader, dict(variables)), values)
        return list(self._readings[key])

    def _sort(self, found: Sources, name: str, inside: list[t.Any], outside: list[t.Any]) -> None:
        role = _role(name)
        if role == "doubtful":
            found.doubtful.append(name)
        elif role == "wrong":
            found.wrong.append(f"{name}: is neither {WINDOWS} nor patch_freezes nor patch_freezes_NAME")
        elif role == "freezes":
            found.freezes.extend((name, value) for value in _unlike([*inside, *outside]))
        elif outside:
            where = "extra variables" if name in self._extra() else "a play, facts or included variables"
            found.wrong.append(
                f"{name}: is set by {where}, which cannot change the inventory's windows; use an override"
            )
        else:
            found.windows.append((name, inside[-1]))

    def _extra(self) -> t.Mapping[str, t.Any]:
        found: t.Mapping[str, t.Any] = self._usual.extra_vars
        return found

    def _layers(self, host: t.Any) -> dict[str, list[t.Any]]:
        """Return each variable of ours with all its values, the most specific last, wherever they come from."""
        found: dict[str, list[t.Any]] = {}
        everybody = self._inventory.groups["all"]
        groups = sort_groups([group for group in host.get_groups() if group.name != "all"])
        parts = [
            (everybody, _kinds("all_")),
            *((group, _kinds("groups_")) for group in groups),
            (host, _kinds("host_")),
        ]
        for entity, kinds in parts:
            for kind in kinds:
                for values in self._values(kind, entity):
                    for name, value in values.items():
                        found.setdefault(name, []).append(value)
        return found

    def _values(self, kind: str, entity: t.Any) -> list[dict[str, t.Any]]:
        """Return what a group or a host sets itself, in each place of a kind."""
        key = (kind, entity)
        if key not in self._of_entity:
            if kind == "inventory":
                found = [*self._each_source.get((type(entity), entity.name), ()), entity.get_vars()]
            else:
                ours = kind == "beside_inventory"
                stages = ("inventory", "task") if ours else ("task",)
                folders = self._beside_inventory() if ours else self._folders
                found = [
                    values for folder in folders for stage in stages for values in self._beside(folder, entity, stage)
                ]
            self._of_entity[key] = [ours for ours in map(_ours, found) if ours]
        return self._of_entity[key]

    @functools.cached_property
    def _each_source(self) -> dict[tuple[type, str], list[t.Mapping[str, t.Any]]]:
        """Return what each source itself sets for groups and hosts, where Ansible may have kept only one of several.

        That is with several sources, and with files that it reads into the inventory. Only files are read again: what
        a plugin or a program gives may have changed, and takes long.
        """
        files = [file for source in self._inventory._sources if source for file in _files(source) if _sets_ours(file)]
        found: dict[tuple[type, str], list[t.Mapping[str, t.Any]]] = {}
        for file in files if len(files) > 1 or _files_come_first() else ():
            alone = InventoryManager(loader=self._loader, sources=[], parse=False)
            with contextlib.suppress(AnsibleError):  # which was told when the inventory was read
                alone.parse_source(file)
            for entity in (*alone.groups.values(), *alone.hosts.values()):
                found.setdefault((type(entity), entity.name), []).append(entity.get_vars())
        return found

    def _beside_inventory(self) -> list[str]:
        sources = [source for source in self._inventory._sources if source and os.path.exists(source)]
        return [source if os.path.isdir(source) else os.path.dirname(source) for source in sources]

    def _beside(self, folder: str, entity: t.Any, stage: str) -> list[t.Mapping[str, t.Any]]:
        """Return what is set beside an inventory or a play: by each of several files, then as Ansible merges them."""
        merged = get_vars_from_path(self._loader, folder, [entity], stage)
        if not _ours(merged):
            return []
        kind = "host_vars" if isinstance(entity, Host) else "group_vars"
        files = self._loader.find_vars_files(os.path.join(os.path.realpath(folder), kind), entity.name)
        several = [self._load(file) for file in files] if len(files) > 1 else []
        return [*(values for values in several if isinstance(values, Mapping)), merged]

    def _load(self, file: str) -> t.Any:
        known = inspect.signature(self._loader.load_from_file).parameters
        return self._loader.load_from_file(
            file, cache="all", unsafe=True, **({_TRUST: True} if _TRUST in known else {})
        )


#: Ansible's names for where variables of groups come from, in its own order.
_PRECEDENCE = {
    "all_inventory": "inventory",
    "groups_inventory": "inventory",
    "all_plugins_inventory": "beside_inventory",
    "all_plugins_play": "beside_play",
    "groups_plugins_inventory": "beside_inventory",
    "groups_plugins_play": "beside_play",
}


def _kinds(prefix: str) -> list[str]:
    """Return the kinds of places of variables, the one that counts last, for C(all_), C(groups_) or C(host_)."""
    if prefix == "host_":
        return ["inventory", "beside_inventory", "beside_play"]
    # What a setting leaves out counts too, before all others, or it would take calendars away.
    listed = [entry for entry in constants.VARIABLE_PRECEDENCE if entry in _PRECEDENCE]
    order = [entry for entry in _PRECEDENCE if entry not in listed] + listed
    return [_PRECEDENCE[entry] for entry in order if entry.startswith(prefix)]


def _files(source: str) -> t.Iterator[str]:
    """Yield the files of an inventory source."""
    if not os.path.isdir(source):
        yield source
        return
    for name in sorted(os.listdir(source)):
        if not IGNORED.search(os.fsencode(name)):
            yield from _files(os.path.join(source, name))


def _sets_ours(file: str) -> bool:
    """Say whether a source is a file that may set windows or freezes, and neither a program nor a plugin's settings."""
    try:
        if not os.path.isfile(file) or os.access(file, os.X_OK):
            return False
        with open(file, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    except OSError:
        return False
    return bool(_NAMED.search(text)) and not _PLUGIN.search(text)


def _files_come_first() -> bool:
    """Say whether Ansible reads files of variables into the inventory when it starts, so that both are one."""
    plugin = vars_loader.get("host_group_vars")
    return constants.RUN_VARS_PLUGINS == "start" or plugin.get_option("stage") in ("all", "inventory")


class _NoFacts(dict[str, t.Any]):
    """Stands for a cache of facts that has none of any host."""

    def get(self, host: str, default: t.Any = None) -> t.Any:
        """Return no facts, as newer caches raise an error for an unknown host and older ones take a default."""
        return {}


def _manager(hostvars: t.Any, **other: t.Any) -> t.Any:
    """Return a variable manager that knows less than the usual one, with C(hostvars) of its own."""
    manager = object.__new__(type(hostvars._variable_manager))
    vars(manager).update(vars(hostvars._variable_manager), **other)
    type(hostvars)(hostvars._inventory, manager, hostvars._loader)  # which puts itself into the manager
    return manager


def _for_all(variables: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return variables by which hosts may be alike: C(hostvars) says the same to all."""
    return {**variables, "hostvars": None}


def _others(contexts: list[t.Mapping[str, t.Any]], inside: dict[str, list[t.Any]]) -> dict[str, list[t.Any]]:
    """Return what is set in place of the inventory's own."""
    found: dict[str, list[t.Any]] = {}
    for variables in contexts:
        for name, value in _ours(variables).items():
            if not _is_one_of(value, inside.get(name, [])):
                found.setdefault(name, []).append(value)
    return found


def _texts(value: t.Any) -> list[t.Any]:
    """Return all that may be a template in a value."""
    if isinstance(value, Mapping):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, (list, tuple)):
        return [text for part in value for text in _texts(part)]
    return [] if value is None or isinstance(value, (bool, int, float, datetime.date)) else [value]


def _has_template(value: t.Any) -> bool:
    """Say whether a value may be made of others; of what is locked in a vault nobody knows."""
    return any(not isinstance(text, str) or "{{" in text or "{%" in text for text in _texts(value))


def _ours(values: t.Mapping[t.Any, t.Any]) -> dict[str, t.Any]:
    return {name: value for name, value in values.items() if _is_text(name) and _role(name)}


def _is_text(name: t.Any) -> bool:
    return isinstance(name, str)


@functools.cache
def _role(name: str) -> str:
    """Say what a variable of this name is: C(windows), C(freezes), C(wrong), C(doubtful), or nothing of ours."""
    if name == WINDOWS:
        return "windows"
    if FREEZES.fullmatch(name):
        return "freezes"
    if _LIKE.fullmatch(name):
        return "wrong"
    close = difflib.get_close_matches(name.lower(), (WINDOWS, "patch_freezes"), n=1, cutoff=_ALIKE)
    return "doubtful" if close or _PERHAPS.fullmatch(name) else ""


def _same(one: t.Any, other: t.Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # a vault that stays locked, say
        return False


def _is_one_of(value: t.Any, others: list[t.Any]) -> bool:
    return any(_same(value, other) for other in others)


def _unlike(values: list[t.Any]) -> list[t.Any]:
    found: list[t.Any] = []
    for value in values:
        if not _is_one_of(value, found):
            found.append(value)
    return found


@dataclasses.dataclass(frozen=True)
class _Unreadable:
    """Stands for a value that cannot be evaluated."""

    why: str


def _evaluated(templar: t.Any, values: Values) -> Values:
    found: Values = []
    for name, value in values:
        try:
            found.append((name, plain(_template(templar, value))))
        except Exception as error:  # Ansible's own, a filter's, a vault's
            found.append((name, _Unreadable(" ".join(str(error).split())[:300])))
    return found


def _template(templar: t.Any, value: t.Any) -> t.Any:
    """Evaluate a value; before ansible-core 2.19 a template that gives a list with dates in it gives a text."""
    found = templar.template(value)
    if isinstance(value, str) and isinstance(found, str) and hasattr(templar, "copy_with_new_env"):
        from ansible.template import AnsibleNativeEnvironment

        native = templar.copy_with_new_env(environment_class=AnsibleNativeEnvironment).template(value)
        return native if isinstance(native, (list, Mapping)) else found
    return found


def unreadable(value: t.Any) -> str:
    """Return why a value could not be evaluated; empty when it could."""
    return value.why if isinstance(value, _Unreadable) else ""


def plain(value: t.Any) -> t.Any:
    """Return a value without what Ansible puts around values: tags, vaulted text, lists that evaluate themselves."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return datetime.datetime.combine(value.date(), value.time(), value.tzinfo).replace(fold=value.fold)
    if isinstance(value, datetime.date):
        return datetime.date(value.year, value.month, value.day)
    if isinstance(value, str) or hasattr(value, "__ENCRYPTED__"):
        return "".join(str(value))
    return next((kind(value) for kind in (int, float) if isinstance(value, kind)), value)
