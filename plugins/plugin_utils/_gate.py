# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""May the hosts of a batch be patched now? What their own windows and freezes say."""

from __future__ import annotations

import datetime
import json
import re
import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._core import calendar

#: The host variable with windows.
WINDOWS = "patch_windows"
#: The host variables with freezes. They add up, for a group that has its own is still in everybody's.
FREEZES = re.compile(r"patch_freezes(_\w+)?")
#: What a misspelt one of these looks like; it would leave the gate open.
_LIKE = re.compile(r"patch_?(win|fre)\w*", re.IGNORECASE)
#: How many hosts a message names.
_NAMED = 3


class Batch(t.NamedTuple):
    """What all hosts together are told.

    `latest_start` is when the first of them may no longer start, ISO 8601; empty without an end or when closed.
    `closed` has a line for each reason why hosts may not be patched.
    """

    latest_start: str
    closed: list[str]


def moment(given: str | None) -> datetime.datetime:
    """Return the time to judge by: the given one, or now.

    Raises:
        ValueError: it is no ISO 8601 time.
    """
    return calendar.moment(given, "at") if given else datetime.datetime.now(datetime.UTC)


def judge(
    hosts: t.Iterable[str], variables: t.Callable[[str], t.Mapping[str, t.Any]], now: datetime.datetime, minutes: int
) -> Batch:
    """Judge every host by its windows and freezes at this time, of which so many minutes must be left.

    A calendar that cannot be read closes the gate, as a freeze does, and so does a variable whose name is almost one.
    """
    alike: dict[str, list[str]] = {}
    calendars: dict[str, dict[str, t.Any]] = {}
    for host in hosts:
        known = variables(host)
        found = {name: known[name] for name in sorted(known) if _LIKE.fullmatch(name)}
        key = json.dumps(found, default=str)
        calendars[key] = found
        alike.setdefault(key, []).append(host)
    limits: list[datetime.datetime] = []
    closed: dict[str, list[str]] = {}
    for key, members in alike.items():
        until, why = _judge(calendars[key], now, minutes)
        if why:
            closed.setdefault(why, []).extend(members)
        elif until:
            limits.append(until)
    latest = min(limits, key=datetime.datetime.timestamp).isoformat(timespec="seconds") if limits and not closed else ""
    return Batch(latest, [f"{_names(members)}: {why}" for why, members in closed.items()])


def combined(batches: list[Batch], overrides: list[dict[str, str]]) -> dict[str, t.Any]:
    """Return the result for hosts that were judged by groups, each with its own override (empty: none).

    The earliest of the latest starts counts. A closed group whose override is empty closes the gate for all.
    """
    closed = [line for batch in batches for line in batch.closed]
    shut = [line for batch, override in zip(batches, overrides, strict=True) if not override for line in batch.closed]
    said = next((override for override in overrides if override), {})
    starts = [batch.latest_start for batch in batches if batch.latest_start]
    latest = min(starts, key=lambda text: datetime.datetime.fromisoformat(text).timestamp(), default="")
    result: dict[str, t.Any] = {
        "changed": False,
        "latest_start": "" if shut else latest,
        "closed": closed,
        "override": said,
    }
    if shut:
        return {**result, "failed": True, "msg": f"the gate is closed: {'; '.join(shut)}"}
    if closed:
        who = f"{said['by']}: {said['reason']}"
        return {**result, "msg": f"the gate is closed but overridden by {who}: {'; '.join(closed)}"}
    return result


def _judge(found: dict[str, t.Any], now: datetime.datetime, minutes: int) -> tuple[datetime.datetime | None, str]:
    odd = next((name for name in found if name != WINDOWS and not FREEZES.fullmatch(name)), None)
    if odd:
        why = f"{odd}: is neither {WINDOWS} nor patch_freezes nor patch_freezes_NAME"
        return None, f"the calendar cannot be read: {why}"
    if WINDOWS in found and found[WINDOWS] in (None, []):
        return None, f"the calendar cannot be read: {WINDOWS}: has no window; without the variable any time will do"
    try:
        windows = calendar.windows(found.get(WINDOWS) or [], WINDOWS)
        freezes = [one for name in found if name != WINDOWS for one in calendar.freezes(found[name] or [], name)]
        verdict = calendar.verdict(now, windows, freezes)
    except calendar.CalendarError as error:
        return None, f"the calendar cannot be read: {error}"
    if verdict.may_start and verdict.until and verdict.until - now < datetime.timedelta(minutes=minutes):
        return None, f"less than {minutes} minutes are left until {calendar.shown(verdict.until)}"
    return verdict.until, verdict.why


def _names(hosts: list[str]) -> str:
    more = len(hosts) - _NAMED
    return ", ".join(hosts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
