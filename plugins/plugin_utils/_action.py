# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""What the batch actions share: the work of all hosts is done at once, and each host gets its own result."""

from __future__ import annotations

import abc
import gc
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
from ansible_collections.patchwave.aws.plugins.module_utils._core.budget import allowed
from ansible_collections.patchwave.aws.plugins.module_utils._core.outcomes import (
    CHARGED,
    SKIPPED,
    UNKNOWN,
    UNREACHABLE,
)
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import text
from ansible_collections.patchwave.aws.plugins.module_utils._core.verdict import Budgets, word
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import OwnerGone

from . import _batch
from ._facts import cleaned, harmless
from ._hosts import AtTask, Group
from ._journal import JournalError, JournalLost
from ._routing import routing
from ._shared import Done, failure, own_result

#: Hosts that a message names, and characters of what one of them said.
_NAMED, _SAID = 3, 300


class Answers(t.NamedTuple):
    """What a batch brought: each host's result, what the user is warned of, and the number of API calls."""

    results: dict[str, dict[str, t.Any]]
    warnings: list[str]
    api_calls: int


class Asked(t.NamedTuple):
    """A group of hosts with its validated options."""

    group: Group
    options: dict[str, t.Any]


class _Budget(t.NamedTuple):
    """The number of hosts at a task, and what they have used of its error budget."""

    hosts: int
    spent: int

    def limit(self, options: dict[str, t.Any]) -> bool:
        """Put what is left into the option; return whether there is anything left."""
        left = allowed(options["max_errors"], self.hosts) - self.spent
        options["max_errors"] = str(max(0, left))
        return left >= 0


class BatchAction(ActionBase):
    """An action that does the work of all hosts of its task in the first host's process.

    Ansible runs it for each host, by its own rules. With C(run_once) it runs for the first host only and returns all.
    """

    _supports_check_mode = True
    #: The action's own options, as an argument spec.
    SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {}
    _ran = False
    _own: tuple[t.Any, t.Any] = (None, None)

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the host's own result, or with C(run_once) C(results), a result for each host."""
        gc.freeze()  # or all that Ansible had before this fork would be searched for garbage
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        at_task = AtTask(self, variables)
        if self._task.run_once:
            return self._together(self._answers(at_task.groups(), variables))
        again, self._ran = self._ran, True

        def work(alone: bool, spent: int) -> Done:
            budget = _Budget(len(at_task), spent) if alone and not again else None
            answers = self._answers(at_task.groups(alone), variables, budget, again)
            for warning in answers.warnings:
                Display().warning(warning)
            results = {host: {**one, "api_calls": answers.api_calls} for host, one in answers.results.items()}
            return Done(results, sum(map(_charged, results.values())))

        result = own_result(at_task.execution, at_task.host, work, again)
        if not again:
            self._own = self._task.ignore_errors, self._task.ignore_unreachable
        # Ansible takes these from the task as it is when the action ends.
        ignored = (True, True) if result.get("within_budget") else self._own
        self._task.ignore_errors, self._task.ignore_unreachable = ignored
        return {"changed": False, **harmless(result, routing(variables)(at_task.host))}

    def _together(self, answers: Answers) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {
            "changed": any(result.get("changed") for result in answers.results.values()),
            "api_calls": answers.api_calls,
        }
        if answers.warnings:
            found["warnings"] = answers.warnings
        wrong = [host for host, one in answers.results.items() if one.get("failed") or one.get("unreachable")]
        if wrong:
            first = answers.results[wrong[0]]
            said = text(f"{first.get('outcome', 'failed')}: {first.get('msg', '')}", _SAID)
            found["within_budget"] = all(answers.results[host].get("within_budget") for host in wrong)
            found["msg"] = f"{len(wrong)} of {len(answers.results)} hosts failed: {named(wrong)}: {said}"
        if not self._task.args.get("owner_lock"):  # or they are read from the journal; ten thousand choke callbacks
            found["results"] = cleaned(answers.results)
        return found

    def _answers(
        self, groups: list[Group], variables: dict[str, t.Any], budget: _Budget | None = None, again: bool = False
    ) -> Answers:
        """Validate what is asked for, and do it; for a host alone, within what is left of the budget of all.

        Raises:
            AnsibleActionFail: nothing was sent; one line.
        """
        auth = aws_argument_spec()
        try:
            asked = [Asked(group, validated({**auth, **self.SPEC}, group)) for group in groups]
            common = shared(asked, [*auth, *_batch.LIMITS, *_batch.VERDICT])
            Budgets.of(common["max_errors"], common["max_unreachable"], 1)
            if budget and not budget.limit(common):
                msg = "not sent: too many other nodes failed"
                return Answers({groups[0].hosts[0]: _batch.ended(SKIPPED, "max_errors_reached", msg)}, [], 0)
            if again:
                common["token"] = None  # or the answer of the first time would be read again
            if self._task.throttle:
                common["max_in_flight"] = min(filter(None, (common["max_in_flight"], self._task.throttle)))
            sessions = Sessions({name: common[name] for name in auth})
            answers = self.batch(sessions, asked, common, variables)
            _judge(answers.results, common)
            return answers
        except (AwsError, JournalError, ValueError) as error:
            raise failure(f"{error}; nothing was sent to any node", SKIPPED) from None
        except (JournalLost, OwnerGone) as error:
            raise failure(str(error), UNKNOWN) from None

    @abc.abstractmethod
    def batch(
        self, sessions: Sessions, asked: list[Asked], common: dict[str, t.Any], variables: dict[str, t.Any]
    ) -> Answers:
        """Do the work for these groups of hosts, whose options are valid; `common` are those that all share."""


