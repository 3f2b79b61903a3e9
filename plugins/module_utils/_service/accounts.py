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
from .._aws.sessions import Account, Sessions, caller_account, caller_partition


def account_id(sessions: Sessions, access: Account, regions: list[str]) -> str:
    """Return the 12-digit id of an account that is entered this way; the first call that shows bad credentials.

    `regions` says whom to ask; patterns and unknown names count for nothing.
    """
    asked = [name for name in regions if name in sessions.known_regions()] or _any_region(sessions)
    return str(_first_answer(lambda region: caller_account(sessions.client("sts", access, region)), asked))


def _any_region(sessions: Sessions) -> list[str]:
    """Return regions to ask for what every region knows."""
    return sessions.neighbours(sessions.region)


def _first_answer(ask: t.Callable[[str], t.Any], regions: list[str]) -> t.Any:
    """Ask a region and, where it gives no answer, one more: a region that is down costs only its own nodes."""
    try:
        return ask(regions[0])
    except AwsError as error:
        if len(regions) == 1 or not error.no_answer:
            raise
        try:
            return ask(regions[1])
        except AwsError:
            raise error from None


def partition(sessions: Sessions) -> str:
    """Return the partition of the caller's own credentials, such as C(aws-cn)."""
    regions = _any_region(sessions)
    return str(_first_answer(lambda region: caller_partition(sessions.client("sts", region=region)), regions))


def organization_accounts(sessions: Sessions, unit: str) -> list[str]:
    """Return the ids of the active accounts in an organizational unit and all units below it, sorted."""
    # Organizations has one endpoint a partition, which botocore knows for each of its regions.
    client = sessions.client("organizations", region=_any_region(sessions)[0])
    found: set[str] = set()
    waiting = [unit]
    while waiting:
        parent = waiting.pop()
        accounts = organizations_api.list_accounts_for_parent(client, parent)
        found.update(account["Id"] for account in accounts if account["Status"] == "ACTIVE")
        waiting.extend(organizations_api.list_organizational_units_for_parent(client, parent))
    return sorted(found)


def regions(sessions: Sessions, access: Account, wanted: list[str]) -> tuple[list[str], dict[str, str]]:
    """Turn names and shell patterns into region names, in a stable order; say why of those that are none.

    EC2 is asked only where a pattern, or a name that botocore does not know, makes it necessary: then the answer holds
    what is enabled for the account.

    Raises:
        AwsError: EC2 cannot be asked.
    """
    known = sessions.known_regions()
    if all(name in known for name in wanted):
        return sorted(set(wanted)), {}
    asked = _any_region(sessions)
    enabled = _first_answer(lambda region: ec2_api.describe_regions(sessions.client("ec2", access, region)), asked)
    found: set[str] = set()
    unknown = {}
    for name in wanted:
        matching = [region for region in enabled if fnmatch.fnmatchcase(region, name)]
        if not matching and name not in known:
            close = difflib.get_close_matches(name, sorted(known.union(enabled)), n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            unknown[name] = f"regions: '{name}' is no region that is enabled for the account{hint}"
        else:
            found.update(matching or [name])
    return sorted(found), unknown
