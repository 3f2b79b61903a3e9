# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Which user runs a definition's command: never root what another user could change."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import sys
import typing as t

from . import environment
from .disk import existing_ancestor
from .errors import PatchError

#: Programs that run what is named in their arguments, by path or by name.
_WRAPPER = re.compile(
    r"((ba|da|z|k|a)?sh|busybox|env|nice|ionice|chrt|taskset|timeout|time|nohup|setsid|stdbuf|flock|xargs|find|unshare"
    r"|nsenter|chroot|systemd-run|systemd-cat|watch|script|parallel|tini|dumb-init)\Z"
)
_WORDS = re.compile(r"[\s=:,;|&()<>\[\]{}'\"`@$]+")
_PATH = re.compile(r"/[^\s=:,;|&()<>\[\]{}'\"`@$*?\0]*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")
_MOST_LINKS = 40
_ACL = "system.posix_acl_access"
_SWITCH = """
import os, sys
uid, gid, groups, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
os.setgroups([int(group) for group in groups.split(",")])
os.setgid(gid)
os.setuid(uid)
try:
    os.execv(argv[0], argv)
except OSError as error:
    sys.exit("{0}: {1}".format(argv[0], error.strerror))
"""


class User(t.NamedTuple):
    """A user of this node."""

    name: str
    uid: int
    gid: int
    home: str

    def command(self, argv: t.Sequence[str]) -> t.List[str]:
        """Return what runs C(argv) as this user, with all of its groups; this process is root or the user."""
        if self.uid == os.geteuid():
            return list(argv)
        program = argv[0] if "/" in argv[0] else environment.which(argv[0]) or argv[0]  # before rights are gone
        groups = ",".join(map(str, sorted({self.gid, *os.getgrouplist(self.name, self.gid)})))
        return [sys.executable, "-ISc", _SWITCH, str(self.uid), str(self.gid), groups, program, *argv[1:]]


def me() -> User:
    """Return who runs this module."""
    return _user(os.geteuid())


def reader(argv: t.Sequence[str], wanted: t.Optional[str] = None) -> User:
    """Return the user who runs a command that only looks.

    Args:
        argv: program and arguments.
        wanted: C(run_as) of the definition. Without it, where this module is root and another user may change the
            program, or a file or folder among its arguments, it is that user.

    Raises:
        PatchError: C(run_as_failed), there is no such user, or nobody can tell which user may change it.
    """
    return named(wanted) if wanted else (_foreign(argv) or (me(), ""))[0]


def _foreign(argv: t.Sequence[str]) -> t.Optional[t.Tuple[User, str]]:
    """Return another user who may change what root is to run, and what that is."""
    for path in _programs(argv) if os.geteuid() == 0 else ():
        user = _changer(path)
        if user is not None:
            return user, path
    return None


def check_writer(argv: t.Sequence[str], wanted: t.Optional[str], option: str) -> None:
    """Refuse a command that changes the node when another user could change it and the definition names nobody.

    Args:
        argv: program and arguments.
        wanted: C(run_as) of the definition.
        option: where C(run_as) belongs, for the message.

    Raises:
        PatchError: C(run_as_failed).
    """
    if wanted:
        named(wanted)
        return
    found = _foreign(argv)
    if found is None:
        return
    user, path = found
    message = "{1} may change {0}, which root is to run; set {2} to {1}, or to root if you trust it"
    if user.name.isdigit():
        message = "{0} belongs to uid {1}, which no user has, and root is to run it; chown it to root"
    raise PatchError("run_as_failed", message.format(path, user.name, option))


def named(name: t.Optional[str]) -> User:
    """Return a user by name, or who runs this module; raise PatchError C(run_as_failed)."""
    if not name:
        return me()
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise PatchError("run_as_failed", "no user {0} on this node; check run_as".format(name)) from None
    user = User(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir or "/")
    if user.uid != os.geteuid() and os.geteuid() != 0:
        raise PatchError("run_as_failed", "only root can run commands as {0}; use become".format(name))
    return user


def _user(uid: int) -> User:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a file may belong to a number that no user has
        return User(str(uid), uid, uid, "/")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir or "/")


def _programs(argv: t.Sequence[str]) -> t.Iterator[str]:
    """Give what a command may run: its program, all files and folders in its arguments, and programs by name.

    What of these it runs, and what it only reads, nobody can tell; modes and endings are their owner's to choose.
    """
    program = argv[0] if "/" in argv[0] else environment.which(argv[0]) or argv[0]
    yield program
    for path in (path for word in argv[1:] for path in _PATH.findall(word)):
        place = existing_ancestor(path)
        if place != "/" and (os.path.isdir(place) or os.path.isfile(place)):
            yield place
    if any(map(_WRAPPER.match, {os.path.basename(program), os.path.basename(os.path.realpath(program))})):
        names = {part for word in argv[1:] for part in _WORDS.split(word) if _NAME.match(part)}
        yield from filter(None, map(environment.which, sorted(names)))


def _changer(path: str) -> t.Optional[User]:
    """Return the user, other than root, who may change what is at C(path): by itself, by a folder or a link above."""
    for place in _places(path):
        try:
            info = os.lstat(place)
        except OSError:
            continue
        if info.st_uid != 0:
            return _user(info.st_uid)
        if stat.S_ISLNK(info.st_mode) or (stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX):
            continue
        if info.st_mode & stat.S_IWOTH:
            raise PatchError("run_as_failed", "every user may change {0}; mend that, or set run_as".format(place))
        members = _members(info.st_gid) if info.st_mode & stat.S_IWGRP else set()
        if len(members) > 1 or (info.st_mode & stat.S_IWGRP and _has_acl(place)):
            message = "several users may change {0} by its group or ACL; mend that, or set run_as"
            raise PatchError("run_as_failed", message.format(place))
        if members:
            return _user(members.pop())
    return None


def _has_acl(path: str) -> bool:
    try:
        return _ACL in os.listxattr(path)
    except OSError:  # a file system without them
        return False


def _places(path: str) -> t.List[str]:
    """List all that leads to a path, as the kernel does: each folder, and each link with all that it leads through."""
    found, current, links = ["/"], "/", 0
    left = path.split("/")
    while left:
        part = left.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            current = os.path.dirname(current)
            continue
        place = os.path.join(current, part)
        found.append(place)
        if os.path.islink(place) and links < _MOST_LINKS:
            links += 1
            target = os.readlink(place)
            current = "/" if target.startswith("/") else current
            left = target.split("/") + left
        else:
            current = place
    return found[::-1]


def _members(gid: int) -> t.Set[int]:
    """Return the users of a group, other than root; those of root's own group are root.

    A member whom this node does not know just now counts as two: nobody can say who that is.
    """
    if gid == 0:
        return set()
    members = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == gid}
    try:
        names = grp.getgrgid(gid).gr_mem
    except KeyError:
        names = []
    for name in names:
        try:
            members.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            members.update((-1, -2))
    return members - {0}
