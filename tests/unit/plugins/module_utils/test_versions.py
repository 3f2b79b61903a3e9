# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core import versions
from ansible_collections.patchwave.aws.plugins.module_utils._core.probe_output import read
from hypothesis import given
from hypothesis import strategies as st

WORDS = [
    "a",
    "b",
    "c",
    "p",
    "w",
    "rc",
    "beta",
    "alpha",
    "dev",
    "nightly",
    "lts",
    "post",
    "foo",
    "+k",
    ".redhat-",
    "~",
    "",
]
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
        ("1.1.1", "1.1.1p"),
        ("1.1.1p", "1.1.1q"),
        ("1.1.1t", "1.1.1u"),
        ("1.1.1q", "1.1.1r"),
        ("1.1.1w", "1.1.2"),
        ("8.2.0RC7", "8.2.0"),
        ("10.1.0-M17", "10.1.0"),
        ("10.1.0-M9", "10.1.0-M17"),
        ("10.1.0-M17", "10.1.0-RC1"),
        ("2.0-SNAPSHOT", "2.0"),
        ("2.0-rc1-SNAPSHOT", "2.0-rc1"),
        ("2.0", "2.1-SNAPSHOT"),
        ("9.0.5.10", "9.0.5.10-IF1"),
        ("9.0.5.10-IF1", "9.0.5.10-IF2"),
        ("9.0.5.10-iFix002", "9.0.5.10-IF10"),
        ("8.0-FP5", "8.0-FP12"),
        ("9.11.36", "9.11.36-P1"),
        ("8u191", "8u202"),
        ("1.8.0_191", "1.8.0_202"),
        ("1.8.0_202", "11.0.2"),
        ("8u392", "11.0.2"),
        ("4.1.9.Final-redhat-00001", "4.1.9.Final-redhat-00002"),
        ("2.17.1.redhat-00002", "2.17.2"),
        ("42.2.5.jre7", "42.2.6"),
        ("v1.27.3+k3s1", "v1.27.3+k3s2"),
        ("v1.27.3+k3s9", "v1.27.3+k3s10"),
        ("v1.27.3+rke2r1", "v1.27.3+rke2r2"),
        ("v1.27.3-rc1+k3s2", "v1.27.3+k3s1"),
        ("10.0.1+security-01", "10.0.1+security-02"),
        ("11.0.2+9", "11.0.2+9.1"),
        ("17.0.9+9", "17.0.9+10"),
        ("1.2+git20230711", "1.2+git20240102"),
        ("9.4.6.v20170531", "9.4.6.v20180619"),
        ("8.0-SR5", "8.0-SR10"),
        ("2.39.1.windows.9", "2.39.2.windows.1"),
        ("2.39.2.windows.1", "2.39.2.windows.2"),
        ("2.39.2.foo", "2.40"),  # what is not known does no harm where it does not decide
        ("2.39.2", "2.40-foo"),
        ("1.2.0-foo", "1.2.1"),
    ],
)
def test_older_sorts_before_newer(older: str, newer: str) -> None:
    assert versions.compare(older, newer) == -1
    assert versions.compare(newer, older) == 1


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1.2", "1.2.0"),
        ("v1.2", "1.2"),
        ("1.2+build.7", "1.2"),
        ("1.2-rc.1", "1.2RC1"),
        ("3-LTS", "3"),
        ("1.0~rc1", "1.0rc1"),
        ("9.8-P1", "9.8p1"),
        ("9.8-patch-1", "9.8p1"),
        ("4.1.9.Final", "4.1.9"),
        ("v1.27.3+k3s1", "1.27.3"),
        ("2.17.1.redhat-00002", "2.17.1"),
        ("42.2.5.jre7", "42.2.5"),
        ("42.2.5.jre7", "42.2.5.JRE7"),
        ("1.2.3-linux-amd64", "1.2.3"),
        ("1.2+g1234567", "1.2+g1234567"),
    ],
)
def test_spelling_does_not_make_a_version_newer(left: str, right: str) -> None:
    assert versions.compare(left, right) == 0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1.2-foo", "1.2"),
        ("1.2", "1.2-foo"),
        ("1.2-foo3", "1.2-foo4"),
        ("1.2-14-g2414721", "1.2-14-g9914721"),
        ("1.2-14-g2414721", "1.2"),
        ("1.0.2u", "1.0.2za"),
        ("1.0.2k-fips", "1.0.2k"),
        ("1.2-3", "1.2"),  # a revision of 1.2, or before it as in semver
        ("1.2-3", "1.2.1"),
        ("1.2_3", "1.2.1"),
        ("1.2-3", "1.2-rc1"),
        ("8.0.34-0ubuntu0.22.04.1", "8.0.34"),
        ("1.2-sp1", "1.2-p2"),
        ("1.2p1", "1.2a"),
        ("9.8p1", "9.8.1"),
        ("2.0-SNAPSHOT", "2.0-RC1"),
        ("2.0-pre2", "2.0-rc1"),
        ("2.0-nightly", "2.0-SNAPSHOT"),
        ("18.06.3~ce", "18.06.3"),
        ("8u191", "1.8.0_202"),
        ("8.0.191", "1.8.0_202"),
        ("8u191", "8.0.202"),
        ("1.2.3", "1.2.3+k3s2"),
        ("1.2.3+k3s2", "1.2.3+rke2r1"),
        ("1.2.3+g1234567", "1.2.3+g2234567"),
        ("1.2.3+abcdef1", "1.2.3+abcdee2"),
        ("1.2.3+deb11u2", "1.2.3+deb12u1"),
        ("1.2.3+rc1", "1.2.3"),
        ("1.2.3+9", "1.2.3+9-LTS"),
        ("42.2.5", "42.2.5.jre7"),
        ("42.2.5.jre8", "42.2.5.jre7"),
        ("1.2.3-linux-arm64", "1.2.3-linux-amd64"),
        ("2.17.1", "2.17.1.redhat-00002"),
    ],
)
def test_what_the_rule_cannot_place_is_refused(left: str, right: str) -> None:
    with pytest.raises(versions.Unplaced, match="have no order: "):
        versions.compare(left, right)


