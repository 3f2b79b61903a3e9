"""What the inventory knows of the estate beside the rollout's nodes: the rest of the denominator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Plan, make_waves

from patchwave.inventory import Inventory

#: The group of all nodes in scope.
_IN_SCOPE = "managed_nodes"
#: Characters of a text of the inventory that are kept.
_LONGEST = 500


@dataclass(frozen=True)
class Scope:
    """What is missing in a plan, and what the inventory warns of.

    Attributes:
        unread: accounts and regions that the inventory goes on without (account, region, error).
        left_out: nodes in scope that an odd tag keeps out of the inventory (account, region, node_id, why).
        inventory_warnings: lines, such as of tags that are nearly right.
        not_in_a_wave: nodes in scope and in no wave (host, id, name, account, region, patch_group).
        out_of_scope: numbers of nodes without a patch-group tag (account, region, nodes).
    """

    unread: list[dict[str, str]]
    left_out: list[dict[str, str]]
    inventory_warnings: list[str]
    not_in_a_wave: list[dict[str, str]]
    out_of_scope: list[dict[str, Any]]

    @classmethod
    def of(cls, inventory: Inventory, plan: Plan) -> Scope:
        """Find out what the inventory has beside the plan."""
        planned = {node.host for wave in plan.waves for node in wave.nodes}
        others = sorted(set(inventory.groups.get(_IN_SCOPE, ())) - planned)
        waves = make_waves([_IN_SCOPE], {_IN_SCOPE: others}, inventory.hostvars) if others else ()
        return cls(
            unread=_texts(inventory.of_all.get("unread", []), ("account", "region", "error")),
            left_out=_texts(inventory.of_all.get("left_out", []), ("account", "region", "node_id", "why")),
            inventory_warnings=[_text(line) for line in inventory.of_all.get("inventory_warnings", [])],
            not_in_a_wave=[_without_wave(node._asdict()) for wave in waves for node in wave.nodes],
            out_of_scope=_counts(inventory.of_all.get("out_of_scope", [])),
        )

    @classmethod
    def of_report(cls, rollout: Mapping[str, Any]) -> Scope:
        """Take it out of the part `rollout` of a report, or a line `started` of a ledger."""
        return cls(**{name: rollout.get(name, []) for name in cls.__dataclass_fields__})

    def as_dict(self) -> dict[str, Any]:
        """Return it for a report or a ledger."""
        return asdict(self)


def _without_wave(node: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in node.items() if key != "wave"}


def _texts(entries: list[Any], keys: tuple[str, ...]) -> list[dict[str, str]]:
    return [{key: _text(entry.get(key, "")) for key in keys} for entry in entries if isinstance(entry, dict)]


def _counts(entries: list[Any]) -> list[dict[str, Any]]:
    found = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("nodes"), int)]
    places = _texts(found, ("account", "region"))
    return [{**place, "nodes": entry["nodes"]} for place, entry in zip(places, found, strict=True)]


def _text(value: Any) -> str:
    return " ".join(str(value).split())[:_LONGEST]
