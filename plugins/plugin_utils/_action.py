# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""What the batch actions share: the work of all hosts is done at once, and each host gets its own result."""

from __future__ import annotations

import gc
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import OwnerGone

from . import _batch
from ._facts import harmless
from ._hosts import AtTask, Group, routing
from ._journal import JournalError, JournalLost
from ._shared import own_result

#: Hosts that a message names.
_NAMED = 3


class Answers(t.NamedTuple):
    """What a batch brought: each host's result, what the user is warned of, and the number of API calls."""

    results: dict[str, dict[str, t.Any]]
    warnings: list[str]
    api_calls: int


class Asked(t.NamedTuple):
    """A group of hosts with its validated options."""

    group: Group
    options: dict[str, t.Any]


class BatchAction(ActionBase):
    """An action that does the work of all hosts of its task in the first host's process.

    Ansible runs it for each host, by its own rules. With C(run_once) it runs for the first host only and returns all.
    """

    _supports_check_mode = True
    #: The action's own options, as an argument spec.
    SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {}
    _ran = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the host's own result, or with C(run_once) C(results), a result for each host."""
        gc.freeze()  # or all that Ansible had before this fork would be searched for garbage
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        at_task = AtTask(self, variables)
        if self._task.run_once:
            return self._together(self._answers(at_task.groups(), variables))
        execution, self._ran = None if self._ran else at_task.execution, True  # `until` repeats the own host alone

        def work(alone: bool) -> dict[str, dict[str, t.Any]]:
            answers = self._answers(at_task.groups(alone), variables)
            for warning in answers.warnings:
                Display().warning(warning)
            return {host: {**result, "api_calls": answers.api_calls} for host, result in answers.results.items()}

        result = own_result(execution, at_task.host, work)
        return {"changed": False, **harmless(result, routing(variables)(at_task.host))}

    def _together(self, answers: Answers) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {
            "changed": any(result.get("changed") for result in answers.results.values()),
            "api_calls": answers.api_calls,
        }
        if answers.warnings:
            found["warnings"] = answers.warnings
        if not self._task.args.get("owner_lock"):  # or they are read from the journal; ten thousand choke callbacks
            found["results"] = answers.results
        return found

    def _answers(self, groups: list[Group], variables: dict[str, t.Any]) -> Answers:
        """Validate what is asked for, and do it.

        Raises:
            AnsibleActionFail: nothing was sent; one line.
        """
        auth = aws_argument_spec()
        try:
            asked = [Asked(group, validated({**auth, **self.SPEC}, group)) for group in groups]
            common = _common(asked, [*auth, *_batch.LIMITS])
            sessions = Sessions({name: common[name] for name in auth})
            return self.batch(sessions, asked, common, variables)
        except (AwsError, JournalError, ValueError) as error:
            raise AnsibleActionFail(f"{error}; nothing was sent to any node") from None
        except (JournalLost, OwnerGone) as error:
            raise AnsibleActionFail(str(error)) from None

    def batch(
        self, sessions: Sessions, asked: list[Asked], common: dict[str, t.Any], variables: dict[str, t.Any]
    ) -> Answers:
        """Do the work for these groups of hosts, whose options are valid; `common` are those that all share."""
        raise NotImplementedError


def validated(spec: dict[str, dict[str, t.Any]], group: Group) -> dict[str, t.Any]:
    """Return a group's options with their types and defaults.

    Raises:
        ValueError: one of them does not fit; names the hosts.
    """
    result = ArgumentSpecValidator(spec).validate(group.request.args)
    if result.error_messages:
        raise ValueError(f"{named(group.hosts)}: {'; '.join(result.error_messages)}")
    return dict(result.validated_parameters)


def _common(asked: list[Asked], names: list[str]) -> dict[str, t.Any]:
    """Return the options that a batch has only one of.

    Raises:
        ValueError: two hosts have different ones; names both.
    """
    first = asked[0]
    for other in asked[1:]:
        for name in names:
            if other.options[name] != first.options[name]:
                # Its value may be a secret key.
                who = f"{named(first.group.hosts)} and {named(other.group.hosts)}"
                raise ValueError(f"{name}: differs between {who}; all hosts of a batch share it")
        if other.group.request.check_mode != first.group.request.check_mode:
            raise ValueError(f"check_mode: differs between {named(first.group.hosts)} and {named(other.group.hosts)}")
    return {name: first.options[name] for name in names}


def refuse_become(group: Group, what: str) -> None:
    """Refuse another user than root.

    Raises:
        ValueError: names the hosts and the user.
    """
    user = group.request.become_user
    if user not in ("", "root"):
        raise ValueError(f"become_user: {what} runs as root over Run Command, not as {user!r} ({named(group.hosts)})")


def named(hosts: list[str]) -> str:
    """Return hosts for a message."""
    more = len(hosts) - _NAMED
    return (
        ("host " if len(hosts) == 1 else "hosts ")
        + ", ".join(hosts[:_NAMED])
        + (f" and {more} more" if more > 0 else "")
    )
