"""The demo: a lab fleet whose third-party program has a critical vulnerability is patched over Run Command.

Run it with `make demo`. It exits 0 only if every node ended as it should; see README.md beside this file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import boto3
import yaml

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
PATCHWAVE = Path(sys.executable).with_name("patchwave")
LAB = ("--name", "demo")
BUCKET = "patchwave-lab"

#: `just`, a command runner that PyPI distributes as a native binary. The advisory is the demo's own invention: it takes
#: everything below FIXED for vulnerable.
PACKAGE, VULNERABLE, FIXED = "rust-just", "1.40.0", "1.42.4"

#: On this node an application insists on the old version, so the health check fails after the switch.
ROLLED_BACK = "web-08"
#: This node already has the fixed version.
CURRENT = "batch-03"
#: This node's agent is off, as the lab's scenario `demo` says.
UNREACHABLE = "app-04"

HEALTHY = "health:\n    @just --version\n"
PINNED = f'health:\n    @test "$(just --version)" = "just {VULNERABLE}"\n'
EXPECTED = {"patched": 21, "current": 1, "rolled_back": 1, "unreachable": 1}


def main() -> int:
    """Set up, patch, patch again, check."""
    for name in ("report.html", "report.json", "work"):
        path = HERE / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for ledger in HERE.glob("ledger-*.jsonl"):
        ledger.unlink()
    WORK.mkdir()
    old, new = archive(VULNERABLE), archive(FIXED)
    subprocess.run([PATCHWAVE, "lab", "down", *LAB], check=True, capture_output=True)  # of a demo that was killed
    if patchwave("lab", "up", *LAB, "--scenario", "demo") != 0:
        return 1
    try:
        environment = lab_environment()
        install(old, new, environment)
        write_catalog(new)
        print(f"\n== First run: {PACKAGE} below {FIXED} is vulnerable, patch the fleet", flush=True)
        first = patchwave("apply", "demo/rollout.yml", "--output", "demo", environment=environment)
        print("\n== Second run of the same command: only what is not right is tried again", flush=True)
        second = patchwave("apply", "demo/rollout.yml", "--output", "demo", environment=environment)
        return check(first, second)
    finally:
        patchwave("lab", "down", *LAB)


def archive(version: str) -> Path:
    """Fetch a release from PyPI and pack its binary as a vendor would: `just-VERSION/just` in a tar.gz."""
    # Errors only: what pip warns of is the machine's configuration, such as a find-links folder that is not there.
    command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "download", "--no-deps"]
    subprocess.run([*command, "--only-binary", ":all:", "--dest", WORK, f"{PACKAGE}=={version}"], check=True)
    (wheel,) = WORK.glob(f"rust_just-{version}-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (member,) = (name for name in packed.namelist() if name.endswith("/scripts/just"))
        binary = packed.read(member)
    path = WORK / f"just-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo(f"just-{version}/just")
        entry.size, entry.mode = len(binary), 0o755
        tar.addfile(entry, io.BytesIO(binary))
    return path


def install(old: Path, new: Path, environment: dict[str, str]) -> None:
    """Install the program on every node, as somebody did months ago, and put the new archive into the bucket."""
    print(f"Installing {PACKAGE} {VULNERABLE} on every node ...", flush=True)
    script = (
        "set -e; mkdir -p /opt/just/$1 /etc/just; tar -xzf - -C /opt/just/$1 --strip-components 1;"
        'ln -sfn $1 /opt/just/current; printf %s "$2" > /etc/just/health.just'
    )
    status = subprocess.run([PATCHWAVE, "lab", "status", *LAB], check=True, capture_output=True, text=True).stdout
    for name in (line.split()[1] for line in status.splitlines() if re.match(r"\s+m?i-", line)):
        version = FIXED if name == CURRENT else VULNERABLE
        health = PINNED if name == ROLLED_BACK else HEALTHY
        with (new if name == CURRENT else old).open("rb") as packed:
            command = ["sh", "-c", script, "install", version, health]
            subprocess.run([PATCHWAVE, "lab", "exec", *LAB, name, "--", *command], stdin=packed, check=True)
    session = boto3.Session(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    s3 = session.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name=environment["AWS_REGION"])
    s3.upload_file(str(new), BUCKET, f"software/{new.name}")


def write_catalog(new: Path) -> None:
    """Write the catalog, the file in which operators say what a program is and how to tell that it is well."""
    definition = {
        "fixed_in": FIXED,
        "archive": {
            "url": f"s3://{BUCKET}/software/{new.name}",
            "sha256": hashlib.sha256(new.read_bytes()).hexdigest(),
            "version": FIXED,
            "strip": 1,
        },
        "dest": "/opt/just",
        "probe": {"command": ["/opt/just/current/just", "--version"]},
        "health": {
            "command": ["env", "PATH=/opt/just/current:/usr/bin:/bin", "just", "-f", "/etc/just/health.just", "health"],
            "retries": 1,
        },
    }
    (HERE / "software.yml").write_text(yaml.safe_dump({"just": definition}, sort_keys=False), encoding="utf-8")


def check(first: int, second: int) -> int:
    """Compare the report with what must have happened."""
    report = json.loads((HERE / "report.json").read_text(encoding="utf-8"))
    outcomes = {node["name"]: node["outcome"] for node in report["nodes"]}
    totals = {word: count for word, count in report["totals"].items() if count}
    named = [outcomes[name] for name in (CURRENT, ROLLED_BACK, UNREACHABLE)]
    fine = totals == EXPECTED and named == ["current", "rolled_back", "unreachable"] and first == second == 2
    print(f"\n{'The fleet is as it should be' if fine else f'NOT as expected, which was {EXPECTED}'}: {totals}")
    print("Look at demo/report.html and demo/report.json.")
    return 0 if fine else 1


def lab_environment() -> dict[str, str]:
    """Return the environment that points every AWS SDK at the lab."""
    exports = subprocess.run([PATCHWAVE, "lab", "env", *LAB], check=True, capture_output=True, text=True).stdout
    script = f"{exports}\nexec env -0"
    found = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in found.split("\0") if line)


def patchwave(*arguments: str, environment: dict[str, str] | None = None) -> int:
    """Run the command line in the checkout's top folder and return its exit code."""
    return subprocess.run(
        [PATCHWAVE, *arguments], cwd=HERE.parent, env=environment or dict(os.environ), check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
