# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Make text from machines safe to show: printable, short and without secrets."""

from __future__ import annotations

import contextlib
import json
import typing as t
import urllib.parse

#: Largest result in bytes of JSON; the rest of 2,000 is for the arguments, the diff and what Ansible adds.
RESULT_BYTES = 1500


def tidy(text: str, limit: int = 200) -> str:
    """Return C(text) on one line, with only printable characters, cut to C(limit) characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: limit * 8]).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def some(items: t.Sequence[str], most: int = 3) -> str:
    """Name the first of many, and how many more there are."""
    more = " and {0} more".format(len(items) - most) if len(items) > most else ""
    return ", ".join(tidy(item, 120) for item in items[:most]) + more


def label(text: str, limit: int) -> str:
    """Return C(text) if it has at most C(limit) characters as ASCII with escapes, otherwise so much of that."""
    text = str(text)  # a definition may have anything for a name
    plain = ascii(text)[1:-1]
    return text if len(plain) <= limit and text.isprintable() else tidy(plain, limit)


def scrubber(*urls: str) -> t.Callable[[str], str]:
    """Return a function that hides C(urls) in a text, and alone their user part and their query (the signature)."""
    secrets = []  # type: t.List[str]
    for url in urls:
        secrets += [url, urllib.parse.unquote(url)]
        with contextlib.suppress(ValueError):
            parts = urllib.parse.urlsplit(url)
            values = [value for key, value in urllib.parse.parse_qsl(parts.query) if len(value) >= 8]
            secrets += [parts.query, parts.password or "", *values]
    hidden = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def scrub(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, "********")
        return text

    return scrub


def urls_in(value: t.Any, key: str = "") -> t.List[str]:
    """Return every URL in a definition: values of the keys that hold one, at any depth."""
    if isinstance(value, dict):
        return [url for name, inner in value.items() for url in urls_in(inner, name)]
    if isinstance(value, list):
        return [url for inner in value for url in urls_in(inner, key)]
    return [value] if isinstance(value, str) and key in ("url", "mirrors", "proxy") else []


def size(result: t.Dict[str, t.Any]) -> int:
    """Return the bytes of a result as JSON."""
    return len(json.dumps(result))


def fit(result: t.Dict[str, t.Any], limit: int = RESULT_BYTES) -> t.Dict[str, t.Any]:
    """Shorten C(result["msg"]) until the result is at most C(limit) bytes as JSON."""
    excess = size(result) - limit
    while excess > 0 and len(result["msg"]) > 20:
        kept = max(20, len(result["msg"]) - max(excess // 6, 8))
        result = dict(result, msg=tidy(result["msg"], kept))
        excess = size(result) - limit
    return result
