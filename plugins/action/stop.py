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
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions, Where
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch
from ansible_collections.patchwave.aws.plugins.plugin_utils._action import Asked, one_for_all, shared, validated
from ansible_collections.patchwave.aws.plugins.plugin_utils._hosts import Group
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

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return what was done, the same for every host."""
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        return one_for_all(self, variables, lambda groups, dummy: self._work(groups, routing(variables)))

    def _work(self, groups: list[Group], known: t.Callable[[str], dict[str, t.Any]]) -> dict[str, t.Any]:
        spec = {**aws_argument_spec(), **ARGUMENT_SPEC}
        options = shared([Asked(group, validated(spec, group)) for group in groups], list(spec))
        hosts = [host for group in groups for host in group.hosts]
        name, place = run_names.run_name(options["rollout"]), _batch.place(options)
        if not options["rollout"].strip():
            raise ValueError(f"rollout: must be a rollout's name, or {run_names.ALL}")
        sessions = Sessions({each: options[each] for each in aws_argument_spec()})
        try:
            if options["state"] == "absent":
                return self._lift(sessions, place, name)
            return self._stop(sessions, place, name, options, hosts, known)
        except AwsError as error:
            raise AnsibleActionFail(f"{error}; nothing was done") from None

    def _lift(self, sessions: Sessions, place: stop_marks.Place | None, name: str) -> dict[str, t.Any]:
        if not place:
            raise ValueError("bucket: is required to lift a stop; the mark lies there")
        mark = stopping.lift_mark(sessions, place, name, self._task.check_mode)
        msg = f"rollout {name} may go on; it was {mark}" if mark else f"rollout {name} was not stopped"
        rest = stop_marks.look(sessions, place, run_names.ALL) if name != run_names.ALL else None
        if rest:
            msg += f"; but it is {rest}: lift that as well, with the name {run_names.ALL}"
        return {"changed": bool(mark), "rollout": name, "marked": bool(rest), "msg": msg}

    def _stop(
        self,
        sessions: Sessions,
        place: stop_marks.Place | None,
        name: str,
        options: dict[str, t.Any],
        hosts: list[str],
        known: t.Callable[[str], dict[str, t.Any]],
    ) -> dict[str, t.Any]:
        regions = _regions(hosts, known)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        mark = stop_marks.Mark(stop_marks.text(options["by"] or ""), now, stop_marks.text(options["reason"] or ""))
        done = stopping.stop(sessions, regions, place, name, mark, self._task.check_mode)
        problems = [*done.problems, *_unread(known(hosts[0]))]
        result = {
            "changed": done.changed,
            "rollout": name,
            "marked": done.marked,
            "payloads": done.payloads,
            "regions": [f"{one.account} {one.region}" for one in regions],
            "commands": done.commands,
            "problems": problems,
            "msg": _said(name, place, done, len(regions)),
        }
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            result.update(failed=True, msg=f"{result['msg']}; NOT DONE: {problems[0]}{more}")
        return result


def _regions(hosts: list[str], known: t.Callable[[str], dict[str, t.Any]]) -> list[Where]:
    """Return where commands may be: where the hosts are, and where the inventory reads, for a node may have left."""
    targets, dummy = _batch.targets(hosts, known)
    found = [Where(one.account, one.region, one.access) for one in targets]
    visited = known(hosts[0]).get("inventory_regions")
    for one in visited if isinstance(visited, list) else []:
        if isinstance(one, dict) and one.get("account") and one.get("region"):
            found.append(Where(str(one["account"]), str(one["region"]), _batch.entered(one)))
    return list(dict.fromkeys(found))


def _unread(known: dict[str, t.Any]) -> list[str]:
    """Return a line for each account and region that the inventory goes on without."""
    found = known.get("unread")
    return [
        f"account {one.get('account')}, region {one.get('region')}: is not in the inventory: {one.get('error')}"
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict)
    ]


def _said(name: str, place: stop_marks.Place | None, done: stopping.Stopped, regions: int) -> str:
    cancelled, running = (sum(len(one[key]) for one in done.commands) for key in ("cancelled", "running"))
    parts: list[str] = []
    if not place:
        parts.append("without a bucket a live run is not told, and goes on sending")
    elif done.marked:
        parts.append("no run of it sends any more")
    if place and done.marked and not done.left:
        parts.append(f"no node begins any more ({done.payloads} payloads taken away)")
    if regions:
        where = f"in {regions} accounts and regions"
        parts.append(f"{cancelled} nodes cancelled and {running} that go on, of {len(done.commands)} commands {where}")
    return f"rollout {name} is {'stopped' if done.marked or not place else 'NOT stopped'}: {'; '.join(parts)}"
