# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
from ansible_collections.patchwave.aws.plugins.module_utils._core import run_names
from ansible_collections.patchwave.aws.plugins.module_utils._service import stop_marks, stopping
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch
from ansible_collections.patchwave.aws.plugins.plugin_utils._action import one_for_all
from ansible_collections.patchwave.aws.plugins.plugin_utils._routing import routing

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "rollout": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "by": {"type": "str"},
    "reason": {"type": "str"},
    "bucket": {"type": "str"},
    "bucket_owner": {"type": "str"},
    "prefix": {"type": "str", "default": "patchwave/"},
}


class ActionModule(ActionBase):
    """Stop a rollout wherever the hosts of the task are; see the documentation of the module of this name."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False
    _ran = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return what was done, the same for every host."""
        super().run(tmp, task_vars)
        return one_for_all(self, task_vars or {}, {**aws_argument_spec(), **ARGUMENT_SPEC}, self._work)

    def _work(self, options: dict[str, t.Any], hosts: list[str], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        name, place = run_names.run_name(options["rollout"]), _batch.place(options)
        if not options["rollout"].strip():
            raise ValueError(f"rollout: must be a rollout's name, or {run_names.ALL}")
        sessions = Sessions({each: options[each] for each in aws_argument_spec()})
        try:
            if options["state"] == "absent":
                return self._lift(sessions, place, name)
            return self._stop(sessions, place, name, options, hosts, routing(variables))
        except AwsError as error:
            raise AnsibleActionFail(f"{error}; nothing was done") from None

    def _lift(self, sessions: Sessions, place: stop_marks.Place | None, name: str) -> dict[str, t.Any]:
        if not place:
            raise ValueError("bucket: is required to lift a stop; the mark lies there")
        mark = stopping.lift_mark(sessions, place, name, self._task.check_mode)
        msg = f"rollout {name} may go on; it was {mark}" if mark else f"rollout {name} was not stopped"
        return {"changed": bool(mark), "rollout": name, "msg": msg}

    def _stop(
        self,
        sessions: Sessions,
        place: stop_marks.Place | None,
        name: str,
        options: dict[str, t.Any],
        hosts: list[str],
        known: t.Callable[[str], dict[str, t.Any]],
    ) -> dict[str, t.Any]:
        targets, dummy = _batch.targets(hosts, known)
        regions = list(dict.fromkeys(stopping.Region(one.access, one.account, one.region) for one in targets))
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        mark = stop_marks.Mark(options["by"] or "", now, options["reason"] or "")
        done = stopping.stop(sessions, regions, place, name, mark, self._task.check_mode)
        problems = [*done.problems, *_unread(known(hosts[0]))]
        result = {
            "changed": done.changed,
            "rollout": name,
            "payloads": done.payloads,
            "commands": done.commands,
            "problems": problems,
            "msg": _said(name, place, done),
        }
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            result.update(failed=True, msg=f"{result['msg']}; not all was done: {problems[0]}{more}")
        return result


def _unread(known: dict[str, t.Any]) -> list[str]:
    """Return a line for each account and region that the inventory goes on without."""
    found = known.get("unread")
    return [
        f"account {one.get('account')}, region {one.get('region')}: is not in the inventory: {one.get('error')}"
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict)
    ]


def _said(name: str, place: stop_marks.Place | None, done: stopping.Stopped) -> str:
    cancelled, running = (sum(len(one[key]) for one in done.commands) for key in ("cancelled", "running"))
    if not place:
        begins = "without a bucket a live run is not told, and goes on sending"
    else:
        begins = f"{done.payloads} payloads were taken away, so that no node begins any more"
    what = f"rollout {name} is {'stopped' if not done.problems else 'not wholly stopped'}: {begins}"
    return f"{what}; of {len(done.commands)} commands under way {cancelled} nodes were cancelled, {running} go on"
