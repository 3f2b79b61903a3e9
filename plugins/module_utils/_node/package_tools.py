# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The package database of this node: Debian's dpkg or RPM."""

from __future__ import annotations

import os

from .commands import Commands, found
from .errors import PatchError
from .package_dpkg import Dpkg
from .package_rpm import Rpm
from .package_tool import PackageTool


def tool_for(form: str, commands: Commands, timeout: float) -> PackageTool:
    """Return the tool of a form of package on this node.

    Args:
        form: C(deb), C(rpm), or C(auto) for what this node uses for itself.
        commands: how to run its programs.
        timeout: seconds for one change.

    Raises:
        PatchError: C(unsupported_node), this node has no such database.
    """
    if form == "auto":
        form = "deb" if os.path.exists("/var/lib/dpkg/status") else "rpm"
    tool, program = (Dpkg, "dpkg") if form == "deb" else (Rpm, "rpm")
    if not found(program):
        raise PatchError("unsupported_node", "{0} is not on this node, so it takes no .{1}".format(program, form))
    return tool(commands, timeout)
