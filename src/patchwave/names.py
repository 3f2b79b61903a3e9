"""Names that the driver makes of the user's words: of files, of a wave's work, and of hosts in a limit."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container

from ansible_collections.patchwave.aws.plugins.module_utils._core import run_names

#: Characters of a wave in the name of its work: SendCommand's comment has room for so many.
_LONGEST = 50


def short(wave: str) -> str:
    """Return a wave's name as part of a file name and of its work's name; an odd or long one ends in its hash."""
    return run_names.short(wave, _LONGEST, 8)


def limit_problem(host: str, groups: Container[str]) -> str:
    """Say why Ansible would take a host's name in a limit for more than this host; empty when it would not."""
    try:
        ipaddress.ip_address(host)
        return ""
    except ValueError:
        pass
    if host in groups:
        return "is also the name of a group"
    if re.match(r"[!&~@-]", host) or re.search(r"[][*?{},;:\s]", host) or not host.isprintable() or not host:
        return "is a pattern to Ansible"
    return ""
