# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Judge the members of an archive before the first one is written.

A member's path stays in the tree and never leads through another member that is a link. Links are followed as the
kernel would, in the tree as it will be, and must end in it. So no link leads outside, alone or through others.
"""

from __future__ import annotations

import fnmatch
import os
import typing as t

from .archive_readers import Member, Reader
from .errors import PatchError
from .text import tidy
from .unpacked import Deadline

_MAX_NAME = 255
_MAX_PATH = 3000
#: How deep folders may lie in each other; who removes a tree goes down by recursion.
MAX_DEPTH = 128
_MAX_HOPS = 40
_MAX_STEPS = 4096


class Places(t.NamedTuple):
    """Where absolute links may lead.

    Attributes:
        inside: paths that the tree will have on the node.
        outside: globs of other paths that the definition allows.
    """

    inside: t.Tuple[str, ...] = ()
    outside: t.Tuple[str, ...] = ()


def unsafe(what: str, path: str) -> PatchError:
    """Return the refusal of an archive for what is at a path in it."""
    return PatchError(
        "unsafe_archive", "refused the archive: {0} ({1}); check where it comes from".format(what, tidy(path, 80))
    )


def judge(
    reader: Reader, strip: int, archive_bytes: int, limits: t.Any, places: Places, deadline: Deadline
) -> t.List[Member]:
    """Return the members to write, in the order to write them; of two with one path the later replaces the other."""
    tree = _Tree(places, deadline)
    kept = []  # type: t.List[Member]
    total = names = 0
    most = min(limits.tree_bytes, max(limits.ratio_floor, limits.ratio * archive_bytes))
    for count, raw in enumerate(reader.members(), 1):
        total += raw.size
        names += len(raw.path) + len(raw.target)
        if count > limits.members or total > most or names > limits.name_bytes:
            raise unsafe("it unpacks to more than is sane", raw.path)
        deadline.check()
        member = tree.place(raw, strip)
        if member is not None:
            kept.append(member)
    tree.check_links()
    if not any(member.kind == "file" for member in kept):
        raise PatchError(
            "bad_archive", "no file is left in the archive after strip={0}; check archive.strip".format(strip)
        )
    return kept


class _Tree:
    """What the tree holds so far: the kind of each path, and the target of each link."""

    def __init__(self, places: Places, deadline: Deadline) -> None:
        self._places = places
        self._deadline = deadline
        self._kinds = {}  # type: t.Dict[str, str]
        self._links = {}  # type: t.Dict[str, str]

    def place(self, raw: Member, strip: int) -> t.Optional[Member]:
        """Return a member as it is written, or None if there is nothing to write."""
        parts = _parts(raw.path, raw.path)[strip:]
        if not parts:
            return None
        member = raw._replace(path="/".join(parts))
        if member.kind == "device":
            raise unsafe("neither file, folder nor link", raw.path)
        if member.kind == "link" and (not member.target or not _is_name(member.target, _MAX_STEPS)):
            raise unsafe("a link to no path", raw.path)
        if member.kind == "hardlink":
            member = self._hard_link(member._replace(target="/".join(_parts(raw.target, raw.path)[strip:])))
            if member.target == member.path:
                return None
        self._enter(member, parts)
        return member

    def _hard_link(self, member: Member) -> Member:
        """Return a hard link as it is written: to a file before it, or the same link once more."""
        kind = self._kinds.get(member.target)
        if kind == "link":
            return member._replace(kind="link", target=self._links[member.target])
        if kind != "file":
            raise unsafe("a hard link to no file before it", member.path)
        return member

    def _enter(self, member: Member, parts: t.Sequence[str]) -> None:
        for depth in range(1, len(parts)):
            if self._kinds.setdefault("/".join(parts[:depth]), "dir") != "dir":
                raise unsafe("a path through another member that is no folder", member.path)
        kind = "file" if member.kind == "hardlink" else member.kind
        before = self._kinds.get(member.path, kind)
        if (before == "dir") != (kind == "dir"):
            raise unsafe("a folder and something else of the same path", member.path)
        self._kinds[member.path] = kind
        self._links.pop(member.path, None)
        if kind == "link":
            self._links[member.path] = member.target

    # -- where links lead ----------------------------------------------------------------------------------------

    def check_links(self) -> None:
        """Refuse a link that leads outside in the tree as it is at the end."""
        for path, target in self._links.items():
            self._deadline.check()
            self._follow(path, target)

    def _follow(self, path: str, target: str) -> None:
        here, todo, hops = path.split("/")[:-1], [], 0  # type: t.List[str], t.List[str], int
        link = target  # type: t.Optional[str]
        for dummy in range(_MAX_STEPS):
            if link is not None:
                hops += 1
                steps = self._steps(link, path)
                if steps is None:  # to a place outside that is allowed
                    if ".." in todo:
                        raise unsafe("a link that may lead outside", path)
                    return
                here = [] if link.startswith("/") else here
                todo += steps[::-1]
                link = None
            elif not todo:
                return
            elif todo[-1] == "..":
                todo.pop()
                if not here:
                    raise unsafe("a link that leads outside, to {0}".format(tidy(target, 80)), path)
                here.pop()
            else:
                here.append(todo.pop())
                link = self._links.get("/".join(here))
                here = here if link is None else here[:-1]
            if hops > _MAX_HOPS:
                break
        raise unsafe("links that lead in a circle", path)

    def _steps(self, target: str, path: str) -> t.Optional[t.List[str]]:
        """Return the parts of a target below the tree or below the link's folder; None if it is allowed outside."""
        if target.startswith("/"):
            inside = next((root for root in self._places.inside if (target + "/").startswith(root + "/")), None)
            if inside is None:
                steps = target.split("/")
                if ".." not in steps and any(fnmatch.fnmatchcase(target, glob) for glob in self._places.outside):
                    return None
                message = "a link to {0}, outside of it; see archive.outside_links"
                raise unsafe(message.format(tidy(target, 80)), path)
            target = target[len(inside) :]
        return [part for part in target.split("/") if part not in ("", ".")]


def _is_name(text: str, most: int) -> bool:
    try:
        return "\0" not in text and len(os.fsencode(text)) < most
    except UnicodeError:
        return False


def _parts(path: str, shown: str) -> t.List[str]:
    """Return the parts of a path, with C(..) resolved."""
    if path.startswith("/"):
        raise unsafe("an absolute path", shown)
    parts = []  # type: t.List[str]
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise unsafe("a path that leads outside", shown)
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if len(parts) > MAX_DEPTH or not _is_name(path, _MAX_PATH) or not all(_is_name(p, _MAX_NAME + 1) for p in parts):
        raise unsafe("a name that is too long, too deep or none of this node", shown)
    return parts
