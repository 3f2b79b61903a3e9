"""Who sends a request, and the refusal where the credentials are unknown or past their time."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from patchwave_lab import signatures

#: A pair that has expired, for tests: any secret and any token go with it.
EXPIRED_ACCESS_KEY = "ASIALABEXPIRED000000"
AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]*)/([^/]+)/aws4_request")


@dataclass(frozen=True)
class Caller:
    """Who sends a request: from its Authorization header, or the signed query of a presigned URL."""

    access_key: str = ""
    region: str = ""
    service: str = ""
    token: str = ""
    #: When a presigned URL ends; None for a signed header, `signed` False where nothing is signed.
    presigned_until: datetime | None = None
    signed: bool = True


@dataclass(frozen=True)
class Refusal:
    """An error response."""

    status: int
    code: str
    message: str


def caller(headers: Mapping[str, str], query_string: str) -> Caller:
    """Read who sends a request. Nothing here can raise on what a client sends."""
    match = AUTHORIZATION.match(headers.get("Authorization", ""))
    if match:
        return Caller(match[1], match[2], match[3], headers.get("X-Amz-Security-Token", ""))
    query = {key: values[0] for key, values in parse_qs(query_string).items()}
    try:
        if "X-Amz-Credential" in query:
            key, _, region, service, _ = query["X-Amz-Credential"].split("/")
            begin = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            end = begin + timedelta(seconds=int(query["X-Amz-Expires"]))
            signed = "X-Amz-Signature" in query
            return Caller(key, region, service, query.get("X-Amz-Security-Token", ""), end, signed)
        if "AWSAccessKeyId" in query:
            end = datetime.fromtimestamp(int(query["Expires"]), UTC)
            token = query.get("x-amz-security-token", "")
            return Caller(query["AWSAccessKeyId"], "us-east-1", "s3", token, end, "Signature" in query)
    except (KeyError, ValueError, OverflowError):
        return Caller(presigned_until=datetime.max.replace(tzinfo=UTC), signed=False, service="s3")
    return Caller(signed=False)


def key_of(access_key: str) -> tuple[str, str]:
    """Account and secret of an access key; empty for an unknown one."""
    for account, backends in list(iam_backends.items()):
        found = backends["aws"].access_keys.get(access_key)
        if found is not None:
            return str(account), str(found.secret_access_key)
    return "", ""


def judge(who: Caller, now: datetime, ahead: float, request: signatures.Signed) -> str:
    """One word: `ok`, `missing`, `incomplete`, `unknown`, `mismatch`, `expired` or `url-expired`.

    Sessions end by the lab's clock, which is `ahead` (seconds) of `now`; presigned URLs by the real one.
    """
    if not who.signed:
        return "incomplete" if who.presigned_until else "missing"
    if who.access_key == EXPIRED_ACCESS_KEY:
        return "expired"
    account, secret = key_of(who.access_key)
    if not account:
        return "unknown"
    if not signatures.matches(request, who.access_key, secret, who.region, who.service):
        return "mismatch"
    if who.access_key.startswith("ASIA"):
        role = sts_backends[account]["aws"].get_assumed_role_from_access_key(who.access_key)
        if role is None or role.session_token != who.token:
            return "unknown"
        if role.expiration.replace(tzinfo=UTC) <= now + timedelta(seconds=ahead):
            return "expired"
    return "url-expired" if who.presigned_until and who.presigned_until <= now else "ok"


MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)
S3 = {
    "mismatch": Refusal(403, "SignatureDoesNotMatch", MISMATCH),
    "missing": Refusal(403, "AccessDenied", "Access Denied"),
    "incomplete": Refusal(
        400,
        "AuthorizationQueryParametersError",
        "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
        "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
    ),
    "unknown": Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
    "expired": Refusal(400, "ExpiredToken", "The provided token has expired."),
    "url-expired": Refusal(403, "AccessDenied", "Request has expired"),
}
EC2 = {
    "mismatch": Refusal(401, "AuthFailure", MISMATCH),
    "missing": Refusal(401, "MissingAuthenticationToken", "Request is missing Authentication Token"),
    "unknown": Refusal(401, "AuthFailure", "AWS was not able to validate the provided access credentials"),
    "expired": Refusal(400, "RequestExpired", "Request has expired."),
}
QUERY = {
    "mismatch": Refusal(403, "SignatureDoesNotMatch", MISMATCH),
    "missing": Refusal(403, "MissingAuthenticationToken", "Request is missing Authentication Token"),
    "unknown": Refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid."),
    "expired": Refusal(403, "ExpiredToken", "The security token included in the request is expired"),
}
JSON = {
    "mismatch": Refusal(400, "InvalidSignatureException", MISMATCH),
    "missing": Refusal(400, "MissingAuthenticationTokenException", "Missing Authentication Token"),
    "unknown": Refusal(400, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "expired": Refusal(400, "ExpiredTokenException", "The security token included in the request is expired"),
}


def refusal(verdict: str, service: str, *, json_body: bool) -> Refusal:
    """The error that `service` gives for a verdict."""
    if service in ("s3", ""):
        return S3[verdict]
    table = JSON if json_body else EC2 if service == "ec2" else QUERY
    return table.get(verdict, table["missing"])


def render(refused: Refusal, service: str, request_id: str, *, json_body: bool) -> tuple[str, bytes]:
    """Content type and body of an error response, in the protocol of the service."""
    if json_body and service not in ("s3", ""):
        text = json.dumps({"__type": refused.code, "message": refused.message})
        return "application/x-amz-json-1.1", text.encode()
    code, message = escape(refused.code), escape(refused.message)
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    if service in ("s3", ""):
        text = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
    elif service == "ec2":
        text = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    else:
        error = f"<Error><Type>Sender</Type>{inner}</Error>"
        text = f"<ErrorResponse>{error}<RequestId>{request_id}</RequestId></ErrorResponse>"
    return "application/xml", f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
