# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Close a version that was replaced: it grants no rights any more, and only its owner and root can run it.

Only what is the program's is closed. Folders that the archives know nothing about, such as data that somebody keeps in
a version's folder, stay open to whom they were.
"""

from __future__ import annotations

import os
import stat
import typing as t

from . import attributes, brought
from .disk import Disk
from .folders import Folder

_PRIVILEGES = stat.S_ISUID | stat.S_ISGID

#: A path below the version's folder; its mode before and closed; its capabilities in hex; and what else must not have
#: changed when it is closed: owner, group, and of a file size and time.
Change = t.List[t.Any]


def survey(path: str, program: t.AbstractSet[str], close: bool, disk: Disk) -> t.List[Change]:
    """List what there is to close, the version's folder itself at the end.

    Args:
        path: the folder of the version, without links.
        program: names at its top that are the program's.
        close: also keep others from running it, not only from getting rights by it.
        disk: how to look.
    """
    changes = {}  # type: t.Dict[str, Change]
    with Folder.at(path, disk) as folder:
        for inside, info, capability in _privileged(folder):
            changes[inside] = _change(inside, info, info.st_mode & ~_PRIVILEGES, capability)
        top = os.listdir(folder.handle) if close else []
        whole = close and set(top) <= set(program)
        for name in [name for name in sorted(top) if name in program and not whole]:
            info_of = folder.stat(name)
            if info_of is not None and (stat.S_ISREG(info_of.st_mode) or stat.S_ISDIR(info_of.st_mode)):
                capability = changes[name][3] if name in changes else ""
                changes[name] = _change(name, info_of, info_of.st_mode & 0o700, capability)
        if whole:
            info = os.fstat(folder.handle)
            changes[""] = _change("", info, info.st_mode & 0o700, "")
    return [change for change in changes.values() if change[1] != change[2] or change[3]]


def _change(path: str, info: os.stat_result, closed: int, capability: str) -> Change:
    return [path, stat.S_IMODE(info.st_mode), stat.S_IMODE(closed), capability, _identity(info)]


def _identity(info: os.stat_result) -> t.List[int]:
    content = [info.st_size, info.st_mtime_ns] if stat.S_ISREG(info.st_mode) else []
    return [info.st_uid, info.st_gid, *content]


def _privileged(root: Folder) -> t.Iterator[t.Tuple[str, os.stat_result, str]]:
    """List files that give who runs them rights, but not those that have names elsewhere, too."""
    found, names = [], {}  # type: t.List[t.Tuple[str, os.stat_result, str]], t.Dict[t.Tuple[int, int], int]
    for path, info, capability in _files(root):
        inode = (info.st_dev, info.st_ino)
        names[inode] = names.get(inode, 0) + 1
        if info.st_mode & _PRIVILEGES or capability:
            found.append((path, info, capability))
    for path, info, capability in found:
        if names[info.st_dev, info.st_ino] == info.st_nlink:
            yield path, info, capability


def _files(root: Folder) -> t.Iterator[t.Tuple[str, os.stat_result, str]]:
    for path, info in brought.walk(root):
        if stat.S_ISREG(info.st_mode):
            try:
                with root.below(os.path.dirname(path)) as folder:
                    handle = folder.open(os.path.basename(path))
            except (PermissionError, FileNotFoundError, NotADirectoryError):  # not root's to close, or gone
                continue
            try:
                info, capability = os.fstat(handle), attributes.read(handle).get(attributes.CAPABILITY, b"")
            finally:
                os.close(handle)
            yield path, info, capability.hex()


def close(path: str, changes: t.Sequence[Change], disk: Disk) -> None:
    """Do what survey() found; may be repeated."""
    _each(path, changes, disk)


def _each(path: str, changes: t.Sequence[Change], disk: Disk) -> None:
    if not changes or not os.path.isdir(path):
        return
    with Folder.at(path, disk) as root:
        for change in changes:
            try:
                with root.below(os.path.dirname(change[0])) as folder:
                    _set(folder, os.path.basename(change[0]), change, disk)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone since, by others


def _set(folder: Folder, name: str, change: Change, disk: Disk) -> None:
    dummy, opened, closed, capability, same = change
    info = folder.stat(name) if name else os.fstat(folder.handle)
    if info is None or _identity(info) != list(same):
        return
    handle = folder.open(name) if stat.S_ISREG(info.st_mode) else folder.below(name).handle
    try:
        info = os.fstat(handle)
        if _identity(info) == list(same) and stat.S_IMODE(info.st_mode) == opened != closed:
            disk.step("chmod " + folder.join(name))
            os.fchmod(handle, closed)
        if capability and _identity(info) == list(same):
            _take_capability(handle, folder.join(name), disk)
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_capability(handle: int, path: str, disk: Disk) -> None:
    if attributes.CAPABILITY in attributes.read(handle):
        disk.step("capabilities of " + path)
        os.removexattr(handle, attributes.CAPABILITY)
