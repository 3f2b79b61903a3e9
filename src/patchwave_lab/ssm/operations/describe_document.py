"""DescribeDocument (API reference): AWS's documents that the lab knows, and own ones."""

from typing import Any

from moto.core.exceptions import ServiceException
from moto.ssm.models import ssm_backends

from patchwave_lab.ssm import own_documents
from patchwave_lab.ssm.documents import Document, Parameter, find
from patchwave_lab.ssm.errors import error
from patchwave_lab.ssm.operations._call import Call, operation


@operation("DescribeDocument")
def describe_document(call: Call) -> dict[str, Any]:
    """Say for which platforms a document is, and which parameters it has."""
    name, version = call.params["Name"].rpartition("/")[2], call.params.get("DocumentVersion", "$DEFAULT")
    document = find(name, version)
    if document is not None:
        facts = {"Name": name, "Owner": "Amazon", "DocumentVersion": "1", "DocumentType": "Command"}
        return {"Document": {**facts, "Status": "Active", "SchemaVersion": "1.2", **_parts(document)}}
    wanted = None if version == "$DEFAULT" else version
    try:
        known = ssm_backends[call.account][call.region].describe_document(name, wanted, None)
    except ServiceException:
        raise error("InvalidDocument", f"Document with name {name} does not exist.") from None
    if known["DocumentType"] != "Command":
        return {"Document": known}
    return {"Document": {**known, **_parts(own_documents.read(call.account, call.region, name, version))}}


def _parts(document: Document) -> dict[str, Any]:
    parameters = [_parameter(name, parameter) for name, parameter in document.parameters.items()]
    return {"PlatformTypes": sorted(document.platforms), "Parameters": parameters}


def _parameter(name: str, parameter: Parameter) -> dict[str, str]:
    default = {} if parameter.default is None else {"DefaultValue": ",".join(parameter.default)}
    return {"Name": name, "Type": parameter.type, **default}
