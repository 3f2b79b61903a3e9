# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""From the plugin's options to a query."""

from __future__ import annotations

import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._core.spec import problems
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, Sessions
from ansible_collections.patchwave.aws.plugins.module_utils._service.accounts import organization_accounts

from .errors import OptionError
from .read import Query, Source

_ON_ERROR = ("fail", "warn", "skip")
_CONNECTIONS = {
    platform: {"type": "str", "choices": ["ssh", "winrm", "aws_ssm", "run_command"]}
    for platform in ("linux", "windows", "macos")
}
_ACCOUNT: dict[str, dict[str, t.Any]] = {
    **{name: {"type": "str"} for name in Account._fields},
    "on_error": {"type": "str", "choices": list(_ON_ERROR)},
}
_ORGANIZATION: dict[str, dict[str, t.Any]] = {
    "units": {"type": "list", "elements": "str", "required": True},
    "role_name": {"type": "str"},
    "external_id": {"type": "str"},
    "exclude": {"type": "list", "elements": "str"},
}


def query(sessions: Sessions, chosen: dict[str, t.Any]) -> Query:
    """Return what the options ask for.

    Args:
        sessions: to list an organization's accounts with.
        chosen: the plugin's options by name.

    Raises:
        OptionError: an option does not fit.
        AwsError: the organization cannot be listed.
    """
    _check(chosen)
    regions = chosen["regions"] or [sessions.region]
    if not all(regions):
        raise OptionError("no region; set 'regions' in the inventory file or AWS_REGION")
    return Query(
        sources=_sources(sessions, chosen),
        regions=regions,
        filters={name: values if isinstance(values, list) else [values] for name, values in chosen["filters"].items()},
        everything=chosen["include_out_of_scope"],
        full=chosen["hostvars"] == "full",
    )


def _check(chosen: dict[str, t.Any]) -> None:
    found: list[str] = []
    for index, entry in enumerate(chosen["accounts"]):
        found.extend(problems(_ACCOUNT, entry, f"accounts[{index}]"))
    if chosen["organization"]:
        found.extend(problems(_ORGANIZATION, chosen["organization"], "organization"))
    found.extend(problems(_CONNECTIONS, chosen["connections"], "connections"))
    if found:
        raise OptionError(found[0])


def _sources(sessions: Sessions, chosen: dict[str, t.Any]) -> list[Source]:
    found = []
    for entry in chosen["accounts"] or ([] if chosen["organization"] else [{}]):
        access = Account(**{name: value for name, value in entry.items() if name != "on_error"})
        found.append(Source(access, entry.get("on_error") or chosen["on_error"]))
    organization = chosen["organization"]
    if organization:
        for account in organization_accounts(sessions, organization["units"]):
            if account not in organization.get("exclude", ()):
                role = f"arn:aws:iam::{account}:role/{organization.get('role_name', 'patchwave')}"
                access = Account(role, organization.get("external_id"))
                found.append(Source(access, chosen["on_error"], account))
    return found
