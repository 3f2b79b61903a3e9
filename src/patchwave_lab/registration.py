"""`patchwave lab register`: what `amazon-ssm-agent -register` does on a server, for a virtual node."""

import hmac
import uuid
from typing import Any

from patchwave_lab.errors import LabError
from patchwave_lab.nodes.latency import Model
from patchwave_lab.scenario import PLATFORMS, NodeSpec
from patchwave_lab.ssm.operations._activations import Activation
from patchwave_lab.world import World


def register(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """{id, code} of an activation, and a host {name}: registers a hybrid node; {node_id}."""
    with world.lock:
        account, region, activation = _find(world, str(body.get("id")), str(body.get("code")))
        limit = int(activation.request.get("RegistrationLimit", 1))
        if world.clock.now() >= activation.expires:
            raise LabError(f"activation {activation.activation_id} has expired")
        if len(activation.nodes) >= limit:
            raise LabError(f"activation {activation.activation_id} has reached its limit of {limit} registrations")
        request, identity = activation.request, f"mi-{uuid.uuid4().hex[:17]}"
        spec = NodeSpec(
            name=str(body.get("name") or request.get("DefaultInstanceName") or "server"),
            account=account,
            region=region,
            hybrid=True,
            platform=PLATFORMS["Debian"],
            architecture="x86_64",
            agent_on=True,
            tags={each["Key"]: each["Value"] for each in request.get("Tags", [])},
            model=Model(),
        )
        node = world.create_node(spec, identity)
        node.activation, node.role = activation.activation_id, request["IamRole"]
        node.label = str(request.get("DefaultInstanceName", ""))
        activation.nodes.append(identity)
        return {"node_id": identity, "account": account, "region": region}


def _find(world: World, identity: str, code: str) -> tuple[str, str, Activation]:
    for account, region, found in world.stored("activations", identity):
        if hmac.compare_digest(found.code, code):
            return account, region, found
    raise LabError("no activation has that id and code")
