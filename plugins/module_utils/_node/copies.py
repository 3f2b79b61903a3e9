# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Judge the copies of a file on this node: known, vulnerable, or unknown and why."""

from __future__ import annotations

import errno
import os
import time
import typing as t

from . import nested
from .disk import Disk
from .folders import Folder, identity
from .search import Candidate, Walk
from .zips import Limits

#: Seconds that files of one user may cost in one search; a user who plants costly ones does not keep others from it.
_SHARE = 900.0


class Copies:
    """What a search has found.

    Args:
        disk: how to open files.
        limits: what one file may cost.

    Attributes:
        known: checksums of all known copies.
        vulnerable: the files that hold vulnerable ones, by real path, with the name each is used by.
        doubts: path and why of each copy that cannot be judged.
    """

    def __init__(self, disk: Disk, limits: Limits) -> None:
        self._disk = disk
        self._limits = limits
        self._costly = {}  # type: t.Dict[t.Tuple[int, ...], str]
        self._shares = {}  # type: t.Dict[int, float]
        self.known = set()  # type: t.Set[str]
        self.vulnerable = {}  # type: t.Dict[str, str]
        self.doubts = []  # type: t.List[t.Tuple[str, str]]

    def find(self, walk: Walk, search: nested.Search, vulnerable: t.AbstractSet[str]) -> None:
        """Search anew.

        Args:
            walk: where.
            search: for what.
            vulnerable: those of its checksums that are.
        """
        self.known, self.vulnerable, self.doubts, self._shares = set(), {}, walk.doubts, {}
        seen = set()  # type: t.Set[t.Tuple[str, bool]]
        for candidate in walk.files():
            key = (candidate.path, search.wants(candidate.called))
            if key not in seen and search.concerns(candidate.called):
                seen.add(key)
                checksums = self._look(candidate, search, vulnerable)
                self.known |= checksums
                if checksums & vulnerable:
                    self.vulnerable[candidate.path] = candidate.called

    def _look(self, candidate: Candidate, search: nested.Search, vulnerable: t.AbstractSet[str]) -> t.Set[str]:
        """Return the known checksums of a file and of all in it; note what cannot be judged."""
        try:
            with Folder.at(os.path.dirname(candidate.path), self._disk) as folder:
                handle = folder.open(os.path.basename(candidate.path))
            with os.fdopen(handle, "rb") as stream:
                finding = self._judge(stream, candidate, search)
        except OSError as error:  # who does not know must not say that there is none
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                why = "it cannot be read: {0}".format(os.strerror(error.errno or 0))
                self.doubts.append((candidate.path, why))
            return set()
        if candidate.link and (finding.doubts or finding.known & vulnerable):
            message = "{0} leads there, out of paths; add its folder to paths, or exclude it"
            self.doubts.append((candidate.path, message.format(candidate.link)))
            return set()
        for inner, why in finding.doubts:
            self.doubts.append(("!".join(part for part in (candidate.path, inner) if part), why))
        return finding.known

    def _judge(self, stream: t.BinaryIO, candidate: Candidate, search: nested.Search) -> nested.Finding:
        info, start = os.fstat(stream.fileno()), time.monotonic()
        costly = self._costly.get(identity(info))
        left = _SHARE - self._shares.get(info.st_uid, 0.0)
        if costly is not None or left <= 0:
            return nested.Finding(set(), [("", costly or "other files of its owner took too long")])
        limits = self._limits._replace(seconds=min(self._limits.seconds, left))
        finding = nested.find(stream, candidate.called, search, info.st_size, limits)
        self._shares[info.st_uid] = _SHARE - left + time.monotonic() - start
        if finding.exhausted and not finding.known:
            self._costly[identity(info)] = finding.doubts[-1][1]
        return finding
