# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Runs on a managed node, as the script of a Run Command: fetch a module's payload, check it, run it, report.

The file itself is the script, so it stands alone: Python 3.8, standard library, ASCII, nothing imported from the
collection. Its one argument is base64 of zlib of JSON (the arguments of C(_wire.script)). It is in the environment,
for of another user's process everybody sees the command line, and nobody the environment:

C(url) (str, presigned), C(sha256) (str), C(size) (int, bytes): what to run; C(timeout) (int, seconds): for how long.
C(permit) (str, presigned, or None): what must lie there as well, where the payload stays for other runs: with a stop it
goes, as a payload that is this run's own does.
C(owner) (str or None): the account that the bucket must belong to, as the URL demands it.
C(environment) (bool): whether the payload's last line, a comment, is base64 of JSON of the module's own variables.
C(objects) (dict): presigned URLs by s3:// URL, which the module finds in the file that C(PATCHWAVE_S3_URLS) names.
C(latest_start) (float, seconds since 1970, or None): after it no module starts and no node reboots.
C(reboot) (str or None): names the work, where the node may reboot once when the module says C(reboot_required).

It prints one line, C(PATCHWAVE1) and the module's result: as JSON when that fits into what ListCommandInvocations
returns, else as base64 of zlib of it; what is too large even so is left out and named in C(truncated). The mark
C(PATCHWAVE1N) says that the module was not begun, and why. Exit code 194 has the agent reboot the node and run all of
this again.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import errno
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.error
import urllib.request
import zlib

#: ListCommandInvocations cuts output at 2,500 characters, GetCommandInvocation at 24,000 (botocore's model).
INLINE_LIMIT, LIMIT = 2400, 23900
MARK = "PATCHWAVE1"
#: Why a module was not begun.
PAYLOAD_FAILED, DISK_FULL, NOT_WRITABLE, NOT_STARTED = "payload_failed", "disk_full", "not_writable", "not_started"
WITHDRAWN, CLOCK_WRONG = "withdrawn", "clock_wrong"
NOT_BEGUN = (PAYLOAD_FAILED, DISK_FULL, NOT_WRITABLE, NOT_STARTED, WITHDRAWN, CLOCK_WRONG)
#: Seconds by which the node's clock may differ from S3's, where that matters.
SKEW = 300
#: Seconds that the payload may take to come, and those of them for which the module loses no time.
FETCH = 300
MARGIN = 45
#: Begins the last line of a payload that brings variables along.
ENVIRONMENT = "\n# patchwave-environment "
#: Exit code by which the agent reboots the node, a minute later, and then runs the script again.
REBOOT = 194
#: What waits for the end of a reboot, one file for each work; root's alone.
FOLDER = "/var/lib/patchwave-reboots"
#: Where a module is run from, in a folder that begins so, root's alone, and gone with a reboot; else the usual place.
RUN = "/run"
PREFIX = "patchwave-run-"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
#: Seconds in which a node that was told to reboot goes down, and for which the agent takes work up again.
GRACE, MEMORY = 180, 48 * 3600


class NotBegun(Exception):
    """The module was not begun: a word of NOT_BEGUN, and a line that says why."""

    def __init__(self, reason: str, msg: str) -> None:
        super().__init__(msg)
        self.reason, self.msg = reason, msg


class Overdue(Exception):
    """The payload took too long. No OSError, which would be tried again."""


def fetch(config: t.Dict[str, t.Any]) -> bytes:
    """Return the payload, after three tries at most, and leave in the config by how much S3's clock is ahead (skew).

    Raises:
        NotBegun: it cannot be had, is not what was sent, or was taken away, and so is not to be begun any more.
    """
    limit = min(FETCH, config["timeout"] + MARGIN - 5)
    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(limit)
    try:
        payload = tried(config, config["url"], config["size"] + 1)
        if config.get("permit"):
            tried(config, config["permit"], 1)
    except Overdue:
        raise NotBegun(PAYLOAD_FAILED, "the payload could not be fetched in %d s" % limit) from None
    finally:
        signal.alarm(0)
    if hashlib.sha256(payload).hexdigest() != config["sha256"]:
        raise NotBegun(PAYLOAD_FAILED, "the payload is not the one that was sent")
    return payload


