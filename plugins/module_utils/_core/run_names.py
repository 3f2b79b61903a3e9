# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The name of a rollout where a stop finds it again: in the comments of its commands and in the keys of its objects."""

from __future__ import annotations

import hashlib
import re

#: Stands for every rollout.
ALL = "all"
#: What the comment of every command begins with.
_MARK = "patchwave "
#: A comment as a whole: what it ends with is of each sending.
_COMMENT = re.compile(re.escape(_MARK) + r"([A-Za-z0-9_][A-Za-z0-9_.-]*) [0-9a-f]{12}", re.ASCII)
#: Characters of a name. SendCommand's comment takes 100 (botocore's model, ssm 2014-11-06).
_LONGEST = 60


def run_name(text: str) -> str:
    """Return what a user calls a rollout as a name for comments and keys."""
    return short(text, _LONGEST, 12)


def short(text: str, longest: int, digits: int) -> str:
    """Return a name of letters, digits, C(.), C(_) and C(-); an odd or long one ends in its hash.

    Args:
        text: the name that a user gave.
        longest: the maximum number of characters.
        digits: the number of digits of a hash.
    """
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text) and len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    start = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[: longest - 1 - len(digest)]
    return f"{start}-{digest}".lstrip("-")


def comment(name: str) -> str:
    """Return what the comment of each of a rollout's commands begins with, before a space."""
    return f"{_MARK}{name}"


def is_of(text: str, name: str) -> bool:
    """Say whether a command with this comment belongs to the rollout."""
    match = _COMMENT.fullmatch(text)
    return match is not None and name in (ALL, match[1])


def folder(prefix: str, name: str) -> str:
    """Return what the keys of a rollout's objects begin with; without them no node begins."""
    return f"{prefix}run/" if name == ALL else f"{prefix}run/{name}/"


def kept(prefix: str) -> str:
    """Return what the keys of payloads begin with that stay for other batches."""
    return f"{prefix}kept/"


def stops(prefix: str) -> str:
    """Return what the keys of all stop marks begin with."""
    return f"{prefix}stop/"


def stop_mark(prefix: str, name: str) -> str:
    """Return the key of the object that stops a rollout for as long as it is there."""
    return stops(prefix) + name
