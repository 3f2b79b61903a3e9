# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What a software definition is: its options, the checks an argument spec cannot say, and the reasons of results.

The module takes these options for one program; a catalog file holds the same mapping for each program name.
"""

from __future__ import annotations

import re
import typing as t

from . import versions
from .software_checks import Problem, problems

#: Where a file comes from: part of every kind that downloads one.
SOURCE = {
    "url": {"type": "str", "required": True, "no_log": True},
    "mirrors": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "sha256": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "variants": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "architecture": {"type": "str"},
            "platform": {"type": "str"},
            "url": {"type": "str", "required": True, "no_log": True},
            "sha256": {"type": "str", "required": True},
            "signature": {"type": "str"},
        },
    },
    "signature": {"type": "str"},
    "public_key": {"type": "str", "no_log": False},
    "proxy": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
}  # type: t.Dict[str, t.Dict[str, t.Any]]

#: What both kinds of package have.
PACKAGE = {
    "way_back": {"type": "str", "choices": ["required", "none"], "default": "required"},
    "ignore_hold": {"type": "bool", "default": False},
    "lock_timeout": {"type": "int", "default": 300},
    "timeout": {"type": "int", "default": 900},
}  # type: t.Dict[str, t.Dict[str, t.Any]]

#: The kinds of software, each an option of its own; a definition has exactly one of them.
KINDS = {
    "archive": {
        "type": "dict",
        "options": {
            **SOURCE,
            "strip": {"type": "int", "default": 0},
            "format": {"type": "str", "choices": ["auto", "tar", "zip"], "default": "auto"},
            "layout": {"type": "str", "choices": ["versions", "in_place"], "default": "versions"},
            "preserve": {"type": "list", "elements": "str", "default": []},
            "remove": {"type": "list", "elements": "str", "default": []},
            "links": {"type": "list", "elements": "path", "default": []},
            "outside_links": {"type": "list", "elements": "str", "default": []},
        },
    },
    "binary": {"type": "dict", "options": {**SOURCE}},
    "package_file": {
        "type": "dict",
        "options": {
            **SOURCE,
            "package": {"type": "str"},
            **PACKAGE,
            "format": {"type": "str", "choices": ["auto", "deb", "rpm"], "default": "auto"},
        },
    },
    "package": {
        "type": "dict",
        "options": {
            "package": {"type": "str"},
            **PACKAGE,
            "version": {"type": "str", "required": True},
            "repository": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True, "no_log": True},
                    "suite": {"type": "str", "default": "stable"},
                    "components": {"type": "list", "elements": "str", "default": ["main"]},
                    "key": {"type": "str", "required": True, "no_log": False},
                },
            },
            "proxy": {"type": "str", "no_log": True},
        },
    },
    "files": {
        "type": "dict",
        "options": {
            **SOURCE,
            "paths": {"type": "list", "elements": "path", "required": True},
            "exclude": {"type": "list", "elements": "path", "default": []},
            "name": {"type": "str", "required": True},
            "vulnerable": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "sha256": {"type": "str", "required": True},
                    "version": {"type": "str", "required": True},
                },
            },
            "accepted": {"type": "list", "elements": "str", "default": []},
        },
    },
    "installer": {
        "type": "dict",
        "options": {
            **SOURCE,
            "interpreter": {"type": "list", "elements": "str", "default": []},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "undo": {"type": "list", "elements": "str", "required": True},
            "run_as": {"type": "str"},
            "timeout": {"type": "int", "default": 900},
        },
    },
    "command": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "version": {"type": "str", "required": True},
            "undo": {"type": "list", "elements": "str", "required": True},
            "run_as": {"type": "str"},
            "timeout": {"type": "int", "default": 900},
        },
    },
}  # type: t.Dict[str, t.Dict[str, t.Any]]

#: Argument spec of one definition: every option of the module but its name.
DEFINITION = {
    "fixed_in": {"type": "str", "required": True},
    "versioning": {
        "type": "str",
        "choices": ["auto", "dotted", "dpkg", "rpm", "semver", "pep440", "openssl", "java"],
        "default": "auto",
    },
    **KINDS,
    "dest": {"type": "path"},
    "probe": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "pattern": {"type": "str", "default": versions.DEFAULT_PATTERN},
            "run_as": {"type": "str"},
            "timeout": {"type": "int", "default": 10},
        },
    },
    "health": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str"},
            "run_as": {"type": "str"},
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
            "run_as": {"type": "str"},
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

#: Argument spec of the module: one definition with its name, or several.
MODULE = {
    "name": {"type": "str"},
    **DEFINITION,
    "fixed_in": {"type": "str"},
    "definitions": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, **DEFINITION},
    },
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
    "probe_failed": "the probe ran and gave no version, one that cannot be compared, or came too late",
    "unknown_copies": "no known copy is vulnerable, and some could not be judged; nothing was touched",
    "copies_left": "vulnerable copies could not be replaced; all others are",
    "downgrade_refused": "the archive's version is lower than the node's",
    "dest_conflict": "something else stands where a link or the version folder belongs, or a link cannot be moved",
    "run_as_failed": "no such user, root is needed for it, or several users may change what root is to run",
    "command_missing": "a program that the kind runs to install, to undo or to unpack is not on this node",
    "health_missing": "the health command is neither on the node nor in the archive",
    "not_writable": "dest or state_dir cannot be written",
    "unsafe_folder": "another user could rename or give rights to a file that root puts there; nothing was touched",
    "unsupported_node": "this kind of patch does not fit this node; nothing was touched",
    "installed_elsewhere": "the probe's program is missing, but one of its name is elsewhere; nothing was touched",
    "wrong_package": "the package is not of the name, version or architecture that the definition says",
    "bad_signature": "the file or repository is not signed by the key of the definition",
    "verifier_missing": "the program that proves signatures, gpgv, is not on this node",
    "package_locked": "another program held the lock of the package manager for all of the kind's lock_timeout",
    "no_way_back": "the old version could not be kept aside, so the node was not touched",
    "held": "an administrator holds the package (apt-mark hold, versionlock, zypper addlock); nothing was touched",
    "unfinished": "the package is half installed, at a version that is not the definition's; nothing was touched",
    "install_failed": "the program that installs ended with an error or too late",
    "no_space": "the file system has too little room",
    "io_error": "another error of the file system",
    "download_failed": "the archive could not be read in full from its URL",
    "checksum_mismatch": "the archive is not the one that sha256 promises",
    "bad_archive": "the file is no archive, is damaged or is empty after strip",
    "unsafe_archive": "the archive would write outside its folder, holds devices or unpacks to too much",
    "wrong_version": "the new version was in place and the probe reported another one",
    "service_missing": "a service of the definition is not on this node",
    "service_failed": "a service did not stop or start in its time, ended soon after, or does not say whether it runs",
    "old_process": "a process still used the old files after the switch",
    "not_run": "a definition before it in the same run failed; nothing was touched",
    "too_late": "latest_start had passed before the switch; nothing was changed",
    "unsafe_process": "a process of unsafe_processes ran; nothing was changed",
    "health_failed": "the new version was in place and its health check failed",
    "rollback_failed": "the old version could not be put back, or not be proven",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")


def check_definition(name: t.Any, definition: t.Mapping[str, t.Any]) -> t.List[Problem]:
    """List what an argument spec cannot say against one definition.

    Options that are absent or of a wrong type are left to the argument spec.

    Args:
        name: the program's name, the key in a catalog.
        definition: options as in DEFINITION; defaults need not be filled in.

    Returns:
        (key path, message) of each problem, such as C(("archive.sha256", "must be 64 hexadecimal digits")).
        A message never holds a URL.
    """
    found = []  # type: t.List[Problem]
    if not isinstance(name, str) or not _NAME.match(name):
        found.append(("name", "must be 1 to 64 letters, digits or ._+- and start with a letter or digit"))
    found.extend(problems(definition, tuple(KINDS)))
    return found


def kind_of(definition: t.Mapping[str, t.Any]) -> str:
    """Return the name of a definition's kind, of KINDS; the definition must have passed its check."""
    return next(kind for kind in KINDS if definition.get(kind))


def target_version(definition: t.Mapping[str, t.Any]) -> str:
    """Return the version that a definition brings nodes to."""
    return str(definition[kind_of(definition)]["version"])
