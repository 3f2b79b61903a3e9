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
from ansible_collections.patchwave.aws.plugins.module_utils._core import versions
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


OPENSSL = ["0.9.8zg", "0.9.8zh", "1.0.2-beta1", "1.0.2", "1.0.2a", "1.0.2k", "1.0.2u", "1.0.2z", "1.0.2za", "1.0.2zb"]
OPENSSL += ["1.0.2zk", "1.1.0", "1.1.1-pre9", "1.1.1", "1.1.1a", "1.1.1p", "1.1.1q", "1.1.1r", "1.1.1t", "1.1.1u"]
OPENSSL += ["1.1.1w", "3.0.0-alpha1", "3.0.0-alpha17", "3.0.0-beta2", "3.0.0", "3.0.7", "3.0.10", "3.2.0-dev", "3.2.0"]
JAVA = [
    "1.7.0_80",
    "7u85",
    "8-ea",
    "1.8.0",
    "1.8.0_191",
    "8u202-b07",
    "1.8.0_202-b08",
    "8u202-b10",
    "8u211",
    "8.0.212+4",
]
JAVA += ["8u392-b08", "8u392-b08.1", "9", "11-ea+28", "11+28", "11.0.2+7", "11.0.2+9", "11.0.2+9.1", "11.0.2+10"]
JAVA += ["11.0.20+8", "11.0.20.1", "17.0.9+9", "17.0.9+9.1", "jdk-17.0.10+7", "21-ea+35", "21", "21.0.1+12-LTS"]


@pytest.mark.parametrize(("scheme", "order"), [("openssl", OPENSSL), ("java", JAVA)])
def test_vendors_count_as_their_releases_came(scheme: str, order: list[str]) -> None:
    for (i, left), (j, right) in itertools.product(enumerate(order), repeat=2):
        assert SCHEMES[scheme].is_version(left)
        assert SCHEMES[scheme].place(left, right) == (i > j) - (i < j), (left, right)


@pytest.mark.parametrize(
    ("scheme", "left", "right"),
    [
        ("openssl", "1.0.2k-fips", "1.0.2k"),
        ("openssl", "v3.0.7", "3.0.7"),
        ("java", "8u202", "1.8.0_202"),
        ("java", "8u202-b08", "1.8.0_202-b08"),
        ("java", "8u202-b08", "8u202"),  # without a build: any
        ("java", "8.0.202+8", "jdk8u202-b08"),
        ("java", "11.0.2+9-LTS", "11.0.2+9"),
        ("java", "11.0.20+8-post-Ubuntu-1ubuntu122.04", "11.0.20+8"),
        ("java", "11.0.2+9", "11.0.2"),
        ("java", "17.0.0", "17"),
        ("java", "11.0.20.8.1", "11.0.20.8.1"),
        ("semver", "1.2.3+k3s1", "1.2.3"),
        ("semver", "1.2.3+k3s1", "1.2.3+k3s1"),
        ("rpm", "1.2-3", "1.2"),
        ("rpm", "0:1.2-3", "1.2-3"),
        ("dpkg", "0:1.2-3", "1.2-3"),
        ("dpkg", "5:1.2-3", "5:1.2-3"),
    ],
)
def test_what_is_one_version_in_two_writings(scheme: str, left: str, right: str) -> None:
    assert SCHEMES[scheme].place(left, right) == 0


@pytest.mark.parametrize(
    ("scheme", "node", "wanted"),
    [
        ("java", "11.0.2", "11.0.2+9"),
        ("java", "8u202", "8u202-b08"),
        ("java", "11-ea", "11-internal"),
        ("java", "11.0.20.8.1", "11.0.20.1"),
        ("dpkg", "5:24.0.5-1", "24.0.6-1"),
        ("dpkg", "24.0.7-1", "5:24.0.6-1"),
        ("rpm", "1:3.0.6-1", "3.0.7-1"),
        ("rpm", "3.0.7-1", "1:3.0.6-1"),
        ("rpm", "1.2", "1.2-3"),
        ("rpm", "1.1", "1.2-3"),  # what the probe leaves out can never be proven
        ("semver", "1.2.3", "1.2.3+k3s2"),
        ("semver", "1.2.3+k3s1", "1.2.3+k3s2"),
        ("pep440", "2.0", "1!1.0"),
        ("dotted", "1.2.3+a", "1.2.3+b"),
    ],
)
def test_what_only_one_side_tells_is_refused(scheme: str, node: str, wanted: str) -> None:
    with pytest.raises(versions.Unplaced, match="have no order: "):
        SCHEMES[scheme].place(node, wanted)


