# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""May the hosts of a batch be patched now? What their own windows and freezes say."""

from __future__ import annotations

import datetime
import json
import typing as t

from ansible.errors import AnsibleError
from ansible.parsing.utils.yaml import from_yaml
from ansible_collections.patchwave.aws.plugins.module_utils._core import calendar

from . import _calendars

#: How many hosts a message names, freezes a calendar's description, and calendars a result.
_NAMED, _FREEZES, _CALENDARS = 3, 8, 40
#: Nobody plans a wave of more minutes than a year has.
_MOST_MINUTES = 525_600


class Asked(t.NamedTuple):
    """Hosts with what the gate was asked for them.

    Attributes:
        now: the time to judge by.
        minutes: so many must be left.
        override: who overrides what is closed, and why; empty: nobody.
        windows_required: whether a host without windows may not be patched.
    """

    hosts: list[str]
    now: datetime.datetime
    minutes: int
    override: dict[str, str]
    windows_required: bool

    @classmethod
    def of(cls, hosts: list[str], options: t.Mapping[str, t.Any]) -> Asked:
        """Read the options of the action, in which an empty text, as of a survey, is not given.

        Raises:
            ValueError: one of them is neither; one line that names it.
        """
        given = {name: _calendars.plain(value) for name, value in options.items()}
        given = {name: value for name, value in given.items() if value is not None and value != ""}
        return cls(
            hosts=hosts,
            now=calendar.moment(given["at"], "at") if "at" in given else datetime.datetime.now(datetime.UTC),
            minutes=_minutes(given.get("minutes_left", 0)),
            override=_override(given.get("override", {})),
            windows_required=_truth(given.get("require_windows", False)),
        )


def _minutes(value: t.Any) -> int:
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) > _MOST_MINUTES:
        raise ValueError(f"minutes_left: must be 0 to {_MOST_MINUTES} minutes, not {value!r}")
    return int(text)


def _truth(value: t.Any) -> bool:
    words = {True: True, "true": True, "yes": True, False: False, "false": False, "no": False}
    key = value.lower() if isinstance(value, str) else value
    if not isinstance(key, (bool, str)) or key not in words:
        raise ValueError(f"require_windows: must be true or false, not {value!r}")
    return words[key]


def _override(value: t.Any) -> dict[str, str]:
    if isinstance(value, str):  # of a survey, or -e
        try:
            value = _calendars.plain(from_yaml(value))
        except AnsibleError:
            raise ValueError("override: is a text that is neither JSON nor YAML") from None
    return {} if value == {} and isinstance(value, dict) else calendar.override(value)


class _Calendar(t.NamedTuple):
    """What hosts with the same calendar and the same wishes are told."""

    asked: Asked
    sources: _calendars.Sources
    hosts: list[str]
    verdict: calendar.Verdict | None
    closed: str
    zone: datetime.tzinfo
    words: dict[str, str]


def judge(groups: list[Asked], read: t.Callable[[str], _calendars.Sources]) -> dict[str, t.Any]:
    """Return the result of all hosts; each is judged by its own calendar and its own group's wishes.

    What cannot be read closes the gate, as a freeze does. A group whose gate is closed without an override closes it
    for all. An override is in force, and told, also where nothing is closed: then no latest start holds for its hosts.
    """
    calendars = [one for asked in groups for one in _alike(asked, read)]
    barred = [one for one in calendars if one.closed and not one.asked.override]
    opens = _opening([one for one in calendars if not one.asked.override] or calendars)
    lines = _lines(calendars, opens)
    limits = [one.verdict.until for one in calendars if one.verdict and one.verdict.until and not one.asked.override]
    latest = min(limits, key=datetime.datetime.timestamp).isoformat(timespec="seconds") if limits else ""
    said = _said([asked.override for asked in groups if asked.override])
    doubtful = sorted({name for one in calendars for name in one.sources.doubtful})
    result: dict[str, t.Any] = {
        "changed": False,
        "open": not barred,
        "latest_start": "" if barred else latest,
        "closed": lines,
        "check_only": False,
        "override": said,
        "calendars": _told(calendars),
        "not_read": doubtful,
    }
    if doubtful:
        names = ", ".join(doubtful)
        result["warnings"] = [f"the gate does not read {names}; did you mean patch_windows or patch_freezes_NAME?"]
    if barred:
        return {**result, "failed": True, "msg": f"the gate is closed: {'; '.join(_lines(barred, opens))}"}
    if said:
        what = f"closed but overridden by {said['by']}: {said['reason']}: {'; '.join(lines)}"
        who = what if lines else f"open, and overridden for the whole run by {said['by']}: {said['reason']}"
        return {**result, "msg": f"the gate is {who}"}
    return {**result, "msg": "the gate is open" + (f" until {latest}" if latest else "")}


