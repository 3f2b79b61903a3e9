# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The environment of what this module starts: the same by the SSM agent, which sets no HOME and no LANG, as by ssh."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import typing as t

if t.TYPE_CHECKING:
    from .users import User

#: Where systemd lets services find programs.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Variables that may hold a secret, which another user is not to see.
_SECRET = re.compile(r"proxy|token|secret|passw|credential|key|\AAWS_|\ASSM_|\APATCHWAVE_", re.IGNORECASE)
#: Where the node says which language services have, the first that does.
_LOCALES = ("/etc/locale.conf", "/etc/default/locale", "/etc/sysconfig/i18n")


def of_commands(own: t.Mapping[str, str], user: "User") -> t.Dict[str, str]:
    """Return the environment of probes, checks and other commands.

    It is that of this process, which a task's C(environment) may have set, with the identity of the user. Messages are
    in English. PATH has the folders that systemd's has, behind its own.
    """
    if user.uid != os.geteuid():  # another user reads the environment of a process of theirs
        own = {key: value for key, value in own.items() if not _SECRET.search(key)}
    return dict(own, PATH=path_with(own), **_identity(user), LC_ALL="C", LANGUAGE="C")


def path_with(own: t.Mapping[str, str]) -> str:
    """Return PATH of an environment with systemd's folders behind its own."""
    known = [folder for folder in own.get("PATH", "").split(":") if folder]
    return ":".join(known + [folder for folder in PATH.split(":") if folder not in known])


def which(program: str) -> t.Optional[str]:
    """Return where a command finds a program by its name, which is not where this process would."""
    return shutil.which(program, path=path_with(os.environ))


def of_services(user: "User") -> t.Dict[str, str]:
    """Return the environment of what starts and stops services: clean, in the node's own language, as systemd's is."""
    language = {}  # type: t.Dict[str, str]
    for path in _LOCALES:
        language = language or _locale(path)
    return dict(language, PATH=PATH, **_identity(user))


def _identity(user: "User") -> t.Dict[str, str]:
    return {"HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": "/bin/sh"}


def _locale(path: str) -> t.Dict[str, str]:
    """Read C(LANG) and C(LC_*) of a file of assignments."""
    found = {}  # type: t.Dict[str, str]
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8", errors="replace") as stream:
        for word in shlex.split(stream.read(), comments=True):
            key, equals, value = word.partition("=")
            if equals and value and (key in ("LANG", "LANGUAGE") or key.startswith("LC_")):
                found[key] = value
    return found
