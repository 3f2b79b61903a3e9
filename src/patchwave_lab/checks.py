"""The model's checks for services other than Systems Manager, which moto hardly makes, each with its own error code."""

import json
from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import get_service_model
from moto.ec2.exceptions import EC2ClientError
from moto.organizations.exceptions import OrganizationsClientError
from moto.resourcegroupstaggingapi.exceptions import ResourceGroupsTaggingAPIError
from moto.sts.exceptions import STSClientError

from patchwave_lab.ssm import validation

#: By service: the error that a request gets which breaks the model.
ERRORS: dict[str, Callable[[str], Exception]] = {
    "sts": lambda text: STSClientError("ValidationError", text),
    "organizations": lambda text: OrganizationsClientError("InvalidInputException", text),
    "resourcegroupstaggingapi": lambda text: ResourceGroupsTaggingAPIError("InvalidParameterException", text),
}
#: Bounds that the guides have and the models have not.
BOUNDS = {
    ("resourcegroupstaggingapi", "GetResources", "ResourcesPerPage"): (1, 100),
    ("ec2", "DescribeInstances", "MaxResults"): (5, 1000),
}


def install() -> None:
    """Put the checks before every call of moto's."""
    inner = BaseResponse.call_action
    if getattr(inner, "checked", False):
        return

    def call_action(response: Any) -> Any:
        refused = _refusal(response)
        return inner(response) if refused is None else response.serialized(ActionResult(refused))

    call_action.checked = True  # type: ignore[attr-defined]
    BaseResponse.call_action = call_action


def _refusal(response: Any) -> Exception | None:
    service = response.boto3_service_name
    if service not in ERRORS and service != "ec2":
        return None
    operation = response._get_action()
    if operation not in get_service_model(service).operation_names:
        return None
    params = _params(response, service, operation)
    for (bound_to, name, key), (low, high) in BOUNDS.items():
        value = params.get(key)
        if (bound_to, name) == (service, operation) and value is not None and not low <= value <= high:
            text = f"Value ( {value} ) for parameter {key} is invalid. Expecting a value from {low} to {high}."
            return ERRORS[service](text) if service in ERRORS else EC2ClientError("InvalidParameterValue", text)
    broken = validation.broken(service, operation, params) if service in ERRORS else ""
    return ERRORS[service](broken) if broken else None


def _params(response: Any, service: str, operation: str) -> dict[str, Any]:
    """The request's members; of one in a query's form those that are no lists or structures."""
    if "X-Amz-Target" in response.headers:
        return dict(json.loads(response.body or "{}"))
    shape = get_service_model(service).operation_model(operation).input_shape
    members = shape.members if shape is not None else {}
    found = {key: response.querystring[key][0] for key in members if key in response.querystring}
    return {key: int(text) if members[key].type_name == "integer" else text for key, text in found.items()}
