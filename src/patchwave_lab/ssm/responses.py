"""The door of Systems Manager: checks a request against the model, then runs the lab's operation or moto's."""

import json
from collections.abc import Callable
from typing import Any

import moto.ssm.urls
from botocore import xform_name
from moto.core.responses import ActionResult
from moto.ssm.exceptions import SSMException
from moto.ssm.models import ssm_backends
from moto.ssm.responses import SimpleSystemManagerResponse

from patchwave_lab.ssm import validation
from patchwave_lab.ssm.backend import LabSystemsManagerBackend
from patchwave_lab.ssm.engine import Engine
from patchwave_lab.ssm.operations import OPERATIONS, Call, Operation
from patchwave_lab.world import World


class LabSystemsManagerResponse(SimpleSystemManagerResponse):
    """One request to Systems Manager. The lab's own operations are its methods, put there by `install`."""

    def call_action(self) -> Any:
        """Check the request first: moto itself checks next to nothing."""
        try:
            validation.check("ssm", self._get_action(), json.loads(self.body or "{}"))
        except SSMException as broken:
            return self.serialized(ActionResult(broken))
        return super().call_action()


def install(world: World) -> Engine:
    """Put the lab's Systems Manager in the place of moto's. Before the first backend is made."""
    engine = Engine(world)
    LabSystemsManagerBackend.world = world
    ssm_backends.backend = LabSystemsManagerBackend
    moto.ssm.urls.url_paths = {"{0}/$": LabSystemsManagerResponse.dispatch}
    for name, operation in OPERATIONS.items():
        setattr(LabSystemsManagerResponse, xform_name(name), _method(world, engine, operation))
    return engine


def _method(world: World, engine: Engine, operation: Operation) -> Callable[[Any], Any]:
    def method(response: Any) -> Any:
        params = json.loads(response.body or "{}")
        return ActionResult(operation(Call(world, engine, response.current_account, response.region, params)))

    return method
