# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""What outside of a program's folder leads into a version of it: links, units, cron tables and scripts."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
import typing as t

from .archive_members import MAX_DEPTH
from .disk import Disk
from .errors import PatchError
from .folders import is_guarded

#: Folders whose links, and scripts, are looked at.
LINKS = (
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/lib",
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/etc/alternatives",
    "/etc/init.d",
    "/opt",
    "/srv",
)
#: Folders whose files are read, and those in folders in them.
TEXTS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/var/spool/cron",
    "/etc/default",
    "/etc/sysconfig",
    "/etc/profile.d",
    "/etc/ld.so.conf.d",
    "/etc/logrotate.d",
    "/etc/supervisor",
)
FILES = ("/etc/crontab", "/etc/environment", "/etc/profile", "/etc/rc.local")
#: Names in a folder and bytes of a file that are looked at.
_MAX_NAMES = 5000
_MAX_BYTES = 256 * 1024
_MAX_STEPS = 4000

#: A link to move: its path, what it holds now, what it is to hold, and a name beside it for a moment.
Move = t.List[str]


def leading_to(roots: t.Sequence[str], but: t.Iterable[str] = ()) -> t.List[str]:
    """List links and files that lead to or name one of some folders, but not through one of the links C(but)."""
    roots = [root for root in roots if len(root) > 1]
    if not roots:
        return []
    names = re.compile("|".join("{0}(?![\\w.+~-])".format(re.escape(root)) for root in roots).encode())
    stops = _real(but)
    found = set()  # type: t.Set[str]
    for folder in _folders(LINKS):
        for entry in _entries(folder):
            path = os.path.join(folder, entry.name)
            if entry.is_symlink():
                leads = _within(os.path.realpath(path), roots) and not through(path, stops)
                found.update([path] if leads else [])
            elif _names(path, names, b"#!"):
                found.add(path)
    for folder in _folders(TEXTS):
        for entry in _entries(folder):
            inner = _entries(entry.path) if entry.is_dir(follow_symlinks=False) else [entry]
            found.update(each.path for each in inner if _names(each.path, names, b""))
    found.update(path for path in FILES if _names(path, names, b""))
    return sorted(found)


def _real(links: t.Iterable[str]) -> t.Set[str]:
    return {os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in links}


def through(path: str, stops: t.AbstractSet[str]) -> bool:
    """Tell whether a path is or leads through one of some links; of each the folder's real path is given."""
    todo, here = path.split("/")[::-1], "/"
    for dummy in range(_MAX_STEPS):
        if not todo:
            return False
        part = todo.pop()
        here = os.path.dirname(here) if part == ".." else os.path.normpath(os.path.join(here, part))
        if here in stops:
            return True
        if part not in ("", ".", "..") and os.path.islink(here):
            todo += os.readlink(here).split("/")[::-1]
            here = "/" if os.readlink(here).startswith("/") else os.path.dirname(here)
    return False


def _folders(paths: t.Sequence[str]) -> t.List[str]:
    """Return those that are there, each once; C(/bin) may be a link to C(/usr/bin)."""
    return sorted({os.path.realpath(path) for path in paths if os.path.isdir(path)})


def _entries(folder: str) -> t.List[t.Any]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return list(itertools.islice(entries, _MAX_NAMES))
    return []


def _names(path: str, names: t.Pattern[bytes], begin: bytes) -> bool:
    """Tell whether a regular file that begins so names one of the folders."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            if begin and stream.read(len(begin)) != begin:
                return False
            return stat.S_ISREG(os.fstat(stream.fileno()).st_mode) and bool(names.search(stream.read(_MAX_BYTES)))
    except OSError:
        return False


def _within(path: str, roots: t.Sequence[str]) -> bool:
    return any((path + "/").startswith(root.rstrip("/") + "/") for root in roots)


# -- links that a definition asks for --------------------------------------------------------------------------------


def check_links(paths: t.Sequence[str]) -> None:
    """Raise PatchError unless each path is a link or nothing, where nobody else may change it."""
    for path in paths:
        if not os.path.lexists(path):
            continue
        if not os.path.islink(path):
            raise PatchError(
                "dest_conflict", "{0} is no link; move it away or take it out of archive.links".format(path)
            )
        if not is_guarded(os.path.realpath(os.path.dirname(path))):
            message = "others than root may change {0}; change the owner of its folder or take it out of archive.links"
            raise PatchError("unsafe_folder", message.format(path))


def moves(paths: t.Sequence[str], roots: t.Sequence[str], current: str, tree: str) -> t.List[Move]:
    """Return which links to move, and where to.

    A link to a file in a version leads to the same file below C(current) from then on, one to the version's folder to
    C(current) itself. Where the old version is in no folder that is known, the end of the path must be in the new tree.

    Args:
        paths: the links.
        roots: folders of versions that are known.
        current: the link to the version that runs.
        tree: where the new version is now.

    Raises:
        PatchError: C(dest_conflict), the new version has no such file.
    """
    found = []  # type: t.List[Move]
    for path in paths:
        if not os.path.islink(path):
            continue
        text, real = os.readlink(path), os.path.realpath(path)
        if through(path, _real([current])):
            continue
        root = root_in(real, roots, tree)
        inside = None if root is None else os.path.relpath(real, root)
        if inside is None or not os.path.lexists(os.path.join(tree, inside)):
            message = "{0} leads to {1}, which the new version does not have; take it out of archive.links"
            raise PatchError("dest_conflict", message.format(path, real))
        wanted = current if inside == "." else os.path.join(current, inside)
        scratch = os.path.join(os.path.dirname(path), ".{0}.{1}".format(os.path.basename(path), os.urandom(6).hex()))
        found.append([path, text, wanted, scratch])
    return found


def root_in(real: str, roots: t.Sequence[str], tree: str) -> t.Optional[str]:
    """Return the folder of the version that a path is in.

    It is one of C(roots), or else what is left of the path without the longest end that is in the new tree.
    """
    known = next((root for root in roots if _within(real, [root])), None)
    if known is not None:
        return known
    parts = real.split("/")
    for cut in range(max(1, len(parts) - MAX_DEPTH), len(parts)):
        if os.path.lexists(os.path.join(tree, *parts[cut:])):
            return "/".join(parts[:cut]) or None
    return real if os.path.isdir(real) and set(os.listdir(real)) & set(os.listdir(tree)) else None


def move(links: t.Sequence[Move], back: bool, disk: Disk) -> None:
    """Let links lead to the new version, or C(back); one that is neither old nor new is left alone."""
    for path, old, new, scratch in links:
        disk.remove(scratch)
        here, there = (new, old) if back else (old, new)
        if os.path.islink(path) and os.readlink(path) == here:
            info = os.lstat(path)
            disk.point(path, there, scratch)
            if os.geteuid() == 0:
                os.lchown(path, info.st_uid, info.st_gid)
