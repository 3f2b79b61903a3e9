# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""EC2: one function per call."""

from __future__ import annotations

import typing as t

from .errors import handled


@handled("describe instances")
def describe_instances(ec2: t.Any, filters: dict[str, list[str]]) -> list[dict[str, t.Any]]:
    """Return the instances, as EC2 gives them, that pass all filters (1,000 a page)."""
    pages = ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": name, "Values": values} for name, values in sorted(filters.items())],
        PaginationConfig={"PageSize": 1000},
    )
    return [instance for page in pages for reservation in page["Reservations"] for instance in reservation["Instances"]]
