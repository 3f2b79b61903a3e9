# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Compare version numbers of third-party programs: the rule C(dotted).

What the rule cannot place is refused (Unplaced), never ordered: a guess would leave a vulnerable node alone.

* numbers compare as numbers (1.10 > 1.9); missing trailing numbers are zero (1.2 == 1.2.0); a leading C(v) says nothing
* words of a version that is not out yet sort before it: dev, snapshot, nightly, alpha, beta, milestone, preview, rc
  (and a1, b1, c1, m1); C(~) does so too before a number or such a word
* words of a correction sort after it: p, patch, r, rev, u, update, sp, sr, fp, cu, hotfix, fix, if, ifix, post
  (9.8p1 > 9.8);
  corrections of two different words are not ordered
* a single letter without a number is a correction too: 1.1.1u > 1.1.1t > 1.1.1, tmux 3.3a > 3.3
* final, ga, release, lts and stable say nothing
* what follows C(+), and the mark of a vendor or platform (C(.redhat-00002), C(.windows.1), C(.v20230217), C(.jre7),
  C(-linux-amd64)),
  is a build of the version. A version given without one stands for all its builds. Two builds are ordered when only
  their last number differs (+k3s1 < +k3s2, +9 < +9.1), builds for two platforms never
* a number behind a hyphen or underscore is a revision or, in other rules, a pre-release: it is ordered among its like
  alone (7.1.1-9 < 7.1.1-15)
