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

import datetime
import difflib
import functools
import inspect
import os
import re
import typing as t
from collections.abc import Mapping

from ansible import constants
from ansible.inventory.helpers import sort_groups
from ansible.inventory.host import Host
from ansible.vars.plugins import get_vars_from_path

from ._hosts import template_engine

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

#: What Ansible's loader is told of files since ansible-core 2.19.
_TRUST = "trusted_as_template"

Values = list[tuple[str, t.Any]]


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

    def __init__(self, hostvars: t.Any, own: str, task_vars: t.Mapping[str, t.Any], folders: list[str]) -> None:
        """Take Ansible's C(hostvars), the action's own host with its variables in the task, and the play's folders."""
        self._hostvars, self._loader = hostvars, hostvars._loader
        self._inventory, self._folders = hostvars._inventory, folders
        self._of_entity: dict[tuple[str, t.Any], list[dict[str, t.Any]]] = {}
        self._of_play: dict[str, t.Any] = {}
        known = self._hostvars.raw_get(own)
        mine = self._layers(self._inventory.get_host(own))
        for name in filter(_is_text, task_vars):
            value = task_vars[name]
            if _role(name) and not _is_one_of(value, [*mine.get(name, []), *([known[name]] if name in known else [])]):
                self._of_play[name] = value

    def read(self, host: str) -> Sources:
        """Return what is set for a host."""
        known: dict[str, t.Any] = self._hostvars.raw_get(host)
        layers = self._layers(self._inventory.get_host(host))
        elsewhere = {name: known[name] for name in filter(_is_text, known) if _role(name)}
        elsewhere = {
            name: value for name, value in elsewhere.items() if not _is_one_of(value, layers.get(name, [])[-1:])
        }
        found = Sources([], [], [], [])
        for name in sorted({*layers, *elsewhere, *self._of_play}):
            inside = layers.get(name, [])
            outside = [values[name] for values in (elsewhere, self._of_play) if name in values]
            self._sort(found, name, inside, outside)
        templar = template_engine(self._loader, known)
        return found._replace(windows=_evaluated(templar, found.windows), freezes=_evaluated(templar, found.freezes))

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
        found: t.Mapping[str, t.Any] = self._hostvars._variable_manager.extra_vars
        return found

    def _layers(self, host: t.Any) -> dict[str, list[t.Any]]:
        """Return each variable of ours with all its values, the one that counts for Ansible last."""
        found: dict[str, list[t.Any]] = {}
        everybody = [self._inventory.groups["all"]]
        groups = sort_groups([group for group in host.get_groups() if group.name != "all"])
        # What a setting leaves out counts too, before all others, or it would take calendars away.
        listed = [entry for entry in constants.VARIABLE_PRECEDENCE if entry in _PRECEDENCE]
        order = [entry for entry in _PRECEDENCE if entry not in listed] + listed
        parts = [(everybody if entry.startswith("all_") else groups, _PRECEDENCE[entry]) for entry in order]
        parts += [([host], kind) for kind in ("inventory", "beside_inventory", "beside_play")]
        for entities, kind in parts:
            for entity in entities:
                for values in self._values(kind, entity):
                    for name, value in values.items():
                        found.setdefault(name, []).append(value)
        return found

    def _values(self, kind: str, entity: t.Any) -> list[dict[str, t.Any]]:
        """Return what a group or a host sets itself, in each place of a kind."""
        key = (kind, entity)
        if key not in self._of_entity:
            if kind == "inventory":
                found = [entity.get_vars()]
            else:
                folders = self._beside_inventory() if kind == "beside_inventory" else self._folders
                found = [values for folder in folders for values in self._beside(folder, entity)]
            self._of_entity[key] = [ours for ours in map(_ours, found) if ours]
        return self._of_entity[key]

    def _beside_inventory(self) -> list[str]:
        sources = [source for source in self._inventory._sources if source and os.path.exists(source)]
        return [source if os.path.isdir(source) else os.path.dirname(source) for source in sources]

    def _beside(self, folder: str, entity: t.Any) -> list[t.Mapping[str, t.Any]]:
        """Return what is set beside an inventory or a play: by each of several files, then as Ansible merges them."""
        merged = get_vars_from_path(self._loader, folder, [entity], "task")
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


class _Unreadable:
    """Stands for a value that cannot be evaluated."""

    def __init__(self, error: Exception) -> None:
        self.why = " ".join(str(error).split())[:300]


def _evaluated(templar: t.Any, values: Values) -> Values:
    found: Values = []
    for name, value in values:
        try:
            found.append((name, plain(templar.template(value))))
        except Exception as error:  # Ansible's own, a filter's, a vault's
            found.append((name, _Unreadable(error)))
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
