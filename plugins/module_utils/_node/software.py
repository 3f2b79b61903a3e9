# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Put the parts of a software patch together for its module."""

from __future__ import annotations

import os
import typing as t

from .._core.outcomes import FAILED
from .._core.schemes import SCHEMES, Scheme
from .._core.software import check_definition, kind_of, target_version
from .._core.software_checks import bound_problems, scheme_of
from .archive import Limits
from .binary import Binary
from .commands import Commands, RunCommand, elsewhere
from .disk import Disk
from .download import Download, sweep_stale
from .errors import PatchError
from .files import Files
from .in_place import InPlace
from .installer import Command, Installer
from .journal import ENDING, Journal
from .log import Log
from .package import Package
from .package_file import PackageFile
from .package_tool import PackageTool
from .package_tools import tool_for
from .preconditions import Preconditions
from .proof import Proof
from .release import Release
from .result import Report
from .services import Services
from .text import scrubber, urls_in
from .transaction import LEFT_ALONE, Kind, Patch, Settings


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
        run_command: bounded.run_command() or a stand-in.
        check_mode: say what would be done, and do nothing.
        disk: how to write; tests inject failures with it.
        limits: what an archive may grow to.

    Returns:
        dict: the result as the module documents it.
    """
    scrub = scrubber(*urls_in(dict(params)))
    log = Log(os.path.join(params["state_dir"], "software_patch.log"), params["name"], scrub, not check_mode)
    report = Report(params["name"], log, scrub)
    problems = check_definition(params["name"], params)
    if problems:
        report.end(FAILED, "bad_definition", "; ".join("{0}: {1}".format(*problem) for problem in problems))
        return report.result()
    try:
        _patch(params, Commands(run_command), disk or Disk(), limits, report, check_mode).run()
    except PatchError as error:
        message = "{0}: {1}".format(params["name"], error.message)
        report.end(LEFT_ALONE.get(error.reason, FAILED), error.reason, message)
    result = report.result()
    log.event("end", outcome=result["outcome"], reason=result["reason"], message=result["msg"])
    return result


def _kinds(
    params: t.Mapping[str, t.Any], commands: Commands, disk: Disk, limits: t.Optional[Limits]
) -> t.Dict[str, t.Callable[[], Kind]]:
    """Return what makes each kind. One that a definition does not ask for can only recover."""
    name = params["name"]

    def download(kind: str) -> Download:
        return Download(name, params[kind] or {}, params["state_dir"], disk, commands)

    def tool(kind: str) -> PackageTool:
        options = params[kind] or {}
        return tool_for(options.get("format", "auto"), commands, options.get("timeout", 900))

    return {
        "archive": lambda: Release(name, params, disk, download("archive"), limits),
        "binary": lambda: Binary(name, params, disk, download("binary")),
        "in_place": lambda: InPlace(name, params, disk, download("archive"), limits),
        "package_file": lambda: PackageFile(name, params, disk, tool("package_file"), download("package_file")),
        "package": lambda: Package(name, params, disk, tool("package")),
        "installer": lambda: Installer(name, params, disk, commands, download("installer")),
        "command": lambda: Command(name, params, disk, commands),
        "files": lambda: Files(name, params, disk, _lowest(scheme_of(params) or SCHEMES["dotted"]), download("files")),
    }


def place_of(params: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """Return what a definition has for itself: the real path of its C(dest), or its package."""
    options = params.get("package_file") or params.get("package")
    if options:
        return "package {0}".format(options.get("package") or params["name"])
    return os.path.realpath(params["dest"]) if params.get("dest") else None


def _scheme(params: t.Mapping[str, t.Any], kind: Kind) -> Scheme:
    """Return how versions compare; check once more what could not be checked before the node was known."""
    scheme = scheme_of(params, kind.family) or SCHEMES["dotted"]
    option, target = kind_of(params), target_version(params)
    for key, version in (("fixed_in", params["fixed_in"]), (option + ".version", target)):
        if not scheme.is_version(version):
            raise PatchError("bad_definition", "{0}: must be a version of {1}".format(key, scheme.name))
    for problem in bound_problems(params["fixed_in"], target, option + ".version", scheme):
        raise PatchError("bad_definition", "{0}: {1}".format(*problem))
    return scheme


def _placing(scheme: Scheme, whole: bool) -> t.Callable[[str, str], int]:
    """Return what compares the node's version with one of the definition.

    Args:
        scheme: how versions compare.
        whole: the node's version is a package database's, which says all there is.
    """

    def place(node: str, wanted: str) -> int:
        try:
            return scheme.place(scheme.whole(node) if whole else node, wanted)
        except ValueError as error:
            message = "the node's version cannot be judged: {0}; set probe.pattern or versioning (now {1})"
            raise PatchError("probe_failed", message.format(error, scheme.name)) from None

    return place


def _lowest(scheme: Scheme) -> t.Callable[[str, str], int]:
    """Return an order of versions that a definition calls vulnerable; where the rule has none, any will do."""

    def compare(left: str, right: str) -> int:
        try:
            return scheme.compare(left, right)
        except ValueError:
            return int(left > right) - int(left < right)

    return compare


def _probe(kind: Kind, scheme: Scheme) -> t.Callable[[], t.Optional[str]]:
    """Return what asks a kind for its version, which must be one that the definition can compare."""

    def probe() -> t.Optional[str]:
        version = kind.probe()
        if version is not None and not scheme.is_version(version):
            message = "{0} is at {1}, which is no version of {2}; check versioning"
            raise PatchError("probe_failed", message.format(kind.sought, version, scheme.name))
        return version

    return probe


def _patch(
    params: t.Mapping[str, t.Any],
    commands: Commands,
    disk: Disk,
    limits: t.Optional[Limits],
    report: Report,
    check_mode: bool,
) -> Patch:
    """Build the transaction that a definition asks for."""
    kinds = _kinds(params, commands, disk, limits)
    in_place = params["archive"] and params["archive"].get("layout") == "in_place"
    kind = kinds["in_place" if in_place else kind_of(params)]()
    scheme = _scheme(params, kind)
    placing = _placing(scheme, bool(kind.family) and not params["probe"])
    settings = Settings(
        name=params["name"],
        fixed_in=params["fixed_in"],
        target=target_version(params),
        compare=placing,
        sought=params["probe"]["command"][0] if params["probe"] else kind.sought,
        place=place_of(params),
        elsewhere=lambda: elsewhere(params["probe"]["command"][0]) if params["probe"] else None,
        allow_downgrade=params["allow_downgrade"],
        install_missing=params["install_missing"],
        state_dir=params["state_dir"],
        lock_timeout=params["lock_timeout"],
        check_mode=check_mode,
    )
    services = Services(params["services"], commands)
    probe = (lambda: commands.probe(params["probe"], scheme.is_version)) if params["probe"] else _probe(kind, scheme)
    return Patch(
        settings=settings,
        kinds=kinds,
        kind=kind,
        proof=Proof(probe, placing, params["health"], params["old_processes"], commands, report),
        services=services,
        preconditions=Preconditions(params["latest_start"], params["unsafe_processes"], services),
        new_mark=commands.new_mark,
        tidy=lambda: _tidy(params, disk, commands),
        journal=Journal(disk, os.path.join(params["state_dir"], params["name"] + ENDING)),
        report=report,
    )


def _tidy(params: t.Mapping[str, t.Any], disk: Disk, commands: Commands) -> None:
    Download(params["name"], {}, params["state_dir"], disk, commands).sweep()
    sweep_stale(params["state_dir"], disk)


def diff(result: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """Return what C(--diff) shows for a result."""
    programs = result.get("programs") or [result]

    def lines(key: str) -> str:
        # A version is left out where there are too many for one answer.
        return "".join("{0} {1}\n".format(one["name"], one.get(key, "...") or "not installed") for one in programs)

    return {"before": lines("version_before"), "after": lines("version_after")}