* any other word is unknown. It does no harm where the numbers before it decide (2.39.2.foo < 2.40)
"""

from __future__ import annotations

import itertools
import re
import typing as t

#: What a probe looks for when its definition has no pattern: each word that begins with a dotted number, as a whole.
DEFAULT_PATTERN = r"(?<![0-9.])((?:[0-9]{1,9}[:!])?[0-9]+(?:\.[0-9]+)+(?:[\w.+~^-]*\w)?)"
#: Longest version that is taken for one, in characters.
MAX_LENGTH = 64

#: What a version of any program may look like; it is safe as the name of a file.
SHAPE = re.compile(r"[vV]?[0-9][0-9A-Za-z.~_-]*(\+[0-9A-Za-z.+~_-]*)?\Z")
_TOKEN = re.compile(r"([-._]*)([0-9]+|[A-Za-z]+|~)")
_PRE = {
    "dev": 1,
    "a": 2,
    "alpha": 2,
    "b": 3,
    "beta": 3,
    "m": 4,
    "milestone": 4,
    "c": 6,
    "cr": 6,
    "rc": 6,
    # Ranks from here on sort before the release, and in no order among the others.
    "pre": 11,
    "preview": 11,
    "snapshot": 12,
    "nightly": 13,
    "ea": 14,
}
_UNORDERED_RANK = 10
_TILDE_RANK = 20
#: Words that stand before whatever they follow, also before a pre-release.
_MAKING = ("dev", "snapshot", "nightly")
#: Words of a correction; those with the same value are spellings of one.
_POST = {
    "p": "p",
    "patch": "p",
    "r": "r",
    "rev": "r",
    "u": "u",
    "update": "u",
    "if": "if",
    "ifix": "if",
    **{word: word for word in ("sp", "sr", "fp", "cu", "fix", "hotfix", "post")},
}
_SILENT = frozenset(("final", "ga", "release", "lts", "stable"))
#: Words that say which version it is also where they stand apart from it: "1.2 RC1", "beta 1.2".
PRE_WORDS = frozenset(word for word in _PRE if len(word) > 1)
POST_WORDS = frozenset(word for word in _POST if len(word) > 1) - {"fix", "if"}

_PLATFORMS = "jre|jdk|android|linux|darwin|macos|x86|x64|amd64|arm64|aarch64|armv7|i[3-6]86|noarch"
_LABEL = re.compile(r"(?<=[0-9a-z])[-._](?:redhat|windows|gke|v(?=20[0-9]{6})|" + _PLATFORMS + r")(?![a-z])")
_PLATFORM = re.compile(r"(?:{0})(?![a-z])".format(_PLATFORMS))
_BETWEEN = r"[-.+_]"
#: The last part of a build that has an order: a small number, or a date; not the digits of a checksum.
_ORDERED = re.compile(r"(.*[a-z])?([0-9]{1,6}|20[0-9]{6}(?:[0-9]{4}|[0-9]{6})?)\Z")
#: Java's own writing of versions before 9, which has one order with others in the rule java alone.
_OLD_JAVA = re.compile(r"[0-9]u[0-9]+|1\.[4-9]\.0_[0-9]+")
_JAVA_9 = 9

# Classes of a part. BEFORE, END and AFTER sort in this order.
_BEFORE, _END, _AFTER, _LETTER, _NUMBER, _WORD, _REVISION, _DOTTED, _UNKNOWN = range(-1, 8)

Part = t.Tuple[int, int, str]


class Unplaced(ValueError):
    """Two versions that a rule cannot put in order; the message says why."""


class _Version(t.NamedTuple):
    """A version taken apart: its numbers, the parts behind them, and its build."""

    numbers: t.Tuple[int, ...]
    parts: t.Tuple[Part, ...]
    build: str
    old_java: str


def is_version(text: t.Any) -> bool:
    """Tell whether C(text) may be a version (at most 64 characters, safe as a file name)."""
    return isinstance(text, str) and len(text) <= MAX_LENGTH and SHAPE.match(text) is not None


def compare(left: str, right: str) -> int:
    """Return -1, 0 or 1 when C(left) is older than, the same as or newer than C(right).

    C(right) is the one that may stand for all its builds: 1.2+b1 against 1.2 is 0, 1.2 against 1.2+b1 is refused.

    Raises:
        Unplaced: this rule has no order for the two.
        ValueError: one of them is not a version.
    """
    ours, theirs = _parse(left), _parse(right)
    if left == right:
        return 0
    try:
        return _compare(ours, theirs)
    except Unplaced as error:
        raise Unplaced("{0} and {1} have no order: {2}".format(left, right, error)) from None


def vague(version: str) -> str:
    """Say why C(version) is no good bound for others; empty when it is one."""
    parsed = _parse(version)
    unknown = [part[2] for part in parsed.parts if part[0] == _UNKNOWN]
    if unknown:
        return "'{0}' is no word that the rule dotted knows".format(unknown[0])
    if parsed.build and not _PLATFORM.match(parsed.build) and not _ORDERED.match(re.split(_BETWEEN, parsed.build)[-1]):
        return "the rule dotted has no order for builds like '{0}'".format(parsed.build)
    return ""


def _compare(ours: _Version, theirs: _Version) -> int:
    for old, other in ((ours, theirs), (theirs, ours)):
        if old.old_java and old.numbers[0] != other.numbers[0] < _JAVA_9:
            raise Unplaced("{0} looks like Java's, whose rule is java".format(old.old_java))
    common = min(len(ours.numbers), len(theirs.numbers))
    if ours.numbers[:common] != theirs.numbers[:common]:
        return _sign(ours.numbers[:common], theirs.numbers[:common])
    for part in itertools.zip_longest(_tail(ours, common), _tail(theirs, common), fillvalue=(_END, 0, "")):
        order = _order(*part)
        if order:
            return order
    return _compare_builds(ours.build, theirs.build)


def _tail(version: _Version, common: int) -> t.List[Part]:
    """Return the parts behind the first C(common) numbers; zeros at the end of the numbers say nothing."""
    numbers = list(version.numbers[common:])
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return [*((_DOTTED, number, "") for number in numbers), *version.parts]


def _order(our: Part, their: Part) -> int:
    """Compare two parts at the same position; raise Unplaced where they have no order."""
    if our == their:
        return 0
    for part in (our, their):
        if part[0] == _UNKNOWN:
            raise Unplaced("'{0}' is no word that the rule dotted knows".format(part[2]))
    kinds = our[0], their[0]
    if kinds[0] == kinds[1]:
        if not _alike(our, their):
            what = "two kinds of pre-release" if our[0] == _BEFORE else "corrections '{0}' and '{1}'"
            raise Unplaced(what.format(our[2], their[2]))
        return _sign(our, their)
    if _REVISION in kinds:
        raise Unplaced("a number behind a hyphen or underscore may be a revision or a pre-release")
    if min(kinds) > _END and set(kinds) != {_NUMBER, _WORD}:
        raise Unplaced("they are written in different ways")
    return _sign(*kinds)


def _alike(our: Part, their: Part) -> bool:
    """Tell whether two parts of one class have an order."""
    if our[0] == _BEFORE:
        return our[1] == their[1] or max(our[1], their[1]) < _UNORDERED_RANK
    return our[0] != _AFTER


def _compare_builds(ours: str, theirs: str) -> int:
    """Compare two builds of one version; C(theirs) stands for any when it is empty."""
    if ours == theirs:
        return 0
    words = re.findall(r"[a-z]+", ours + " " + theirs)
    if not theirs and not any(word in _PRE and len(word) > 1 for word in words):
        return 0
    if not ours:
        raise Unplaced("only one says which build it is ({0})".format(theirs))
    if not theirs or _PLATFORM.match(ours) or _PLATFORM.match(theirs):
        raise Unplaced("build '{0}' against {1}".format(ours, repr(theirs) if theirs else "none"))
    for our, their in itertools.zip_longest(re.split(_BETWEEN, ours), re.split(_BETWEEN, theirs), fillvalue="0"):
        if our == their:
            continue
        one, other = _ORDERED.match(our), _ORDERED.match(their)
        if one is None or other is None or one.group(1) != other.group(1):
            raise Unplaced("build '{0}' against '{1}'".format(ours, theirs))
        if int(one.group(2)) != int(other.group(2)):
            return _sign(int(one.group(2)), int(other.group(2)))
    return 0


def _parse(version: str) -> _Version:
    if not is_version(version):
        raise ValueError("not a version: {0!r}".format(version))
    body, dummy, build = version.lstrip("vV").lower().partition("+")
    label = _LABEL.search(body)
    if label:
        body, build = body[: label.start()], body[label.start() + 1 :] + ("+" + build if build else "")
    tokens = _TOKEN.findall(body)
    length = 1
    while length < len(tokens) and tokens[length][0] == "." and tokens[length][1].isdigit():
        length += 1
    old_java = _OLD_JAVA.match(body)
    numbers = tuple(int(token) for dummy, token in tokens[:length])
    return _Version(numbers, _suffix(tokens[length:]), build, old_java.group(0) if old_java else "")


def _suffix(tokens: t.Sequence[t.Tuple[str, str]]) -> t.Tuple[Part, ...]:
    """Return the parts behind the numbers of a version; from the first unknown word on all is one part."""
    parts = []  # type: t.List[Part]
    before = ""
    for index, (separator, token) in enumerate(tokens):
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        if token.isdigit():
            parts.append(_number(separator, token, before))
        elif token == "~":
            if following not in _PRE:  # else 1.0~rc1 is 1.0rc1
                parts.append((_BEFORE if following.isdigit() else _UNKNOWN, _TILDE_RANK, token))
        elif token not in _SILENT:
            parts.append(_word(separator, token, following.isdigit(), parts))
        if parts and parts[-1][0] == _UNKNOWN:
            rest = "".join(itertools.chain.from_iterable(tokens[index:])).lstrip("-._")
            return (*parts[:-1], (_UNKNOWN, 0, rest))
        before = token
    return tuple(parts)


def _number(separator: str, token: str, before: str) -> Part:
    """Place one number: it belongs to the word or number before it, or is a revision."""
    belongs = before == "~" or (before.isalpha() and before not in _SILENT) or (before.isdigit() and separator == ".")
    return (_NUMBER if belongs else _REVISION, int(token), "")


def _word(separator: str, token: str, numbered: bool, parts: t.Sequence[Part]) -> Part:
    """Place one word; C(parts) stand before it in the suffix."""
    if token in _MAKING:
        return (_BEFORE, _PRE[token], "")
    if any(part[0] == _BEFORE for part in parts):  # as in semver: alpha < alpha.1 < alpha.beta
        return (_WORD if token in _PRE or token in _POST else _UNKNOWN, 0, token)
    if len(token) == 1 and not numbered:
        return (_UNKNOWN if separator or parts else _LETTER, 0, token)
    if token in _POST:
        return (_AFTER, 0, _POST[token])
    if token in _PRE and not (len(token) == 1 and parts):  # the b of 1.8.0_202-b08 is a build
        return (_BEFORE, _PRE[token], "")
    return (_UNKNOWN, 0, token)


def _sign(left: t.Any, right: t.Any) -> int:
    return int(left > right) - int(left < right)