def _charged(result: dict[str, t.Any]) -> bool:
    """Say whether a host's result uses up the error budget."""
    return word(result) in CHARGED


def _judge(results: dict[str, dict[str, t.Any]], common: dict[str, t.Any]) -> None:
    """Mark the results that use up a budget, where those of all hosts are within both; a node cannot do so itself."""
    words = {host: word(one) for host, one in results.items()}
    budgets = Budgets.of(common["max_errors"], common["max_unreachable"], len(results))
    ignored = common["ignore_within_budget"] and budgets.holds(list(words.values()))
    for host, one in results.items():
        one.pop("within_budget", None)
        if ignored and (words[host] in CHARGED or words[host] == UNREACHABLE):
            one["within_budget"] = True


def validated(spec: dict[str, dict[str, t.Any]], group: Group) -> dict[str, t.Any]:
    """Return a group's options with their types and defaults.

    Raises:
        ValueError: one of them does not fit; names the hosts.
    """
    result = ArgumentSpecValidator(spec).validate(group.request.args)
    if result.error_messages:
        raise ValueError(f"{named(group.hosts)}: {'; '.join(result.error_messages)}")
    return dict(result.validated_parameters)


def shared(asked: list[Asked], names: list[str]) -> dict[str, t.Any]:
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


def one_for_all(
    action: ActionBase,
    variables: dict[str, t.Any],
    work: t.Callable[[list[Group], AtTask], dict[str, t.Any]],
) -> dict[str, t.Any]:
    """Do something once for all hosts of a task, and return the one result that all of them have.

    Args:
        action: the running action.
        variables: those of its host.
        work: given the groups of hosts and the task; a C(ValueError) of its names an option.

    Raises:
        AnsibleActionFail: the work failed.
    """
    at_task = AtTask(action, variables)

    def all_(alone: bool, spent: int) -> Done:
        groups = at_task.groups(alone)
        try:
            result = work(groups, at_task)
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from None
        return Done({host: result for group in groups for host in group.hosts}, 0)

    if action._task.run_once:
        return all_(alone=False, spent=0).results[at_task.host]
    return own_result(at_task.execution, at_task.host, all_)
