# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Files as they were: owner, mode, links, extended attributes and, where it is copied aside, content.

Some are in folders that other users own; see folders. What the path of a folder leads to is looked up once, before
anything is changed.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import shutil
import stat
import typing as t

from . import attributes
from .disk import Disk
from .folders import Folder, identity, is_guarded

#: All that is known of a path, as JSON data; C(kind) is C(none), C(link), C(file), C(folder) or C(other).
Entry = t.Dict[str, t.Any]

#: Attributes that the kernel or its policy may refuse to have set.
_KERNELS = (attributes.LABEL, "security.evm", "security.ima")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class SavedFiles:
    """Look at files, save and restore them.

    Args:
        disk: how to write.
        secret: what nobody can guess, of which the names of new files are made; the same in every run for one journal.
    """

    def __init__(self, disk: Disk, secret: str) -> None:
        self._disk = disk
        self._secret = secret

    def look(self, paths: t.Iterable[str]) -> t.Dict[str, Entry]:
        """Return what is known of each path now."""
        places = {path: _real(path) for path in paths if os.path.basename(path) not in ("", ".")}
        return {path: dict(self._entry(real), real=real) for path, real in places.items()}

    def are_same(self, entries: t.Mapping[str, Entry]) -> bool:
        """Tell whether all are as they were, and the very same files."""
        return all(self._entry(entry["real"]) == _without(entry, "real") for entry in entries.values())

    def restore(self, entries: t.Mapping[str, Entry]) -> None:
        """Make all as it was, but for content; what was not there goes."""
        for path in sorted(entries, reverse=True):  # what is in a folder before it
            entry, now = entries[path], self._entry(entries[path]["real"])
            if _without(now, "identity") == _without(entry, "real", "identity") or entry["kind"] == "other":
                continue
            with self._folder(entry["real"]) as folder:
                if folder is not None:
                    self._restore(entry, now["kind"], folder)

    def save(self, path: str, target: str) -> None:
        """Copy the content of a file or link, with mode, owner and time; anything else leaves no copy."""
        real = _real(path)
        name = os.path.basename(real)
        with self._folder(real) as folder:
            info = folder.stat(name) if folder is not None else None
            if folder is None or info is None:
                return
            self._disk.step("save " + path)
            if stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(name, dir_fd=folder.handle), target)
                os.lchown(target, info.st_uid, info.st_gid)
            elif stat.S_ISREG(info.st_mode):
                with os.fdopen(folder.open(name), "rb") as source, open(target, "xb") as copy:
                    _copy(source, copy)

    def put(self, saved: str, path: str, entry: t.Optional[Entry]) -> None:
        """Put what save() has copied in its place, by one rename."""
        real = entry["real"] if entry else _real(path)
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with Folder.at(os.path.dirname(real), self._disk) as folder:
            scratch = self._scratch(real, folder)
            if os.path.islink(saved):
                info = os.lstat(saved)
                self._link(os.readlink(saved), [info.st_uid, info.st_gid], scratch, folder)
            else:
                with open(saved, "rb") as source, os.fdopen(folder.create(scratch), "wb") as copy:
                    _copy(source, copy)
            self._switch(scratch, os.path.basename(real), folder)

    def _scratch(self, real: str, folder: Folder) -> str:
        """Return the name for a new file, and remove what a killed run has left by it."""
        name = ".patchwave-" + hashlib.sha256(os.fsencode(self._secret + real)).hexdigest()[:24]
        folder.remove(name)
        return name

    def _link(self, target: str, owner: t.Sequence[int], name: str, folder: Folder) -> None:
        self._disk.step("symlink " + folder.join(name))
        os.symlink(target, name, dir_fd=folder.handle)
        os.chown(name, owner[0], owner[1], dir_fd=folder.handle, follow_symlinks=False)

    def _switch(self, scratch: str, name: str, folder: Folder) -> None:
        self._disk.step("switch " + folder.join(name))
        os.replace(scratch, name, src_dir_fd=folder.handle, dst_dir_fd=folder.handle)
        folder.sync()

    @contextlib.contextmanager
    def _folder(self, real: str) -> t.Iterator[t.Optional[Folder]]:
        """Open the folder of a path; give None where there is none, or a link where one was."""
        try:
            folder = Folder.at(os.path.dirname(real), self._disk)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            yield None
            return
        with folder:
            yield folder

    def _entry(self, real: str) -> Entry:
        with self._folder(real) as folder:
            name = os.path.basename(real)
            info = folder.stat(name) if folder is not None else None
            if folder is None or info is None:
                return {"kind": "none"}
            entry = {"kind": "other", "owner": [info.st_uid, info.st_gid]}  # type: Entry
            if stat.S_ISLNK(info.st_mode):
                entry.update(kind="link", target=os.readlink(name, dir_fd=folder.handle))
            elif stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
                with _opened(name, folder) as handle:
                    entry["attributes"] = _attributes(handle)
                entry.update(kind="folder", mode=stat.S_IMODE(info.st_mode))
                if stat.S_ISREG(info.st_mode):
                    entry.update(kind="file", identity=list(identity(info)))
            return entry

    def _restore(self, entry: Entry, now: str, folder: Folder) -> None:
        name = os.path.basename(entry["real"])
        if entry["kind"] == "none":
            folder.remove(name)
            folder.remove_empty(name)
        elif entry["kind"] == "link" and now != "folder":
            scratch = self._scratch(entry["real"], folder)
            self._link(entry["target"], entry["owner"], scratch, folder)
            self._switch(scratch, name, folder)
        elif entry["kind"] == now:
            self._disk.step("restore " + folder.join(name))
            with _opened(name, folder) as handle:
                if entry["kind"] == "file" and not is_guarded(folder.path, entry["owner"][0]):
                    entry = _harmless(entry)  # whoever owns the folder may have put another file there
                _set(handle, entry)


