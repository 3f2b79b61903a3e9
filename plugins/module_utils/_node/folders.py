# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Work as root in folders that other users own, who may change every name in them between two of our system calls.

1. A folder is opened once, each part of its real path by itself and never through a link, and from then on is only its
   descriptor. Who renames it, or puts a link in its place, changes nothing about where we read and write.
2. A file is opened without following a link and without waiting (a FIFO, a lease), and must be a regular file. Content,
   owner, mode and attributes are all read from the one descriptor, so no file gets the bytes of another's.
3. What is not yet in its place, or no longer, is in a folder of our own that nobody else may enter, rename or remove
   (C(place_for())), under a name that nobody can guess. It gets to its place by one rename.
4. Where that is another file system, the last step is a copy beside the place (C(move())): made with O_EXCL, written,
   owned, and only then given its mode, all by its descriptor, and renamed. Its name is one that nobody can guess.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import typing as t

from . import attributes
from .disk import Disk, existing_ancestor
from .errors import PatchError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1024**2
#: Errors of link() that mean: there are no links here, or not from there to here.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)
#: FS_IOC_GETFLAGS, and the flags of chattr +i and +a.
_GET_FLAGS, _FIXED = 0x80086601, 0x10 | 0x20

Identity = t.Tuple[int, ...]


def identity(info: os.stat_result) -> Identity:
    """Return what is the same only while it is the same file with the same content."""
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)


