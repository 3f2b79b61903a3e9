"""CreateActivation (aws.md 3): valid for 24 hours unless told, at most 30 days."""

import secrets
import string
import uuid
from typing import Any

from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._activations import Activation, activations
from patchwave_lab.ssm.operations._call import Call, operation

DAY = 86_400
#: What a code is made of, so that none looks like an option.
LETTERS = string.ascii_letters + string.digits


@operation("CreateActivation")
def create_activation(call: Call) -> dict[str, Any]:
    """A new activation; the code is shown this once."""
    now = call.world.clock.now()
    wanted = call.params.get("ExpirationDate")
    expires = now + DAY if wanted is None else float(wanted)
    if not now < expires <= now + 30 * DAY:
        raise error("ValidationException", "ExpirationDate must be in the future and within 30 days.")
    code = "".join(secrets.choice(LETTERS) for _ in range(20))
    made = Activation(str(uuid.uuid4()), code, call.params, now, expires)
    activations(call)[made.activation_id] = made
    return {"ActivationId": made.activation_id, "ActivationCode": made.code}
