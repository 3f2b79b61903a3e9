# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""What the script on a node and the controller say to each other over Run Command."""

from __future__ import annotations

import base64
import binascii
import json
import pathlib
import typing as t
import zlib

from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes

from . import _launcher

#: Finds a Python for the launcher; a node without one says so in the words of a result.
_SHELL = """\
for python in python3 /usr/bin/python3 /usr/libexec/platform-python; do
  if command -v "$python" >/dev/null 2>&1; then
    exec "$python" - '{config}' <<'END-OF-LAUNCHER'
{launcher}
END-OF-LAUNCHER
  fi
done
echo '{mark} {no_python}'
exit 1"""

_NO_PYTHON = {
    "failed": True,
    "outcome": outcomes.UNSUPPORTED,
    "reason": "no_python",
    "msg": "no python3 on the node; install it or exclude the node",
}


def script(config: dict[str, t.Any]) -> str:
    """Return the shell script that a node runs.

    Args:
        config: what the launcher is told, see there. It travels as base64, so no value is shell text.
    """
    packed = base64.b64encode(zlib.compress(json.dumps(config).encode(), 9)).decode()
    launcher = pathlib.Path(_launcher.__file__).read_text(encoding="utf-8").rstrip()
    return _SHELL.format(config=packed, launcher=launcher, mark=_launcher.MARK, no_python=json.dumps(_NO_PYTHON))


def decode(output: str) -> dict[str, t.Any]:
    """Return the module's result from a node's output; an output without one is `unknown`, never a success."""
    for line in output.splitlines():
        mark, dummy, text = line.partition(" ")
        try:
            if mark == _launcher.MARK + "Z":
                text = zlib.decompress(base64.b64decode(text, validate=True)).decode()
            elif mark != _launcher.MARK:
                continue
            found = json.loads(text)
        except (ValueError, binascii.Error, zlib.error):
            break
        if not isinstance(found, dict):
            break
        return found
    tail = " ".join(output.split())[-300:]
    return {
        "failed": True,
        "outcome": outcomes.UNKNOWN,
        "reason": "unreadable_answer",
        "msg": f"the node's answer cannot be read: {tail!r}",
    }
