# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.stop_marks import Place
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch, _run_command
from ansible_collections.patchwave.aws.plugins.plugin_utils._action import (
    Answers,
    Asked,
    BatchAction,
    named,
    refuse_become,
)
from ansible_collections.patchwave.aws.plugins.plugin_utils._routing import routing

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    **_batch.ARGUMENT_SPEC,
    "document": {"type": "str", "required": True},
    "document_version": {"type": "str"},
    "document_hash": {"type": "str"},
    "parameters": {"type": "dict", "default": {}},
    "bucket": {"type": "str"},
    "bucket_owner": {"type": "str"},
    "prefix": {"type": "str", "default": "patchwave/"},
    "output_bucket": {"type": "str"},
    "output_prefix": {"type": "str"},
}


class ActionModule(BatchAction):
    """Send a document to every host of the task at once; see the documentation of the module of this name."""

    _requires_connection = False
    SPEC = ARGUMENT_SPEC

    def batch(
        self, sessions: Sessions, asked: list[Asked], common: dict[str, t.Any], variables: dict[str, t.Any]
    ) -> Answers:
        """Send each group's document to its hosts."""
        nodes, refused = _batch.targets([host for group, dummy in asked for host in group.hosts], routing(variables))
        works = []
        for group, options in asked:
            refuse_become(group, options["document"])
            if group.request.environment:
                raise ValueError(f"environment: {options['document']} takes parameters only ({named(group.hosts)})")
            document, mine = _run_command.Document.of(options), set(group.hosts)
            members = [node for node in nodes if node.host in mine]
            if members:
                works.append(_run_command.Work(document, members, _batch.Settings.of(options)))
        limits = _batch.Limits.of(common)
        done = _run_command.send(sessions, works, limits, self._task.check_mode, _places(asked), refused)
        return Answers(done.results, done.warnings, sessions.api_calls)


def _places(asked: list[Asked]) -> list[Place]:
    """Return where marks may lie that stop the rollout from outside."""
    found = [_batch.place(options) for dummy, options in asked]
    return [place for place in dict.fromkeys(found) if place]
