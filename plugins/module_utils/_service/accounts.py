# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""Which accounts and which of their regions there are to read."""

from __future__ import annotations

import difflib
import fnmatch
import typing as t

from .._aws import ec2 as ec2_api
from .._aws import organizations as organizations_api
from .._aws.errors import AwsError
from .._aws.sessions import Account, Sessions, caller_account


def account_id(sessions: Sessions, access: Account, region: str | None) -> str:
    """Return the 12-digit id of an account that is entered this way; the first call that shows bad credentials.

    `region` says whom to ask; a pattern or an unknown name falls back to us-east-1.
    """
    asked = region if region in sessions.known_regions() else sessions.region or "us-east-1"
    return str(caller_account(sessions.client("sts", access, asked)))


def organization_accounts(sessions: Sessions, units: t.Iterable[str]) -> list[str]:
    """Return the ids of the active accounts in organizational units and all units below them, sorted."""
    client = sessions.client("organizations", region="us-east-1")
    found: set[str] = set()
    waiting = list(units)
    while waiting:
        unit = waiting.pop()
        accounts = organizations_api.list_accounts_for_parent(client, unit)
        found.update(account["Id"] for account in accounts if account["Status"] == "ACTIVE")
        waiting.extend(organizations_api.list_organizational_units_for_parent(client, unit))
    return sorted(found)


def regions(sessions: Sessions, access: Account, wanted: list[str]) -> list[str]:
    """Turn names and shell patterns into region names, in a stable order.

    EC2 is asked only where a pattern, or a name that botocore does not know, makes it necessary: then the answer holds
    what is enabled for the account.

    Raises:
        AwsError: a name is no region, or a pattern matches none.
    """
    known = sessions.known_regions()
    if all(name in known for name in wanted):
        return sorted(set(wanted))
    enabled = ec2_api.describe_regions(sessions.client("ec2", access, sessions.region or "us-east-1"))
    found: set[str] = set()
    for name in wanted:
        matching = [region for region in enabled if fnmatch.fnmatchcase(region, name)]
        if not matching and name not in known:
            close = difflib.get_close_matches(name, sorted(known.union(enabled)), n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise AwsError(f"regions: '{name}' is no region that is enabled for the account{hint}")
        found.update(matching or [name])
    return sorted(found)
