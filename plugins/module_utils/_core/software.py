# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What a software definition is: its options, the checks an argument spec cannot say, and the reasons of results.

The module takes these options for one program; a catalog file holds the same mapping for each program name.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
import urllib.parse

from . import moments, versions

#: Argument spec of one definition: every option of the module but its name.
DEFINITION = {
    "fixed_in": {"type": "str", "required": True},
    "archive": {
        "type": "dict",
        "required": True,
        "options": {
            "url": {"type": "str", "required": True, "no_log": True},
            "sha256": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "strip": {"type": "int", "default": 0},
            "format": {"type": "str", "choices": ["auto", "tar", "zip"], "default": "auto"},
        },
    },
    "dest": {"type": "path", "required": True},
    "probe": {
        "type": "dict",
        "required": True,
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "pattern": {"type": "str", "default": versions.DEFAULT_PATTERN},
            "timeout": {"type": "int", "default": 10},
        },
    },
    "health": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str"},
            "http": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True, "no_log": True},
                    "status": {"type": "int", "default": 200},
                    "pattern": {"type": "str"},
                    "validate_certs": {"type": "bool", "default": True},
                },
            },
            "port": {"type": "int"},
            "host": {"type": "str", "default": "127.0.0.1"},
            "retries": {"type": "int", "default": 3},
            "delay": {"type": "float", "default": 1.0},
            "timeout": {"type": "int", "default": 10},
        },
    },
    "services": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "manager": {"type": "str", "choices": ["auto", "systemd", "sysv", "commands"], "default": "auto"},
            "restart": {"type": "str", "choices": ["around", "after"], "default": "around"},
            "start": {"type": "list", "elements": "str"},
            "stop": {"type": "list", "elements": "str"},
            "status": {"type": "list", "elements": "str"},
            "timeout": {"type": "int", "default": 60},
        },
    },
    "old_processes": {"type": "str", "choices": ["fail", "restart", "ignore"], "default": "fail"},
    "unsafe_processes": {"type": "list", "elements": "str", "default": []},
    "latest_start": {"type": "str"},
    "keep": {"type": "int", "default": 1},
    "allow_downgrade": {"type": "bool", "default": False},
    "install_missing": {"type": "bool", "default": False},
    "state_dir": {"type": "path", "default": "/var/lib/patchwave"},
    "lock_timeout": {"type": "int", "default": 60},
}  # type: t.Dict[str, t.Dict[str, t.Any]]

#: Every reason a result can carry, and what it means. Reports and alerts may rely on these words.
REASONS = {
    "upgraded": "the archive's version is in place and proven",
    "downgraded": "as upgraded, to a lower version, which allow_downgrade asked for",
    "recovered": "an interrupted transaction had already proven the version; it was only finished",
    "already_fixed": "the node's version is not vulnerable; nothing was touched",
    "not_installed": "the program is not on this node; nothing was touched",
    "bad_definition": "an option does not fit; the message names it",
    "locked": "another patch run held the node's lock for all of lock_timeout",
    "journal_invalid": "the journal of an interrupted transaction cannot be read",
    "probe_failed": "the probe ran and gave no version, or too late",
    "downgrade_refused": "the archive's version is lower than the node's",
    "dest_conflict": "something else stands where the link or the version folder belongs",
    "health_missing": "the health command is neither on the node nor in the archive",
    "not_writable": "dest or state_dir cannot be written",
    "no_space": "the file system has too little room",
    "io_error": "another error of the file system",
    "download_failed": "the archive could not be read in full from its URL",
    "checksum_mismatch": "the archive is not the one that sha256 promises",
    "bad_archive": "the file is no archive, is damaged or is empty after strip",
    "unsafe_archive": "the archive would write outside its folder, holds devices or unpacks to too much",
    "wrong_version": "the new version was in place and the probe reported another one",
    "service_missing": "a service of the definition is not on this node",
    "service_failed": "a service did not stop or start in its time",
    "old_process": "a process still used the old files after the switch",
    "too_late": "latest_start had passed before the switch; nothing was changed",
    "unsafe_process": "a process of unsafe_processes ran; nothing was changed",
    "health_failed": "the new version was in place and its health check failed",
    "rollback_failed": "the old version could not be put back, or not be proven",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}\Z")
_URL = re.compile(r"(s3://[^/\s]+/.|https?://[^/\s]|file:///|/)")
_SERVICE = re.compile(r"[A-Za-z0-9@_][A-Za-z0-9@_.:\\-]{0,127}\Z")
_MINIMUMS = {
    ("keep",): 1,
    ("lock_timeout",): 0,
    ("archive", "strip"): 0,
    ("probe", "timeout"): 1,
    ("health", "timeout"): 1,
    ("health", "retries"): 0,
    ("health", "delay"): 0,
    ("health", "port"): 1,
}
_MAX_PATH = 200

Problem = t.Tuple[str, str]


