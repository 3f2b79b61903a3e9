# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core import versions
from hypothesis import given
from hypothesis import strategies as st

WORDS = ["a", "b", "c", "p", "w", "rc", "beta", "alpha", "dev", "nightly", "lts", "post", "~", ""]
part = st.tuples(st.sampled_from([".", "-", "_", ""]), st.sampled_from(WORDS), st.sampled_from(["", "0", "1", "10"]))
numbers = st.lists(st.integers(0, 12).map(str), min_size=1, max_size=3).map(".".join)
version = st.tuples(st.sampled_from(["", "v"]), numbers, st.lists(part.map("".join), max_size=3).map("".join))
version = version.map("".join).filter(versions.is_version)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1.2", "1.2.1"),
        ("1.0-rc1", "1.0"),
        ("1.0rc1", "1.0rc2"),
        ("1.0a1", "1.0b1"),
        ("1.0b2", "1.0rc1"),
        ("1.0.0-alpha", "1.0.0-alpha.1"),
        ("1.0.0-alpha.1", "1.0.0-alpha.beta"),
        ("1.0.0-alpha.beta", "1.0.0-beta"),
        ("1.0.dev3", "1.0a1"),
        ("1.0-nightly", "1.0"),
        ("1.0~rc1", "1.0"),
        ("9.8", "9.8p1"),
        ("1.1.1", "1.1.1w"),
        ("1.1.1v", "1.1.1w"),
        ("3.3", "3.3a"),
        ("7.1.1-9", "7.1.1-15"),
    ],
)
def test_older_sorts_before_newer(older: str, newer: str) -> None:
    assert versions.compare(older, newer) == -1
    assert versions.compare(newer, older) == 1


@pytest.mark.parametrize(
    ("left", "right"),
    [("1.2", "1.2.0"), ("v1.2", "1.2"), ("1.2+build.7", "1.2"), ("1.2-rc.1", "1.2RC1"), ("3-LTS", "3")],
)
def test_spelling_does_not_make_a_version_newer(left: str, right: str) -> None:
    assert versions.compare(left, right) == 0


@given(version, version)
def test_comparison_is_antisymmetric(left: str, right: str) -> None:
    assert versions.compare(left, right) == -versions.compare(right, left)
    assert versions.compare(left, left) == 0


@given(version, version, version)
def test_comparison_is_transitive(left: str, middle: str, right: str) -> None:
    low, mid, high = sorted([left, middle, right], key=versions.sort_key)
    assert versions.compare(low, mid) <= 0
    assert versions.compare(mid, high) <= 0
    assert versions.compare(low, high) <= 0


@given(numbers, st.sampled_from(["a1", "-b2", "rc1", "-beta", ".dev1", "~1", "-unknown"]))
def test_what_is_not_released_sorts_before_the_release(release: str, mark: str) -> None:
    assert versions.compare(release + mark, release) == -1


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_compare_as_numbers(left: int, right: int) -> None:
    assert versions.compare(f"1.{left}", f"1.{right}") == (left > right) - (left < right)


@pytest.mark.parametrize("text", ["", "x", "current", "../1", "1/2", "1 2", "1" * 65, "-1", ".1", "1\n", None, 1.1])
def test_other_text_is_no_version(text: object) -> None:
    assert not versions.is_version(text)


def test_comparing_what_is_no_version_raises() -> None:
    with pytest.raises(ValueError, match="not a version"):
        versions.compare("1", "one")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("just 1.36.0", "1.36.0"),
        ("OpenSSL 1.1.1w  11 Sep 2023", "1.1.1w"),
        ("OpenSSH_9.8p1, OpenSSL 3.0", "9.8p1"),
        ("foo v1.2.0-rc1 (abc)", "1.2.0-rc1"),
        ("git version 2.39.2.windows.1", "2.39.2"),
        ("tool 1.2.3-x86_64", "1.2.3"),
    ],
)
def test_default_pattern_finds_the_version_and_its_mark(output: str, expected: str) -> None:
    match = re.search(versions.DEFAULT_PATTERN, output)
    assert match is not None
    assert match.group(1) == expected
