# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""What this node is: its processor and its Linux distribution."""

from __future__ import annotations

import os
import platform
import shlex
import typing as t

_FILES = ("/etc/os-release", "/usr/lib/os-release")
_SAME = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


class Platform(t.NamedTuple):
    """The processor, such as C(x86_64), and the names of the distribution and of those it derives from."""

    architecture: str
    names: t.FrozenSet[str]

    def fits(self, architecture: t.Optional[str], name: t.Optional[str]) -> bool:
        """Tell whether a variant for this processor and this distribution is for this node."""
        return (not architecture or _SAME.get(architecture, architecture) == self.architecture) and (
            not name or name in self.names
        )


def this_node() -> Platform:
    """Return what this node is, from the kernel and C(/etc/os-release)."""
    machine = platform.machine()
    names = {"linux"}
    path = next((path for path in _FILES if os.path.exists(path)), None)
    if path is not None:
        with open(path, encoding="utf-8", errors="replace") as stream:
            fields = dict(line.rstrip("\n").partition("=")[::2] for line in stream if "=" in line)
        for key in ("ID", "ID_LIKE"):
            names.update(word for text in shlex.split(fields.get(key, "")) for word in text.split())
        if "VERSION_ID" in fields and "ID" in fields:
            names.add("".join(shlex.split(fields["ID"] + "-" + fields["VERSION_ID"])))
    return Platform(_SAME.get(machine, machine), frozenset(names))
