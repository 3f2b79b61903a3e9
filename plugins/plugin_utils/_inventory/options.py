# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""From the plugin's options to a query."""

from __future__ import annotations

import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._core.spec import problems
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, Sessions

from .errors import OptionError
from .read import Organization, Query, Source

_ON_ERROR = ("fail", "warn", "skip")
_CONNECTIONS = {
    platform: {"type": "str", "choices": ["ssh", "winrm", "aws_ssm", "run_command"]}
    for platform in ("linux", "windows", "macos")
}
_ACCOUNT: dict[str, dict[str, t.Any]] = {
    **{name: {"type": "str"} for name in Account._fields},
    "on_error": {"type": "str", "choices": list(_ON_ERROR)},
}
_ORGANIZATION: dict[str, dict[str, t.Any]] = {
    "units": {"type": "list", "elements": "str", "required": True},
    "role_name": {"type": "str"},
    "external_id": {"type": "str"},
    "exclude": {"type": "list", "elements": "str"},
}


def check_keys(config: t.Mapping[str, t.Any], definitions: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Refuse keys of an inventory file that are no options.

    Raises:
        OptionError: for the first of them.
    """
    known = {name: {"type": "raw"} for name in definitions}
    known.update((alias, {"type": "raw"}) for option in definitions.values() for alias in option.get("aliases") or ())
    _refuse(problems(known, dict(config)))


#: Options that may have vaulted values and templates; those that are expressions themselves are not among them.
_TEMPLATED = (
    *("accounts", "organization", "regions", "filters", "region", "wave_tag", "hold_tag"),
    *("access_key", "secret_key", "session_token", "profile", "endpoint_url", "aws_ca_bundle"),
)


def plain(chosen: dict[str, t.Any], template: t.Callable[[str], t.Any]) -> dict[str, t.Any]:
    """Return options in which vaulted values are plain and templates, with their lookups, are evaluated.

    Raises:
        OptionError: one cannot be, or gives nothing; names it. An empty role, say, would be the caller's own account.
    """
    return {name: _plain(name, value, template) if name in _TEMPLATED else value for name, value in chosen.items()}


def _plain(name: str, value: t.Any, template: t.Callable[[str], t.Any]) -> t.Any:
    if isinstance(value, dict):
        return {key: _plain(f"{name}.{key}", child, template) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(f"{name}[{index}]", child, template) for index, child in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    try:
        text = str(value)  # that of a vaulted value is its content
        found = template(value) if isinstance(value, str) and ("{{" in text or "{%" in text) else text
    except Exception as error:  # Ansible's, of many classes
        why = " ".join(str(error).split())
        raise OptionError(f"{name}: cannot be evaluated: {why}") from error
    if text and (found is None or found == ""):
        raise OptionError(f"{name}: the template gives nothing; set what it asks for")
    return found


def query(sessions: Sessions, chosen: dict[str, t.Any], profile: str | None = None) -> Query:
    """Return what the options ask for.

    Args:
        sessions: knows the region that the options or the environment name.
        chosen: the plugin's options by name.
        profile: the profile that the file itself names, which plays use as well.

    Raises:
        OptionError: an option does not fit.
    """
    _check(chosen)
    regions = chosen["regions"] or [sessions.region]
    if not all(regions):
        raise OptionError("no region; set 'regions' in the inventory file or AWS_REGION")
    return Query(
        sources=_sources(chosen, profile),
        organization=_organization(chosen, profile),
        regions=regions,
        filters={name: _texts(values) for name, values in chosen["filters"].items()},
        everything=chosen["include_out_of_scope"],
        full=chosen["hostvars"] == "full",
    )


def _texts(values: t.Any) -> list[str]:
    """Return what a filter compares with as AWS writes it, however YAML took it: a text, a number, yes or no."""
    found = values if isinstance(values, list) else [values]
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in found]


def _check(chosen: dict[str, t.Any]) -> None:
    found: list[str] = []
    for index, entry in enumerate(chosen["accounts"]):
        found.extend(problems(_ACCOUNT, entry, f"accounts[{index}]"))
    if chosen["organization"]:
        found.extend(problems(_ORGANIZATION, chosen["organization"], "organization"))
        if not found and not chosen["organization"]["units"]:
            found.append("organization.units: names no organizational unit")
    found.extend(problems(_CONNECTIONS, chosen["connections"], "connections"))
    _refuse(found)


def _refuse(found: list[str]) -> None:
    if found:
        raise OptionError(found[0])


def _sources(chosen: dict[str, t.Any], profile: str | None) -> list[Source]:
    found = []
    for entry in chosen["accounts"] or ([] if chosen["organization"] else [{}]):
        own = {name: value for name, value in entry.items() if name != "on_error"}
        access = Account(**{**own, "profile": own.get("profile") or profile})
        found.append(Source(access, entry.get("on_error") or chosen["on_error"]))
    return found


def _organization(chosen: dict[str, t.Any], profile: str | None) -> Organization | None:
    asked = chosen["organization"]
    if not asked:
        return None
    return Organization(
        units=list(asked["units"]),
        role_name=asked.get("role_name") or "patchwave",
        external_id=asked.get("external_id"),
        exclude=list(asked.get("exclude") or ()),
        on_error=chosen["on_error"],
        profile=profile,
    )
