# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Several programs in one run: one transaction after the other, up to the first that fails."""

from __future__ import annotations

import typing as t

from .._core.outcomes import CURRENT, FAILED, PATCHED, ROLLED_BACK, SKIPPED, UNSUPPORTED
from .._core.software import check_definition
from .text import RESULT_BYTES, fit, label, size

#: How many definitions one run takes: their results have to fit into one answer.
MAX_DEFINITIONS = 8
#: What the outcome of the whole run is: the first of these that one of the programs has.
_ORDER = (FAILED, ROLLED_BACK, UNSUPPORTED, SKIPPED, PATCHED, CURRENT)

#: Characters of a program's name in a result that would be too long.
_SHORT_NAME = 24

Definition = t.Mapping[str, t.Any]
Result = t.Dict[str, t.Any]


def patch_all(definitions: t.Sequence[Definition], patch: t.Callable[[Definition], Result]) -> Result:
    """Patch programs in order; leave the rest alone when one has failed or was rolled back.

    Args:
        definitions: the module's options for each program, complete with defaults.
        patch: patches one.

    Returns:
        dict: the result as the module documents it.
    """
    wrong = _problem(definitions)
    if wrong:
        return combine([wrong])
    results = []  # type: t.List[Result]
    for definition in definitions:
        failed = any(result["failed"] for result in results)
        results.append(_not_run(definition) if failed else patch(definition))
    return combine(results)


def _problem(definitions: t.Sequence[Definition]) -> t.Optional[Result]:
    """Return the result of the first definition that is wrong; then nothing is touched."""
    names = [definition["name"] for definition in definitions]
    dests = [definition.get("dest") for definition in definitions]
    if not 0 < len(names) <= MAX_DEFINITIONS:
        text = "definitions: must be 1 to {0}, not {1}".format(MAX_DEFINITIONS, len(names))
        return _result("", "", FAILED, "bad_definition", text)
    for number, definition in enumerate(definitions):
        problems = check_definition(definition["name"], definition)
        if definition["name"] in names[:number]:
            problems = [("name", "is given twice")]
        if definition.get("dest") and definition["dest"] in dests[:number]:
            problems = [("dest", "is that of a definition before it")]
        if problems:
            text = "; ".join("definitions[{0}].{1}: {2}".format(number, *problem) for problem in problems)
            return _result(definition["name"], definition["state_dir"], FAILED, "bad_definition", text)
    return None


def _not_run(definition: Definition) -> Result:
    text = "{0}: not begun, for one before it failed".format(definition["name"])
    return _result(definition["name"], definition["state_dir"], SKIPPED, "not_run", text)


def _result(name: str, log: str, outcome: str, reason: str, msg: str) -> Result:
    return {
        "name": name,
        "outcome": outcome,
        "reason": reason,
        "msg": msg,
        "version_before": None,
        "version_after": None,
        "changed": False,
        "failed": outcome in (FAILED, ROLLED_BACK),
        "seconds": {"total": 0.0},
        "log": log,
    }


def combine(results: t.Sequence[Result]) -> Result:
    """Return one result for all: the worst outcome, the versions of each program, and what happened to each."""
    worst = min(results, key=lambda result: _ORDER.index(result["outcome"]))
    others = [result["msg"] for result in results if result is not worst]
    combined = {
        "name": label(", ".join(result["name"] for result in results), 64),
        "outcome": worst["outcome"],
        "reason": worst["reason"],
        "msg": "; ".join([worst["msg"], *others]),
        "version_before": _versions(results, "version_before"),
        "version_after": _versions(results, "version_after"),
        "changed": any(result["changed"] for result in results),
        "failed": worst["failed"],
        "seconds": {
            key: round(sum(result["seconds"].get(key, 0.0) for result in results), 3) for key in ("outage", "total")
        },
        "log": worst["log"],
        "programs": [_short(result) for result in results],
    }
    for key in ("unknown_copies", "copies_left"):
        counts = [result[key]["count"] for result in results if key in result]
        combined.update({key: {"count": sum(counts)}} if counts else {})
    return _fitting(combined)


def _versions(results: t.Sequence[Result], key: str) -> str:
    found = ["{0} {1}".format(result["name"], result[key] or "-") for result in results if result["name"]]
    return label(", ".join(found), 200)


def _short(result: Result) -> Result:
    short = {key: result[key] for key in ("name", "outcome", "reason", "version_before", "version_after")}
    return dict(short, seconds=result["seconds"]["total"])


def _fitting(combined: Result) -> Result:
    """Shorten until it is read in bulk: the message, then what the whole says too, then names and versions."""
    fitting = fit(combined)
    for gone in ("seconds", "version_before", "version_after"):
        if size(fitting) > RESULT_BYTES:
            for program in fitting["programs"]:
                program.pop(gone)
    if size(fitting) > RESULT_BYTES:
        for program in fitting["programs"]:
            program["name"] = label(program["name"], _SHORT_NAME)
        for key in ("version_before", "version_after"):
            fitting[key] = label(fitting[key], 3 * _SHORT_NAME)
    return fit(fitting)