def check_definition(name: t.Any, definition: t.Mapping[str, t.Any]) -> t.List[Problem]:
    """List what an argument spec cannot say against one definition.

    Options that are absent or of a wrong type are left to the argument spec.

    Args:
        name: the program's name, the key in a catalog.
        definition: options as in DEFINITION; defaults need not be filled in.

    Returns:
        (key path, message) of each problem, such as C(("archive.sha256", "must be 64 hexadecimal digits")).
        A message never holds the archive's URL.
    """
    found = []  # type: t.List[Problem]
    if not isinstance(name, str) or not _NAME.match(name):
        found.append(("name", "must be 1 to 64 letters, digits or ._+- and start with a letter or digit"))
    found.extend(_archive_problems(definition))
    found.extend(_path_problems(definition))
    found.extend(_command_problems(definition))
    found.extend(_health_problems(definition))
    found.extend(_service_problems(definition))
    if isinstance(_get(definition, "latest_start"), str) and not moments.is_moment(definition["latest_start"]):
        found.append(("latest_start", "must be a moment with its zone, such as 2026-11-22T04:00:00Z"))
    for path, minimum in _MINIMUMS.items():
        value = _get(definition, *path)
        if isinstance(value, (int, float)) and not value >= minimum:
            found.append((".".join(path), "must be {0} or more".format(minimum)))
    return found


def _get(definition: t.Any, *path: str) -> t.Any:
    for key in path:
        definition = definition.get(key) if isinstance(definition, dict) else None
    return definition


def _archive_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    url, sha256 = _get(definition, "archive", "url"), _get(definition, "archive", "sha256")
    fixed, version = _get(definition, "fixed_in"), _get(definition, "archive", "version")
    if isinstance(url, str) and not _is_url(url):
        yield "archive.url", "must be s3://BUCKET/KEY, https://, http:// or file:/// or an absolute path"
    if isinstance(sha256, str) and not _SHA256.match(sha256):
        yield "archive.sha256", "must be 64 hexadecimal digits"
    for path, value in (("fixed_in", fixed), ("archive.version", version)):
        if isinstance(value, str) and not versions.is_version(value):
            yield path, "must be a version of at most 64 characters, such as 1.36.0"
    if versions.is_version(fixed) and versions.is_version(version) and versions.compare(version, fixed) < 0:
        yield "archive.version", "{0} is still vulnerable: lower than fixed_in {1}".format(version, fixed)


def _is_url(url: str) -> bool:
    try:
        urllib.parse.urlsplit(url)
    except ValueError:
        return False
    return _URL.match(url) is not None and url.isprintable()


def _path_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for key in ("dest", "state_dir"):
        path = _get(definition, key)
        if not isinstance(path, str):
            continue
        if not path.startswith("/") or ".." in path.split("/") or not path.isprintable():
            yield key, "must be an absolute path without '..'"
        elif posixpath.normpath(path) in ("/", "//"):
            yield key, "must not be the root folder"
        elif len(ascii(path)) - 2 > _MAX_PATH:
            yield key, "must be at most {0} characters, with those beyond ASCII written as escapes".format(_MAX_PATH)


def _command_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for key in ("probe", "health"):
        command = _get(definition, key, "command")
        if isinstance(command, list) and not (command and command[0]):
            yield key + ".command", "must name a program"
        elif isinstance(command, list) and any("\0" in str(part) for part in command):
            yield key + ".command", "must not hold a NUL character"
    pattern = _get(definition, "probe", "pattern")
    if isinstance(pattern, str):
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            yield "probe.pattern", "is no regular expression: {0}".format(error)
        else:
            if groups != 1:
                yield "probe.pattern", "must have exactly one group, around the version"


def _health_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    health = _get(definition, "health")
    if not isinstance(health, dict):
        return
    given = [key for key in ("command", "http", "port") if health.get(key) is not None]
    if len(given) != 1:
        yield "health", "needs exactly one of command, http and port, not {0}".format(" and ".join(given) or "none")
    url, port = _get(health, "http", "url"), health.get("port")
    if isinstance(url, str) and not re.match(r"https?://[^/\s]", url):
        yield "health.http.url", "must begin with http:// or https://"
    if isinstance(port, int) and port > 65535:
        yield "health.port", "must be 65535 or less"
    pattern = _get(health, "http", "pattern")
    if isinstance(pattern, str):
        try:
            re.compile(pattern)
        except re.error as error:
            yield "health.http.pattern", "is no regular expression: {0}".format(error)


def _service_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    services = _get(definition, "services")
    names = []  # type: t.List[str]
    for index, service in enumerate(services if isinstance(services, list) else []):
        where = "services[{0}]".format(index)
        name = _get(service, "name")
        if isinstance(name, str) and not _SERVICE.match(name):
            yield where + ".name", "must be the name of a service, without a path"
        if name in names:
            yield where + ".name", "{0} is listed twice".format(name)
        names.append(name)
        given = [verb for verb in ("start", "stop", "status") if _get(service, verb)]
        if (given and len(given) < 3) or (_get(service, "manager") == "commands" and not given):
            yield where, "needs start, stop and status, all three"
        if given and _get(service, "manager") in ("systemd", "sysv"):
            yield where, "has a manager and commands; choose one"
        timeout = _get(service, "timeout")
        if isinstance(timeout, int) and timeout < 1:
            yield where + ".timeout", "must be 1 or more"
