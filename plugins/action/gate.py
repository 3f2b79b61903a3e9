# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible import constants, context
from ansible.plugins.action import ActionBase
from ansible_collections.patchwave.aws.plugins.plugin_utils import _calendars, _gate
from ansible_collections.patchwave.aws.plugins.plugin_utils._action import named, one_for_all, validated
from ansible_collections.patchwave.aws.plugins.plugin_utils._hosts import AtTask, Group

#: Their values are read by the gate itself: Ansible would make a text of any value, and a number of a truth.
ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    name: {"type": "raw"} for name in ("minutes_left", "override", "at", "require_windows")
}


class ActionModule(ActionBase):
    """Fail unless every host of the task may be patched now; see the documentation of the module of this name."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return until when work may start, or fail with a line for each reason why it may not."""
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        result = one_for_all(self, variables, lambda groups, at_task: self._verdict(groups, at_task, variables))
        # The calendars are shown, and not only kept.
        return {**result, "_ansible_verbose_always": True} if self._task.run_once else result

    def _verdict(self, groups: list[Group], at_task: AtTask, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        """Judge each group by its own options; the batch may go on when all of them may."""
        hostvars = variables["hostvars"]
        try:
            asked = [_asked(group) for group in groups]
            if "gate_verdict" in hostvars._variable_manager.extra_vars:
                raise ValueError("gate_verdict: is the gate's own to set, and no extra variable")
        except ValueError as error:
            # As a result, and not raised: the play decides what becomes of it.
            return {"changed": False, "failed": True, "open": False, "msg": f"the gate is closed: {error}"}
        reader = _calendars.Reader(hostvars, at_task.variables, self._folders(hostvars))
        result = _gate.judge(asked, reader.read)
        # A task that says check_mode of itself is followed by others that do not.
        return _gate.in_check_mode(result) if self._task.check_mode and context.CLIARGS.get("check") else result

    def _folders(self, hostvars: t.Any) -> list[str]:
        """Return the folders whose C(group_vars) and C(host_vars) Ansible reads for this task."""
        found = [self._loader.get_basedir()] if hostvars._variable_manager.safe_basedir else []
        search = self._task.get_search_path() if constants.PLAYBOOK_VARS_ROOT != "top" else []
        return [*found, *(folder for folder in search if folder not in found)]


def _asked(group: Group) -> _gate.Asked:
    options = validated(ARGUMENT_SPEC, group)
    try:
        return _gate.Asked.of(group.hosts, options)
    except ValueError as error:
        raise ValueError(f"{error} ({named(group.hosts)})") from None
