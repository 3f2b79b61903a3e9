# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""Read accounts and regions side by side, or from the cache."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import json
import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._service import accounts as accounts_service
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, AwsError, Sessions, Where
from ansible_collections.patchwave.aws.plugins.module_utils._service.managed_nodes import (
    Clients,
    ManagedNode,
    Region,
    Stray,
    managed_nodes,
)

#: Accounts and regions that are read at one time.
_WORKERS = 16
#: Changes whenever what is cached means something else.
SCHEMA = 6

_T = t.TypeVar("_T")


class Source(t.NamedTuple):
    """An account to read. `id` is known only where an organization named it; `on_error` is `fail`, `warn` or `skip`."""

    access: Account
    on_error: str
    id: str = ""


class Organization(t.NamedTuple):
    """Organizational units to read the accounts of; see the options of the inventory plugin."""

    units: list[str]
    role_name: str
    external_id: str | None
    exclude: list[str]
    on_error: str
    profile: str | None = None


class Query(t.NamedTuple):
    """What to read; see the options of the inventory plugin."""

    sources: list[Source]
    organization: Organization | None
    regions: list[str]
    filters: dict[str, list[str]]
    everything: bool
    full: bool


class Unread(t.NamedTuple):
    """A region of an account whose nodes are missing; all wanted regions when the account could not be entered."""

    account: str
    region: str
    error: str
    on_error: str

    def __str__(self) -> str:
        """Return one line."""
        return f"account {self.account}, region {self.region}: {self.error}"


class Found(t.NamedTuple):
    """A node and how its account is entered."""

    node: ManagedNode
    access: Account


class OutOfScope(t.NamedTuple):
    """How many nodes of an account and region have no patch group."""

    account: str
    region: str
    nodes: int


class Estate(t.NamedTuple):
    """All that could be read, what could not, where nodes out of scope are, which of those have odd tags, and where."""

    found: list[Found]
    unread: list[Unread]
    out_of_scope: list[OutOfScope]
    strays: list[Stray]
    visited: list[Where]


def read(sessions: Sessions, query: Query) -> Estate:
    """Read every account in every region; one that cannot be read costs only its own nodes."""
    unread: list[Unread] = []
    with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
        sources = [*query.sources, *_members(sessions, query, unread)]
        jobs: list[tuple[Source, str, str]] = []
        taken: set[tuple[str, str]] = set()  # there may be two ways into one account
        for source, (places, none) in _settled(pool, lambda source: _places(sessions, source, query), sources, unread):
            unread.extend(none)
            jobs.extend((source, *place) for place in places if place not in taken)
            taken.update(places)
        estate = Estate([], unread, [], [], [Where(account, region, source.access) for source, account, region in jobs])
        for job, region in _settled(pool, lambda job: _region(sessions, job, query), jobs, unread):
            source, account, name = job
            estate.found.extend(Found(node, source.access) for node in region.nodes)
            estate.strays.extend(region.strays)
            if region.out_of_scope:
                estate.out_of_scope.append(OutOfScope(account, name, region.out_of_scope))
    estate.found.sort(key=lambda item: item.node.id)
    return estate


class _ReadError(Exception):
    """Carries an Unread out of a thread."""

    def __init__(self, unread: Unread) -> None:
        super().__init__(str(unread))
        self.unread = unread


def _settled(
    pool: concurrent.futures.Executor, function: t.Callable[[_T], t.Any], jobs: list[_T], unread: list[Unread]
) -> t.Iterator[tuple[_T, t.Any]]:
    """Do all jobs in the pool; yield each with its result, in order, and note those that cannot be read."""
    for job, future in [(job, pool.submit(function, job)) for job in jobs]:
        try:
            yield job, future.result()
        except _ReadError as error:
            unread.append(error.unread)


def _members(sessions: Sessions, query: Query, unread: list[Unread]) -> t.Iterator[Source]:
    """Yield the accounts of the organization; a unit that cannot be listed costs only its own."""
    asked = query.organization
    if not asked:
        return
    left_out = set(asked.exclude)
    partition = ""
    for unit in asked.units:
        try:
            partition = partition or accounts_service.partition(sessions)
            accounts = accounts_service.organization_accounts(sessions, unit)
        except AwsError as error:
            unread.append(Unread(f"of {unit}", ", ".join(query.regions), str(error), asked.on_error))
            continue
        for account in sorted(set(accounts) - left_out):
            left_out.add(account)
            role = f"arn:{partition}:iam::{account}:role/{asked.role_name}"
            yield Source(Account(role, asked.external_id, profile=asked.profile), asked.on_error, account)


def _places(sessions: Sessions, source: Source, query: Query) -> tuple[list[tuple[str, str]], list[Unread]]:
    """Return the account with each region to read of it, and what is no region."""
    account = source.id or f"of {source.access}"
    try:
        account = accounts_service.account_id(sessions, source.access, query.regions)
        found, unknown = accounts_service.regions(sessions, source.access, query.regions)
        none = [Unread(account, name, why, source.on_error) for name, why in unknown.items()]
        return [(account, region) for region in found], none
    except AwsError as error:
        raise _ReadError(Unread(account, ", ".join(query.regions), str(error), source.on_error)) from error


def _region(sessions: Sessions, job: tuple[Source, str, str], query: Query) -> Region:
    source, account, region = job
    try:
        client = functools.partial(sessions.client, account=source.access, region=region)
        clients = Clients(client("ec2"), client("ssm"), functools.partial(client, "resourcegroupstaggingapi"))
        return managed_nodes(clients, account, region, query.filters, query.everything, query.full)
    except AwsError as error:
        raise _ReadError(Unread(account, region, str(error), source.on_error)) from error


def key(query: Query) -> str:
    """Return what tells one query from another in the cache."""
    return hashlib.sha256(json.dumps([SCHEMA, query], sort_keys=True).encode()).hexdigest()


def to_cache(query: Query, estate: Estate) -> dict[str, t.Any]:
    """Return an estate as plain data, with no credentials in it."""
    nodes = [[item.node._asdict(), item.access._asdict()] for item in estate.found]
    rest = {name: [one._asdict() for one in getattr(estate, name)] for name in ("unread", "out_of_scope", "strays")}
    visited = [[one.account, one.region, one.access._asdict()] for one in estate.visited]
    return {"key": key(query), "nodes": nodes, "visited": visited, **rest}


def from_cache(query: Query, data: t.Any) -> Estate | None:
    """Return the estate that was cached for this very query, or None."""
    if not isinstance(data, dict) or data.get("key") != key(query):
        return None
    found = [Found(ManagedNode(**node), Account(**access)) for node, access in data["nodes"]]
    return Estate(
        found,
        [Unread(**one) for one in data["unread"]],
        [OutOfScope(**one) for one in data["out_of_scope"]],
        [Stray(**one) for one in data["strays"]],
        [Where(account, region, Account(**access)) for account, region, access in data["visited"]],
    )
