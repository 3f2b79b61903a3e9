"""DeleteActivation: its nodes stay registered."""

from typing import Any

from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._activations import activations
from patchwave_lab.ssm.operations._call import Call, operation


@operation("DeleteActivation")
def delete_activation(call: Call) -> dict[str, Any]:
    """Forget an activation."""
    if activations(call).pop(call.params["ActivationId"], None) is None:
        raise error("InvalidActivation", "")
    return {}
