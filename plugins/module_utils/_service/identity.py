# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Whether credentials belong to the account of the nodes that they are to reach."""

from __future__ import annotations

import re

from .._aws.errors import AwsError
from .._aws.sessions import Account, Sessions

#: The reason of nodes whose account is another one, and the code of the error that says so.
WRONG_ACCOUNT = "wrong_account"


class WrongAccount(AwsError):
    """The credentials are those of another account."""

    @property
    def code(self) -> str:
        """Return what tells this error from AWS's own."""
        return WRONG_ACCOUNT


def check(sessions: Sessions, access: Account, account: str, region: str) -> None:
    """Compare the account that is entered this way with that of the nodes, as far as both are known.

    Where AWS does not say whose the credentials are, whatever is done with them will show it.

    Raises:
        WrongAccount: they are not the same; one line that says what to do.
    """
    if not re.fullmatch(r"[0-9]{12}", account):
        return
    try:
        found = sessions.account_id(access, region)
    except AwsError:
        return
    if found != account:
        what = f"the role {access} belongs" if access.role_arn else f"{access} belongs" if access.profile else ""
        whose = f"{what or 'the credentials belong'} to account {found}, the node to {account}"
        todo = "set AWS_PROFILE, or in the inventory file profile or role_arn of that account"
        raise WrongAccount(f"{whose}; nothing was sent: {todo}")
