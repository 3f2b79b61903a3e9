# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Compare versions of programs that count in a way of their own.

* C(openssl): 1.0.2u < 1.0.2za, 1.1.1t < 1.1.1u, 3.0.0-alpha1 < 3.0.0-beta1 < 3.0.0; C(-fips) says nothing
* C(java): 8u202 and 1.8.0_202 are one version, 8u202-b08 a build of it, as 11.0.2+9 and 11.0.2+9.1 are of 11.0.2

A Java version that is given without a build stands for all its builds.
"""

from __future__ import annotations

import re
import typing as t

from .versions import Unplaced

#: Letters go a to z, then za to zz; there are none from OpenSSL 3 on.
OPENSSL = re.compile(
    r"v?(?:([01])\.(\d+)\.(\d+)(z*[a-y]|z+)?|([2-9]|\d\d)\.(\d+)\.(\d+))(?:-(dev|alpha|beta|pre)(\d*))?(?:-fips)?\Z",
    re.ASCII,
)
_OPENSSL_BEFORE = {"dev": 0, "alpha": 1, "beta": 2, "pre": 3}

_JAVA_BUILD = r"(?P<{0}build>\d+(?:\.\d+)*)(?:-(?!ea\b|internal\b|beta)[0-9A-Za-z][0-9A-Za-z.-]*)?"
#: Up to Java 8 there is no third number but 0, and the fourth is the update; 8.0.202 is 8u202. Some vendors write other
#: numbers there (8.392.08.1, 8.0.2020.8): those have no order with these.
JAVA = re.compile(
    r"(?:jdk-?|v)?(?:"
    r"(?:1\.(?P<legacy>[4-8])\.0(?:_(?P<legacy_update>\d+))?"
    r"|(?P<short>[4-8])(?:u(?P<short_update>\d+)|\.0\.(?P<dotted>\d{1,3}))?)"
    r"(?:-(?P<old_pre>ea|internal|beta))?(?:(?:-b|\+)" + _JAVA_BUILD.format("old_") + r")?"
    r"|(?P<new>(?:9|[1-9]\d{1,2})(?:\.\d+){0,5})"
    r"(?:-(?P<pre>ea|internal|beta))?(?:\+" + _JAVA_BUILD.format("") + r")?"
    r")(?:-LTS|-ga)?\Z",
    re.ASCII,
)
#: A fourth number is a patch of Java's own, but with a fifth it is a vendor's build (Corretto's 11.0.20.8.1).
_VENDOR_NUMBERS = 5
_COMMON_NUMBERS = 3


def compare_openssl(left: str, right: str) -> int:
    """Compare as OpenSSL counts its releases.

    Raises:
        ValueError: one of them is no version of OpenSSL.
    """
    ours, theirs = _openssl_key(left), _openssl_key(right)
    return int(ours > theirs) - int(ours < theirs)


def _openssl_key(version: str) -> t.Tuple[t.Tuple[int, ...], str, int, int]:
    match = OPENSSL.match(version)
    if match is None:
        raise ValueError("not a version of OpenSSL: {0!r}".format(version))
    numbers = tuple(int(number) for number in match.group(1, 2, 3, 5, 6, 7) if number)
    return numbers, match.group(4) or "", _OPENSSL_BEFORE.get(match.group(8), 9), int(match.group(9) or 0)


class _Java(t.NamedTuple):
    numbers: t.Tuple[int, ...]
    pre: str
    build: t.Tuple[int, ...]


def compare_java(left: str, right: str) -> int:
    """Compare as Java counts; C(right) stands for all its builds when it has none.

    Raises:
        Unplaced: the two have no order.
        ValueError: one of them is no version of Java.
    """
    ours, theirs = _java(left), _java(right)
    try:
        return _compare_java(ours, theirs)
    except Unplaced as error:
        raise Unplaced("{0} and {1} have no order: {2}".format(left, right, error)) from None


def _compare_java(ours: _Java, theirs: _Java) -> int:
    lengths = {len(ours.numbers) >= _VENDOR_NUMBERS, len(theirs.numbers) >= _VENDOR_NUMBERS}
    if len(lengths) > 1 and ours.numbers[:_COMMON_NUMBERS] == theirs.numbers[:_COMMON_NUMBERS]:
        raise Unplaced("one has a vendor's numbers")
    left, right = _plain(ours.numbers), _plain(theirs.numbers)
    if left != right:
        return 1 if left > right else -1
    if ours.pre != theirs.pre:
        if ours.pre and theirs.pre:
            raise Unplaced("two kinds of pre-release")
        return -1 if ours.pre else 1
    if not theirs.build or ours.build == theirs.build:
        return 0
    if not ours.build:
        raise Unplaced("only one says which build it is")
    return 1 if ours.build > theirs.build else -1


def _java(version: str) -> _Java:
    match = JAVA.match(version)
    if match is None:
        raise ValueError("not a version of Java: {0!r}".format(version))
    part = match.groupdict()
    if part["new"]:
        numbers = tuple(int(number) for number in part["new"].split("."))
    else:
        update = part["legacy_update"] or part["short_update"] or part["dotted"] or 0
        numbers = (int(part["legacy"] or part["short"]), 0, int(update))
    build = part["build"] or part["old_build"] or ""
    return _Java(
        numbers, part["pre"] or part["old_pre"] or "", _plain(int(number) for number in build.split(".") if number)
    )


def _plain(numbers: t.Iterable[int]) -> t.Tuple[int, ...]:
    """Return numbers without zeros at their end, which say nothing."""
    kept = list(numbers)
    while kept and kept[-1] == 0:
        kept.pop()
    return tuple(kept)
