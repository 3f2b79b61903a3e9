# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Compare version numbers of third-party programs.

One rule for all programs, chosen so that doubt says "older", which patches a node instead of passing it over:

* numbers compare as numbers (1.10 > 1.9); missing trailing numbers are zero (1.2 == 1.2.0)
* a leading C(v) and everything from C(+) on (build metadata) do not count
* words of a version that is not out yet sort before it: dev, alpha, beta, milestone, preview, rc (and a1, b1, c1, m1);
  so does any word not known here, such as C(-nightly)
* words of a correction sort after it: p, patch, post, sp, hotfix, fix, r, rev, u, update (9.8p1 > 9.8)
* a single letter without a number is a correction too: OpenSSL 1.1.1w > 1.1.1, tmux 3.3a > 3.3
* final, ga, release, lts and stable say nothing; C(~) sorts before the end, as in Debian
"""

from __future__ import annotations

import re
import typing as t

#: What a probe looks for when its definition has no pattern: a dotted number, then a pre-release mark or letter.
DEFAULT_PATTERN = (
    r"(?<![\d.])(\d+(?:\.\d+)+(?:[-.~]?(?:dev|alpha|beta|preview|pre|rc|a|b|c|m|p)[-.]?\d+|[-.~]?(?:dev|alpha|beta|rc)"
    r"|[a-z]{1}(?![0-9A-Za-z]))?)"
)
#: Longest version that is taken for one, in characters.
MAX_LENGTH = 64

#: What a version of any program may look like; it is safe as the name of a file.
SHAPE = re.compile(r"[vV]?[0-9][0-9A-Za-z.~_-]*(\+[0-9A-Za-z.+~_-]*)?\Z")
_TOKEN = re.compile(r"[0-9]+|[A-Za-z]+|~")
_PRE = {
    "dev": 1,
    "snapshot": 1,
    "nightly": 1,
    "a": 2,
    "alpha": 2,
    "b": 3,
    "beta": 3,
    "m": 4,
    "milestone": 4,
    "pre": 5,
    "preview": 5,
    "c": 6,
    "cr": 6,
    "rc": 6,
}
_POST = frozenset(("p", "patch", "post", "sp", "hotfix", "fix", "r", "rev", "u", "update"))
_SILENT = frozenset(("final", "ga", "release", "lts", "stable"))

# Classes of a part behind the leading numbers. Their order is the order of versions.
_BEFORE, _END, _AFTER, _NUMBER, _WORD = -1, 0, 1, 2, 3

Part = t.Tuple[int, int, str]
Key = t.Tuple[t.Tuple[int, ...], t.Tuple[Part, ...]]


def is_version(text: t.Any) -> bool:
    """Tell whether C(text) is a version this module can compare (at most 64 characters, safe as a file name)."""
    return isinstance(text, str) and len(text) <= MAX_LENGTH and SHAPE.match(text) is not None


def sort_key(version: str) -> Key:
    """Return a key for C(sorted) and C(max); equal versions have equal keys.

    Raises:
        ValueError: not a version, see is_version().
    """
    if not is_version(version):
        raise ValueError("not a version: {0!r}".format(version))
    tokens = _TOKEN.findall(version.lstrip("vV").split("+", 1)[0].lower())
    length = next((index for index, token in enumerate(tokens) if not token.isdigit()), len(tokens))
    numbers = [int(token) for token in tokens[:length]]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), _suffix(tokens[length:])


def compare(left: str, right: str) -> int:
    """Return -1, 0 or 1 when C(left) is older than, the same as or newer than C(right).

    Raises:
        ValueError: one of them is not a version.
    """
    left_key, right_key = sort_key(left), sort_key(right)
    return (left_key > right_key) - (left_key < right_key)


def _suffix(tokens: t.Sequence[str]) -> t.Tuple[Part, ...]:
    parts = []  # type: t.List[Part]
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        if token.isdigit():
            parts.append((_NUMBER, int(token), ""))
        elif token not in _SILENT:
            parts.append(_word(token, following.isdigit(), _BEFORE in [part[0] for part in parts], bool(parts)))
    parts.append((_END, 0, ""))
    return tuple(parts)


def _word(token: str, numbered: bool, prerelease: bool, inner: bool) -> Part:
    """Place one word: C(prerelease) and C(inner) say what stands before it in the suffix."""
    if token == "~":
        return (_BEFORE, -1, "")
    if token == "dev":
        return (_BEFORE, _PRE[token], "")
    if prerelease:
        return (_WORD, 0, token)  # as in semver: alpha < alpha.1 < alpha.beta
    if token in _POST or (len(token) == 1 and (inner or not (numbered and token in _PRE))):
        return (_AFTER, 0, "" if token in _POST else token)
    return (_BEFORE, _PRE.get(token, 0), "" if token in _PRE else token)
