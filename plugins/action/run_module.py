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
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch, _payload, _run_module
from ansible_collections.patchwave.aws.plugins.plugin_utils._journal import JournalError, JournalLost

ARGUMENT_SPEC = {
    **_batch.ARGUMENT_SPEC,
    "module": {"type": "str", "required": True},
    "args": {"type": "dict", "default": {}},
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": "patchwave/"},
    "keep_payload": {"type": "bool", "default": False},
    "presign": {"type": "bool", "default": False},
    "reboot": {"type": "str", "choices": ["never", "if_required"], "default": "never"},
    "reboot_timeout": {"type": "int", "default": 600},
    "latest_start": {"type": "str"},
}


class ActionModule(ActionBase):
    """Run a module on every host of the batch at once; see the documentation of the module of this name."""

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return C(results), a module result for each host of the batch."""
        gc.freeze()  # or all that Ansible had before this fork would be searched for garbage
        super().run(tmp, task_vars)
        variables: dict[str, t.Any] = task_vars or {}
        auth = aws_argument_spec()
        dummy, options = self.validate_argument_spec({**auth, **ARGUMENT_SPEC})
        if self._task.check_mode:
            # What only looked must not be taken up for what was done.
            options["reboot"], options["token"] = "never", None
        calls, warnings = 0, list[str]()
        try:
            limits, settings = _batch.Limits.of(options), _run_module.Settings.of(options)
            nodes, results = _run_module.targets(variables["ansible_play_batch"], variables["hostvars"].__getitem__)
            works = []
            if nodes:
                module = self._module(options["module"], dict(options["args"]), options["presign"], variables)
                works = [_run_module.Work(module, nodes, settings)]
            if nodes or results:
                sessions = Sessions({name: options.get(name) for name in auth})
                results, warnings = _run_module.ship(sessions, works, limits, results)
                calls = sessions.api_calls
        except (AwsError, JournalError, ValueError) as error:
            raise AnsibleActionFail(f"{error}; nothing was sent to any node") from None
        except (JournalLost, OwnerGone) as error:
            raise AnsibleActionFail(str(error)) from None
        changed = any(result.get("changed") for result in results.values())
        return {"changed": changed, "results": results, "api_calls": calls, "warnings": warnings}

    def _module(
        self, name: str, args: dict[str, t.Any], presign: bool, variables: dict[str, t.Any]
    ) -> _run_module.Module:
        """Return the program that Ansible would copy to a node to run the module with these arguments."""
        objects = _payload.s3_objects(args) if presign else {}
        # The launcher chooses the interpreter on the node; naming one here spares Ansible the search on the first host.
        variables = {**variables, "ansible_python_interpreter": "/usr/bin/python3"}
        self._update_module_args(name, args, variables)
        args["_ansible_remote_tmp"] = "/tmp"
        built = self._configure_module(module_name=name, module_args=args, task_vars=variables)
        if len(built) == 2:  # since ansible-core 2.19: an object and the module's path
            style, payload = built[0].module_style, built[0].b_module_data
        else:
            style, payload = built[0], built[2]
        if style != "new" or b"python" not in bytes(payload).partition(b"\n")[0]:  # PowerShell is new style as well
            raise AnsibleActionFail(f"run_module ships Python modules; {name} is not one")
        return _run_module.Module(name, _payload.stable(bytes(payload)), objects)
