# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""A play without hosts is green in Ansible, and nothing was patched: find out before it begins, and say why.

The hosts of a play, and what C(--limit) leaves of them, are known to the inventory manager of the program. Ansible
hands it to no plugin, so it is read from the stack frame that evaluates the play's C(hosts).
"""

from __future__ import annotations

import difflib
import sys
import types
import typing as t

from ansible import context
from ansible.executor.playbook_executor import PlaybookExecutor
from ansible.inventory.manager import split_host_pattern

#: The group of hosts that a tag holds.
HELD = "not_patchable_held"
#: How many groups a message names.
_NAMED = 10
#: Options with which a playbook is only looked at.
_LOOKED_AT = ("listtags", "listtasks", "syntax")


def manager() -> t.Any:
    """Return the inventory manager of the playbook that is about to begin a play; None where none is."""
    if any((context.CLIARGS or {}).get(option) for option in _LOOKED_AT):
        return None
    frame: types.FrameType | None = sys._getframe()
    while frame:
        found = frame.f_locals.get("self") if frame.f_code.co_name == "run" else None
        if isinstance(found, PlaybookExecutor):
            return found._inventory
        frame = frame.f_back
    return None


def problem(inventory: t.Any, patterns: list[str]) -> str:
    """Say why a part of these patterns matches no host, or all of them together; empty where they do.

    Args:
        inventory: the inventory manager.
        patterns: as C(hosts) of a play has them.
    """
    hosts = inventory.get_hosts(ignore_limits=True)
    if not hosts:
        return "the inventory has no host: its sources gave none, or all are disabled"
    wanted = [part for part in _parts(patterns) if not part.startswith("!")]
    for part in wanted:
        if not inventory.get_hosts(part.lstrip("&"), ignore_limits=True):
            return f"'{part}' matches no host{_meant(inventory, part.lstrip('&'))}"
    if not inventory.get_hosts(patterns, ignore_limits=True):
        named = inventory.get_hosts([part for part in _parts(patterns) if part != f"!{HELD}"], ignore_limits=True)
        if named:
            return f"a tag holds all {len(named)} hosts of '{','.join(wanted)}'"
        return f"'{','.join(_parts(patterns))}' leaves no host"
    if not inventory.get_hosts(patterns):
        return f"the limit leaves no host of '{','.join(wanted)}'"
    return ""


def _parts(patterns: list[str]) -> list[str]:
    return [part for pattern in patterns for part in split_host_pattern(pattern)]


def _meant(inventory: t.Any, part: str) -> str:
    groups = sorted(name for name, hosts in inventory.get_groups_dict().items() if hosts)
    own = [name for name in groups if name not in ("all", "ungrouped")]
    close = difflib.get_close_matches(part, own, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    if not own:
        return "; the inventory has no groups, as a smart inventory has none: name the hosts, or 'all'"
    more = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
    return f"; groups with hosts: {', '.join(own[:_NAMED])}{more}"