def in_check_mode(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the result where nothing is changed anyway: it tells the verdict and lets the play go on.

    C(check_only) says that it is open for what stays in check mode alone: a task may be taken out of it.
    """
    if not result.get("failed"):
        return result
    return {**result, "failed": False, "open": True, "check_only": True, "msg": f"{result['msg']}; check mode goes on"}


def _alike(asked: Asked, read: t.Callable[[str], _calendars.Sources]) -> list[_Calendar]:
    """Judge each distinct calendar of a group once."""
    alike: dict[str, tuple[_calendars.Sources, list[str]]] = {}
    for host in asked.hosts:
        sources = read(host)
        shown = [[name, _calendars.unreadable(value) or value] for name, value in sources.windows + sources.freezes]
        key = json.dumps([shown, sources.wrong, sources.doubtful], default=repr)
        alike.setdefault(key, (sources, []))[1].append(host)
    return [_judged(asked, sources, hosts) for sources, hosts in alike.values()]


def _judged(asked: Asked, sources: _calendars.Sources, hosts: list[str]) -> _Calendar:
    try:
        if sources.wrong:
            raise calendar.CalendarError(sources.wrong[0])
        windows = [one for name, value in sources.windows for one in calendar.windows(_known(name, value), name)]
        freezes = [one for name, value in sources.freezes for one in calendar.freezes(_known(name, value), name)]
    except calendar.CalendarError as error:
        words = {"windows": f"cannot be read: {error}", "freezes": ""}
        return _Calendar(asked, sources, hosts, None, f"the calendar cannot be read: {error}", datetime.UTC, words)
    verdict = calendar.verdict(asked.now, windows, freezes, asked.minutes)
    left = sorted({one.words() for one in freezes if one.end > asked.now})
    more = [f"{len(left) - _FREEZES} more"] if len(left) > _FREEZES else []
    words = {
        "windows": "; ".join(one.words() for one in windows) or "none, so at any time",
        "freezes": "; ".join([*left[:_FREEZES], *more]) or "none",
    }
    zone = calendar.zone_of(windows, freezes)
    if asked.windows_required and not windows:
        why = "has no patch_windows, which are required (require_windows)"
        return _Calendar(asked, sources, hosts, None, why, zone, words)
    return _Calendar(asked, sources, hosts, verdict, verdict.why, zone, words)


def _known(name: str, value: t.Any) -> t.Any:
    why = _calendars.unreadable(value)
    if why:
        raise calendar.CalendarError(f"{name}: {why}")
    return value


def _opening(calendars: list[_Calendar]) -> t.Callable[[datetime.tzinfo], str]:
    """Return what is told of when all of them are open at once."""
    spans = [one.verdict.starts for one in calendars if one.verdict]
    now = max((one.asked.now for one in calendars), default=None)
    if not now or len(spans) < len(calendars):
        return lambda zone: ""
    first = calendar.first_start(now, spans)
    return lambda zone: f", may start {calendar.shown(first.astimezone(zone)) if first else 'never within a year'}"


def _lines(calendars: list[_Calendar], opens: t.Callable[[datetime.tzinfo], str]) -> list[str]:
    """Return a line for each reason why hosts may not be patched."""
    closed: dict[str, list[str]] = {}
    for one in calendars:
        if one.closed:
            why = one.closed + (opens(one.zone) if one.verdict else "")
            closed.setdefault(why, []).extend(one.hosts)
    return [f"{_names(hosts)}: {why}" for why, hosts in closed.items()]


def _said(overrides: list[dict[str, str]]) -> dict[str, str]:
    """Return who overrides the gate and why; where hosts have different overrides, all of them."""
    keys = ("by", "reason") if overrides else ()
    return {key: "; ".join(dict.fromkeys(one[key] for one in overrides)) for key in keys}


def _told(calendars: list[_Calendar]) -> list[dict[str, t.Any]]:
    """Return the calendars in words, those of most hosts first."""
    hosts: dict[tuple[str, str], int] = {}
    for one in calendars:
        key = one.words["windows"], one.words["freezes"]
        hosts[key] = hosts.get(key, 0) + len(one.hosts)
    ordered = sorted(hosts.items(), key=lambda item: -item[1])
    found: list[dict[str, t.Any]] = [
        {"hosts": count, "windows": windows, "freezes": freezes} for (windows, freezes), count in ordered[:_CALENDARS]
    ]
    rest = ordered[_CALENDARS:]
    if rest:
        count = sum(count for dummy, count in rest)
        found.append({"hosts": count, "windows": f"{len(rest)} other calendars", "freezes": ""})
    return found


def _names(hosts: list[str]) -> str:
    more = len(hosts) - _NAMED
    return ", ".join(hosts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
