# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Owner, mode and extended attributes of an open file: ACLs, capabilities, SELinux labels and those of users."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import typing as t

CAPABILITY = "security.capability"
LABEL = "security.selinux"
_ACL, _DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"

_CARRIED = ("user.", "security.", "system.posix_acl_", "system.nfs4_acl")
#: Signatures of a file's content or of its inode, which another file cannot have.
_OF_CONTENT = ("security.ima", "security.evm")
#: What grants something to somebody: a file that has none of these must not get one from its folder.
_GRANTS = (CAPABILITY, _ACL)
_UNSUPPORTED = (errno.ENOTSUP, errno.ENOSYS, errno.ENODATA)
#: Capabilities that give nothing but the service they are for: to bind low ports, raw sockets, locked memory, priority.
_HARMLESS = 1 << 10 | 1 << 13 | 1 << 14 | 1 << 23


def carry(source: int, target: int, same_content: bool = False) -> None:
    """Give one open file what another one has: first its owner, then its mode, then its extended attributes.

    In this order nobody can run the new file with rights of an owner that it is about to lose, and no bit is lost:
    a change of owner clears setuid, setgid and capabilities.

    Args:
        source: descriptor of a file or folder.
        target: descriptor of a file or folder that nobody else has written to.
        same_content: signatures of the content are valid for C(target) too.
    """
    info, now = os.fstat(source), os.fstat(target)
    if (info.st_uid, info.st_gid) != (now.st_uid, now.st_gid) and os.geteuid() == 0:
        os.fchown(target, info.st_uid, info.st_gid)
    wanted = read(source)
    if not same_content:
        wanted = {name: value for name, value in wanted.items() if name not in _OF_CONTENT}
    present = read(target)
    for name in _GRANTS:
        if name in present and name not in wanted:
            os.removexattr(target, name)
    if stat.S_IMODE(os.fstat(target).st_mode) != stat.S_IMODE(info.st_mode):
        os.fchmod(target, stat.S_IMODE(info.st_mode))
    for name, value in wanted.items():
        if present.get(name) != value or name == CAPABILITY:  # which a change of owner has taken away
            _set(target, name, value)


def inherit(folder: int, target: int) -> None:
    """Give a new file what it would have if it had been made in the folder that it is for: owner, ACL and label."""
    info, mode, given = os.fstat(folder), stat.S_IMODE(os.fstat(target).st_mode), read(folder)
    if os.geteuid() == 0:
        os.fchown(target, info.st_uid, info.st_gid)
    if _DEFAULT_ACL in given:
        _set(target, _ACL, given[_DEFAULT_ACL])
    os.fchmod(target, mode)  # which limits the ACL, too
    if LABEL in given:
        _set(target, LABEL, given[LABEL])


def _set(target: int, name: str, value: bytes) -> None:
    try:
        os.setxattr(target, name, value)
    except OSError:
        # Without root only one's own attributes can be set; a label is the policy's to refuse.
        if os.geteuid() == 0 and name != LABEL:
            raise


def read(handle: int) -> t.Dict[str, bytes]:
    """Return the extended attributes of an open file."""
    found = {}  # type: t.Dict[str, bytes]
    try:
        names = os.listxattr(handle)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return found
        raise
    for name in (name for name in names if name.startswith(_CARRIED)):
        with contextlib.suppress(OSError):  # one that is gone, or is none that can be read
            found[name] = os.getxattr(handle, name)
    return found


def is_privileged(handle: int) -> bool:
    """Tell whether who runs this file gets rights of others by it."""
    bits = stat.S_ISUID | stat.S_ISGID
    return bool(os.fstat(handle).st_mode & bits) or not _is_harmless(read(handle).get(CAPABILITY))


def _is_harmless(capability: t.Optional[bytes]) -> bool:
    """Judge the value of security.capability: C(struct vfs_cap_data) of linux/capability.h."""
    if capability is None:
        return True
    try:
        low, low_inherited, high, high_inherited = struct.unpack("<4I", capability[4:20])
    except struct.error:
        return False
    return not ((low | low_inherited) & ~_HARMLESS or high or high_inherited)