def _harmless(entry: Entry) -> Entry:
    """Leave out what gives who runs a file the rights of others."""
    kept = {key: value for key, value in entry["attributes"].items() if key != attributes.CAPABILITY}
    return dict(entry, mode=entry["mode"] & ~(stat.S_ISUID | stat.S_ISGID), attributes=kept)


def _real(path: str) -> str:
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _without(entry: Entry, *keys: str) -> Entry:
    return {key: value for key, value in entry.items() if key not in keys}


def _copy(source: t.BinaryIO, copy: t.BinaryIO) -> None:
    info = os.fstat(source.fileno())
    shutil.copyfileobj(source, copy, 1024**2)
    copy.flush()
    os.fchown(copy.fileno(), info.st_uid, info.st_gid)
    os.fchmod(copy.fileno(), stat.S_IMODE(info.st_mode))
    os.utime(copy.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))
    os.fsync(copy.fileno())


@contextlib.contextmanager
def _opened(name: str, folder: Folder) -> t.Iterator[int]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(name, flags, dir_fd=folder.handle)
    try:
        yield handle
    finally:
        os.close(handle)


def _attributes(handle: int) -> t.Dict[str, str]:
    return {name: base64.b64encode(value).decode() for name, value in attributes.read(handle).items()}


def _set(handle: int, entry: Entry) -> None:
    """Set owner, mode and attributes, in an order in which none takes away another."""
    info = os.fstat(handle)
    if [info.st_uid, info.st_gid] != entry["owner"]:
        os.fchown(handle, *entry["owner"])
    os.fchmod(handle, entry["mode"])
    now, before = attributes.read(handle), entry["attributes"]
    for name in now.keys() - before.keys() - {attributes.LABEL}:
        os.removexattr(handle, name)
    for name, value in before.items():
        if now.get(name) != base64.b64decode(value) or name == attributes.CAPABILITY:
            with contextlib.suppress(OSError) if name in _KERNELS else contextlib.nullcontext():
                os.setxattr(handle, name, base64.b64decode(value))
    os.fsync(handle)
