"""Activations of hybrid nodes, by account, region and id."""

from dataclasses import dataclass, field
from typing import Any

from patchwave_lab.clock import Clock
from patchwave_lab.ssm.operations._call import Call


@dataclass
class Activation:
    """One activation. Times are in seconds since the epoch."""

    activation_id: str
    code: str
    request: dict[str, Any]
    created: float
    expires: float
    nodes: list[str] = field(default_factory=list)

    def describe(self, now: float) -> dict[str, Any]:
        """As DescribeActivations shows it."""
        return {
            **{key: self.request.get(key, "") for key in ("Description", "DefaultInstanceName")},
            "ActivationId": self.activation_id,
            "IamRole": self.request["IamRole"],
            "RegistrationLimit": self.request.get("RegistrationLimit", 1),
            "RegistrationsCount": len(self.nodes),
            "ExpirationDate": Clock.moment(self.expires),
            "Expired": now >= self.expires,
            "CreatedDate": Clock.moment(self.created),
            "Tags": self.request.get("Tags", []),
        }


def activations(call: Call) -> dict[str, Activation]:
    """Activations of this account and region by id."""
    kept: dict[str, Activation] = call.world.store("activations", call.account, call.region)
    return kept