class Folder:
    """A folder held by its descriptor. A name is one in it, never a path, and is never followed.

    Args:
        handle: descriptor of the folder, closed by close().
        path: where it was, for messages and labels.
        disk: announces each change.
    """

    def __init__(self, handle: int, path: str, disk: Disk) -> None:
        self.handle = handle
        self.path = path
        self._disk = disk

    @classmethod
    def at(cls, path: str, disk: Disk) -> Folder:
        """Open the folder C(path), which must be absolute; no part of it may be a link.

        Raises:
            OSError: it is not there; C(ENOTDIR) when a part of it is a link or no folder.
        """
        return cls(_descend(os.open("/", _FOLDER), path), os.path.normpath(path), disk)

    def below(self, path: str) -> Folder:
        """Open a folder below this one as at() does; C(path) is relative and may be empty."""
        return Folder(_descend(os.dup(self.handle), path), os.path.normpath(self.join(path)), self._disk)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *dummy: object) -> None:
        self.close()

    def join(self, name: str) -> str:
        """Return the path of a name, for messages and labels."""
        return os.path.join(self.path, name)

    # -- look ----------------------------------------------------------------------------------------------------

    def stat(self, name: str) -> t.Optional[os.stat_result]:
        """Return what is there by this name, itself and not what a link leads to, or None."""
        try:
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> int:
        """Open a regular file to read; return its descriptor.

        Raises:
            OSError: it cannot be opened now; C(EINVAL) when it is a link, a FIFO or anything else.
        """
        info = os.stat(name, dir_fd=self.handle, follow_symlinks=False)  # to open a device may do something
        if stat.S_ISREG(info.st_mode):
            handle = os.open(name, _FILE, dir_fd=self.handle)
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return handle
            os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", self.join(name))

    def require_replaceable(self, name: str) -> None:
        """Raise PatchError unless another file can take the place of this one; change nothing."""
        self._disk.require_replaceable(self.join(name))
        if os.fstatvfs(self.handle).f_flag & os.ST_RDONLY or _is_fixed(self.handle):
            raise PatchError("not_writable", "cannot change {0}; check its mount and lsattr".format(self.path))
        info = self.stat(name)
        if info is None:
            return
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.handle)
        try:
            mounted = mount_of(handle) != mount_of(self.handle)
        finally:
            os.close(handle)
        if mounted:
            message = "{0} is a mount of its own and cannot be replaced; unmount it or exclude it"
            raise PatchError("not_writable", message.format(self.join(name)))
        if stat.S_ISREG(info.st_mode):
            self._require_free(name)

    def _require_free(self, name: str) -> None:
        handle = self.open(name)
        try:
            fixed = _is_fixed(handle)
            privileged, owner = attributes.is_privileged(handle), os.fstat(handle).st_uid
        finally:
            os.close(handle)
        if fixed:
            raise PatchError("not_writable", "cannot replace {0}; check lsattr".format(self.join(name)))
        if privileged and not is_guarded(self.path, owner):
            message = "{0} is setuid, setgid or has capabilities, and others may rename it; change that or its folder"
            raise PatchError("unsafe_folder", message.format(self.join(name)))

    # -- change --------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Make the names in it durable."""
        os.fsync(self.handle)

    def make(self, name: str) -> Folder:
        """Create a folder that only we can enter, whatever the ACL of this folder says, and open it."""
        self._disk.step("mkdir " + self.join(name))
        os.mkdir(name, 0o700, dir_fd=self.handle)
        made = self.below(name)
        with contextlib.suppress(OSError):  # what has no ACL needs none taken
            os.removexattr(made.handle, "system.posix_acl_default")
        os.fchmod(made.handle, 0o700)
        return made

    def extend(self, name: str) -> None:
        """Create a folder with owner, mode and ACL of this one."""
        self._disk.step("mkdir " + self.join(name))
        os.mkdir(name, 0o700, dir_fd=self.handle)
        with self.below(name) as made:
            info = os.fstat(self.handle)
            if os.geteuid() == 0:
                os.fchown(made.handle, info.st_uid, info.st_gid)
            os.fchmod(made.handle, stat.S_IMODE(info.st_mode))

    def create(self, name: str) -> int:
        """Create a file that only we can read or write; return its descriptor."""
        self._disk.step("write " + self.join(name))
        return os.open(name, _NEW, 0o600, dir_fd=self.handle)

    def remove(self, name: str) -> None:
        """Remove what is no folder; it may be absent, and a folder stays."""
        info = self.stat(name)
        if info is not None and not stat.S_ISDIR(info.st_mode):
            self._disk.step("unlink " + self.join(name))
            os.unlink(name, dir_fd=self.handle)

    def remove_empty(self, name: str) -> None:
        """Remove a folder if there is nothing in it; it may be absent."""
        info = self.stat(name)
        if info is not None and stat.S_ISDIR(info.st_mode):
            self._disk.step("rmdir " + self.join(name))
            try:
                os.rmdir(name, dir_fd=self.handle)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise

    def keep(self, name: str, kept_in: Folder, kept: str) -> None:
        """Give a file or link a second name in a folder of our own; where that cannot be, copy it with all it has.

        Raises:
            OSError: C(EINVAL) when it is neither, C(EAGAIN) when it changed while it was copied.
        """
        self._disk.step("save " + self.join(name))
        try:
            os.link(name, kept, src_dir_fd=self.handle, dst_dir_fd=kept_in.handle, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self._copy(name, kept_in, kept)
        info = kept_in.stat(kept)
        if info is not None and not (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)):
            os.unlink(kept, dir_fd=kept_in.handle)
            raise OSError(errno.EINVAL, "neither a file nor a link", self.join(name))

    def move(self, name: str, target: Folder, new_name: str, scratch: str) -> None:
        """Let a file or link of a folder of our own take the place of C(new_name) in another folder, in one step.

        Args:
            name: the file.
            target: the other folder.
            new_name: the name there.
            scratch: name there for a copy, where the two are no one file system; what is left of a killed move() is
                there too, to be removed with remove().
        """
        self._disk.step("switch " + target.join(new_name))
        try:
            os.rename(name, new_name, src_dir_fd=self.handle, dst_dir_fd=target.handle)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            target.remove(scratch)
            self._copy(name, target, scratch)
            os.rename(scratch, new_name, src_dir_fd=target.handle, dst_dir_fd=target.handle)
            self.remove(name)

    def _copy(self, name: str, target: Folder, new_name: str) -> None:
        info = self.stat(name)
        if info is not None and stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=self.handle), new_name, dir_fd=target.handle)
            if os.geteuid() == 0:
                os.chown(new_name, info.st_uid, info.st_gid, dir_fd=target.handle, follow_symlinks=False)
            return
        with os.fdopen(self.open(name), "rb") as source, os.fdopen(target.create(new_name), "w+b") as copy:
            before = os.fstat(source.fileno())
            for chunk in iter(lambda: source.read(_CHUNK), b""):
                copy.write(chunk)
            copy.flush()
            attributes.carry(source.fileno(), copy.fileno(), same_content=True)
            if identity(os.fstat(source.fileno())) != identity(before):
                raise OSError(errno.EAGAIN, "it changed while it was copied", self.join(name))
            os.utime(copy.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fsync(copy.fileno())


def _descend(handle: int, path: str) -> int:
    """Return the descriptor of a folder below another, which is closed."""
    for part in path.split("/"):
        if part in ("", "."):
            continue
        try:
            below = os.open(part, _FOLDER, dir_fd=handle)
        finally:
            os.close(handle)
        handle = below
    return handle


def mount_of(handle: int) -> t.Tuple[int, str]:
    """Return what two descriptors have in common if and only if one can be renamed to the other.

    The number of the mount tells bind mounts of one file system apart, between which nothing can be renamed.
    """
    number = ""
    with contextlib.suppress(OSError), open("/proc/self/fdinfo/{0}".format(handle), encoding="ascii") as stream:
        number = next((line.split()[1] for line in stream if line.startswith("mnt_id:")), "")
    return os.fstat(handle).st_dev, number


def _is_fixed(handle: int) -> bool:
    """Tell whether chattr forbids to change it, to root too."""
    try:
        flags = fcntl.ioctl(handle, _GET_FLAGS, struct.pack("l", 0))
    except OSError:  # a file system without flags
        return False
    return bool(struct.unpack("l", flags)[0] & _FIXED)


def is_guarded(path: str, *owners: int) -> bool:
    """Tell whether nobody but root, who runs this, and C(owners) may rename or remove what we put into a folder.

    An ACL that lets others write shows as permission of the group.

    Args:
        path: the folder, without links.
        owners: ids of users that are trusted too.
    """
    trusted = {0, os.geteuid(), *owners}
    parts = [part for part in path.split("/") if part]
    for depth in range(len(parts) + 1):
        info = os.lstat("/" + "/".join(parts[:depth]))
        writable = info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX
        if not stat.S_ISDIR(info.st_mode) or info.st_uid not in trusted or writable:
            return False
    return True


def resolve(path: str) -> str:
    """Return the real path of a folder of a definition, which need not exist.

    A link that other users may make leads only to folders of who owns the folder that it is in: else they would choose
    what root changes.

    Raises:
        PatchError: C(unsafe_folder).
    """
    parts = [part for part in path.split("/") if part]
    for depth in range(1, len(parts) + 1):
        link = "/" + "/".join(parts[:depth])
        if os.path.islink(link):
            above = os.path.realpath(os.path.dirname(link))
            target = existing_ancestor(os.path.realpath(link))
            if not is_guarded(above) and os.stat(target).st_uid != os.stat(above).st_uid:
                message = "{0} is a link that others may change, to a folder that is not theirs; name the folder itself"
                raise PatchError("unsafe_folder", message.format(link))
    return os.path.realpath(path)


def place_for(folder: str, state_dir: str) -> str:
    """Return where a folder of our own for files of C(folder) goes: only root may change its name.

    It is C(state_dir) if that is on the same mount, else a folder at the top of that mount. Where others own even that,
    it is C(state_dir) again, and each file is copied by move().

    Raises:
        PatchError: C(unsafe_folder), others may rename C(state_dir).
    """
    state = os.path.realpath(state_dir)
    if not is_guarded(existing_ancestor(state)):
        message = "others than root may rename {0}; change its owner or mode, or choose another state_dir"
        raise PatchError("unsafe_folder", message.format(state))
    mount = _mount_at(folder)
    if _mount_at(existing_ancestor(state)) == mount:
        return state
    parts = [part for part in folder.split("/") if part]
    above = ["/" + "/".join(parts[:depth]) for depth in range(1, len(parts) + 1)] + ["/"]
    for path in above:
        if _mount_at(path) == mount and is_guarded(path) and _is_writable(path):
            return path
    return state


def _mount_at(path: str) -> t.Optional[t.Tuple[int, str]]:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return mount_of(handle)
    finally:
        os.close(handle)


def _is_writable(path: str) -> bool:
    return os.access(path, os.W_OK | os.X_OK) and not os.statvfs(path).f_flag & os.ST_RDONLY
