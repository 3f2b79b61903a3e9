# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Read a version out of what a probe prints."""

from __future__ import annotations

import re
import typing as t

from . import versions

_APART = "|".join(sorted(versions.PRE_WORDS | {"candidate", "prerelease", "development", "unstable", "canary"}))
#: What belongs to the version and stands before it: a pre-release, such as "beta 1.2", or a number, such as "3-1.2".
_BEFORE = re.compile(
    r"(?:(?<![a-z])(?:{0})[0-9]*[ \t:_-]+[a-z]?|(?<![a-z0-9])[0-9]+[:!~^_+-]+)\Z".format(_APART), re.IGNORECASE
)
#: A mark behind the version, such as "1.2 RC1", "9.2 (SP1)" and "10.1 M17".
_BEHIND = re.compile(
    r"[ \t,;:/|]+[(\[{{\"']?(?:(?:{0}|{1}|patched)[-. ]?[0-9]*|[abcmpru][0-9]{{1,3}})(?![a-z0-9])".format(
        _APART, "|".join(sorted(versions.POST_WORDS))
    ),
    re.IGNORECASE,
)
#: How many versions are enough to say that there are several.
_SHOWN = 3
#: What may end the word of a version.
_END = re.compile(r"\Z|[\s,;)\]}>|/\"'`*\x00-\x1f]|[.:!?+~^-]+(?:\s|\Z)")


def read(text: str, pattern: str) -> t.Optional[str]:
    """Return the version in C(text), or None when there is none.

    A pattern of a definition's own says which version counts: the first that it matches. The default pattern takes
    whole words, and one version must be all there is.

    Raises:
        ValueError: the default pattern finds several versions, or cannot tell where one ends; the message says which.
    """
    if pattern != versions.DEFAULT_PATTERN:
        match = re.search(pattern, text)
        return match.group(1) if match else None
    found = {}  # type: t.Dict[str, None]
    for match in re.finditer(pattern, text):
        word, end = match.group(1), match.end()
        before = text[max(0, match.start() - 80) : match.start()]
        if not _END.match(text, end) or _BEHIND.match(text, end) or _BEFORE.search(before):
            around = (before[-12:].rpartition("\n")[2] + word + text[end : end + 12].partition("\n")[0]).strip()
            raise ValueError("cannot tell which version '{0}' means".format(around))
        found[word] = None
        if len(found) == _SHOWN:
            break
    if len(found) > 1:
        raise ValueError("cannot tell which is the version: {0}".format(" or ".join(found)))
    return next(iter(found), None)
