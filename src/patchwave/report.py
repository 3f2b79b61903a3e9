"""The report of a rollout, from its plan and its ledger: JSON for programs, one HTML file for people."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from ansible_collections.patchwave.aws.plugins.module_utils._core import outcomes
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Plan
from ansible_collections.patchwave.aws.plugins.module_utils._core.results import NodeResult
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import target_version

from patchwave import gates
from patchwave.errors import PatchwaveError
from patchwave.ledger import Ledger
from patchwave.scope import Scope

SCHEMA = 1
#: What is told of a payload that could not be deleted.
_LEFTOVER = ("wave", "bucket", "key", "error")


def content(plan: Plan, digest: str, ledger: Ledger, stopped: str | None) -> dict[str, Any]:
    """Return the report as it is written to JSON.

    Returns:
        `schema` (int), `rollout` (dict: name, plan, software, version, fixed_in, transport, started, finished, runs,
        error_budget, unreachable_budget, wave_error_budgets, stopped, overridden, calendars, gate_warnings, leftovers,
        and what Scope has), `totals` (dict of outcome to int, all of them), and `nodes` (list of dict by wave and name:
        host, id, name, account, region, patch_group, wave, outcome, version_before, version_after, reason, msg,
        seconds).
    """
    ordered = [node for wave in plan.waves for node in sorted(wave.nodes, key=lambda node: (node.name, node.host))]
    nodes = [_node(node._asdict(), ledger.results.get(node.host)) for node in ordered]
    starts = [index for index, line in enumerate(ledger.lines) if line["event"] == "started"]
    last = ledger.lines[starts[-1] :]
    rollout = {
        "name": plan.rollout,
        "plan": digest,
        "software": ", ".join(plan.software),
        "version": ", ".join(target_version(definition) for definition in plan.software.values()),
        "fixed_in": ", ".join(definition["fixed_in"] for definition in plan.software.values()),
        "transport": plan.transport,
        "started": ledger.lines[starts[0]]["time"],
        "finished": ledger.time,
        "runs": len(starts),
        "error_budget": plan.error_budget,
        "unreachable_budget": plan.unreachable_budget,
        "wave_error_budgets": last[0].get("wave_error_budgets", {}),
        "stopped": stopped,
        **Scope.of_report(last[0]).as_dict(),
        "leftovers": [{key: line[key] for key in _LEFTOVER} for line in last if line["event"] == "leftover"],
        "overridden": gates.overrides(ledger.lines),
        "calendars": gates.calendars(ledger.lines),
        "gate_warnings": gates.warnings(ledger.lines),
    }
    totals = outcomes.totals(node["outcome"] for node in nodes)
    return {"schema": SCHEMA, "rollout": rollout, "totals": totals, "nodes": nodes}


def _node(node: dict[str, str], result: NodeResult | None) -> dict[str, Any]:
    not_started = {"outcome": outcomes.SKIPPED, "reason": "not_started", "msg": "the rollout did not get to it"}
    known = result.line() if result else not_started
    found = {key: known.get(key) for key in ("version_before", "version_after", "reason", "msg", "seconds")}
    return {
        **node,
        "outcome": known["outcome"],
        **{key: None if value == "" else value for key, value in found.items()},
    }


def write(report: dict[str, Any], folder: Path) -> None:
    """Write `report.json` and `report.html` into a folder, each whole or not at all.

    Raises:
        PatchwaveError: one of them cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # not before the first command is sent

    environment = Environment(loader=PackageLoader("patchwave"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html.j2").render(report=report, waves=_by_wave(report["nodes"]))
    for name, text in (("report.json", json.dumps(report, indent=2, allow_nan=False) + "\n"), ("report.html", page)):
        draft = folder / f".{name}"
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(folder / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            again = "the ledger has everything, run the same command again for the report"
            raise PatchwaveError(f"{folder / name}: cannot be written: {error.strerror}; {again}") from error


def _by_wave(nodes: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    waves: dict[str, list[str]] = {}
    for node in nodes:
        waves.setdefault(node["wave"], []).append(node["outcome"])
    return {wave: outcomes.totals(words) for wave, words in waves.items()}
