# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Give the files of a new version what an administrator has given to those of the old one."""

from __future__ import annotations

import os
import stat
import typing as t

from . import attributes
from .brought import Brought, is_brought
from .disk import Disk
from .folders import Folder, is_guarded

_PRIVILEGES = stat.S_ISUID | stat.S_ISGID


class Inheritance:
    """Carries owner, group, mode, ACLs, capabilities and other attributes to the same paths of a new tree.

    What is new there belongs to the owner of its folder. What grants rights of others (setuid, setgid, capabilities
    beyond a port or a priority) is only carried where nobody but root can have moved it to that path.

    Args:
        brought: what the archive of the old version brought, as far as it is known.
        modes: modes of paths of the old version before it was closed, see retired.
        disk: how to write.
    """

    def __init__(self, brought: Brought, modes: t.Mapping[str, int], disk: Disk) -> None:
        self._brought = brought
        self._modes = modes
        self._disk = disk
        #: Paths that had rights which were not carried.
        self.refused = []  # type: t.List[str]

    def carry(self, old: str, tree: str) -> None:
        """Carry it all from the folder C(old) to the folder C(tree), which is still ours alone."""
        with Folder.at(old, self._disk) as source, Folder.at(tree, self._disk) as target:
            self._folder(source, target, "")

    def _folder(self, old: t.Optional[Folder], new: Folder, prefix: str) -> None:
        if old is not None:
            attributes.carry(old.handle, new.handle)
            self._reopen(new.handle, prefix.rstrip("/"))
        owner = os.fstat(new.handle)
        for name in sorted(os.listdir(new.handle)):
            info, before = new.stat(name), old.stat(name) if old is not None else None
            if info is None:
                continue
            if before is None or stat.S_IFMT(before.st_mode) != stat.S_IFMT(info.st_mode):
                before = None
            if not stat.S_ISREG(info.st_mode) and os.geteuid() == 0:
                as_owner = before or owner
                os.chown(name, as_owner.st_uid, as_owner.st_gid, dir_fd=new.handle, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                with new.below(name) as inner:
                    self._below(old if before else None, name, inner, prefix + name + "/")
            elif stat.S_ISREG(info.st_mode):
                self._file(old if before else None, new, name, prefix + name)

    def _below(self, old: t.Optional[Folder], name: str, new: Folder, prefix: str) -> None:
        if old is None:
            self._folder(None, new, prefix)
        else:
            with old.below(name) as inner:
                self._folder(inner, new, prefix)

    def _file(self, old: t.Optional[Folder], new: Folder, name: str, path: str) -> None:
        target = new.open(name)
        try:
            mode = stat.S_IMODE(os.fstat(target).st_mode)
            if old is None:
                attributes.inherit(new.handle, target)
                return
            source = old.open(name)
            try:
                attributes.carry(source, target)
                self._reopen(target, path)
                if not self._may_have(old, source, path):
                    self._strip(target, path)
            finally:
                os.close(source)
            carried = stat.S_IMODE(os.fstat(target).st_mode)
            if mode & 0o100 and not carried & 0o100:  # it has become a program
                os.fchmod(target, carried | 0o100 | (carried & 0o044) >> 2)
        finally:
            os.close(target)

    def _reopen(self, target: int, path: str) -> None:
        if path in self._modes:
            os.fchmod(target, self._modes[path])

    def _may_have(self, old: Folder, source: int, path: str) -> bool:
        """Tell whether a file may hand on its rights; those of its owner are the owner's to give."""
        info = os.fstat(source)
        if not attributes.is_privileged(source) or is_brought(self._brought, path, info):
            return True
        only_setuid = not info.st_mode & stat.S_ISGID and attributes.CAPABILITY not in attributes.read(source)
        return is_guarded(old.path, *([info.st_uid] if only_setuid else []))

    def _strip(self, target: int, path: str) -> None:
        self.refused.append(path)
        os.fchmod(target, stat.S_IMODE(os.fstat(target).st_mode) & ~_PRIVILEGES)
        if attributes.CAPABILITY in attributes.read(target):
            os.removexattr(target, attributes.CAPABILITY)
