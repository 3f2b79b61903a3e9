"""Is a request's signature right? A wrong secret, a mangled presigned URL or another method than was signed is not."""

import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug.datastructures import EnvironHeaders


@dataclass(frozen=True)
class Signed:
    """A request as it came over the wire. `target` is path and query, still encoded."""

    method: str
    host: str
    target: str
    headers: EnvironHeaders
    body: bytes


def matches(request: Signed, access_key: str, secret: str, region: str, service: str) -> bool:
    """Compute the signature again, with botocore, and compare."""
    keys = Credentials(access_key, secret)
    query = {key: values[0] for key, values in parse_qs(request.target.partition("?")[2]).items()}
    if "AWSAccessKeyId" in query and "X-Amz-Credential" not in query:
        return _matches_v2(request, keys, query)
    header = request.headers.get("Authorization", "")
    if header:
        fields = dict(part.strip().partition("=")[::2] for part in header.partition(" ")[2].split(","))
        names, sent = fields.get("SignedHeaders", ""), fields.get("Signature", "")
        auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(keys, service, region)
        url = request.target
    else:
        names, sent = query.get("X-Amz-SignedHeaders", ""), query.get("X-Amz-Signature", "")
        auth = S3SigV4QueryAuth(keys, service, region)
        url = _without(request.target, "X-Amz-Signature")
    signed = {name: request.headers[name] for name in names.split(";") if name in request.headers}
    copy = AWSRequest(request.method, f"http://{request.host}{url}", signed, request.body)
    copy.context["timestamp"] = query.get("X-Amz-Date") or request.headers.get("X-Amz-Date", "")
    text = auth.string_to_sign(copy, auth.canonical_request(copy))
    return hmac.compare_digest(str(auth.signature(text, copy)), sent)


class _ExpiresAt(HmacV1QueryAuth):
    """Signs with a given time of expiry, which stands in the place of the date."""

    def __init__(self, keys: Credentials, moment: str) -> None:
        super().__init__(keys)
        self._moment = moment

    def _get_date(self) -> str:
        return self._moment


def _matches_v2(request: Signed, keys: Credentials, query: dict[str, str]) -> bool:
    """The older signature of a presigned S3 URL, which some SDKs still make in us-east-1."""
    auth = _ExpiresAt(keys, query.get("Expires", ""))
    parts = urlsplit(f"http://{request.host}{request.target}")
    headers = {key: request.headers[key] for key in ("Content-MD5", "Content-Type") if request.headers.get(key)}
    if "x-amz-security-token" in query:
        headers["x-amz-security-token"] = query["x-amz-security-token"]
    text = auth.canonical_string(request.method, parts, headers)
    return hmac.compare_digest(str(auth.sign_string(text)), query.get("Signature", ""))


def _without(target: str, name: str) -> str:
    path, _, query = target.partition("?")
    return f"{path}?{'&'.join(part for part in query.split('&') if part.partition('=')[0] != name)}"