@pytest.mark.parametrize(
    "bound", ["1.2-foo", "1.2.3-IFoo1", "1.0.2za", "2.39.2.mine.1", "1.2+abcdef", "1.2+9-LTS", "18.06~ce"]
)
def test_a_bound_with_an_unknown_word_is_vague(bound: str) -> None:
    assert versions.vague(bound)


@pytest.mark.parametrize(
    "bound",
    [
        "1.2",
        "v1.2.3-rc1",
        "1.1.1u",
        "8u202",
        "1.2-IF1",
        "2.17.1.redhat-00002",
        "42.2.5.jre7",
        "1.2+k3s2",
        "1.2+9.1",
        "10.0.1+security-01",
        "7.1.1-15",
        "8.2.0RC7",
        "10.1.0-M17",
        "4.1.9.Final",
    ],
)
def test_a_bound_of_known_words_is_good(bound: str) -> None:
    assert versions.vague(bound) == ""


def order(left: str, right: str) -> int | None:
    try:
        return versions.compare(left, right)
    except versions.Unplaced:
        return None


@given(version, version)
def test_comparison_is_antisymmetric(left: str, right: str) -> None:
    there, back = order(left, right), order(right, left)
    assert there is None or back is None or there == -back
    assert order(left, left) == 0


@given(version, version, version)
def test_comparison_is_transitive(left: str, middle: str, right: str) -> None:
    for low, mid, high in itertools.permutations([left, middle, right]):
        orders = [order(low, mid), order(mid, high), order(low, high)]
        if None not in orders and orders[0] in (-1, 0) and orders[1] in (-1, 0):
            assert orders[2] == (0 if orders[:2] == [0, 0] else -1)


@given(numbers, st.sampled_from(["a1", "-b2", "rc1", "-beta", ".dev1", "~1", "-SNAPSHOT", ".M3"]))
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
        ("OpenSSL 1.0.2za  24 Aug 2021", "1.0.2za"),
        ("OpenSSL 3.0.7 1 Nov 2022 (Library: OpenSSL 3.0.7 1 Nov 2022)", "3.0.7"),
        ("OpenSSH_9.8p1\n", "9.8p1"),
        ("foo v1.2.0-rc1 (abc)", "1.2.0-rc1"),
        ("git version 2.39.2.windows.1", "2.39.2.windows.1"),
        ("tool 1.2.3-x86_64", "1.2.3-x86_64"),
        ("PHP 8.2.0RC7 (cli)", "8.2.0RC7"),
        ("Apache Tomcat/10.1.0-M17", "10.1.0-M17"),
        ("app 2.0-SNAPSHOT", "2.0-SNAPSHOT"),
        ("app-2.17.1.redhat-00002", "2.17.1.redhat-00002"),
        ("k3s version v1.27.3+k3s1 (abc)", "1.27.3+k3s1"),
        ("docker-ce 5:24.0.5-1~debian.12", "5:24.0.5-1~debian.12"),
        ('openjdk version "1.8.0_392"', "1.8.0_392"),
        ("jdk-11.0.2+9.1", "11.0.2+9.1"),
        ("nginx version: nginx/1.24.0.\n", "1.24.0"),
        ("libxml2-2.9.14", "2.9.14"),
        ("\x1b[1m1.2.3\x1b[0m", "1.2.3"),
        ("go version go1.21.3 linux/amd64", "1.21.3"),
        ("mysql  Ver 8.0.34 for Linux on x86_64", "8.0.34"),
        ("tool 1.2.3\nUpdate now!", "1.2.3"),
        ("tool 1.2.3 modular", "1.2.3"),
        ("tool", None),
        ("tool 7", None),
    ],
)
def test_default_pattern_takes_the_whole_word(output: str, expected: str | None) -> None:
    assert read(output, versions.DEFAULT_PATTERN) == expected


@pytest.mark.parametrize(
    "output",
    [
        "mysql  Ver 14.14 Distrib 5.7.43, for Linux",
        "OpenSSH_9.8p1, OpenSSL 3.0.14",
        "curl 7.88.1 libcurl/7.88.2",
        "java 11.0.20\nbuild 11.0.20+8",
        "tool 1.2.3 RC1",
        "tool 1.2.3 (beta 2)",
        "tool 1.2.3, Patch 5",
        "tool 1.2.3 SP1",
        "tool 1.2.3 M17",
        "tool 1.2.3/SNAPSHOT",
        "tool beta 1.2.3",
        "tool-nightly-1.2.3",
        "tool rc v1.2.3",
        "tool 3-1.2.3",
        "IOS 15.2(4)M7",
        "tool 1.2.3@4",
    ],
)
def test_default_pattern_refuses_what_is_ambiguous(output: str) -> None:
    with pytest.raises(ValueError, match="cannot tell which "):
        read(output, versions.DEFAULT_PATTERN)


def test_a_pattern_of_its_own_says_which_version_counts() -> None:
    assert read("mysql  Ver 14.14 Distrib 5.7.43, for Linux", r"Distrib ([\w.-]+)") == "5.7.43"
    assert read("none", r"Distrib ([\w.-]+)") is None
