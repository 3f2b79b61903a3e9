# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""How a node ended, as journal, ledger and report know it: typed and bounded, whatever the node said.

C(source) says who concluded it: the node itself, or the engine on the controller. What a node says is only ever a
result of the node.
"""

from __future__ import annotations

import json
import math
import re
import typing as t

from . import outcomes

NODE, ENGINE = "node", "engine"
#: What stands for a reason that is no identifier.
OTHER = "other"

#: What a terminal may obey, but for tabs and ends of lines.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\r"}
_SIGNED = re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)(?:=|%3D))[^&\s\"'\\<>]+", re.IGNORECASE)
_REASON = re.compile(r"[a-z0-9_]{1,40}")
#: Characters of texts.
_MSG, _VERSION, _COMMAND_ID = 2000, 200, 100
#: More seconds than any work has (the agent ends a script after two days, and there is time before and after it).
_LONGEST = 10000000.0
#: Digits of a number that is shown as a version.
_DIGITS = 40


class NodeResult(t.NamedTuple):
    """How a node ended. C(outcome) is a word of outcomes.OUTCOMES, C(reason) an identifier or empty."""

    outcome: str
    reason: str = ""
    msg: str = ""
    version_before: t.Optional[str] = None
    version_after: t.Optional[str] = None
    seconds: t.Optional[float] = None
    changed: bool = False
    command_id: str = ""
    source: str = NODE

    @classmethod
    def said(cls, result: t.Any, command_id: str = "", strict: bool = True) -> "NodeResult":
        """Take what a node said, whatever it is.

        Args:
            result: the result of its module, or anything else.
            command_id: of the command that it answered, which a node does not say itself.
            strict: whether the module ends with an outcome. Then a result without one, or with a word that is none,
                is C(failed); else the module's C(failed) and C(changed) decide.
        """
        given = result if isinstance(result, dict) else {}
        return cls._bounded(given, _said_outcome(given, strict), command_id, NODE)

    @classmethod
    def not_begun(cls, result: t.Dict[str, t.Any], command_id: str = "") -> "NodeResult":
        """Return what is known of a node that says that nothing was begun on it, and why."""
        return cls._bounded(result, outcomes.UNREACHABLE, command_id, NODE)

    @classmethod
    def concluded(cls, outcome: str, reason: str, msg: str, command_id: str = "") -> "NodeResult":
        """Return what the controller concluded of a node that gave no result itself."""
        return cls._bounded({"reason": reason, "msg": msg}, outcome, command_id, ENGINE)

    @classmethod
    def read(cls, line: t.Any) -> "NodeResult":
        """Take a result out of a line of a journal or ledger, whoever wrote it and when."""
        given = line if isinstance(line, dict) else {}
        word = given.get("outcome")
        outcome = word if isinstance(word, str) and word in outcomes.OUTCOMES else outcomes.FAILED
        source = ENGINE if given.get("source") == ENGINE else NODE
        return cls._bounded(given, outcome, given.get("command_id"), source)

    @classmethod
    def _bounded(cls, given: t.Dict[t.Any, t.Any], outcome: str, command_id: t.Any, source: str) -> "NodeResult":
        return cls(
            outcome=outcome,
            reason=_reason(given.get("reason")),
            msg=text(_words(given.get("msg")), _MSG),
            version_before=_version(given.get("version_before")),
            version_after=_version(given.get("version_after")),
            seconds=_seconds(given.get("seconds")),
            changed=given.get("changed") is True,
            command_id=text(command_id, _COMMAND_ID) if isinstance(command_id, str) else "",
            source=source,
        )

    @property
    def charged(self) -> bool:
        """Whether it uses up the error budget."""
        return self.outcome in outcomes.CHARGED

    def line(self) -> t.Dict[str, t.Any]:
        """Return it as it stands in a journal or ledger; JSON without C(NaN) and the like can hold it."""
        return dict(self._asdict())


def _said_outcome(result: t.Dict[t.Any, t.Any], strict: bool) -> str:
    """Return the outcome of what a node said; no answer is a proof that nobody can be reached."""
    outcome, failed = result.get("outcome"), bool(result.get("failed"))
    if isinstance(outcome, str) and outcome in outcomes.OUTCOMES and outcome != outcomes.UNREACHABLE:
        return outcomes.FAILED if failed and outcome in outcomes.RIGHT else outcome
    if strict or failed:
        return outcomes.FAILED
    return outcomes.PATCHED if result.get("changed") is True else outcomes.CURRENT


def _reason(value: t.Any) -> str:
    if value is None or value == "":
        return ""
    return value if isinstance(value, str) and _REASON.fullmatch(value) else OTHER


def _words(value: t.Any) -> str:
    """Return text for anything: JSON for what has a structure."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return ""


def shown(value: str) -> str:
    """Return text without what a terminal would obey and without signatures of presigned URLs, which are secrets."""
    return _SIGNED.sub(r"\1...", whole(value).translate(_CONTROLS))


def text(value: str, most: int) -> str:
    """Return one line of at most so many characters in which nothing is left that a terminal would obey."""
    kept = shown(value[: 4 * most])
    words = "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in kept)
    return " ".join(words.split())[:most].rstrip()


def whole(value: str) -> str:
    """Return text without halves of characters, which no file and no terminal takes."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _version(value: t.Any) -> t.Optional[str]:
    number = _number(value)
    if number is not None:
        return str(value)[:_DIGITS]
    return (text(value, _VERSION) or None) if isinstance(value, str) else None


def _seconds(value: t.Any) -> t.Optional[float]:
    """Return seconds; a module that times its steps says their sum as C(total)."""
    number = _number(value.get("total") if isinstance(value, dict) else value)
    return round(number, 3) if number is not None and 0 <= number <= _LONGEST else None


def _number(value: t.Any) -> t.Optional[float]:
    """Return a number that is finite and no larger than what counts anything here, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):
        return float(value) if abs(value) < 2**63 else None
    return value if math.isfinite(value) else None
