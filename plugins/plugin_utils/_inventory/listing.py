# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Plain values in what C(ansible-inventory) lists, such as for a job server that compares them.

That program writes each text that must not be templated as C({"__ansible_unsafe": TEXT}), and whoever reads the listing
as an inventory takes any other text for a template. So plain is what can be no template, and no part of one.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible import context

from .errors import OptionError

try:
    from ansible.template import trust_as_template as _plain_text  # since ansible-core 2.19
except ImportError:

    def _plain_text(text: str) -> str:
        """Return a text as it is; ansible-core 2.18 has its mark in the type."""
        return text


def is_listing() -> bool:
    """Say whether this is C(ansible-inventory), which shows values and evaluates none."""
    return {"list", "graph", "export"} <= set(context.CLIARGS or ())


def is_export() -> bool:
    """Say whether it is C(ansible-inventory --export), as of AWX, which keeps one of several values of a group."""
    return is_listing() and bool(context.CLIARGS.get("export"))


def check_export(inventory: t.Any, folder: str) -> None:
    """Refuse two values of one window or freeze variable of a group or a host, of which an export loses one.

    Raises:
        OptionError: both places, and what to do.
    """
    for kind, known in (("group_vars", inventory.groups), ("host_vars", inventory.hosts)):
        places: dict[tuple[str, str], str] = {}
        for name, entity in known.items():
            places.update(
                {(name, variable): "the inventory" for variable in entity.vars if _OURS.fullmatch(str(variable))}
            )
        for name, file in _files(os.path.join(folder, kind)):
            for variable in _variables(file):
                first = places.setdefault((name, variable), file)
                if first != file:
                    raise OptionError(
                        f"{file}: {variable} is also in {first}, and an export, as of AWX, keeps one of them; "
                        "remove one, or give each freeze variable a name of its own, patch_freezes_NAME"
                    )


#: Names of variables with windows or freezes, and where a file sets one.
_OURS = re.compile(r"patch_windows|patch_freezes\w*")
_SET = re.compile(r"""^[ {]*["']?(patch_windows|patch_freezes\w*)["']?\s*:""", re.MULTILINE)


def _files(folder: str) -> t.Iterator[tuple[str, str]]:
    """Yield the files of variables in a folder, each with the group or host whose they are."""
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            yield os.path.splitext(name)[0], path
        for parent, folders, files in os.walk(path):
            folders.sort()
            yield from ((name, os.path.join(parent, file)) for file in sorted(files))


def _variables(file: str) -> set[str]:
    if os.path.splitext(file)[1] not in ("", ".yml", ".yaml", ".json"):
        return set()
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return set(_SET.findall(stream.read()))
    except OSError:
        return set()


def plain(value: t.Any) -> t.Any:
    """Return a value of which each text that no template can come of is written as it is."""
    if isinstance(value, str):
        # Without what else Ansible knows of it, such as that it was vaulted.
        return _plain_text(str.__str__(value)) if _is_harmless(value) else value
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def _is_harmless(text: str) -> bool:
    """Say whether text begins no template, and goes on with none behind a brace that a user's own text has."""
    return "{" not in text and not text.startswith(("%", "#"))
