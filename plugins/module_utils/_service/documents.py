# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Command documents: what they take, for which platforms they are, and which nodes they can be sent to."""

from __future__ import annotations

import concurrent.futures
import difflib
import json
import typing as t

from .._aws import ssm as ssm_api
from .._aws.errors import AwsError
from .._aws.sessions import Account, Sessions
from .._core import outcomes
from . import identity
from .managed_nodes import registered_agents
from .run_command_types import Reply, Target


class Document(t.NamedTuple):
    """A document: its platforms (`Linux`, ...; none given is any), and its parameters by name: whether each must be."""

    name: str
    platforms: tuple[str, ...]
    parameters: dict[str, bool]


class Wanted(t.NamedTuple):
    """A document that is to be sent, by its name or the ARN of a shared one: to which nodes, with which values.

    An empty version is the document's default.
    """

    nodes: list[Target]
    name: str
    version: str
    values: t.Mapping[str, list[str]]


class Found(t.NamedTuple):
    """What was found out of a document before anything is sent."""

    #: Nodes that can be sent to.
    ready: list[Target]
    #: A reply for each other host.
    refused: dict[str, Reply]
    #: Names of the parameters that the document has wherever it can be sent.
    parameters: set[str]


def look(sessions: Sessions, wanted: t.Sequence[Wanted], thoroughly: bool = False) -> list[Found]:
    """Find out which nodes each document can be sent to; every account and region is asked once.

    Args:
        sessions: makes the clients.
        wanted: the documents.
        thoroughly: whether to judge the values too, which AWS does when it is sent.

    Raises:
        ValueError: parameters do not fit their document; one line.
        AwsError: nowhere is there such a document.
    """
    places: dict[tuple[Account, str, str], list[tuple[int, Wanted]]] = {}
    for number, one in enumerate(wanted):
        groups: dict[tuple[Account, str, str], list[Target]] = {}
        for node in one.nodes:
            groups.setdefault((node.access, node.account, node.region), []).append(node)
        for place, members in groups.items():
            places.setdefault(place, []).append((number, one._replace(nodes=members)))

    def ask(here: list[tuple[int, Wanted]]) -> list[tuple[int, list[Target], Found | AwsError]]:
        found = _look(sessions, [one for dummy, one in here], thoroughly)
        return [(number, one.nodes, each) for (number, one), each in zip(here, found, strict=True)]

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(places))) as pool:
        asked = [each for here in pool.map(ask, places.values()) for each in here]
    looks: list[list[tuple[list[Target], Found | AwsError]]] = [[] for dummy in wanted]
    for number, nodes, found in asked:
        looks[number].append((nodes, found))
    return [_merged(each) for each in looks]


def _merged(looks: list[tuple[list[Target], Found | AwsError]]) -> Found:
    """Return what was found out of one document everywhere."""
    errors = [one for dummy, one in looks if isinstance(one, AwsError)]
    if errors and len(errors) == len(looks) and not all(isinstance(one, identity.WrongAccount) for one in errors):
        raise errors[0]
    found = Found([], {}, set())
    common: list[set[str]] = []
    for members, one in looks:
        if isinstance(one, AwsError):
            where = f"account {members[0].account}, region {members[0].region}"
            outcome, reason = _ENDS.get(one.code, (outcomes.UNREACHABLE, "api_error"))
            found.refused.update({node.host: Reply(outcome, reason, f"{where}: {one}") for node in members})
        else:
            found.ready.extend(one.ready)
            found.refused.update(one.refused)
            common.append(one.parameters)
    return found._replace(parameters=set.intersection(*common) if common else set())


#: What an error of the question means for the nodes of a region.
_ENDS = {
    "InvalidDocument": (outcomes.UNSUPPORTED, "no_document"),
    "InvalidDocumentVersion": (outcomes.UNSUPPORTED, "no_document"),
    identity.WRONG_ACCOUNT: (outcomes.UNREACHABLE, identity.WRONG_ACCOUNT),
}


