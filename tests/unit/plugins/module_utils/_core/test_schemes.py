# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each scheme against the program that defines it."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.schemes import SCHEMES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

WORDS = ["a", "b", "rc", "dev", "el9", "deb12u1", "ubuntu", "Z", "0", "00", "1", "01", "9", "10", "21"]
few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=400, deadline=None)


def joined(separators: str, first: str) -> st.SearchStrategy[str]:
    part = st.tuples(st.sampled_from(separators), st.sampled_from([*WORDS, ""])).map("".join)
    return st.tuples(st.sampled_from(first), st.lists(part, max_size=4).map("".join)).map("".join)


def versions_of(scheme: str, separators: str) -> st.SearchStrategy[str]:
    epoch = st.sampled_from(["", "", "", "0:", "1:"])
    tail = st.one_of(st.just(""), joined(separators, "0129").map("-{}".format))
    made = st.tuples(epoch, joined(separators, "0129"), tail).map("".join)
    return made.filter(SCHEMES[scheme].is_version)


@pytest.mark.skipif(not shutil.which("dpkg"), reason="needs dpkg, which compares")
@few
@given(st.lists(st.tuples(versions_of("dpkg", ".+~"), versions_of("dpkg", ".+~")), min_size=8, max_size=8))
def test_dpkg_agrees(pairs: list[tuple[str, str]]) -> None:
    tests = [
        f"dpkg --compare-versions '{a}' {op} '{b}' && echo {index} {op};"
        for index, (a, b) in enumerate(pairs)
        for op in ("lt", "eq")
    ]
    said = subprocess.run(["sh", "-c", "".join(tests)], capture_output=True, text=True, check=False).stdout.splitlines()
    for index, (left, right) in enumerate(pairs):
        expected = -1 if f"{index} lt" in said else 0 if f"{index} eq" in said else 1
        assert SCHEMES["dpkg"].compare(left, right) == expected, (left, right)


@pytest.mark.skipif(not shutil.which("rpm"), reason="needs rpm, which compares (apt install rpm, or make system)")
@few
@given(st.lists(st.tuples(joined("._+~^", "0129az"), joined("._+~^", "0129az")), min_size=20, max_size=20))
def test_rpm_agrees(pairs: list[tuple[str, str]]) -> None:
    script = "".join(f"%{{lua:print(rpm.vercmp('{a}','{b}'), ' ')}}" for a, b in pairs)
    said = subprocess.run(["rpm", "--eval", script], capture_output=True, text=True, check=True).stdout.split()
    assert [SCHEMES["rpm"].compare(*pair) for pair in pairs] == [int(word) for word in said], pairs


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0-1", "1.0-2"),
        ("9-9", "1:0-0"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0-1", "1.0^git1-1"),
        ("1.0-1.el9", "1.0-1.el9_1"),
    ],
)
def test_rpm_compares_epoch_then_version_then_release(older: str, newer: str) -> None:
    compare = SCHEMES["rpm"].compare
    assert (compare(older, newer), compare(newer, older)) == (-1, 1)
    assert compare(older, older.rpartition("-")[0]) == 0  # without a release: any


@many
@given(
    *[
        st.tuples(
            st.sampled_from(["", "1!"]),
            st.lists(st.integers(0, 3).map(str), min_size=1, max_size=3).map(".".join),
            st.sampled_from(["", "a1", "b2", "rc1", "-alpha.3", ".PRE2", "c1"]),
            st.sampled_from(["", ".post1", "-2", "r3", "post"]),
            st.sampled_from(["", ".dev1", "dev"]),
            st.sampled_from(["", "+local.1", "+1.2", "+local"]),
        ).map("".join)
    ]
    * 2
)
def test_packaging_agrees(left: str, right: str) -> None:
    expected = (Version(left) > Version(right)) - (Version(left) < Version(right))
    assert SCHEMES["pep440"].compare(left, right) == expected


def test_semver_sorts_as_its_specification_says() -> None:
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    order += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0"]
    for (i, left), (j, right) in itertools.product(enumerate(order), repeat=2):
        assert SCHEMES["semver"].compare(left, right) == (i > j) - (i < j)
    assert SCHEMES["semver"].compare("1.0.0+a", "v1.0.0+b") == 0


@pytest.mark.parametrize(
    ("scheme", "text"),
    [("semver", "1.2"), ("semver", "01.2.3"), ("pep440", "1.0-el9"), ("dpkg", "v1"), ("rpm", "1-2-3")],
)
def test_what_is_no_version_of_one_scheme(scheme: str, text: str) -> None:
    assert not SCHEMES[scheme].is_version(text)
    with pytest.raises(ValueError, match="not a"):
        SCHEMES[scheme].compare(text, text)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("text", ["", "a b", "../1", "1\n", "$(id)", "1" * 65, None, 1.1])
def test_what_is_no_version_of_any_scheme(scheme: str, text: t.Any) -> None:
    assert not SCHEMES[scheme].is_version(text)
