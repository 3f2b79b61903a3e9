# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Check a user's file against an Ansible argument spec before anything is started.

Ansible checks a module's arguments when the module runs, on the node. A file that the driver reads is checked with the
same spec here, on the controller, and every problem names the key in the file.
"""

from __future__ import annotations

import difflib
import typing as t

Spec = t.Mapping[str, t.Mapping[str, t.Any]]

_TYPES = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
}  # type: t.Dict[str, t.Tuple[type, ...]]


def problems(spec: Spec, data: t.Any, where: str = "") -> t.List[str]:
    """List what is wrong with data.

    Args:
        spec: an argument spec; C(type), C(required), C(choices), C(elements) and C(options) are used.
        data: what the file holds; must be a dict.
        where: the path of data in its file, such as C(software.just), for the messages.

    Returns:
        One line a problem, each naming the key; empty when data fits.
    """
    if not isinstance(data, dict):
        return ["{0}: must be a mapping, not {1}".format(where or "the file", kind(data))]
    found = []  # type: t.List[str]
    for key in data:
        if key not in spec:
            found.append(_unknown(spec, key, where))
    for key, option in spec.items():
        path = "{0}.{1}".format(where, key) if where else key
        if data.get(key) is None:
            if option.get("required"):
                found.append("{0}: is required and missing".format(path))
        else:
            found.extend(_value_problems(option, data[key], path))
    return found


def kind(value: t.Any) -> str:
    """Name the type of a value as YAML does; Ansible names types of its own, which mean nothing to users."""
    kinds = ((type(None), "empty"), (bool, "a truth"), (str, "text"), (list, "a list"), (dict, "a mapping"))
    return next((name for one, name in kinds if isinstance(value, one)), "a number or a date")


def _unknown(spec: Spec, key: t.Any, where: str) -> str:
    path = "{0}.{1}".format(where, key) if where else str(key)
    close = difflib.get_close_matches(str(key), spec, n=1)
    hint = "did you mean '{0}'?".format(close[0]) if close else "known keys: {0}".format(", ".join(sorted(spec)))
    return "{0}: unknown key; {1}".format(path, hint)


def _value_problems(option: t.Mapping[str, t.Any], value: t.Any, path: str) -> t.List[str]:
    wanted = option.get("type", "str")
    if not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted in ("int", "float")):
        # YAML takes 1.10 for the number 1.1.
        hint = "; put it in quotes" if wanted == "str" and isinstance(value, (int, float)) else ""
        return ["{0}: must be {1}, not {2!r}{3}".format(path, wanted, value, hint)]
    if option.get("choices") and value not in option["choices"]:
        return ["{0}: must be one of {1}, not {2!r}".format(path, ", ".join(map(str, option["choices"])), value)]
    if wanted == "dict" and option.get("options"):
        return problems(option["options"], value, path)
    if wanted == "list":
        found = []  # type: t.List[str]
        for index, element in enumerate(t.cast("t.List[t.Any]", value)):
            inner = {"type": option.get("elements", "raw"), "options": option.get("options")}
            found.extend(_value_problems(inner, element, "{0}[{1}]".format(path, index)))
        return found
    return []
