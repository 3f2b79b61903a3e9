"""What an operation gets, and how it registers itself."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from patchwave_lab.ssm.engine import Engine
from patchwave_lab.ssm.errors import error
from patchwave_lab.world import ManagedNode, World

Item = TypeVar("Item")


@dataclass(frozen=True)
class Call:
    """One request: who asks what where. `params` passed the model's checks."""

    world: World
    engine: Engine
    account: str
    region: str
    params: dict[str, Any]

    @property
    def nodes(self) -> dict[str, ManagedNode]:
        """Managed nodes of this account and region by id."""
        return self.world.nodes(self.account, self.region)


Operation = Callable[[Call], dict[str, Any]]
OPERATIONS: dict[str, Operation] = {}


def operation(name: str) -> Callable[[Operation], Operation]:
    """Serve the API operation `name` with the decorated function; it returns the response by the model's names."""

    def register(function: Operation) -> Operation:
        OPERATIONS[name] = function
        return function

    return register


def page(items: Sequence[Item], params: dict[str, Any], default: int) -> tuple[list[Item], str]:
    """One page of `items` and the token of the next, empty at the end."""
    start = _offset(params.get("NextToken"))
    end = start + int(params.get("MaxResults") or default)
    token = base64.urlsafe_b64encode(f"lab:{end}".encode()).decode() if end < len(items) else ""
    return list(items[start:end]), token


def paged(key: str, items: Sequence[Item], params: dict[str, Any], default: int) -> dict[str, Any]:
    """A response of one page below `key`; NextToken only where there is more."""
    found, token = page(items, params, default)
    return {key: found, **({"NextToken": token} if token else {})}


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        mark, _, number = base64.urlsafe_b64decode(token).decode().partition(":")
        if mark == "lab":
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise error("InvalidNextToken", "The specified token is not valid.")
