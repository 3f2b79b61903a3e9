# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Which versions of a program this module has put into its folder, and what each archive brought."""

from __future__ import annotations

import json
import os
import typing as t

from .brought import Brought
from .disk import Disk

#: How many old folders are remembered that are no version to remove.
_MAX_ROOTS = 10


class History:
    """The file C(state_dir/<name>.versions.json); a damaged one, or one of another dest, is as none.

    Args:
        path: where it is.
        dest: the program's folder.
        disk: how to write.
    """

    def __init__(self, path: str, dest: str, disk: Disk) -> None:
        self._path = path
        self._dest = dest
        self._disk = disk
        data = self._load()
        brought, modes = data.get("brought"), data.get("modes")
        #: Names of version folders, the one used last at the end.
        self.versions = [name for name in _strings(data.get("versions")) if is_name(name)]
        #: Folders of old versions that stay, since no archive brought them.
        self.roots = [path for path in _strings(data.get("roots")) if path.startswith("/")]
        self._brought = brought if isinstance(brought, dict) else {}  # type: t.Dict[str, t.Any]
        self._modes = modes if isinstance(modes, dict) else {}  # type: t.Dict[str, t.Any]

    def _load(self) -> t.Dict[str, t.Any]:
        try:
            with open(self._path, encoding="utf-8") as stream:
                data = json.load(stream)
        except (FileNotFoundError, ValueError):
            return {}
        return data if isinstance(data, dict) and data.get("dest") == self._dest else {}

    def brought(self, version: str) -> t.Optional[Brought]:
        """Return what the archive of a version brought; None of one that was made by hand or by an older release."""
        found = self._brought.get(version)
        return found if isinstance(found, dict) else None

    def modes(self, version: str) -> t.Dict[str, int]:
        """Return the modes that files of a version had before it was closed."""
        found = self._modes.get(version)
        return found if isinstance(found, dict) else {}

    def write(
        self,
        versions: t.Sequence[str],
        roots: t.Sequence[str],
        brought: t.Mapping[str, t.Any],
        modes: t.Mapping[str, t.Any],
    ) -> None:
        """Replace it; of versions that are not listed nothing is kept. The last one runs, and is not closed."""
        data = {
            "dest": self._dest,
            "versions": list(versions),
            "roots": [path for path in roots if os.path.isdir(path)][-_MAX_ROOTS:],
            "brought": _of(versions, self._brought, brought),
            "modes": _of(versions[:-1], self._modes, modes),
        }
        self._disk.write_json(self._path, data)


def _of(versions: t.Sequence[str], *maps: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {version: one[version] for one in maps for version in versions if one.get(version) is not None}


def _strings(value: t.Any) -> t.List[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def is_name(name: str) -> bool:
    """Tell whether this is the name of a folder in another."""
    return os.path.basename(name) == name and name not in ("", ".", "..")
