# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What an archive brought into a folder, so that nothing else is ever removed with it."""

from __future__ import annotations

import os
import re
import stat
import typing as t

from .archive_members import MAX_DEPTH
from .disk import Disk
from .folders import Folder

#: For each path below the folder the size and time of a file or link, and nothing of a folder.
Brought = t.Mapping[str, t.Optional[t.Sequence[int]]]

_COMPILED = re.compile(r"(.*/|)__pycache__(/([^/.]+)\.[^/]*\.pyc)?\Z")


def record(tree: str, disk: Disk) -> t.Dict[str, t.Optional[t.List[int]]]:
    """List a folder that has just been unpacked and is still ours alone."""
    found = {}  # type: t.Dict[str, t.Optional[t.List[int]]]
    with Folder.at(tree, disk) as folder:
        for path, info in walk(folder):
            found[path] = None if stat.S_ISDIR(info.st_mode) else _mark(info)
    return found


def walk(folder: Folder, prefix: str = "") -> t.Iterator[t.Tuple[str, os.stat_result]]:
    """List all below a folder, what is in a folder before the folder itself."""
    for name in sorted(os.listdir(folder.handle)):
        info = folder.stat(name)
        if info is None:
            continue
        if stat.S_ISDIR(info.st_mode) and prefix.count("/") < MAX_DEPTH:
            with folder.below(name) as inner:
                yield from walk(inner, prefix + name + "/")
        yield prefix + name, info


def _mark(info: os.stat_result) -> t.List[int]:
    return [info.st_size, info.st_mtime_ns]


def is_brought(brought: Brought, path: str, info: os.stat_result) -> bool:
    """Tell whether a file, link or folder is as the archive brought it, or what Python made of that."""
    if path in brought:
        mark = brought[path]
        return stat.S_ISDIR(info.st_mode) if mark is None else list(mark) == _mark(info)
    compiled = _COMPILED.match(path)
    if not compiled:
        return False
    if compiled.group(2):
        return "{0}{1}.py".format(compiled.group(1), compiled.group(3)) in brought
    return compiled.group(1).rstrip("/") in brought or not compiled.group(1)


def strangers(path: str, brought: Brought, disk: Disk, since: float = 0) -> t.List[str]:
    """List files and empty folders that the archive did not bring, or that have changed.

    Args:
        path: the folder, without links; it may be absent.
        brought: what the archive brought.
        disk: how to look.
        since: leave out what was last changed before this time.
    """
    if not os.path.isdir(path) or os.path.islink(path):
        return []
    with Folder.at(path, disk) as folder:
        found = [name for name, info in walk(folder) if not is_brought(brought, name, info) and info.st_mtime >= since]
    above = {name[:index] for name in found for index, letter in enumerate(name) if letter == "/"}
    return [name for name in found if name not in above]


def prune(path: str, brought: Brought, disk: Disk) -> t.List[str]:
    """Remove from a folder what the archive brought, and the folder if that was all; return what stays.

    It may be repeated. No link is followed, also where others put one at the last moment.
    """
    if not os.path.isdir(path) or os.path.islink(path):
        return []
    with Folder.at(path, disk) as folder:
        stays = _prune(folder, "", brought)
        folder.sync()
    if not stays:
        with Folder.at(os.path.dirname(path), disk) as above:
            above.remove_empty(os.path.basename(path))
            above.sync()
    return stays


def _prune(folder: Folder, prefix: str, brought: Brought) -> t.List[str]:
    stays = []  # type: t.List[str]
    for name in sorted(os.listdir(folder.handle)):
        info = folder.stat(name)
        if info is None:
            continue
        path, inside = prefix + name, []  # type: t.Tuple[str, t.List[str]]
        if stat.S_ISDIR(info.st_mode) and prefix.count("/") < MAX_DEPTH:
            with folder.below(name) as inner:
                inside = _prune(inner, path + "/", brought)
        if inside or not is_brought(brought, path, info):
            stays += inside or [path]
        elif stat.S_ISDIR(info.st_mode):
            folder.remove_empty(name)
        else:
            folder.remove(name)
    return stays
