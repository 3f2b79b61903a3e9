# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._node import several, software, text


def result(number: int, length: int) -> dict[str, t.Any]:
    """What one program ends with that has the longest names, versions and messages."""
    return text.fit(
        {
            "name": f"{number}-".ljust(length, "x"),
            "outcome": "failed",
            "reason": "checksum_mismatch",
            "msg": "m" * 500,
            "version_before": "1." * (length // 2),
            "version_after": "2." * (length // 2),
            "changed": True,
            "failed": True,
            "seconds": {"total": 123.456, "outage": 12.345},
            "log": "/" + "l" * 229,
        }
    )


def test_results_of_many_programs_are_read_in_bulk() -> None:
    """However long names and versions are; otherwise each node's answer has to be asked for by itself."""
    for length in (8, 30, 64):
        combined = several.combine([result(number, length) for number in range(several.MAX_DEFINITIONS)])
        assert text.size(combined) <= text.RESULT_BYTES
        assert [program["name"][:2] for program in combined["programs"]] == [f"{number}-" for number in range(8)]
        assert all(program["reason"] == "checksum_mismatch" for program in combined["programs"])
        assert "not installed" not in software.diff(combined)["before"]
