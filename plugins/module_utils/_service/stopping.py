# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Stop a rollout from outside, with nothing of it on disk: its mark, its payloads, its commands.

A node whose agent takes the command up later finds no payload and begins nothing. That needs no call to each node, and
holds also where a command cannot be cancelled any more. What a node has begun goes on to its end.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import json
import time
import typing as t

from .._aws import s3 as s3_api
from .._aws import ssm as ssm_api
from .._aws.errors import AwsError
from .._aws.sessions import Sessions
from .._core import run_names
from . import identity
from .access import Where
from .payload import delete
from .sending import LISTED_AFTER
from .stop_marks import Mark, Place, read

#: Days for which a command may wait for its node: the longest TimeoutSeconds of SendCommand, 2,592,000 s, and one more.
_DAYS = 31
#: Ids that CancelCommand takes (botocore's model, ssm 2014-11-06).
_IDS = 50
_WAITING = ("Pending", "Delayed")
_RUNNING = ("InProgress", "Cancelling")


class Stopped(t.NamedTuple):
    """What a stop has done.

    `commands` has an entry for each command that was under way: account, region, command_id, comment, cancelled and
    running (lists of node ids). `marked` says whether the mark is there, `payloads` how many were taken away, `left`
    whether some could not be. `problems` has a line for what could not be done.
    """

    changed: bool
    marked: bool
    left: bool
    payloads: int
    commands: list[dict[str, t.Any]]
    problems: list[str]


def set_mark(sessions: Sessions, place: Place, name: str, mark: Mark, check_mode: bool) -> bool:
    """Set a rollout's mark; one that is there stays as it is. Return whether it is new.

    Raises:
        AwsError: it cannot be set.
    """
    s3, key = sessions.s3(place.bucket), run_names.stop_mark(place.prefix, name)
    if key in _there(s3, place, key):
        return False
    if not check_mode:
        body = json.dumps({"rollout": name, "by": mark.by, "time": mark.time, "reason": mark.reason}).encode()
        s3_api.put_object(s3, place.bucket, key, body, place.owner)
    return True


def lift_mark(sessions: Sessions, place: Place, name: str, check_mode: bool) -> Mark | None:
    """Take a rollout's mark away; return what it said, or None where there was none.

    Raises:
        AwsError: it cannot be taken away.
    """
    s3, key = sessions.s3(place.bucket), run_names.stop_mark(place.prefix, name)
    there = _there(s3, place, key)
    if not there:
        return None
    mark = read(sessions, place, key)
    for one in there if not check_mode else ():
        s3_api.delete_object(s3, place.bucket, one, place.owner)
    return mark


def _there(s3: t.Any, place: Place, key: str) -> list[str]:
    """Return what of a mark is there: the object itself, and the "folder" of that name that consoles make."""
    listed = s3_api.list_objects(s3, place.bucket, key, place.owner)
    return [one for one in listed if one in (key, f"{key}/")]


def stop(
    sessions: Sessions, regions: t.Sequence[Where], place: Place | None, name: str, mark: Mark, check_mode: bool
) -> Stopped:
    """Set the mark, take the payloads away, and cancel what no agent has begun; what cannot be done stops none of it.

    Args:
        sessions: makes the clients.
        regions: where commands may be.
        place: where mark and payloads lie; None: there is no bucket.
        name: the rollout, or ALL.
        mark: who stops it and why.
        check_mode: whether nothing is changed.
    """
    new, marked, payloads = False, False, 0
    left, problems = [], []  # type: list[str], list[str]
    if place:
        try:
            new, marked = set_mark(sessions, place, name, mark, check_mode), True
        except AwsError as error:
            problems = [f"s3://{place.bucket}: no mark could be set, so a run that lives goes on sending: {error}"]
        payloads, left = _withdraw(sessions, place, name, check_mode)
        problems += left
    commands: dict[str, dict[str, t.Any]] = {}
    # A command that was sent just now may take a while to be listed.
    found: list[list[dict[str, t.Any]] | AwsError] = []
    for wait in (0.0,) if check_mode or not regions else (0.0, LISTED_AFTER):
        time.sleep(wait)
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(regions))) as pool:
            found = list(pool.map(lambda region: _cancel_in(sessions, region, name, check_mode), regions))
        for one in (one for each in found if isinstance(each, list) for one in each):
            known = commands.setdefault(one["command_id"], one)
            known.update(running=one["running"], cancelled=sorted({*known["cancelled"], *one["cancelled"]}))
    problems += [str(each) for each in found if isinstance(each, AwsError)]
    changed = new or payloads > 0 or any(one["cancelled"] for one in commands.values())
    return Stopped(changed, marked, bool(left), payloads, list(commands.values()), problems)


def _withdraw(sessions: Sessions, place: Place, name: str, check_mode: bool) -> tuple[int, list[str]]:
    """Take a rollout's payloads away; return how many, and a line for each that stays."""
    where = run_names.folder(place.prefix, name)
    try:
        keys = s3_api.list_objects(sessions.s3(place.bucket), place.bucket, where, place.owner)
    except AwsError as error:
        return 0, [f"s3://{place.bucket}/{where}: {error}"]
    if check_mode:
        return len(keys), []
    left = delete(sessions, [(place.bucket, key) for key in keys], {place.bucket: place.owner})
    return len(keys) - len(left), [str(one) for one in left]


def _cancel_in(sessions: Sessions, region: Where, name: str, check_mode: bool) -> list[dict[str, t.Any]] | AwsError:
    """Cancel a rollout's commands in one account and region; return what was under way, or why nobody can tell."""
    try:
        identity.check(sessions, region.access, region.account, region.region)
        ssm = sessions.client("ssm", region.access, region.region)
        since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=_DAYS)
        listed = ssm_api.list_commands(ssm, since, executing=True)
        mine = [one for one in listed if run_names.is_of(one.get("Comment", ""), name)]
        return [_cancel(ssm, region, command, check_mode) for command in mine]
    except AwsError as error:
        return AwsError(f"{region}: {error}")


def _cancel(ssm: t.Any, region: Where, command: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    invocations = ssm_api.list_command_invocations(ssm, command["CommandId"])
    waiting = sorted(one["InstanceId"] for one in invocations if one["Status"] in _WAITING)
    running = sorted(one["InstanceId"] for one in invocations if one["Status"] in _RUNNING)
    for first in range(0, 0 if check_mode else len(waiting), _IDS):
        ssm_api.cancel_command(ssm, command["CommandId"], waiting[first : first + _IDS])
    return {
        "account": region.account,
        "region": region.region,
        "command_id": command["CommandId"],
        "comment": command.get("Comment", ""),
        "cancelled": waiting,
        "running": running,
    }