@pytest.mark.parametrize("text", ["1.1", "1.1.1uu", "1.1.1ab", "3.0.7a", "1.1.1-foo", "1.1.1u+quic", "x", "1.0.2u1"])
def test_what_is_no_version_of_openssl(text: str) -> None:
    assert not SCHEMES["openssl"].is_version(text)


@pytest.mark.parametrize(
    "text",
    ["8.392.08.1", "8.0.2020.8", "1.8.1", "25.392-b08", "11.0.2-foo", "11.0.2+9-ea", "11+x", "1.11.0", "3", "011"],
)
def test_what_is_no_version_of_java(text: str) -> None:
    assert not SCHEMES["java"].is_version(text)


@pytest.mark.parametrize(("scheme", "family"), [("dpkg", True), ("rpm", True), ("dotted", False), ("semver", False)])
def test_a_package_database_that_prints_no_epoch_means_zero(scheme: str, family: bool) -> None:
    assert SCHEMES[scheme].whole("1.2.3") == ("0:1.2.3" if family else "1.2.3")
    if family:
        assert SCHEMES[scheme].whole("5:1.2") == "5:1.2"
        assert SCHEMES[scheme].place(SCHEMES[scheme].whole("18.06-3"), "5:24.0-1") == -1
        assert SCHEMES[scheme].place(SCHEMES[scheme].whole("24.0-1"), "24.0-1") == 0


@many
@given(versions_of("dpkg", ".+~"), versions_of("dpkg", ".+~"), st.sampled_from(["dpkg", "rpm"]))
def test_a_place_is_the_rule_s_or_none(node: str, wanted: str, name: str) -> None:
    scheme = SCHEMES[name]
    if scheme.is_version(node) and scheme.is_version(wanted):
        try:
            assert scheme.place(node, wanted) == scheme.compare(node, wanted)
        except versions.Unplaced:
            assert (":" in node) != (":" in wanted) or ("-" in wanted and "-" not in node)


VENDORS = [
    "2.4.0-b180830.0359 2.4.0",
    "2.0.0.Beta1 2.0.0.CR1 2.0.0.Final 2.0.0.SP1",
    "2.0.0.M3 2.0.0.RC1 2.0.0.RELEASE",
    "7.4.0.GA 7.4.0.CP01",
    "1.0.1e-51.el7 1.0.1e-51.el7_2 1.0.1g",
    "3.1.1.3.1.0.0-78 3.1.1.3.1.5.0-152",
    "13.2-RELEASE 13.2-RELEASE-p4",
    "1.27.3-eks-a5565ad 1.27.3-eks-b5565ad",
    "2.3.4.BUILD-SNAPSHOT 2.3.4.RELEASE",
    "1.2.3-rc.1+k3s1 1.2.3+k3s1 1.2.4-rc1+k3s1",
    "1.2-20230101.123456-1 1.2",
    "8.0_191 8.0_202",
]


@pytest.mark.parametrize("order", [OPENSSL, JAVA, *map(str.split, VENDORS)])
def test_the_general_rule_calls_no_older_version_as_new(order: list[str]) -> None:
    """Java's 1.8.0 without an update is left out: nothing tells that it is not the 1.8.0 of any program."""
    for older, newer in itertools.combinations([version for version in order if version != "1.8.0"], 2):
        for left, right, wrong in ((older, newer, (0, 1)), (newer, older, (-1,))):
            try:
                assert SCHEMES["dotted"].place(left, right) not in wrong, (left, right)
            except ValueError:
                continue
