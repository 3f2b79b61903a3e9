# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""What the script on a node and the controller say to each other over Run Command."""

from __future__ import annotations

import base64
import json
import math
import pathlib
import shlex
import typing as t
import zlib

from ansible.module_utils import basic
from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import ENGINE, whole

from . import _launcher

#: Characters, values and levels that a result may have, unpacked: more than modules return, and what a whole fleet's
#: controller can bear.
_LARGEST, _VALUES, _DEEPEST = 500_000, 50_000, 50
#: Digits of the largest number that is one; a longer one is a text, of so many characters.
_DIGITS, _LONGEST_NUMBER = 18, 100
#: What only the engine says of a node, and by which an action changes the running play, wherever the result comes from
#: (seen in ansible-core 2.18 to 2.21).
_INTERNAL = ("command_id", "unreachable", "add_host", "add_group", "ansible_stats")
#: What a deprecation that a module reports may have, and how many warnings of one node are shown.
_DEPRECATION, _MOST_SHOWN = ("msg", "version", "date", "collection_name"), 20

#: Says by its version whether a Python is too old, and by importing whether it works.
_CHECK = """\
import sys
if sys.version_info < {minimum}:
    print(".".join(map(str, sys.version_info[:3])))
else:
    import fcntl, hashlib, http.client, json, ssl, subprocess, tempfile, typing, urllib.request, zlib
    print("works")
"""
#: Finds a Python for the launcher; a node without one says so in the words of a result. It exits 0 all the same: an
#: error that MaxErrors counts would keep AWS from sending to other nodes, whom the budget still allows. Config and
#: launcher are in the environment: of a process, other users see its command line. A here-document would be a file in
#: /tmp, which may be full, with some shells.
_SHELL = """\
check={check}
limit=
timeout 30 true 2>/dev/null && limit='timeout 30'
old=
for python in {pythons}; do
  found=$($limit "$python" -c "$check" 2>/dev/null </dev/null)
  case $found in
    *works)
      PATCHWAVE_CONFIG='{config}'
      PATCHWAVE_LAUNCHER={launcher}
      export PATCHWAVE_CONFIG PATCHWAVE_LAUNCHER
      exec "$python" -I -c 'import os; exec(os.environ.pop("PATCHWAVE_LAUNCHER"))' ;;
    ''|*[!0-9.]*) ;;
    *) case "$old " in *" $found "*) ;; *) old="$old $found" ;; esac ;;
  esac
done
if [ "$old" ]; then
  printf '%s%s%s\\n' {too_old}
else
  printf '%s\\n' {no_python}
fi"""
#: The node's own first, which has its packages' bindings; then the newest. The last is RHEL 8's, of which Ansible's own
#: modules take what they need besides.
_PYTHONS = " ".join(
    ["python3", "/usr/bin/python3", *(f"python3.{minor}" for minor in range(14, 7, -1)), "/usr/libexec/platform-python"]
)
#: The reasons with which a node ends that could not have its payload, which may have been taken away.
NO_PAYLOAD = (_launcher.WITHDRAWN, _launcher.PAYLOAD_FAILED)
#: The oldest Python that runs the launcher, and what this ansible-core makes of a module.
_MINIMUM = max((3, 8), tuple(getattr(basic, "_PY_MIN", (3, 8))))


def script(config: dict[str, t.Any], interpreter: str = "") -> str:
    """Return the shell script that a node runs.

    Args:
        config: what the launcher is told, see there. It travels as base64, so no value is shell text.
        interpreter: the Python to use, and no other; empty for one that is found.
    """
    packed = base64.b64encode(zlib.compress(json.dumps(config).encode(), 9)).decode()
    source = pathlib.Path(_launcher.__file__).read_text(encoding="utf-8").rstrip()
    launcher = source[source.index("from __future__") :]  # what it is for is known to whoever sends it
    needed = f"{'.'.join(map(str, _MINIMUM))} or newer"
    where, todo = (interpreter, "set ansible_python_interpreter") if interpreter else ("the node", "install one")
    missing = f"no Python that works {'at ' * bool(interpreter)}{'on ' * (not interpreter)}{where}"
    too_old = f"{where} has Python \t, which is too old: Python {needed} is needed"
    before, after = _unsupported("python_too_old", f"{too_old}; {todo}, or exclude the node").split("\\t")
    no_python = _unsupported("no_python", f"{missing} (Python {needed}, with ssl); {todo}, or exclude the node")
    return _SHELL.format(
        check=shlex.quote(_CHECK.format(minimum=_MINIMUM)),
        pythons=shlex.quote(interpreter) if interpreter else _PYTHONS,
        config=packed,
        launcher=shlex.quote(launcher),
        too_old=f'{shlex.quote(before)} "${{old# }}" {shlex.quote(after)}',
        no_python=shlex.quote(no_python),
    )


