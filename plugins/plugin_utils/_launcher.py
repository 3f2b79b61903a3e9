# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Runs on a managed node, as the script of a Run Command: fetch a module's payload, check it, run it, report.

The file itself is the script, so it stands alone: Python 3.8, standard library, nothing imported from the collection.
Its one argument is base64 of JSON with C(url) (str, presigned), C(sha256) (str), and C(timeout) (int, seconds).
It prints one line, C(PATCHWAVE1) and the module's result: as JSON when that fits into what ListCommandInvocations
returns, else as base64 of zlib of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.request
import zlib

#: ListCommandInvocations cuts output at 2,500 characters (botocore's model, ssm 2014-11-06).
INLINE_LIMIT = 2400
MARK = "PATCHWAVE1"


def fetch(url: str, sha256: str) -> bytes:
    """Return the payload; three tries, then OSError. ValueError when it is not what the controller sent."""
    for attempt in range(3):
        try:
            with urllib.request.build_opener().open(url, timeout=30) as response:
                payload = bytes(response.read())
            break
        except OSError:
            if attempt == 2:
                raise
            time.sleep(2**attempt)
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise ValueError("the payload is not the one that was sent")
    return payload


def run(payload: bytes, timeout: int) -> t.Dict[str, t.Any]:
    """Run the payload as a program of its own and return the module's result (dict)."""
    folder = tempfile.mkdtemp(prefix="patchwave-")
    try:
        path = os.path.join(folder, "module.py")
        with open(path, "wb") as handle:
            handle.write(payload)
        done = subprocess.run(
            [sys.executable, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return parse(done.stdout.decode("utf-8", "replace"), done.returncode, done.stderr.decode("utf-8", "replace"))


def parse(stdout: str, code: int, stderr: str) -> t.Dict[str, t.Any]:
    """Find the module's JSON in its output, which other programs may have written into."""
    start = stdout.find("{")
    try:
        result = json.JSONDecoder().raw_decode(stdout[start:])[0] if start >= 0 else None
    except ValueError:
        result = None
    if not isinstance(result, dict):
        tail = " ".join((stderr or stdout).split())[-300:]
        return {"failed": True, "reason": "no_result", "msg": "the module gave no result (exit %d): %s" % (code, tail)}
    result.pop("invocation", None)
    return result


def encode(result: t.Dict[str, t.Any]) -> str:
    """Return the one line that carries a result."""
    text = json.dumps(result, separators=(",", ":"))
    if len(text) <= INLINE_LIMIT:
        return MARK + " " + text
    return MARK + "Z " + base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


def main(argument: str) -> None:
    """Do it all; whatever goes wrong before the module starts is a result too, with a reason."""
    config = json.loads(base64.b64decode(argument))
    try:
        result = run(fetch(config["url"], config["sha256"]), config["timeout"])
    except subprocess.TimeoutExpired:
        result = {"failed": True, "reason": "timeout", "msg": "the module ran longer than %(timeout)s s" % config}
    except (OSError, ValueError) as error:
        # An HTTP error's text is its status; the URL, which is a secret, is not in it.
        result = {"failed": True, "reason": "payload_failed", "msg": "the payload could not be fetched: %s" % error}
    print(encode(result))


if __name__ == "__main__":
    main(sys.argv[1])
