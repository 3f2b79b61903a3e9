# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""For which hosts a task is evaluated to the same: those whose variables do not differ in what its templates name.

To evaluate a task takes Ansible milliseconds, and most hosts of a batch share all that a task names. Only templates of
which all is known are taken for granted: variables, and filters and tests that depend on nothing else. With any other
(statements, lookups, functions, filters of others), a task is evaluated for each host.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import typing as t

#: Filters and tests that depend on what they are given alone.
_PURE = frozenset(
    [
        "abs",
        "b64decode",
        "b64encode",
        "bool",
        "capitalize",
        "combine",
        "count",
        "d",
        "default",
        "dict2items",
        "difference",
        "escape",
        "first",
        "flatten",
        "float",
        "from_json",
        "int",
        "intersect",
        "items2dict",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "mandatory",
        "max",
        "min",
        "quote",
        "regex_replace",
        "regex_search",
        "replace",
        "reverse",
        "round",
        "sort",
        "string",
        "sum",
        "title",
        "to_json",
        "to_yaml",
        "trim",
        "union",
        "unique",
        "upper",
        "zip",
        "patchwave.aws.earliest",
        "patchwave.aws.software_args",
        "defined",
        "undefined",
        "none",
        "number",
        "string",
        "mapping",
        "sequence",
        "iterable",
        "true",
        "false",
        "truthy",
        "falsy",
        "equalto",
        "eq",
        "ne",
        "gt",
        "ge",
        "lt",
        "le",
        "sameas",
        "version",
        "match",
        "search",
        "subset",
        "superset",
        "contains",
        "in",
        "odd",
        "even",
        "divisibleby",
    ]
)
_WORDS = frozenset(["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"])
#: Whether there is a variable of a name, whatever it holds; C(is defined) says no of one whose own template fails.
_THERE = re.compile(r"query\('ansible\.builtin\.varnames', '\^(\w+)\$'\)")
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_APPLIED = re.compile(r"(?:\||\bis\s+not\b|\bis\b)\s*([A-Za-z_][\w.]*)")
_CALLED = re.compile(r"(?<![.\w])([A-Za-z_]\w*)\s*\(")
_NAME = re.compile(r"(?<![.\w])[A-Za-z_]\w*")
#: What says something else at each moment or in each process.
_VARYING = re.compile(
    r"\bnow\s*\(|\|\s*(?:random|shuffle|random_mac)\b|(?:lookup|query|q)\s*\(\s*['\"](?:[\w.]*\.)?(?:pipe|random_\w+|password)"
)


class Sameness:
    """Makes keys that two hosts share only where some values are evaluated to the same for both."""

    def __init__(self, conditions: t.Any, *values: t.Any) -> None:
        """Take conditions, each text of which is an expression, and values with templates in their texts."""
        self._kept: list[t.Any] = []  # what is known by its id must live on, or another object gets that id
        self._inner: dict[int, frozenset[str] | None] = {}
        self._marks: dict[int, str] = {}
        self._names = _union([_names(conditions, whole=True), *map(_names, values)])

    def key(self, host: str, variables: t.Mapping[str, t.Any]) -> t.Any:
        """Return the key of a host with these variables."""
        seen = self._seen(variables)
        return host if seen is None else tuple(sorted(seen.items()))

    def names(self, variables: t.Mapping[str, t.Any]) -> frozenset[str] | None:
        """Return which of these variables the values name, themselves or by others; None where nobody knows."""
        seen = self._seen(variables)
        return None if seen is None else frozenset(seen)

    def _seen(self, variables: t.Mapping[str, t.Any]) -> dict[str, str] | None:
        names = self._names
        waiting, seen = set(names or ()), dict[str, str]()
        while waiting and names is not None:
            name = waiting.pop()
            if name in seen or name not in variables or name == "omit":
                continue
            seen[name] = self._mark(variables[name])
            inner = self._names_in(variables[name])
            if inner is None:
                return None
            waiting |= inner
        return None if names is None else seen

    def _mark(self, value: t.Any) -> str:
        if isinstance(value, (str, int, float, type(None))):
            return f"{type(value).__name__} {value}"
        if id(value) not in self._marks:
            self._kept.append(value)
            try:
                self._marks[id(value)] = json.dumps(value, sort_keys=True)
            except (TypeError, ValueError):
                self._marks[id(value)] = f"id {id(value)}"
        return self._marks[id(value)]

    def _names_in(self, value: t.Any) -> frozenset[str] | None:
        if isinstance(value, str):
            return _names(value)
        if id(value) not in self._inner:
            self._kept.append(value)
            self._inner[id(value)] = _names(value)
        return self._inner[id(value)]


def varying(conditions: t.Any, variables: t.Mapping[str, t.Any]) -> str:
    """Return what in conditions says something else at each moment, such as C(now(); empty where nothing does."""
    waiting, seen = [conditions], set[str]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, str):
            found = _VARYING.search(value)
            if found:
                return found[0]
            names = set(_NAME.findall(value)) - seen
            seen |= names
            waiting.extend(variables[name] for name in names if "{{" in str(variables.get(name, "")))
    return ""


def _names(value: t.Any, whole: bool = False) -> frozenset[str] | None:
    """Return the variables that the templates in a value name; None where there is more in them than is known."""
    if isinstance(value, str):
        return _names_in_text(value, whole)
    if isinstance(value, dict):
        return _union([_names(part, whole) for part in (*value, *value.values())])
    if isinstance(value, (list, tuple)):
        return _union([_names(part, whole) for part in value])
    return frozenset() if value is None or isinstance(value, (bool, int, float, datetime.date)) else None


@functools.lru_cache(maxsize=4096)  # a thousand hosts have the same few templates
def _names_in_text(text: str, whole: bool) -> frozenset[str] | None:
    if "{%" in text:
        return None
    expressions = [text] if whole else _EXPRESSION.findall(text)
    found: set[str] = set()
    for expression in expressions:
        bare = _TEXT.sub("''", _THERE.sub(r"(\1)", expression))
        applied, rest = _APPLIED.findall(bare), _APPLIED.sub(" | ", bare)
        if not _WORDS.issuperset(_CALLED.findall(rest)) or not _PURE.issuperset(applied):
            return None
        found.update(_NAME.findall(rest))
    return frozenset(found - _WORDS)


def _union(parts: t.Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    found: set[str] = set()
    for part in parts:
        if part is None:
            return None
        found |= part
    return frozenset(found)
