# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.payload import signer
from ansible_collections.patchwave.aws.plugins.plugin_utils import (
    _batch,
    _connection,
    _payload,
    _run_module,
    _wire,
)
from ansible_collections.patchwave.aws.plugins.plugin_utils._action import Answers, Asked, BatchAction, refuse_become
from ansible_collections.patchwave.aws.plugins.plugin_utils._facts import harmless
from ansible_collections.patchwave.aws.plugins.plugin_utils._hosts import Request
from ansible_collections.patchwave.aws.plugins.plugin_utils._journal import JournalLost
from ansible_collections.patchwave.aws.plugins.plugin_utils._routing import routing

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    **_batch.ARGUMENT_SPEC,
    "module": {"type": "str", "required": True},
    "args": {"type": "dict", "default": {}},
    "transport": {"type": "str", "choices": ["run_command", "connection"], "default": "run_command"},
    "bucket": {"type": "str"},
    "bucket_owner": {"type": "str"},
    "prefix": {"type": "str", "default": "patchwave/"},
    "refuse": {"type": "str"},
    "refuse_outside_check": {"type": "str"},
    "keep_payload": {"type": "bool", "default": False},
    "presign": {"type": "bool", "default": False},
    "url_expiry": {"type": "int", "default": 7200},
    "reboot": {"type": "str", "choices": ["never", "if_required"], "default": "never"},
    "reboot_timeout": {"type": "int", "default": 600},
    "latest_start": {"type": "str"},
}


class ActionModule(BatchAction):
    """Run a module on every host of the task at once; see the documentation of the module of this name."""

    _supports_diff = True
    SPEC = ARGUMENT_SPEC

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the host's own result, or with C(run_once) C(results), a result for each host."""
        if self._task.args.get("transport") == "connection":
            return self._over_connection(tmp, task_vars or {})
        return super().run(tmp, task_vars)

    def batch(
        self, sessions: Sessions, asked: list[Asked], common: dict[str, t.Any], variables: dict[str, t.Any]
    ) -> Answers:
        """Ship each group's module to its hosts."""
        works, check = [], bool(self._task.check_mode)
        if check:
            common["token"] = None  # what only looked must not be taken up for what was done
        limits, known = _batch.Limits.of(common), routing(variables)
        if self._task.run_once and any(one.options["transport"] != "run_command" for one in asked):
            raise ValueError("transport: with run_once it must be run_command for every host, or some are left out")
        asked = [one for one in asked if one.options["transport"] == "run_command"]
        barred = {host: _barred(why) for group, one in asked if (why := _why(one, check)) for host in group.hosts}
        hosts = [host for group, dummy in asked for host in group.hosts if host not in barred]
        if not hosts:
            return Answers(barred, [], 0)
        nodes, refused = _run_module.targets(hosts, known)
        refused.update(barred)
        for group, options in asked:
            refuse_become(group, options["module"])
            if self._task.check_mode:
                options["reboot"] = "never"
            if not options["bucket"]:
                raise ValueError("bucket: is required with transport run_command, to carry the module to the nodes")
            settings, mine = _run_module.Settings.of(options), set(group.hosts)
            members = [node for node in nodes if node.host in mine]
            if members:
                module = self._module(group.request, options, variables)
                request = group.request
                works.append(_run_module.Work(module, members, settings, request.interpreter, request.environment))
        done = _run_module.ship(sessions, works, limits, refused)
        return Answers(done.results, done.warnings, sessions.api_calls)

    def _module(self, request: Request, options: dict[str, t.Any], variables: dict[str, t.Any]) -> _run_module.Module:
        """Return the program that Ansible would copy to a node to run the module with these arguments."""
        name, args = options["module"], dict(options["args"])
        objects = _payload.s3_objects(args) if options["presign"] else {}
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

    def _over_connection(self, tmp: str | None, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run the module over the host's own connection, unless the run was asked to stop or it is too late."""
        ActionBase.run(self, tmp, variables)
        auth = aws_argument_spec()
        dummy, options = self.validate_argument_spec({**auth, **ARGUMENT_SPEC})

        def sessions() -> Sessions:
            return Sessions({name: options[name] for name in auth})

        watch = _connection.Watch(options, str(variables["inventory_hostname"]), sessions)
        try:
            why = _why(options, self._task.check_mode)
            refused = _barred(why) if why else watch.refused()
            if refused:
                return refused
            args = dict(options["args"])
            if options["presign"]:
                sign = signer(sessions())
                urls = {url: sign(*s3, options["url_expiry"]) for url, s3 in _payload.s3_objects(args).items()}
                args = _payload.replaced(args, urls)
            watch.begins()
        except (AwsError, JournalLost, ValueError) as error:
            raise AnsibleActionFail(f"{error}; nothing was started on the node") from None
        try:
            result = dict(self._execute_module(module_name=options["module"], module_args=args, task_vars=variables))
        except AnsibleConnectionFailure as error:
            watch.ends(NodeResult.concluded(outcomes.UNREACHABLE, "connection", str(error)))
            raise
        result = _wire.own(result)  # a connection that fails is raised, so all this is the node's own word
        speaks = options["module"] == _run_module.SPEAKS
        known = NodeResult.said(result, strict=speaks)
        result = _run_module.spoken(result, known) if speaks else result
        watch.ends(known)
        return harmless(result, routing(variables)(str(variables["inventory_hostname"])))


def _why(options: dict[str, t.Any], check_mode: bool) -> str:
    """Return why nothing may be done, or nothing where nothing speaks against it."""
    return options["refuse"] or ("" if check_mode else options["refuse_outside_check"]) or ""


def _barred(why: str) -> dict[str, t.Any]:
    """Return the result of a host to which nothing may be done."""
    return _batch.ended(outcomes.SKIPPED, "refused", why)
