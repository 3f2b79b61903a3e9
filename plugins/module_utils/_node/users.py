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
#: Programs that run a file, or what a text in their arguments loads.
_INTERPRETER = re.compile(
    r"(python|pypy|node|nodejs|java|ruby|perl|php|lua|tclsh|expect|[gmn]?awk|sed|make|ant|deno|bun|dotnet|mono)[0-9.]*\Z"
)
_WORDS = re.compile(r"[\s=:,;|&()<>\[\]{}'\"`]")
_FOLDER = re.compile(r"(?:\A|[\s;&|(])(?:cd|pushd|-C|--chdir[= ])\s*['\"]?(/[^\s;&|'\")]*)")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")
#: Endings of programs that need not be executable.
_PROGRAMS = (".sh", ".py", ".js", ".jar", ".war", ".rb", ".pl", ".php", ".pyz")
_ACL = "system.posix_acl_access"
_SWITCH = """
import os, sys
uid, gid, groups, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
os.setgroups([int(group) for group in groups.split(",")])
os.setgid(gid)
os.setuid(uid)
try:
    os.execvp(argv[0], argv)
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
        groups = ",".join(map(str, sorted({self.gid, *os.getgrouplist(self.name, self.gid)})))
        return [sys.executable, "-ISc", _SWITCH, str(self.uid), str(self.gid), groups, *argv]


def me() -> User:
    """Return who runs this module."""
    return _user(os.geteuid())


def reader(argv: t.Sequence[str], wanted: t.Optional[str] = None) -> User:
    """Return the user who runs a command that only looks.

    Args:
        argv: program and arguments.
        wanted: C(run_as) of the definition. Without it, where this module is root and another user may change the
            program, or a file that an interpreter is given, it is that user.

    Raises:
        PatchError: C(run_as_failed), there is no such user, or nobody can tell which user may change it.
    """
    if wanted:
        return named(wanted)
    found = (_changer(path) for path in _programs(argv)) if os.geteuid() == 0 else ()
    return next((user for user in found if user is not None), None) or me()


def check_writer(argv: t.Sequence[str], wanted: t.Optional[str], option: str) -> None:
    """Refuse a command that changes the node when another user could change it and the definition names nobody.

    Args:
        argv: program and arguments.
        wanted: C(run_as) of the definition.
        option: where C(run_as) belongs, for the message.

    Raises:
        PatchError: C(run_as_failed).
    """
    user = reader(argv, wanted)
    if not wanted and user.name.isdigit() and user != me():
        message = "{0} belongs to uid {1}, which no user has, and root is to run it; chown it to root"
        raise PatchError("run_as_failed", message.format(argv[0], user.name))
    if not wanted and user != me():
        message = "{0} belongs to {1}, who could have root run anything; set {2} to {1}, or to root if you trust it"
        raise PatchError("run_as_failed", message.format(argv[0], user.name, option))


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
    """Give the files that a command runs: its program, and what is run or loaded by way of its arguments."""
    program = argv[0] if "/" in argv[0] else environment.which(argv[0])
    if program is None:
        return
    yield program
    names = {os.path.basename(program), os.path.basename(os.path.realpath(program))}
    wrapper, interpreter = any(map(_WRAPPER.match, names)), any(map(_INTERPRETER.match, names))
    parts = [part for word in argv[1:] for part in [word, *_WORDS.split(word)]] if wrapper or interpreter else []
    inner = {os.path.basename(part) for part in parts} if wrapper else set()
    if interpreter or any(map(_INTERPRETER.match, inner)):
        yield from _loaded(parts)
    if wrapper:
        yield from _run(parts, argv)


def _loaded(parts: t.Iterable[str]) -> t.Iterator[str]:
    """Give the files and folders that an interpreter is told of; a module may be named without its ending."""
    for part in parts:
        path = existing_ancestor(os.path.normpath(part)) if part.startswith("/") and "\0" not in part else "/"
        if path != "/" and (os.path.isdir(path) or os.path.isfile(path)):
            yield path


def _run(parts: t.Sequence[str], argv: t.Sequence[str]) -> t.Iterator[str]:
    """Give what a shell or the like runs by path or by name, and the folders that it goes to."""
    yield from (path for word in [*argv[1:], " ".join(argv[1:])] for path in _FOLDER.findall(word))
    first = next((word for word in argv[1:] if word[:1] != "-"), "")
    if first.startswith("/") and os.path.isfile(first):
        yield first
    for part in parts:
        path = part if part.startswith("/") else environment.which(part) if _NAME.match(part) else None
        if path is not None and _is_program(path):
            yield path


def _is_program(path: str) -> bool:
    """Tell a program from the data, devices and logs that a shell's text names too."""
    try:
        info = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(info.st_mode) and bool(info.st_mode & 0o111 or path.endswith(_PROGRAMS))


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
    """List a path, what it leads to by links, and all folders above either."""
    found = []  # type: t.List[str]
    left, links = [os.path.abspath(path)], 0
    while left:
        place = left.pop()
        while place not in found:
            found.append(place)
            if os.path.islink(place) and links < 40:
                links += 1
                left.append(os.path.normpath(os.path.join(os.path.dirname(place), os.readlink(place))))
            place = os.path.dirname(place)
    return found


def _members(gid: int) -> t.Set[int]:
    """Return the users of a group, other than root; those of root's own group are root."""
    if gid == 0:
        return set()
    members = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == gid}
    try:
        for name in grp.getgrgid(gid).gr_mem:
            members.add(pwd.getpwnam(name).pw_uid)
    except KeyError:
        pass
    return members - {0}
