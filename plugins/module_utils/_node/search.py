# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Walk the folders in which copies of a file may be, and follow links that lead out of them to say what is there."""

from __future__ import annotations

import glob
import os
import stat
import time
import typing as t

from .errors import PatchError
from .folders import resolve

#: Never searched.
SKIPPED = ("/proc", "/sys", "/dev", "/run")
#: Files and folders, and seconds, for all that is behind links.
_BEHIND, _BEHIND_SECONDS = 500000, 300.0


class Candidate(t.NamedTuple):
    """A regular file: its real path, the name it is used by, and the link that leads to it out of the paths, if any."""

    path: str
    called: str
    link: str


class Walk:
    """Give each regular file of some folders once. What cannot be looked at is in C(doubts), as path and why.

    Args:
        paths: absolute paths of folders or files, which may be globs.
        exclude: absolute paths that are not searched.
    """

    def __init__(self, paths: t.Iterable[str], exclude: t.Iterable[str]) -> None:
        self.doubts = []  # type: t.List[t.Tuple[str, str]]
        roots = {root for path in paths for hit in glob.glob(path) for root in self._root(hit)}
        self._roots = sorted(root for root in roots if not any(_within(root, other) for other in roots - {root}))
        self._excluded = {*SKIPPED, *exclude, *map(os.path.realpath, exclude)}
        self._links = []  # type: t.List[t.Tuple[str, str]]
        self._left, self._end = _BEHIND, 0.0
        self._visited = set()  # type: t.Set[str]

    def _root(self, path: str) -> t.List[str]:
        """Return the real path of a folder to search; a link of another user may not lead to folders of others."""
        try:
            return [resolve(path)]
        except PatchError as error:
            self.doubts.append((path, error.message))
            return []

    def files(self) -> t.Iterator[Candidate]:
        """Give the files of the folders, then those that links call by another name or that are elsewhere."""
        for root in self._roots:
            yield from self._walk(root, "")
        self._end = time.monotonic() + _BEHIND_SECONDS
        while self._links:
            path, first = self._links.pop(0)
            yield from self._behind(path, first or path)
            if self._is_spent():
                self.doubts.append((first or path, "more is behind links than is searched; exclude it"))
                return

    def _is_spent(self) -> bool:
        return self._left < 0 or time.monotonic() > self._end

    def _walk(self, top: str, link: str) -> t.Iterator[Candidate]:
        folders = [top]
        while folders and not (link and self._is_spent()):
            folder = folders.pop()
            if folder in self._excluded or folder in self._visited:
                continue
            self._visited.add(folder)
            below = []  # type: t.List[str]
            listed = self._listed(folder)
            self._left -= len(listed) + 1 if link else 0
            for path, mode in listed:
                if path in self._excluded:
                    continue
                if stat.S_ISLNK(mode):
                    self._links.append((path, link))
                elif stat.S_ISDIR(mode):
                    below.append(path)
                elif stat.S_ISREG(mode):
                    yield Candidate(path, os.path.basename(path), link)
            folders += reversed(below)

    def _listed(self, folder: str) -> t.List[t.Tuple[str, int]]:
        """Return path and mode of what is in a folder, or of itself if it is none."""
        try:
            if not os.path.isdir(folder):
                return [(folder, os.lstat(folder).st_mode)]
            with os.scandir(folder) as entries:
                return sorted((entry.path, _mode(entry)) for entry in entries)
        except OSError as error:
            # Gone, or closed to root as only a user's own mount is.
            if not isinstance(error, FileNotFoundError) and not (
                isinstance(error, PermissionError) and os.geteuid() == 0
            ):
                self.doubts.append((folder, "{0}; mend it or exclude it".format(os.strerror(error.errno or 0))))
            return []

    def _behind(self, path: str, first: str) -> t.Iterator[Candidate]:
        """Give what a link leads to."""
        try:
            mode = os.stat(path).st_mode
        except OSError:  # it leads nowhere
            return
        target = os.path.realpath(path)
        if any(_within(target, excluded) for excluded in self._excluded):
            return
        inside = any(_within(target, root) for root in self._roots)
        if stat.S_ISREG(mode):
            yield Candidate(target, os.path.basename(path), "" if inside else first)
        elif stat.S_ISDIR(mode) and not inside:
            if any(_within(root, target) for root in self._roots):
                self.doubts.append((path, "it leads to {0}; exclude it, or add that to paths".format(target)))
            else:
                yield from self._walk(target, first)


def _mode(entry: t.Any) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
