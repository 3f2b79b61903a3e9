# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""How doors get into AWS: they import this room, and only this room imports `_aws`."""

from __future__ import annotations

import typing as t

from .._aws.errors import AwsError
from .._aws.sessions import OWN_ACCOUNT, Account, Sessions

__all__ = ["OWN_ACCOUNT", "Account", "AwsError", "Sessions", "Where"]


class Where(t.NamedTuple):
    """An account and region, and how the account is entered."""

    account: str
    region: str
    access: Account

    def __str__(self) -> str:
        """Return it for a message."""
        return f"account {self.account}, region {self.region}"
