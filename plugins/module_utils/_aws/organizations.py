# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""Organizations: one function per call."""

from __future__ import annotations

import typing as t

from .errors import handled


@handled("list the accounts of an organizational unit")
def list_accounts_for_parent(organizations: t.Any, parent: str) -> list[dict[str, t.Any]]:
    """Return the accounts directly in a root or an organizational unit."""
    pages = organizations.get_paginator("list_accounts_for_parent").paginate(ParentId=parent)
    return [account for page in pages for account in page["Accounts"]]


@handled("list organizational units")
def list_organizational_units_for_parent(organizations: t.Any, parent: str) -> list[str]:
    """Return the ids of the organizational units directly in a root or an organizational unit."""
    pages = organizations.get_paginator("list_organizational_units_for_parent").paginate(ParentId=parent)
    return [unit["Id"] for page in pages for unit in page["OrganizationalUnits"]]
