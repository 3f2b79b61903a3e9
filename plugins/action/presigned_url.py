# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.payload import signer
from ansible_collections.patchwave.aws.plugins.plugin_utils._payload import replaced, s3_objects

ARGUMENT_SPEC = {
    "url": {"type": "str"},
    "data": {"type": "dict"},
    "expiry": {"type": "int", "default": 3600},
}


class ActionModule(ActionBase):
    """Presign an S3 URL on the controller; see the documentation of the module of this name."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return C(url), or C(data) with every S3 URL in it replaced."""
        super().run(tmp, task_vars)
        auth = aws_argument_spec()
        dummy, options = self.validate_argument_spec(
            {**auth, **ARGUMENT_SPEC}, required_one_of=[("url", "data")], mutually_exclusive=[("url", "data")]
        )
        given = options["data"] if options["url"] is None else options["url"]
        objects = s3_objects(given)
        if options["url"] is not None and not objects:
            raise AnsibleActionFail(f"url: must be s3://BUCKET/KEY, not {given!r}")
        try:
            sign = signer(Sessions({name: options.get(name) for name in auth}))
            signed = {url: sign(*place, options["expiry"]) for url, place in objects.items()}
        except AwsError as error:
            raise AnsibleActionFail(str(error)) from None
        return {"changed": False, "data" if options["url"] is None else "url": replaced(given, signed)}
