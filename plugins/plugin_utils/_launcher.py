# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Runs on a managed node, as the script of a Run Command: fetch a module's payload, check it, run it, report.

The file itself is the script, so it stands alone: Python 3.8, standard library, nothing imported from the collection.
Its one argument is base64 of zlib of JSON (the arguments of C(_wire.script)):

C(url) (str, presigned), C(sha256) (str), C(timeout) (int, seconds): what to run, and for how long.
C(environment) (bool): whether the payload's last line, a comment, is base64 of JSON of the module's own variables.
C(objects) (dict): presigned URLs by s3:// URL, which the module finds in the file that C(PATCHWAVE_S3_URLS) names.
C(latest_start) (float, seconds since 1970, or None): after it no module starts and no node reboots.
C(reboot) (str or None): names the work, where the node may reboot once when the module says C(reboot_required).

It prints one line, C(PATCHWAVE1) and the module's result: as JSON when that fits into what ListCommandInvocations
returns, else as base64 of zlib of it; what is too large even so is left out and named in C(truncated). Exit code 194
has the agent reboot the node and run all of this again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.request
import zlib

#: ListCommandInvocations cuts output at 2,500 characters, GetCommandInvocation at 24,000 (botocore's model).
INLINE_LIMIT, LIMIT = 2400, 23900
MARK = "PATCHWAVE1"
#: Begins the last line of a payload that brings variables along.
ENVIRONMENT = "\n# patchwave-environment "
#: Exit code by which the agent reboots the node, a minute later, and then runs the script again.
REBOOT = 194
#: What waits for the end of a reboot, one file for each work; root's alone.
FOLDER = "/var/lib/patchwave-reboots"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
#: Seconds in which a node that was told to reboot goes down, and for which the agent takes work up again.
GRACE, MEMORY = 180, 48 * 3600


def fetch(url: str, sha256: str, owner: t.Optional[str] = None) -> bytes:
    """Return the payload; OSError after three tries or a refusal, ValueError when it is not what was sent."""
    request = urllib.request.Request(url, headers={"x-amz-expected-bucket-owner": owner} if owner else {})
    for attempt in range(3):
        try:
            with urllib.request.build_opener().open(request, timeout=30) as response:
                payload = bytes(response.read())
            break
        except (OSError, http.client.HTTPException) as error:
            if attempt == 2 or getattr(error, "code", 500) < 500:  # a refusal is no accident
                raise OSError(str(error)) from error
            time.sleep(2**attempt)
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise ValueError("the payload is not the one that was sent")
    return payload


