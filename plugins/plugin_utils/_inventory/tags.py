# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""What tags say of a node, and which of them somebody meant otherwise.

A tag is written by hand. What is nearly the hold tag holds; whatever else is nearly right counts for nothing, and there
is a line that says so: nothing is guessed.
"""

from __future__ import annotations

import re
import typing as t
import unicodedata
from collections import Counter

from ansible_collections.patchwave.aws.plugins.module_utils._core.tag_names import SPELLING, resemblance
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import (
    PATCH_GROUP_TAGS,
    ManagedNode,
    Stray,
    like_patch_group,
)

from .notes import Notes, cut, shown

#: What the hold tag says where it does not hold. No other text does, the empty one included.
_NO = ("0", "false", "no", "off")
_DEFAULTS = {"hold": "PatchHold", "wave": "PatchWave"}
#: What people write before the number of a wave, as plain() leaves it.
_WAVE = re.compile(r"^(?:(?:patch_?)?wave[_.:#=]+|(?:(?:patch_?)?wave|w)(?=\d))")


class Tags:
    """Knows the keys of the tags that count."""

    def __init__(self, wave: str, hold: str) -> None:
        """Take the keys of the tags that name a wave and that hold."""
        self.wave, self.hold = wave, hold
        self._exact = {wave, hold, *PATCH_GROUP_TAGS}
        self._meant: dict[str, str] = {}

    def meant(self, key: str) -> str:
        """Return what a key is nearly that of, `hold`, `wave` or `group`; the empty string for any other."""
        if key not in self._meant:
            self._meant[key] = "" if key in self._exact else self._resembled(key)
        return self._meant[key]

    def _resembled(self, key: str) -> str:
        if resemblance(key, self.hold):
            return "hold"
        if resemblance(key, self.wave):
            return "wave"
        return "group" if like_patch_group(key) else ""

    def held(self, tags: dict[str, str]) -> bool:
        """Say whether a node with these tags is held: by the hold tag, or by one that is nearly it."""
        return any(holds(tags[key]) for key in tags if key == self.hold or self.meant(key) == "hold")


def holds(value: str) -> bool:
    """Say whether a hold tag with this value holds: with any but an explicit no."""
    return value.strip().lower() not in _NO


def look(nodes: list[ManagedNode], strays: list[Stray], tags: Tags, sanitize: t.Callable[[str], str]) -> Notes:
    """Say which tags of these nodes are not, or may not be, what was meant.

    Args:
        nodes: those in the inventory; of those out of scope nothing is said.
        strays: nodes out of scope with tags that are nearly a patch group's.
        tags: the keys that count.
        sanitize: makes a group name of any text. Two values that it makes one are not this function's business.
    """
    notes = Notes()
    nodes = [node for node in nodes if node.patch_group]
    odd = [(node, key, meant) for node in nodes for key in node.tags if (meant := tags.meant(key))]
    _look_at_options(notes, nodes, tags)
    for kind, say in (("hold", _say_hold), ("wave", _say_wave), ("group", _say_group)):
        for node, key, meant in odd:
            text = say(node, key, tags) if meant == kind else ""
            if text:
                notes.add(node.account, node.region, node.id, text)
    _look_at_strays(notes, strays)
    _look_at_groups(notes, nodes)
    values = _Values(f"tag {shown(tags.wave)}", _WAVE, lambda value: sanitize(f"wave_{value}"))
    values.look(notes, [(node, node.tags[tags.wave]) for node in nodes if tags.wave in node.tags])
    values = _Values("patch group", None, lambda value: sanitize(f"patch_group_{value}"))
    values.look(notes, [(node, node.patch_group) for node in nodes if node.patch_group])
    for node in nodes:
        if node.odd_address:
            text = f"address {shown(node.odd_address)} is none that a node may have; ansible_host is left out"
            notes.add(node.account, node.region, node.id, text)
    return notes


def _look_at_options(notes: Notes, nodes: list[ManagedNode], tags: Tags) -> None:
    """Say where an option names a tag that no node has, while nodes have one that is nearly it, or the usual one."""
    keys = Counter(key for node in nodes for key in node.tags)
    for kind, wanted in (("hold", tags.hold), ("wave", tags.wave)):
        near = [key for key in keys if tags.meant(key) == kind or key == _DEFAULTS[kind]]
        if near and wanted not in keys:
            found = " and ".join(f"{shown(key)} ({keys[key]})" for key in sorted(near)[:3])
            notes.add_general(
                f"{kind}_tag: no node has {shown(wanted)}, and some have {found}; mend the option or the tags"
            )


def _say_hold(node: ManagedNode, key: str, tags: Tags) -> str:
    if holds(node.tags[key]):
        return f"tag {shown(key)} is taken for the hold tag {shown(tags.hold)}: held; rename it or remove it"
    return f"tag {shown(key)} is not the hold tag {shown(tags.hold)} and does not hold; rename it or remove it"


def _say_wave(node: ManagedNode, key: str, tags: Tags) -> str:
    if not _counts(node, key, tags.wave):
        return ""
    return f"tag {shown(key)} is not the wave tag {shown(tags.wave)} and names no wave; rename it or remove it"


def _say_group(node: ManagedNode, key: str, tags: Tags) -> str:
    wanted = next((one for one in PATCH_GROUP_TAGS if one in node.tags), "")
    if not wanted or not _counts(node, key, wanted):
        return ""
    return f"tag {shown(key)} is not the patch-group tag {shown(wanted)} and counts for nothing; rename it or remove it"


def _counts(node: ManagedNode, key: str, wanted: str) -> bool:
    """Say whether a key is likely meant to be another one, of which the node has none or a different value.

    Beside the right tag one that only resembles it is most likely one of its own.
    """
    if wanted not in node.tags:
        return True
    return resemblance(key, wanted) == SPELLING and node.tags[key] != node.tags[wanted]


def _look_at_strays(notes: Notes, strays: list[Stray]) -> None:
    for stray in strays:
        for key in stray.tags:
            what = "has no value" if key in PATCH_GROUP_TAGS else f"is not {' or '.join(map(shown, PATCH_GROUP_TAGS))}"
            notes.add(*stray[1:3], stray.id, f"tag {shown(key)} {what}: out of scope; mend it or remove it")


def _look_at_groups(notes: Notes, nodes: list[ManagedNode]) -> None:
    for node in nodes:
        first, *more = [node.tags[key] for key in PATCH_GROUP_TAGS if key in node.tags] or [""]
        if more and more != [first]:
            both = " and ".join(f"{shown(key)} ({shown(node.tags[key])})" for key in PATCH_GROUP_TAGS)
            text = f"tags {both} differ: in the patch group {shown(node.patch_group)}; keep one of them"
            notes.add(node.account, node.region, node.id, text)


def plain(value: str) -> str:
    """Return a value without case, width, unprintable characters, and what kind of space is between its words."""
    text = unicodedata.normalize("NFKC", value).casefold()
    text = "".join(letter for letter in text if letter.isprintable() or letter.isspace())
    return re.sub(r"[\s_-]+", "_", text).strip("_.:#")


class _Values(t.NamedTuple):
    """Values that make groups: what they are values of, what some have before a number, and which group one makes."""

    what: str
    prefix: re.Pattern[str] | None
    group: t.Callable[[str], str]

    def look(self, notes: Notes, found: list[tuple[ManagedNode, str]]) -> None:
        """Say which values are nearly another one that more nodes have, or make a group that nobody would name."""
        texts = self._texts(Counter(value for dummy, value in found))
        for node, value in found:
            if value in texts:
                notes.add(node.account, node.region, node.id, texts[value])

    def _texts(self, count: t.Mapping[str, int]) -> dict[str, str]:
        usual: dict[str, str] = {}
        for value in sorted(count, key=lambda value: (-count[value], value != self.plainly(value), value)):
            usual.setdefault(self.plainly(value), value)
        prefixed = {value for value in count if self.prefix and self.prefix.match(plain(value))}
        texts = {}
        for value in count:
            best, group = usual[self.plainly(value)], self.group(value)
            odd = value != value.strip() or not value.isprintable()
            if not value.strip():
                texts[value] = f"{self.what} has no value: in no group by it; mend it or remove it"
            elif self.group(best) != group:
                texts[value] = (
                    f"{self.what} is {shown(value)}: in the group {cut(group)}, not in that of {shown(best)}; mend it"
                )
            elif odd or (value in prefixed and len(prefixed) < len(count)):
                texts[value] = f"{self.what} is {shown(value)}: in the group {cut(group)}; mend it"
        return texts

    def plainly(self, value: str) -> str:
        """Return the value as plain() does, and without the prefix and zeros before a number."""
        text = plain(value)
        return re.sub(r"^0+(?=\d)", "", self.prefix.sub("", text, count=1)) if self.prefix else text
