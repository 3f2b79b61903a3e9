"""The API log: one JSON line per call, without parameters, query strings or secrets."""

import json
import re
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import parse_qs

from moto.core.request import Request
from moto.core.routing import get_service_router
from werkzeug.datastructures import Headers

ERROR_CODE = re.compile(rb"<Code>([^<]+)</Code>")


@dataclass(frozen=True)
class Entry:
    """One API call. `time` is ISO 8601 in UTC, `duration_ms` the time in the service, `error` empty on success."""

    time: str
    account: str
    region: str
    service: str
    operation: str
    access_key: str
    principal: str
    status: int
    error: str
    duration_ms: int


class ApiLog:
    """Appends entries to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all entries. The file is emptied, not replaced, so that a reader keeps following it."""
        with self._lock:
            self._path.touch(mode=0o600)
            self._path.write_text("")

    def add(self, entry: Entry) -> None:
        """Write one entry."""
        with self._lock, self._path.open("a") as file:
            file.write(json.dumps(asdict(entry)) + "\n")


def operation(service: str, headers: Headers, body: bytes, environ: dict[str, object]) -> str:
    """The API operation of a request, as the service model calls it."""
    target = headers.get("X-Amz-Target", "")
    if target:
        return str(target.rpartition(".")[2])
    if str(headers.get("Content-Type", "")).startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode(errors="replace")).get("Action", ["?"])[0]
    try:
        found, _ = get_service_router(service).match(Request(dict(environ)))
        return str(found.name)
    except Exception:
        # A request that no operation of the service answers to.
        return str(environ["REQUEST_METHOD"])


def error_code(headers: list[tuple[str, str]], body: bytes) -> str:
    """The error code of a response."""
    for name, value in headers:
        if name.lower() == "x-amzn-errortype":
            return value.partition(":")[0]
    match = ERROR_CODE.search(body)
    if match:
        return match[1].decode(errors="replace")
    try:
        kind = json.loads(body).get("__type", "?")
        return str(kind).rpartition("#")[2]
    except (ValueError, AttributeError):
        return "?"
