# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Put the parts of a software patch together for its module."""

from __future__ import annotations

import os
import typing as t

from .._core import versions
from .._core.outcomes import FAILED
from .._core.software import check_definition
from .archive import Limits
from .commands import Commands, RunCommand
from .disk import Disk
from .journal import Journal
from .log import Log
from .preconditions import Preconditions
from .proof import Proof
from .release import Release
from .result import Report
from .services import Services
from .text import scrubber
from .transaction import Patch, Settings


def patch_software(
    params: t.Mapping[str, t.Any],
    run_command: RunCommand,
    check_mode: bool = False,
    disk: t.Optional[Disk] = None,
    limits: t.Optional[Limits] = None,
) -> t.Dict[str, t.Any]:
    """Patch one program.

    Args:
        params: the module's options, complete with defaults.
        run_command: C(module.run_command).
        check_mode: say what would be done, and do nothing.
        disk: how to write; tests inject failures with it.
        limits: what an archive may grow to.

    Returns:
        dict: the result as the module documents it.
    """
    scrub = scrubber(params["archive"]["url"])
    log = Log(os.path.join(params["state_dir"], "software_patch.log"), params["name"], scrub, not check_mode)
    report = Report(params["name"], log, scrub)
    problems = check_definition(params["name"], params)
    if problems:
        report.end(FAILED, "bad_definition", "; ".join("{0}: {1}".format(*problem) for problem in problems))
        return report.result()
    _patch(params, Commands(run_command), disk or Disk(), limits, report, check_mode).run()
    result = report.result()
    log.event("end", outcome=result["outcome"], reason=result["reason"], message=result["msg"])
    return result


def _patch(
    params: t.Mapping[str, t.Any],
    commands: Commands,
    disk: Disk,
    limits: t.Optional[Limits],
    report: Report,
    check_mode: bool,
) -> Patch:
    """Build the transaction that a definition asks for."""
    release = Release(params["name"], params, disk, limits)
    settings = Settings(
        name=params["name"],
        fixed_in=params["fixed_in"],
        target=params["archive"]["version"],
        compare=versions.compare,
        sought=params["probe"]["command"][0],
        allow_downgrade=params["allow_downgrade"],
        install_missing=params["install_missing"],
        state_dir=params["state_dir"],
        lock_timeout=params["lock_timeout"],
        check_mode=check_mode,
    )
    services = Services(params["services"], commands)
    return Patch(
        settings=settings,
        kinds={release.kind: release},
        kind=release,
        proof=Proof(
            probe=lambda: commands.probe(params["probe"]),
            compare=versions.compare,
            health=params["health"],
            old_processes=params["old_processes"],
            commands=commands,
            report=report,
        ),
        services=services,
        preconditions=Preconditions(params["latest_start"], params["unsafe_processes"], services),
        mark=commands.mark,
        journal=Journal(disk, os.path.join(params["state_dir"], params["name"] + ".journal.json")),
        report=report,
    )


def diff(result: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """Return what C(--diff) shows for a result."""
    line = "{0} {1}\n"
    return {
        "before": line.format(result["name"], result["version_before"] or "not installed"),
        "after": line.format(result["name"], result["version_after"] or "not installed"),
    }