def tried(config: t.Dict[str, t.Any], url: str, most: int) -> bytes:
    """Return what a URL gives after three tries at most.

    Raises:
        NotBegun: it cannot be had, or is not there any more.
    """
    for attempt in range(3):
        try:
            return download(config, url, most)
        except (OSError, http.client.HTTPException) as error:
            code = getattr(error, "code", 500)
            said = why(error)
            if code == 404 and "NoSuchBucket" not in said:
                msg = "the payload was taken away, for the run was stopped or has ended; nothing was started"
                raise NotBegun(WITHDRAWN, msg) from error
            if attempt == 2 or code < 500:  # a refusal is no accident
                hint = "can the node reach the bucket, and the caller read it, or was the run stopped?"
                msg = "the payload could not be fetched: %s; %s" % (said, hint)
                raise NotBegun(PAYLOAD_FAILED, msg) from error
            time.sleep(2**attempt)
    raise Overdue


def overdue(*dummy: t.Any) -> None:
    """Break off whatever waits for the network."""
    raise Overdue


def download(config: t.Dict[str, t.Any], url: str, most: int) -> bytes:
    """Return the first bytes of what a URL gives."""
    headers = {"x-amz-expected-bucket-owner": config["owner"]} if config.get("owner") else {}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.build_opener().open(request, timeout=30) as response:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            parts = email.utils.parsedate_tz(response.headers["Date"])
            config["skew"] = email.utils.mktime_tz(parts) - time.time() if parts else 0
        return bytes(response.read(most))


def why(error: Exception) -> str:
    """Return what went wrong, in S3's own words where it says any; the URL, which is a secret, is not in it."""
    if not isinstance(error, urllib.error.HTTPError):
        return str(error) if isinstance(error, OSError) else type(error).__name__
    try:
        body = error.read(5000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        body = ""
    found = re.search(r"<Code>(\w{1,60})</Code>\s*(?:<Message>([^<]{1,300})</Message>)?", body)
    words = [str(error)] + [word for word in (found.groups() if found else ()) if word and "X-Amz-" not in word]
    region = re.sub(r"[^a-z0-9-]", "", error.headers.get("x-amz-bucket-region") or "")
    return ", ".join(words + (["the bucket is in " + region[:30]] if region and error.code in (301, 400) else []))


def private() -> t.Tuple[str, int]:
    """Make a folder that nobody else can read, and remove those of runs that were killed.

    Returns:
        The folder, and what holds it: as long as the launcher or its module has that open, nobody removes it.
    """
    parent = RUN if os.access(RUN, os.W_OK) else tempfile.gettempdir()
    for name in os.listdir(parent):
        if name.startswith(PREFIX):
            sweep(os.path.join(parent, name))
    for dummy in range(9):
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        held = hold(folder)
        if held is not None:  # or somebody took it for one that was left
            return folder, held
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), parent)


