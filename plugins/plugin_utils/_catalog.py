# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Programs of a catalog as arguments of software_patch."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.parsing.utils.yaml import from_yaml
from ansible_collections.patchwave.aws.plugins.module_utils._core import moments


def arguments(catalog: t.Any, name: t.Any, latest_start: t.Any = "") -> dict[str, t.Any]:
    """Return the arguments with which software_patch patches these programs.

    Args:
        catalog: the options of each program by its name; a text is read as YAML, which JSON is a part of.
        name: a program, a list of several, or a text with commas or in YAML's brackets.
        latest_start: when work may no longer start, or several such times; empty for no limit. Of these and of the
            C(latest_start) of a program the earliest counts for it.

    Raises:
        ValueError: one of them does not fit; one line that names the role's variable.
    """
    programs = _mapping("patch_software_catalog", catalog)
    names = _names(name)
    unknown = [one for one in names if one not in programs]
    if unknown:
        known = ", ".join(sorted(map(str, programs))) or "none"
        what = "', '".join(unknown)
        raise ValueError(f"patch_software_name: '{what}' is not in patch_software_catalog; known programs: {known}")
    limits = latest_start if isinstance(latest_start, list) else [latest_start]
    definitions = [_definition(one, programs[one], limits) for one in names]
    return definitions[0] if len(definitions) == 1 else {"definitions": definitions}


def _definition(name: str, options: t.Any, limits: list[t.Any]) -> dict[str, t.Any]:
    where = f"patch_software_catalog.{name}"
    definition = {"name": name, "fixed_in": "", **_mapping(where, options)}
    own = (f"{where}.latest_start", definition.pop("latest_start", None))
    latest = earliest([own, *(("latest_start", limit) for limit in limits)])
    return {**definition, "latest_start": latest} if latest else definition


def earliest(limits: t.Iterable[tuple[str, t.Any]]) -> str:
    """Return the earliest of some times, each with the name of what gave it; one that is empty is no limit.

    Raises:
        ValueError: one of them is no time with its zone.
    """
    given = [(where, limit) for where, limit in limits if limit is not None and limit != ""]
    for where, limit in given:
        if not moments.is_moment(limit):
            raise ValueError(f"{where}: must be a time with its zone, such as 2026-11-22T04:00:00Z, not {limit!r}")
    return moments.earliest(str(limit) for dummy, limit in given)


def _mapping(where: str, value: t.Any) -> dict[str, t.Any]:
    found = _read(where, value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError(f"{where}: must be a mapping, not {_kind(found)}")
    return dict(found)


def _kind(value: t.Any) -> str:
    """Name the type of a value as YAML does; Ansible's own types have names of their own."""
    kinds = ((type(None), "empty"), (bool, "a truth"), (str, "text"), (list, "a list"), ((int, float), "a number"))
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)


def _names(value: t.Any) -> list[str]:
    found = value
    if isinstance(value, str):
        found = _read("patch_software_name", value) if value.lstrip().startswith("[") else value.split(",")
    if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() for one in found) or not found:
        raise ValueError(f"patch_software_name: must be a program of the catalog or a list of several, not {value!r}")
    names = [one.strip() for one in found]
    twice = [one for one in names if names.count(one) > 1]
    if twice:
        raise ValueError(f"patch_software_name: names '{twice[0]}' twice")
    return names


def _read(where: str, text: str) -> t.Any:
    try:
        return from_yaml(text)
    except AnsibleError:
        raise ValueError(f"{where}: is a text that is neither JSON nor YAML") from None
