# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The binary kind of patch: a program that is one file, replaced where it is."""

from __future__ import annotations

import os
import typing as t

from .disk import Disk
from .download import Download
from .errors import PatchError
from .folders import resolve
from .in_place import InPlace


class Binary(InPlace):
    """Replace one file by one rename, as InPlace does those of an archive; the old one is gone after the commit.

    Where C(dest) is a link, the file is replaced that it leads to.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        download: the file.
    """

    kind = "binary"

    def __init__(self, name: str, definition: t.Mapping[str, t.Any], disk: Disk, download: Download) -> None:
        path = os.path.normpath(definition["dest"] or "/")
        real = os.path.realpath(path)
        super().__init__(
            name, dict(definition, archive=definition["binary"], dest=os.path.dirname(real)), disk, download
        )
        self._path = path
        self._file = os.path.basename(real)

    def check(self) -> None:
        """See Kind."""
        if os.path.isdir(self._path):
            raise PatchError("dest_conflict", "{0} is a folder; dest must be the path of the file".format(self._path))
        resolve(self._path)
        super().check()

    def _unpack(self, packed: str, tree: str) -> None:
        self._disk.make_dir(tree, 0o700)
        with open(packed, "rb") as stream:
            os.fchmod(stream.fileno(), 0o755)
            os.fsync(stream.fileno())
        self._disk.rename(packed, os.path.join(tree, self._file))
