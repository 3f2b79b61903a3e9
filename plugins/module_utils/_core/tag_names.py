# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Keys of tags that are almost one that counts. People write tags by hand, and AWS compares them to the letter."""

from __future__ import annotations

import functools
import unicodedata

#: What a key is to the one that it resembles: the same but for case and separators, or one or two slips away.
SPELLING, TYPO = "spelling", "typo"
#: Keys shorter than the first have many neighbours that are words of their own; see _slips().
_SHORT, _LONG = 4, 7


def folded(text: str) -> str:
    """Return a text without what is easily overlooked: case, width, spaces, separators and unprintable characters."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())


@functools.lru_cache(maxsize=65536)
def resemblance(key: str, wanted: str) -> str:
    """Return SPELLING or TYPO where a key is likely meant to be another one, the empty string where not or it is it."""
    if key == wanted or key.startswith("aws:"):  # AWS's own, which nobody can misspell
        return ""
    one, other = folded(key), folded(wanted)
    if not one or not other:
        return ""
    if one == other:
        return SPELLING
    return TYPO if _slips(one, other) else ""


def _slips(one: str, other: str) -> bool:
    """Say whether two letters too many, too few or swapped, or one wrong letter, lie between two texts.

    Two wrong letters make another word: PatchRole is no PatchHold. Of a short key it takes less: Stage is no State.
    """
    most = 2 if len(other) >= _LONG else 1 if len(other) >= _SHORT and one[0] == other[0] else 0
    return abs(len(one) - len(other)) <= most and _distance(one, other) <= most


def _distance(one: str, other: str) -> int:
    """Count the letters to add, to leave out and to swap with their neighbours that make one text the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, row, second = row, [i], before
        for j, wanted in enumerate(other, 1):
            best = last[j - 1] if letter == wanted else 1 + min(last[j], row[j - 1])
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                best = min(best, second[j - 2] + 1)
            row.append(best)
        before = last
    return row[-1]
