# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Durable changes on a disk: each is complete or absent after a crash, and each can be watched."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import subprocess
import typing as t

from .errors import PatchError

Checkpoint = t.Callable[[str], None]


class Disk:
    """File system operations that a transaction may use.

    Args:
        checkpoint: called with a label before each change. Tests kill the process or raise OSError in it.
    """

    def __init__(self, checkpoint: t.Optional[Checkpoint] = None) -> None:
        self._checkpoint = checkpoint

    def step(self, label: str) -> None:
        """Announce the next change."""
        if self._checkpoint is not None:
            self._checkpoint(label)

    def sync_dir(self, path: str) -> None:
        """Make the names in a folder durable."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync_file(self, path: str) -> None:
        """Make the content of a file durable."""
        with open(path, "rb") as stream:
            os.fsync(stream.fileno())

    def make_dir(self, path: str, mode: int = 0o755) -> None:
        """Create one folder whatever the umask says; its parent must exist."""
        self.step("mkdir " + path)
        before = os.umask(0)
        try:
            os.mkdir(path, mode)  # and no chmod by path: another user may have put a link there by then
        finally:
            os.umask(before)

    def rename(self, source: str, target: str) -> None:
        """Rename within one file system and make it durable in both folders."""
        self.step("rename {0} {1}".format(source, target))
        os.rename(source, target)
        self.sync_dir(os.path.dirname(target))
        self.sync_dir(os.path.dirname(source))

    def set_aside(self, source: str, target: str) -> None:
        """Move a folder within one file system to C(target), which is complete or absent after a crash.

        A folder of a lower layer of an overlay cannot be renamed and is copied.
        """
        try:
            self.rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            scratch = target + ".tmp"
            self.remove_tree(scratch)
            self.step("copy " + scratch)
            copy_tree(source, scratch)
            self.rename(scratch, target)
            self.remove_tree(source)

    def point(self, link: str, target: str, scratch: str) -> None:
        """Make the symbolic link C(link) point to C(target) in one step.

        Args:
            link: path of the link, which may exist.
            target: text of the link.
            scratch: path beside it on the same file system, for the new link before it takes the place.
        """
        self.remove(scratch)
        self.step("symlink " + scratch)
        os.symlink(target, scratch)
        self.step("switch {0} to {1}".format(link, target))
        os.replace(scratch, link)
        self.sync_dir(os.path.dirname(link))

    def write_json(self, path: str, data: t.Any) -> None:
        """Replace a small file in one step; only the owner can read it."""
        scratch = path + ".tmp"
        try:
            self.step("write " + path)
            handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "w") as stream:
                json.dump(data, stream, sort_keys=True)
                stream.flush()
                os.fsync(stream.fileno())
            self.step("replace " + path)
            os.replace(scratch, path)
        except OSError:
            self.remove(scratch)
            raise
        # From here on the file is the new one, and to report an error would say otherwise.
        with contextlib.suppress(OSError):
            self.sync_dir(os.path.dirname(path))

    def remove(self, path: str) -> None:
        """Remove a file or link; it may be absent."""
        if os.path.lexists(path):
            self.step("unlink " + path)
            os.unlink(path)
            self.sync_dir(os.path.dirname(path))

    def remove_tree(self, path: str) -> None:
        """Remove a folder and all in it, never following links; it may be absent."""
        if os.path.lexists(path):
            self.step("rmtree " + path)
            if os.path.islink(path):  # which another user has put there
                os.unlink(path)
            else:
                _remove_tree(path)
            self.sync_dir(os.path.dirname(path))

    def remove_empty(self, path: str) -> None:
        """Remove a folder if there is nothing in it."""
        if os.path.isdir(path) and not os.listdir(path):
            self.step("rmdir " + path)
            os.rmdir(path)

    def require(self, folder: str, size: int) -> None:
        """Raise PatchError unless names can be made and C(size) bytes written in a folder; change nothing."""
        if not os.access(folder, os.W_OK | os.X_OK) or os.statvfs(folder).f_flag & os.ST_RDONLY:
            raise PatchError("not_writable", "cannot write {0}; check its mount and owner".format(folder))
        if self.free(folder) < size:
            raise PatchError("no_space", "no room in {0}; free some and run again".format(folder))

    def require_replaceable(self, path: str) -> None:
        """Raise PatchError unless another file can take the place of one; change nothing."""
        folder = os.path.dirname(path)
        # Root may write what it likes unless the file itself is immutable, which also keeps its name.
        if not os.access(folder, os.W_OK | os.X_OK) or (os.geteuid() == 0 and not _writable(path)):
            message = "cannot replace {0}; check its owner, its mount and lsattr"
            raise PatchError("not_writable", message.format(path))

    def free(self, path: str) -> int:
        """Return the bytes this process may still write where C(path) is."""
        room = os.statvfs(path)
        return room.f_bavail * room.f_frsize


def _remove_tree(path: str) -> None:
    try:
        shutil.rmtree(path)
    except (RecursionError, OSError) as error:  # deeper than Python can go, or than a path may be long
        if isinstance(error, OSError) and error.errno not in (errno.ENAMETOOLONG, errno.EMFILE):
            raise
        subprocess.run(["rm", "-rf", "--", path], check=False)
        if os.path.lexists(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY)) from None


def _writable(path: str) -> bool:
    return os.path.islink(path) or not os.path.exists(path) or os.access(path, os.W_OK)


def copy_tree(source: str, target: str) -> None:
    """Copy a folder with modes, times, links and, as root, owners."""
    shutil.copytree(source, target, symlinks=True, copy_function=copy_file)
    for folder, dummy, dummy in os.walk(source):
        copy_owner(folder, os.path.join(target, os.path.relpath(folder, source)))


def copy_file(source: str, target: str) -> str:
    """Copy a file or link with mode, time, extended attributes and, as root, owner."""
    shutil.copy2(source, target, follow_symlinks=False)
    copy_owner(source, target)
    shutil.copystat(source, target, follow_symlinks=False)  # a change of owner takes capabilities away
    return target


def copy_owner(source: str, target: str) -> None:
    """Give C(target) the owner of C(source) if this process may; mode bits that this clears are set again."""
    info = os.lstat(source)
    if os.geteuid() == 0:
        os.lchown(target, info.st_uid, info.st_gid)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(target, stat.S_IMODE(info.st_mode))


def existing_ancestor(path: str) -> str:
    """Return C(path), or the nearest folder above it that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def missing_dirs(path: str) -> t.List[str]:
    """List the folders that must be created for C(path) to exist, topmost first."""
    missing = []  # type: t.List[str]
    while not os.path.lexists(path):
        missing.insert(0, path)
        path = os.path.dirname(path)
    return missing
