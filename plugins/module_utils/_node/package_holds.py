# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""What keeps RPM packages at their version by an administrator's wish; dpkg has that in its database."""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
import typing as t

#: Where the plugin versionlock of yum and dnf has its list.
_LISTS = (
    "/etc/dnf/plugins/versionlock.list",
    "/etc/yum/pluginconf.d/versionlock.list",
)
_TOML = "/etc/dnf/versionlock.toml"
_ZYPP = "/etc/zypp/locks"
_CONFIG = ("/etc/dnf/dnf.conf", "/etc/yum.conf")

_ARCHITECTURE = re.compile(r"\.(?:x86_64|aarch64|noarch|i[3-6]86|s390x|ppc64le|\*)\Z")
#: The name, an epoch, the version and the release of a package, each of which may have wildcards.
_VERSION = re.compile(r"(.+)-(?:\d+:)?([\d*?\[][^-]*)-[^-]+\Z")


def held(name: str, version: str, root: str = "/") -> str:
    """Return which file of the node keeps a package from a version, or nothing.

    Args:
        name: the package.
        version: the version to install.
        root: where the files are, for tests.
    """
    for files, held_by in ((_LISTS, _versionlock), ((_TOML,), _toml), ((_ZYPP,), _zypp), (_CONFIG, _excluded)):
        for path in files:
            text = _read(os.path.join(root, path[1:]))
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in held_by(text, version)):
                return path
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _name(pattern: str) -> t.Tuple[str, str]:
    """Split a glob of a package into that of its name and that of its version, if it has one."""
    pattern = _ARCHITECTURE.sub("", pattern)
    match = _VERSION.match(pattern)
    return (match.group(1), match.group(2)) if match else (pattern, "")


def _versionlock(text: str, version: str) -> t.Iterator[str]:
    """A line locks a package to the version that was installed, or with an exclamation mark excludes one version."""
    for line in text.split("\n"):
        line = line.partition("#")[0].strip()
        pattern, number = _name(re.sub(r"\A!?(?:\d+:)?", "", line))
        wanted = version.rpartition(":")[2].partition("-")[0]
        if line and (not line.startswith("!") or fnmatch.fnmatchcase(wanted, number)):
            yield pattern


def _toml(text: str, version: str) -> t.Iterator[str]:
    return iter(re.findall(r"(?m)^\s*name\s*=\s*[\"']([^\"']+)[\"']", text))


def _zypp(text: str, version: str) -> t.Iterator[str]:
    return iter(re.findall(r"(?m)^solvable_name:\s*(\S+)", text))


def _excluded(text: str, version: str) -> t.Iterator[str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for key in ("exclude", "excludepkgs"):
        for word in re.split(r"[\s,]+", parser.get("main", key, fallback="")):
            if word:
                yield _name(word)[0]