def _unsupported(reason: str, msg: str) -> str:
    result = {"failed": True, "outcome": outcomes.UNSUPPORTED, "reason": reason, "msg": msg}
    return f"{_launcher.MARK} {json.dumps(result)}"


def environment(variables: t.Mapping[str, str]) -> bytes:
    """Return what is appended to a payload so that its module runs with these variables; nothing without any.

    Raises:
        ValueError: no process can have such a variable; one line that names it.
    """
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value or not _encodes(name + value):
            raise ValueError(f"environment: no process can have the variable {name!r}; correct its name or value")
    packed = base64.b64encode(json.dumps(dict(sorted(variables.items()))).encode())
    return _launcher.ENVIRONMENT.encode() + packed if variables else b""


def _encodes(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def decode(output: str) -> dict[str, t.Any]:
    """Return the module's result from a node's output; an output without one is `unknown`, never a success.

    One whose module was not begun is C(unreachable): nothing was done to it, as it says itself.
    A node may print anything. What Ansible takes for its own, such as C(add_host), is left out, as it is over ssh.
    """
    for line in output.splitlines():
        mark, dummy, text = line.partition(" ")
        if mark not in (_launcher.MARK, _launcher.MARK + "Z", _launcher.MARK + "N"):
            continue
        try:
            if mark == _launcher.MARK + "N":
                return _not_begun(_result(text))
            found = _result(text if mark == _launcher.MARK else _unpacked(text))
        except (ValueError, RecursionError, zlib.error):
            break
        return own(found)
    tail = " ".join(output.split())[-300:]
    return {
        "failed": True,
        "outcome": outcomes.UNKNOWN,
        "reason": "unreadable_answer",
        "msg": f"the node's answer cannot be read: {tail!r}",
    }


def _not_begun(said: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of a node that says that its module was not begun, of which only the reason is its own.

    Raises:
        ValueError: it says no such thing.
    """
    if said.get("reason") not in _launcher.NOT_BEGUN:
        raise ValueError("no reason")
    return not_begun(str(said["reason"]), str(said.get("msg", "")))


def not_begun(reason: str, msg: str) -> dict[str, t.Any]:
    """Return the result of a node on which nothing was begun."""
    return {"unreachable": True, "outcome": outcomes.UNREACHABLE, "reason": reason, "msg": msg}


def own(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what of a result is the node's to say, in shapes that Ansible can bear."""
    said = {key: value for key, value in result.items() if not key.startswith("_ansible_") and key not in _INTERNAL}
    if said.get("source") == ENGINE:
        del said["source"]
    if not isinstance(said.get("ansible_facts", {}), dict):
        del said["ansible_facts"]
    if "warnings" in said:
        said["warnings"] = [one for one in _list(said["warnings"]) if isinstance(one, str)][:_MOST_SHOWN]
    if "deprecations" in said:
        known = [one for one in _list(said["deprecations"]) if isinstance(one, dict)]
        known = [one for one in known if isinstance(one.get("msg"), str)]
        said["deprecations"] = [
            {key: one[key] for key in _DEPRECATION if isinstance(one.get(key), str)} for one in known[:_MOST_SHOWN]
        ]
    return said


def _list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else []


def _unpacked(text: str) -> str:
    packer = zlib.decompressobj()
    content = packer.decompress(base64.b64decode(text, validate=True), _LARGEST)
    if packer.unconsumed_tail:
        raise ValueError("too large")
    return content.decode()


def _result(text: str) -> dict[str, t.Any]:
    """Read a result in which nothing is left that JSON does not have."""
    if len(text) > _LARGEST:
        raise ValueError("too large")
    read = json.loads(text, parse_constant=str, parse_float=_finite, parse_int=_short)
    found = json.loads(whole(json.dumps(read, ensure_ascii=False)))
    level, values = [found], 1
    for dummy in range(_DEEPEST):
        inner = [each for each in level if isinstance(each, (dict, list))]
        level = [child for each in inner for child in (each.values() if isinstance(each, dict) else each)]
        values += len(level)
    if level or values > _VALUES or not isinstance(found, dict):
        raise ValueError("not a result")
    return found


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits[:_LONGEST_NUMBER]


def _short(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS else digits[:_LONGEST_NUMBER]
