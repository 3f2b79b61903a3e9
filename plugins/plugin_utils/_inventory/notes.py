# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""Lines about nodes that need a person, few however many nodes there are."""

from __future__ import annotations

import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._core import results

#: How many nodes a line names, and how many lines or entries a variable of all hosts has at most: ansible-inventory
#: prints it with each host.
_NAMED, MOST = 3, 50
#: How much of a tag is shown, and of an error.
_SHOWN, _WORDS = 64, 400


def shown(text: str) -> str:
    """Return what a tag says in quotes and on one line, whatever it is made of, cut where it is long."""
    return repr(cut(text))


def one_line(text: str) -> str:
    """Return an error's words on one line that any terminal takes, cut where they are very long."""
    return results.text(text, _WORDS)


def cut(text: str) -> str:
    """Return a text, cut where it is long."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


class Notes:
    """What is said of nodes, with one line for all nodes of an account and region of which the same is said."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str, str], list[str]] = {}
        self._general: list[str] = []

    def add(self, account: str, region: str, node: str, text: str) -> None:
        """Say something of a node."""
        self._nodes.setdefault((account, region, text), []).append(node)

    def add_general(self, text: str) -> None:
        """Say something of no single node."""
        self._general.append(text)

    def lines(self) -> list[str]:
        """Return the lines in the order in which they were said first, those of no node before the others."""
        return self._general + [
            f"account {account}, region {region}: {named(nodes)}: {text}"
            for (account, region, text), nodes in self._nodes.items()
        ]


class LeftOut:
    """Nodes that are left out, each with what was said first against it."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[t.Mapping[str, t.Any], str]] = {}

    def add(self, known: t.Mapping[str, t.Any], why: str) -> None:
        """Leave out the node of these variables."""
        self._found.setdefault(known["node_id"], (known, why))

    def __contains__(self, known: t.Mapping[str, t.Any]) -> bool:
        """Say whether the node of these variables is left out."""
        return known["node_id"] in self._found

    def entries(self) -> list[dict[str, t.Any]]:
        """Return account, region, id and reason of each."""
        places = ("account", "region", "node_id")
        return [{**{key: known[key] for key in places}, "why": why} for known, why in self._found.values()]

    def lines(self) -> list[str]:
        """Return lines that say so."""
        notes = Notes()
        for one in self.entries():
            notes.add(one["account"], one["region"], one["node_id"], f"left out: {one['why']}; mend the tag")
        return notes.lines()


def named(nodes: list[str]) -> str:
    """Name the first of some nodes and count the others."""
    more = len(nodes) - _NAMED
    return ", ".join(nodes[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def bounded(found: list[t.Any], rest: t.Callable[[list[t.Any]], t.Any]) -> list[t.Any]:
    """Return at most MOST entries; where there are more, the last one stands for the rest."""
    return found if len(found) <= MOST else [*found[: MOST - 1], rest(found[MOST - 1 :])]
