"""The lab's server process: `python -m patchwave_lab.server LAB_DIR PORT`, started by `patchwave lab up`."""

import logging
import os
import secrets
import signal
import string
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from patchwave_lab import checks, ec2, processes, scenario, sts
from patchwave_lab.apilog import ApiLog
from patchwave_lab.gate import Gate
from patchwave_lab.labdir import LabDir, LabState, NodeEntry
from patchwave_lab.ssm.responses import install
from patchwave_lab.world import World

log = logging.getLogger(__name__)


class QuietHandler(MotoRequestHandler):
    """Logs no requests: the API log has them, and the query of a presigned URL is a secret."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_: Any) -> None:
        """Nothing."""


def main(arguments: list[str]) -> None:
    """Build the world, serve it on loopback, and say in lab.json that it is ready."""
    path, port, source = Path(arguments[0]), int(arguments[1]), arguments[2]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    lab = LabDir(path.name, path)
    plan = scenario.parse(source, lab.scenario_file.read_text())
    access_key, secret_key, token = _new_access_key(), secrets.token_urlsafe(30), secrets.token_urlsafe(30)
    world = World(plan, lab.nodes, access_key, secret_key)
    ec2.install(world)
    sts.install(world)
    install(world)
    checks.install()
    world.build()
    world.timeline.start()
    gate = Gate(DomainDispatcherApplication(create_backend_app), world, ApiLog(lab.api_log), token)
    server = make_server("127.0.0.1", port, gate, threaded=True, request_handler=QuietHandler)
    signal.signal(signal.SIGTERM, _stop)
    lab.write_state(
        LabState(
            name=lab.name,
            pid=os.getpid(),
            started=processes.start_time(os.getpid()) or 0,
            endpoint=f"http://127.0.0.1:{server.server_port}",
            access_key=access_key,
            secret_key=secret_key,
            control_token=token,
            region=plan.regions[0],
            accounts=list(plan.accounts),
            buckets=list(plan.buckets),
            scenario=source,
            nodes=[
                NodeEntry(each.node_id, each.name, each.account, each.region, not each.virtual)
                for each in world.all_nodes()
            ],
        )
    )
    log.info("ready on port %d with %d nodes", server.server_port, len(list(world.all_nodes())))
    server.serve_forever()


def _new_access_key() -> str:
    # Unguessable, since it is what guards the nodes against this machine's other users.
    return "AKIA" + "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(16))


def _stop(_signal: int, _frame: FrameType | None) -> None:
    # Not sys.exit: that waits for the agents' threads. What runs in the nodes is ended by whoever stops the lab.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
