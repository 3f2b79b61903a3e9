"""The one way into the lab: control requests, credentials, the API log, and the lock around moto."""

import hmac
import io
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from werkzeug.datastructures import EnvironHeaders

from patchwave_lab import access, apilog, credentials, remote, signatures
from patchwave_lab.errors import LabError
from patchwave_lab.faults import Place
from patchwave_lab.world import World

log = logging.getLogger(__name__)
Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
#: Path of control requests, which need the token from lab.json.
CONTROL = "/_lab/"
TOKEN_HEADER = "X-Patchwave-Lab-Token"


class Gate:
    """WSGI middleware around moto."""

    def __init__(self, inner: Application, world: World, log_to: apilog.ApiLog, token: str) -> None:
        self._inner, self._world, self._api_log, self._token = inner, world, log_to, token

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        # Read outside the lock: a slow client holds nobody up.
        chunked = environ.get("wsgi.input_terminated")
        body = (
            environ["wsgi.input"].read()
            if chunked
            else environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        )
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        headers = EnvironHeaders(environ)
        path = environ.get("PATH_INFO", "")
        if path.startswith(CONTROL):
            return self._control(path.removeprefix(CONTROL), headers, body, start_response)
        began, moment = time.monotonic(), datetime.now(UTC)
        who = credentials.caller(headers, environ.get("QUERY_STRING", ""))
        service = who.service or ("s3" if not headers.get("X-Amz-Target") else "?")
        # A copy: the router may read the body.
        operation = apilog.operation(service, headers, body, {**environ, "wsgi.input": io.BytesIO(body)})
        self._delay(who)
        with self._world.lock:
            verdict = credentials.judge(who, moment, self._world.clock.ahead, _signed(environ, headers, body))
            account, _ = credentials.key_of(who.access_key)
            request = access.Request(who, account, service, operation, path)
            arn = access.principal(request)
            refused = self._judge(verdict, request, arn, json_body=_json(headers))
            status, reply_headers, content = (
                self._refuse(refused, service, headers) if refused else self._ask_moto(environ, service, account)
            )
        self._api_log.add(
            apilog.Entry(
                time=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                account=account,
                region=who.region,
                service=service,
                operation=operation,
                access_key=who.access_key,
                principal=arn,
                status=int(status.split()[0]),
                error=apilog.error_code(reply_headers, content) if int(status.split()[0]) >= 400 else "",
                duration_ms=round((time.monotonic() - began) * 1000),
            )
        )
        start_response(status, reply_headers)
        return [content]

    def _delay(self, who: credentials.Caller) -> None:
        """Wait, without the lock, where a region is slow."""
        with self._world.lock:
            account, _ = credentials.key_of(who.access_key)
            slow = self._world.faults.hit("region-slow", Place(account, who.region))
        if slow:
            time.sleep(slow.numbers["seconds"])

    def _judge(self, verdict: str, request: access.Request, arn: str, *, json_body: bool) -> credentials.Refusal | None:
        if verdict == "ok" and access.expired(self._world, request):
            verdict = "expired"
        if verdict != "ok":
            return credentials.refusal(verdict, request.service, json_body=json_body)
        return access.refusal(self._world, request, arn)

    def _ask_moto(self, environ: Environ, service: str, account: str) -> tuple[str, list[tuple[str, str]], bytes]:
        # moto does not look up the account of a presigned URL; and a client may not choose one by header.
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = account
        answer: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            answer[:] = [status, headers]

        path = environ.get("PATH_INFO", "")
        if path.startswith("/moto-api"):
            refused = credentials.Refusal(404, "NotFound", "moto's own interface is closed; see patchwave lab reset")
            return self._refuse(refused, service, EnvironHeaders(environ))
        try:
            chunks = self._inner(environ, start)
            content = b"".join(chunks)
            if hasattr(chunks, "close"):
                chunks.close()
        except NotImplementedError as error:
            refused = credentials.Refusal(501, "NotImplemented", f"the lab has no such operation: {error}")
            return self._refuse(refused, service, EnvironHeaders(environ))
        except Exception:
            log.exception("a call failed inside the lab")
            refused = credentials.Refusal(500, "InternalFailure", "the lab failed; see its server.log")
            return self._refuse(refused, service, EnvironHeaders(environ))
        return answer[0], answer[1], content

    def _refuse(
        self, refused: credentials.Refusal, service: str, headers: EnvironHeaders
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        request_id = str(uuid.uuid4())
        kind, content = credentials.render(refused, service, request_id, json_body=_json(headers))
        found = [("Content-Type", kind), ("Content-Length", str(len(content))), ("x-amzn-RequestId", request_id)]
        if _json(headers):
            found.append(("x-amzn-ErrorType", refused.code))
        return f"{refused.status} {refused.code}", found, content

    def _control(
        self, verb: str, headers: EnvironHeaders, body: bytes, start_response: StartResponse
    ) -> Iterable[bytes]:
        if not hmac.compare_digest(headers.get(TOKEN_HEADER, ""), self._token):
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        known = remote.VERBS.get(verb)
        if known is None:
            start_response("404 Not Found", [("Content-Length", "0")])
            return [b""]
        try:
            status, answer = "200 OK", known(self._world, json.loads(body or b"{}"))
        except (LabError, ValueError, TypeError) as error:
            status, answer = "400 Bad Request", {"error": str(error)}
        if verb == "reset":
            self._api_log.clear()
        content = json.dumps(answer).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
        return [content]


def _json(headers: EnvironHeaders) -> bool:
    return "X-Amz-Target" in headers or "json" in str(headers.get("Content-Type", ""))


def _signed(environ: Environ, headers: EnvironHeaders, body: bytes) -> signatures.Signed:
    host = headers.get("Host", "")
    return signatures.Signed(environ["REQUEST_METHOD"], host, environ.get("RAW_URI", ""), headers, body)