def _look(sessions: Sessions, wanted: list[Wanted], thoroughly: bool) -> list[Found | AwsError]:
    """Look at one account and region, in which all nodes lie."""
    first = wanted[0].nodes[0]
    try:
        identity.check(sessions, first.access, first.account, first.region)
        ssm = sessions.client("ssm", first.access, first.region)
    except AwsError as error:
        return [error] * len(wanted)
    agents: dict[str, dict[str, t.Any]] | None = None
    documents: dict[tuple[str, str], Document | AwsError] = {}
    looks: list[Found | AwsError] = []
    for one in wanted:
        document = documents.get((one.name, one.version)) or _asked(ssm, one)
        documents[one.name, one.version] = document
        if isinstance(document, AwsError):
            looks.append(document)
            continue
        try:
            agents = registered_agents(ssm) if agents is None else agents
        except AwsError as error:
            looks.append(error)
            continue
        check(document, one.values)
        if thoroughly:
            _judge(ssm, document, one.version, one.values)
        looks.append(_sorted(document, one.nodes, agents))
    return looks


def _asked(ssm: t.Any, one: Wanted) -> Document | AwsError:
    try:
        return described(ssm, one.name, one.version)
    except AwsError as error:
        return error


def _sorted(document: Document, nodes: list[Target], agents: dict[str, dict[str, t.Any]]) -> Found:
    """Tell nodes that a document can be sent to from the others."""
    where = f"account {nodes[0].account}, region {nodes[0].region}"
    found = Found([], {}, set(document.parameters))
    for node in nodes:
        problem = _problem(document, agents.get(node.id))
        if problem:
            outcome, reason, msg = problem
            found.refused[node.host] = Reply(outcome, reason, f"{where}: {msg}; nothing was sent")
        else:
            found.ready.append(node)
    return found


def _problem(document: Document, agent: dict[str, t.Any] | None) -> tuple[str, str, str] | None:
    if agent is None:
        return outcomes.UNREACHABLE, "not_managed", "no agent is registered with Systems Manager"
    platform = str(agent.get("PlatformType", ""))
    if document.platforms and platform and platform not in document.platforms:
        msg = f"{document.name} is for {', '.join(document.platforms)}, and the node runs {platform}"
        return outcomes.UNSUPPORTED, "platform", msg
    if agent.get("PingStatus") != "Online":
        return outcomes.UNREACHABLE, "agent_offline", "the agent is not connected"
    return None


def described(ssm: t.Any, name: str, version: str) -> Document:
    """Ask for a document.

    Raises:
        AwsError: there is none, or it may not be asked for.
        ValueError: it is no command document.
    """
    raw = ssm_api.describe_document(ssm, name, version)
    if raw.get("DocumentType", "Command") != "Command":
        raise ValueError(f"document: {name} is of the type {raw['DocumentType']}, not Command")
    parameters = {each["Name"]: "DefaultValue" not in each for each in raw.get("Parameters", ())}
    return Document(name, tuple(raw.get("PlatformTypes", ())), parameters)


def check(document: Document, values: t.Mapping[str, list[str]]) -> None:
    """Compare parameters with what a document takes.

    Raises:
        ValueError: one that it does not have, or one that it needs is missing; one line.
    """
    for name in values:
        if name not in document.parameters:
            close = difflib.get_close_matches(name, document.parameters, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(document.parameters) or 'none'}"
            raise ValueError(f"parameters: {document.name} has no parameter '{name}'; {hint}")
    missing = sorted(name for name, required in document.parameters.items() if required and not values.get(name))
    if missing:
        raise ValueError(f"parameters: {document.name} needs {', '.join(missing)}")


def _judge(ssm: t.Any, document: Document, version: str, values: t.Mapping[str, list[str]]) -> None:
    """Compare values with the document's text, where that can be read; only it has the values that are allowed.

    Raises:
        ValueError: a value that is not allowed; one line.
    """
    try:
        parameters = json.loads(ssm_api.document_content(ssm, document.name, version)).get("parameters") or {}
    except (AwsError, ValueError):
        return
    for name, given in values.items():
        allowed = [str(each) for each in parameters.get(name, {}).get("allowedValues", ())]
        wrong = [value for value in given if allowed and value not in allowed]
        if wrong:
            raise ValueError(f"parameters: {name} of {document.name} is one of {', '.join(allowed)}, not '{wrong[0]}'")


def texts(parameters: t.Mapping[str, t.Any]) -> dict[str, list[str]]:
    """Turn parameters as users write them into lists of texts, as SendCommand takes them."""
    return {
        name: [_text(each) for each in (value if isinstance(value, (list, tuple)) else [value])]
        for name, value in parameters.items()
    }


def _text(value: t.Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