def hold(folder: str) -> t.Optional[int]:
    """Hold a folder of our own; None where somebody else does, or it is gone."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        about = os.fstat(held)
        if about.st_uid == os.geteuid() and os.path.samestat(about, os.lstat(folder)):
            return held
    except OSError:
        pass
    os.close(held)
    return None


def sweep(folder: str) -> None:
    """Remove the folder of a run unless that lives."""
    held = hold(folder)
    if held is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def run(payload: bytes, config: t.Dict[str, t.Any], seconds: float) -> t.Dict[str, t.Any]:
    """Run the payload as a program of its own for so long at most, and return the module's result (dict).

    Raises:
        NotBegun: there is no room for it, or it cannot be started.
    """
    environment, folder = dict(os.environ), ""
    if config.get("environment"):
        payload, dummy, packed = payload.rpartition(ENVIRONMENT.encode("ascii"))
        environment.update(json.loads(base64.b64decode(packed)))
    try:
        try:
            folder, held = private()
            path = os.path.join(folder, "module.py")
            write(path, payload)
            if config.get("objects"):
                environment["PATCHWAVE_S3_URLS"] = os.path.join(folder, "objects.json")
                write(environment["PATCHWAVE_S3_URLS"], json.dumps(config["objects"]).encode("utf-8"))
            room(2 * len(payload))
            module = start(path, environment, held)
        except OSError as error:
            raise unwritten(error) from error
        try:
            stdout, stderr = module.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            module.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                module.wait(5)
            msg = "the module ran longer than %(timeout)s s and was stopped; nobody knows what it has done" % config
            return {"failed": True, "outcome": "unknown", "reason": "timeout", "msg": msg}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return parse(stdout.decode("utf-8", "replace"), module.returncode, stderr.decode("utf-8", "replace"))


def start(path: str, environment: t.Dict[str, str], held: int) -> t.Any:
    """Start the module; what holds its folder goes with it."""
    return subprocess.Popen(
        [sys.executable, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        pass_fds=(held,),
    )


def room(size: int) -> None:
    """Try whether the module finds room to unpack itself where it will look for it; OSError where it does not."""
    try:
        with tempfile.TemporaryFile() as handle:
            handle.write(b"\0" * size)
            handle.flush()
    except FileNotFoundError as error:  # Python tries several folders, and does not say what is wrong with them
        free = os.statvfs("/tmp")
        full = free.f_bavail * free.f_frsize < size or (free.f_files and not free.f_favail)
        raise OSError(errno.ENOSPC if full else errno.ENOENT, error.strerror or str(error)) from error


def unwritten(error: OSError) -> NotBegun:
    """Return what it means that the module cannot be written or started."""
    where = "%s%s" % (error.filename + ": " if isinstance(error.filename, str) else "", error.strerror or error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        msg = "no room on the node's disk (%s); nothing was started: make room in %s and %s" % (
            where,
            RUN,
            os.environ.get("TMPDIR") or "/tmp",
        )
        return NotBegun(DISK_FULL, msg)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT):
        return NotBegun(NOT_WRITABLE, "the node has no place to run a module from (%s); nothing was started" % where)
    return NotBegun(NOT_STARTED, "the module could not be started (%s)" % where)


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
        end = "exit %d" % code if code >= 0 else "killed by signal %d%s" % (-code, ", out of memory?" * (code == -9))
        msg = "the module gave no result (%s): %s" % (end, tail)
        return {"failed": True, "outcome": "unknown", "reason": "no_result", "msg": msg}
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
    """Fetch and run the module.

    Raises:
        NotBegun: it was not begun.
    """
    began = time.monotonic()
    payload = fetch(config)
    skew = config.get("skew", 0)
    if config.get("latest_start") is not None and abs(skew) > SKEW:
        how = "the node's clock is %d s %s S3's" % (abs(skew), "behind" if skew > 0 else "ahead of")
        msg = "%s, so work that may start until a moment only was not started; correct the clock (chrony)" % how
        raise NotBegun(CLOCK_WRONG, msg)
    if late(config):
        msg = "latest_start has passed; nothing was started, run again in the next window"
        return {"failed": True, "outcome": "skipped", "reason": "too_late", "msg": msg}
    spent = time.monotonic() - began
    return run(payload, config, config["timeout"] - max(0, spent - MARGIN))


def late(config: t.Dict[str, t.Any]) -> bool:
    """Say whether it is too late to begin anything, by S3's clock."""
    return config.get("latest_start") is not None and time.time() + config.get("skew", 0) > config["latest_start"]


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
        try:
            result = attempt(config)
        except NotBegun as error:
            print(MARK + "N " + json.dumps({"reason": error.reason, "msg": error.msg[:1000]}), flush=True)
            return 0
        if reboots(result, config):
            return REBOOT
    print(encode(result), flush=True)
    forget(config)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ.pop("PATCHWAVE_CONFIG")))