def run(payload: bytes, timeout: int, objects: t.Dict[str, str], own: bool) -> t.Dict[str, t.Any]:
    """Run the payload as a program of its own and return the module's result (dict); own: it has variables."""
    folder = tempfile.mkdtemp(prefix="patchwave-")
    environment = dict(os.environ)
    if own:
        payload, dummy, packed = payload.rpartition(ENVIRONMENT.encode("ascii"))
        environment.update(json.loads(base64.b64decode(packed)))
    try:
        path = os.path.join(folder, "module.py")
        write(path, payload)
        if objects:
            environment["PATCHWAVE_S3_URLS"] = os.path.join(folder, "objects.json")
            write(environment["PATCHWAVE_S3_URLS"], json.dumps(objects).encode("utf-8"))
        done = subprocess.run(
            [sys.executable, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=timeout,
            check=False,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return parse(done.stdout.decode("utf-8", "replace"), done.returncode, done.stderr.decode("utf-8", "replace"))


def write(path: str, content: bytes) -> None:
    """Write a new file that is on the disk, and nobody else's to read, when this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def parse(stdout: str, code: int, stderr: str) -> t.Dict[str, t.Any]:
    """Find the module's JSON in its output, which other programs may have written into."""
    line = re.search(r"^[ \t]*{", stdout, re.MULTILINE)
    start = line.end() - 1 if line else stdout.find("{")
    try:
        result = json.JSONDecoder().raw_decode(stdout[start:])[0] if start >= 0 else None
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict):
        tail = " ".join((stderr or stdout).split())[-300:]
        return {"failed": True, "reason": "no_result", "msg": "the module gave no result (exit %d): %s" % (code, tail)}
    result.pop("invocation", None)
    return result


def encode(result: t.Dict[str, t.Any]) -> str:
    """Return the one line that carries a result, without its largest values where no line could carry them."""
    left = dict(result)
    missing: t.List[str] = []
    while True:
        text = json.dumps(left, separators=(",", ":"))
        if len(text) <= INLINE_LIMIT:
            return MARK + " " + text
        packed = base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")
        if len(packed) <= LIMIT:
            return MARK + "Z " + packed
        missing.append(max(left.keys() - {"truncated"}, key=lambda key: len(json.dumps(left[key]))))
        del left[missing[-1]]
        left["truncated"] = missing


def attempt(config: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """Fetch and run the module; whatever goes wrong before it starts is a result too, with a reason."""
    try:
        payload = fetch(config["url"], config["sha256"], config.get("owner"))
        if late(config):
            msg = "latest_start has passed; nothing was started, run again in the next window"
            return {"failed": True, "outcome": "skipped", "reason": "too_late", "msg": msg}
        return run(payload, config["timeout"], config.get("objects") or {}, bool(config.get("environment")))
    except subprocess.TimeoutExpired:
        return {"failed": True, "reason": "timeout", "msg": "the module ran longer than %(timeout)s s" % config}
    except (OSError, ValueError) as error:
        # An HTTP error's text is its status; the URL, which is a secret, is not in it.
        msg = "the payload could not be fetched: %s; can the node reach the bucket, and the caller read it?" % error
        return {"failed": True, "reason": "payload_failed", "msg": msg}


def late(config: t.Dict[str, t.Any]) -> bool:
    """Say whether it is too late to begin anything."""
    return config.get("latest_start") is not None and time.time() > config["latest_start"]


def read(path: str) -> str:
    """Return a small file's text, or nothing."""
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except (OSError, ValueError):
        return ""


def reboots(result: t.Dict[str, t.Any], config: t.Dict[str, t.Any]) -> bool:
    """Keep the result for after the reboot, and say whether to reboot; else say in the result why not."""
    if not config.get("reboot") or not result.get("reboot_required") or result.get("failed"):
        return False
    state, why = {"result": result, "boot_id": read(BOOT_ID).strip(), "time": time.time()}, ""
    if late(config):
        why = "too_late"
    elif not state["boot_id"]:
        why = "no_boot_id"
    else:
        try:
            os.makedirs(FOLDER, 0o700, exist_ok=True)
            forget(config)
            write(os.path.join(FOLDER, config["reboot"]), json.dumps(state).encode("utf-8"))
            return True
        except OSError:
            why = "state_not_written"
    result.update(outcome="reboot_pending", reason=why, rebooted=False)
    return False


def resumed(config: t.Dict[str, t.Any]) -> t.Optional[t.Dict[str, t.Any]]:
    """Return the result that waited for the reboot, or None where none waits. The module never runs a second time."""
    if not config.get("reboot"):
        return None
    try:
        state = json.loads(read(os.path.join(FOLDER, config["reboot"])))
        result, before, since = dict(state["result"]), state["boot_id"], float(state["time"])
    except (ValueError, KeyError, TypeError):
        return None
    if time.time() - since > MEMORY:
        return None
    # Run again before the node went down, as by an agent that restarts: the reboot ends this here.
    while read(BOOT_ID).strip() == before and 0 <= time.time() - since < GRACE:
        time.sleep(1)
    result.update(boot_id=read(BOOT_ID).strip(), boot_id_before=before)
    result["rebooted"] = result["boot_id"] != before
    if result["rebooted"]:
        result["uptime"] = float((read("/proc/uptime").split() or ["0"])[0])
    else:
        msg = "the module did its work and the node did not reboot (its boot id is the same); reboot it"
        result.update(failed=True, outcome="failed", reason="not_rebooted", msg=msg)
    return result


def forget(config: t.Dict[str, t.Any]) -> None:
    """Remove what waited for a reboot."""
    if config.get("reboot"):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(FOLDER, config["reboot"]))


def main(argument: str) -> int:
    """Do it all; return the exit code."""
    config = json.loads(zlib.decompress(base64.b64decode(argument)))
    result = resumed(config)
    if result is None:
        result = attempt(config)
        if reboots(result, config):
            return REBOOT
    print(encode(result), flush=True)
    forget(config)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
