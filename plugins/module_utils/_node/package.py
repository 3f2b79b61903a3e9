# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The package kind of patch: a pinned version from a repository, downloaded as one file and then treated as such."""

from __future__ import annotations

import os
import typing as t

from .commands import found
from .disk import Disk
from .errors import PatchError
from .package_file import PackageFile
from .package_tool import PackageTool
from .repository import Repository


class Package(PackageFile):
    """Install a version of a package from a repository: the definition's own, with its key, or one of the node's.

    Only the package itself is changed: a version that needs others changed too is refused before the node is touched.
    The repository is used for this download alone; the node's list of repositories stays as it is.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        tool: the package database.
    """

    kind = "package"

    def __init__(self, name: str, definition: t.Mapping[str, t.Any], disk: Disk, tool: PackageTool) -> None:
        super().__init__(name, definition, disk, tool)
        self._repository = Repository(tool, disk, self._options)

    def check_source(self) -> None:
        """See PackageFile."""
        if not found(self._repository.manager):
            raise PatchError("unsupported_node", "{0} is not on this node".format(self._repository.manager))

    def fetch_to(self, path: str) -> None:
        """See PackageFile."""
        folder = os.path.join(os.path.dirname(path), "download")
        files = self._repository.download(self._package, self._options["version"], folder)
        if len(files) > 1:
            message = "{0} {1} needs {2} packages changed, and only itself can be put back; install those before"
            raise PatchError("install_failed", message.format(self._package, self._options["version"], len(files)))
        self._disk.sync_file(files[0])
        self._disk.rename(files[0], path)
        self._disk.remove_tree(folder)
