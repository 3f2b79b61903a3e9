from __future__ import annotations

from ansible_collections.patchwave.aws.plugins.module_utils._core import calendar, moments


def test_what_the_gate_says_is_a_moment_for_the_nodes() -> None:
    until = calendar.shown(calendar.moment("2026-11-22T05:00:00+01:00", "at"))
    assert moments.seconds(until) == moments.seconds("2026-11-22T04:00:00Z") == 1795320000
