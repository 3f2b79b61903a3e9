# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.patchwave.aws.plugins.plugin_utils import _gate
from ansible_collections.patchwave.aws.plugins.plugin_utils._action import named, validated
from ansible_collections.patchwave.aws.plugins.plugin_utils._hosts import AtTask, Group
from ansible_collections.patchwave.aws.plugins.plugin_utils._shared import Done, own_result

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "minutes_left": {"type": "int", "default": 0},
    "override": {
        "type": "dict",
        "options": {"by": {"type": "str", "required": True}, "reason": {"type": "str", "required": True}},
    },
    "at": {"type": "str"},
}


class ActionModule(ActionBase):
    """Fail unless every host of the task may be patched now; see the documentation of the module of this name."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False
    _ran = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return until when work may start, or fail with a line for each reason why it may not."""
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        at_task = AtTask(self, variables)

        def work(alone: bool, spent: int) -> Done:
            groups = at_task.groups(alone)
            result = _verdict(groups, variables["hostvars"].__getitem__)
            return Done({host: result for group in groups for host in group.hosts}, 0)

        if self._task.run_once:
            return work(alone=False, spent=0).results[at_task.host]
        again, self._ran = self._ran, True
        return own_result(at_task.execution, at_task.host, work, again)


def _verdict(groups: list[Group], variables: t.Callable[[str], t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Judge each group by its own options; the batch may go on when all of them may."""
    batches, overrides = [], []
    try:
        for group in groups:
            options = validated(ARGUMENT_SPEC, group)
            override = options["override"] or {}
            for key, text in override.items():
                if not text.strip():
                    raise ValueError(f"override.{key}: must not be empty ({named(group.hosts)})")
            batch = _gate.judge(group.hosts, variables, _gate.moment(options["at"]), options["minutes_left"])
            batches.append(batch)
            overrides.append(override)
    except ValueError as error:
        raise AnsibleActionFail(str(error)) from None
    return _gate.combined(batches, overrides)
