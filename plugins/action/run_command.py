# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gc
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import OwnerGone
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch, _run_command
from ansible_collections.patchwave.aws.plugins.plugin_utils._journal import JournalError, JournalLost

ARGUMENT_SPEC = {
    **_batch.ARGUMENT_SPEC,
    "document": {"type": "str", "required": True},
    "document_version": {"type": "str"},
    "document_hash": {"type": "str"},
    "parameters": {"type": "dict", "default": {}},
    "output_bucket": {"type": "str"},
    "output_prefix": {"type": "str"},
}


class ActionModule(ActionBase):
    """Send a document to every host of the batch at once; see the documentation of the module of this name."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return C(results), a result for each host of the batch."""
        gc.freeze()  # or all that Ansible had before this fork would be searched for garbage
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        auth = aws_argument_spec()
        dummy, options = self.validate_argument_spec({**auth, **ARGUMENT_SPEC})
        calls, warnings = 0, list[str]()
        try:
            limits, settings = _batch.Limits.of(options), _batch.Settings.of(options)
            document = _run_command.Document.of(options)
            nodes, results = _batch.targets(variables["ansible_play_batch"], variables["hostvars"].__getitem__)
            if nodes or results:
                sessions = Sessions({name: options.get(name) for name in auth})
                works = [_run_command.Work(document, nodes, settings)] if nodes else []
                results, warnings = _run_command.send(sessions, works, limits, self._task.check_mode, results)
                calls = sessions.api_calls
        except (AwsError, JournalError, ValueError) as error:
            raise AnsibleActionFail(f"{error}; nothing was sent to any node") from None
        except (JournalLost, OwnerGone) as error:
            raise AnsibleActionFail(str(error)) from None
        changed = any(result.get("changed") for result in results.values())
        return {"changed": changed, "results": results, "api_calls": calls, "warnings": warnings}
