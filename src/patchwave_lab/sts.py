"""moto's Security Token Service with the bounds that AWS sets on a session's length, and a shorter one for tests."""

import json
import re
from datetime import timedelta
from types import ModuleType
from typing import Any

import moto.sts.urls
from moto.core.exceptions import AccessDeniedError
from moto.iam.models import iam_backends
from moto.sts.exceptions import STSClientError, STSValidationError
from moto.sts.models import STSBackend, sts_backends

from patchwave_lab.world import World

#: Bounds of DurationSeconds (AssumeRole, service model).
SHORTEST, LONGEST = 900, 43_200
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


class LabTokenBackend(STSBackend):
    """One account's token service. `world` is set once, before the first is made."""

    world: World

    @property
    def _url_module(self) -> ModuleType:
        # moto derives this from the class's own module, which is not moto's.
        module: ModuleType = moto.sts.urls
        return module

    def assume_role(self, *, duration: int, role_arn: str, external_id: str, **rest: Any) -> Any:
        """As moto, with checked length and, where IAM is enforced, only into a role that is there and lets one in.

        The scenario may make sessions shorter than AWS allows.
        """
        if not ROLE.fullmatch(role_arn):
            raise STSClientError("ValidationError", f"{role_arn} is invalid")
        if self.world.enforce_iam and not _lets_in(role_arn, external_id):
            caller = f"arn:aws:iam::{self.account_id}:user/patchwave-lab"
            raise AccessDeniedError(caller, f"sts:AssumeRole on resource: {role_arn}")
        for broken, bound in (
            (duration < SHORTEST, f"greater than or equal to {SHORTEST}"),
            (duration > LONGEST, f"less than or equal to {LONGEST}"),
        ):
            if broken:
                raise STSValidationError(
                    f"1 validation error detected: Value '{duration}' at 'durationSeconds' failed to satisfy "
                    f"constraint: Member must have value {bound}"
                )
        shorter = self.world.settings.role_session_seconds
        made = super().assume_role(
            duration=duration if shorter is None else shorter, role_arn=role_arn, external_id=external_id, **rest
        )
        # Sessions end by the lab's clock.
        made.expiration += timedelta(seconds=self.world.clock.ahead)
        return made


def _lets_in(role_arn: str, external_id: str | None) -> bool:
    """Is there such a role, and does its trust policy ask for no other external id? Principals are not looked at."""
    account, _, name = role_arn.split(":", 4)[4].partition(":role/")
    roles = iam_backends[account]["aws"].roles.values()
    found = [role for role in roles if role.name == name.rpartition("/")[2]]
    statements = json.loads(found[0].assume_role_policy_document)["Statement"] if found else []
    statements = statements if isinstance(statements, list) else [statements]
    wanted = [each.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId") for each in statements]
    return any(each in (None, external_id) for each in wanted)


def install(world: World) -> None:
    """Put the lab's token service in the place of moto's. Before the first backend is made."""
    LabTokenBackend.world = world
    sts_backends.backend = LabTokenBackend
