# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Health checks: a command, a page or a port that says whether the program works."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import time
import typing as t
import urllib.error

from ansible.module_utils.urls import ConnectionError as UrlConnectionError
from ansible.module_utils.urls import open_url

from . import users
from .alarm import alarm
from .commands import Commands, found
from .errors import PatchError
from .text import tidy

Options = t.Mapping[str, t.Any]

_SEARCHED = 64 * 1024


def check_health(options: Options, commands: Commands, sleep: t.Callable[[float], None] = time.sleep) -> int:
    """Check until it is healthy; return how often it was tried.

    Args:
        options: C(health) of a definition.
        commands: how to run its command.
        sleep: C(time.sleep) or a stand-in.

    Raises:
        PatchError: C(health_failed), still after all retries.
    """
    attempts = options["retries"] + 1
    problem = ""
    for attempt in range(1, attempts + 1):
        problem = _once(options, commands)
        if not problem:
            return attempt
        if attempt < attempts:
            sleep(options["delay"])
    raise PatchError("health_failed", "health check {0} ({1} tries)".format(problem, attempts))


def can_judge(options: Options) -> bool:
    """Tell whether this check can be made here at all: its command exists."""
    return not options.get("command") or found(options["command"][0])


def _once(options: Options, commands: Commands) -> str:
    if options.get("http"):
        return _http(options["http"], options["timeout"])
    if options.get("port"):
        return _port(options["host"], options["port"], options["timeout"])
    user = users.reader(options["command"], options.get("run_as"))
    answer = commands.run(options["command"], options["timeout"], user=user)
    if answer.rc == 0 and not answer.timed_out:
        return ""
    return "{0} {1}".format(tidy(options["command"][0], 80), answer.excuse())


def _http(options: Options, timeout: float) -> str:
    """Return what is wrong with the page; never its URL, which may hold a password."""
    try:
        with alarm(timeout, TimeoutError):  # a server may send a byte now and then
            status, body = _page(options, timeout)
    except (OSError, http.client.HTTPException, UrlConnectionError, ValueError) as error:
        return "of the page got no answer: {0}".format(type(getattr(error, "reason", error)).__name__)
    if status != options["status"]:
        return "of the page got status {0}, not {1}".format(status, options["status"])
    if options.get("pattern") and not re.search(options["pattern"], body.decode("utf-8", "replace")):
        return "of the page does not match health.http.pattern"
    return ""


def _page(options: Options, timeout: float) -> t.Tuple[int, bytes]:
    """Return status and beginning of the page."""
    try:
        page = open_url(
            options["url"],
            timeout=timeout,
            use_proxy=False,
            use_netrc=False,
            validate_certs=options["validate_certs"],
            http_agent="patchwave",
        )
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            return error.code, error.read(_SEARCHED)
    with contextlib.closing(page):
        return page.getcode(), page.read(_SEARCHED)


def _port(host: str, port: int, timeout: float) -> str:
    try:
        with socket.create_connection((host, port), timeout):
            return ""
    except OSError as error:
        return "of port {0} failed: {1}".format(port, tidy(error.strerror or type(error).__name__, 60))
