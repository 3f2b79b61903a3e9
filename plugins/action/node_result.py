# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.patchwave.aws.plugins.plugin_utils._facts import harmless
from ansible_collections.patchwave.aws.plugins.plugin_utils._routing import routing


class ActionModule(ActionBase):
    """Make a node's result from run_module this task's result; see the documentation of the module of this name."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the host's own result, with C(failed), C(changed) and C(unreachable) as the node ended."""
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        dummy, options = self.validate_argument_spec({"result": {"type": "dict", "required": True}})
        known = routing(variables)(variables["inventory_hostname"])
        return {"changed": False, **harmless(options["result"], known)}
