"""moto's Security Token Service with the bounds that AWS sets on a session's length, and a shorter one for tests."""

from datetime import timedelta
from types import ModuleType
from typing import Any

import moto.sts.urls
from moto.sts.exceptions import STSValidationError
from moto.sts.models import STSBackend, sts_backends

from patchwave_lab.world import World

#: Bounds of DurationSeconds (AssumeRole, service model).
SHORTEST, LONGEST = 900, 43_200


class LabTokenBackend(STSBackend):
    """One account's token service. `world` is set once, before the first is made."""

    world: World

    @property
    def _url_module(self) -> ModuleType:
        # moto derives this from the class's own module, which is not moto's.
        module: ModuleType = moto.sts.urls
        return module

    def assume_role(self, *, duration: int, **rest: Any) -> Any:
        """As moto, with checked length; the scenario may make sessions shorter than AWS allows."""
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
        made = super().assume_role(duration=duration if shorter is None else shorter, **rest)
        # Sessions end by the lab's clock.
        made.expiration += timedelta(seconds=self.world.clock.ahead)
        return made


def install(world: World) -> None:
    """Put the lab's token service in the place of moto's. Before the first backend is made."""
    LabTokenBackend.world = world
    sts_backends.backend = LabTokenBackend
