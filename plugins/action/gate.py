# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.patchwave.aws.plugins.plugin_utils import _gate

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "minutes_left": {"type": "int", "default": 0},
    "override": {
        "type": "dict",
        "options": {"by": {"type": "str", "required": True}, "reason": {"type": "str", "required": True}},
    },
    "at": {"type": "str"},
}


class ActionModule(ActionBase):
    """Fail unless every host of the batch may be patched now; see the documentation of the module of this name."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return until when work may start, or fail with a line for each reason why it may not."""
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        dummy, options = self.validate_argument_spec(ARGUMENT_SPEC)
        hosts, hostvars = variables["ansible_play_batch"], variables["hostvars"]
        try:
            now = _gate.moment(options["at"])
            for key, text in (options["override"] or {}).items():
                if not text.strip():
                    raise ValueError(f"override.{key}: must not be empty")
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from None
        batch = _gate.judge(hosts, hostvars.__getitem__, now, options["minutes_left"])
        override = options["override"]
        result = {
            "changed": False,
            "latest_start": batch.latest_start,
            "closed": batch.closed,
            "override": override or {},
        }
        if not batch.closed:
            return result
        if not override:
            return {**result, "failed": True, "msg": f"the gate is closed: {'; '.join(batch.closed)}"}
        said = f"{override['by']}: {override['reason']}"
        return {**result, "msg": f"the gate is closed but overridden by {said}: {'; '.join(batch.closed)}"}
