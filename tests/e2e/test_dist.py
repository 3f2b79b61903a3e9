"""What `make dist` builds, installed as users install it, in a virtual environment that knows no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, ROOT

DOCUMENTED = {
    "patchwave.aws.gate",
    "patchwave.aws.node_result",
    "patchwave.aws.patch_groups",
    "patchwave.aws.presigned_url",
    "patchwave.aws.run_command",
    "patchwave.aws.run_module",
    "patchwave.aws.software_patch",
    "patchwave.aws.stop",
}


@pytest.fixture(scope="module")
def dist() -> Path:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    subprocess.run([ROOT / "tests" / "dist.sh"], check=True, env=environment, capture_output=True)
    return ROOT / "dist"


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory, dist: Path) -> Path:
    """Return the `bin` of a new virtual environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    (wheel,) = dist.glob("*.whl")
    pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, wheel], check=True, cwd=folder)
    return folder / "bin"


def environment(venv: Path, tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": f"{venv}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8", **more}


def documented(venv: Path, tmp_path: Path, **more: str) -> set[str]:
    found = set()
    for kind in ("module", "inventory"):
        command = [venv / "ansible-doc", "-l", "-t", kind, "patchwave.aws"]
        env = environment(venv, tmp_path, **more)
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=env, cwd=tmp_path)
        found |= {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    return found


def patch(lab: Any, venv: Path, tmp_path: Path, variables: Path, **more: str) -> str:
    env = {**lab.environment, **environment(venv, tmp_path, **more)}
    options = ["-i", ROOT / "inventory", "-e", f"@{variables}", "--limit", lab.nodes()["web-03"]]
    command = [venv / "ansible-playbook", "patchwave.aws.patch_software", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env, cwd=tmp_path).stdout


def test_the_wheel_brings_driver_and_collection(
    lab: Any, install: Callable[..., None], variables: Path, venv: Path, tmp_path: Path
) -> None:
    assert documented(venv, tmp_path) == DOCUMENTED
    install("web-03")
    assert "changed" in patch(lab, venv, tmp_path, variables)
    assert lab.exec("web-03", "/opt/tool/current/tool") == "tool 2.0.0\n"
    help_text = subprocess.run([venv / "patchwave", "--help"], check=True, capture_output=True, text=True).stdout
    assert "apply" in help_text
    lab_without_extra = subprocess.run([venv / "patchwave", "lab", "up"], capture_output=True, text=True, check=False)
    assert lab_without_extra.returncode == 1
    assert "patchwave[lab]" in lab_without_extra.stderr


def test_the_galaxy_tarball_brings_the_collection(
    lab: Any, install: Callable[..., None], variables: Path, venv: Path, dist: Path, tmp_path: Path
) -> None:
    # The same environment without our wheel: ansible-core, amazon.aws and boto3, as a Galaxy user has them.
    subprocess.run([venv / "pip", "uninstall", "--quiet", "--yes", "patchwave"], check=True)
    with pytest.raises(subprocess.CalledProcessError):
        documented(venv, tmp_path)
    (tarball,) = dist.glob("*.tar.gz")
    galaxy = [venv / "ansible-galaxy", "collection", "install", "--no-deps", "--offline", tarball]
    subprocess.run(
        [*galaxy, "-p", tmp_path / "c"], check=True, capture_output=True, env=environment(venv, tmp_path), cwd=tmp_path
    )
    path = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "c")}
    assert documented(venv, tmp_path, **path) == DOCUMENTED
    install("web-03")
    assert "changed" in patch(lab, venv, tmp_path, variables, **path)


def test_nothing_but_the_collection_is_in_the_tarball(dist: Path) -> None:
    (tarball,) = dist.glob("*.tar.gz")
    listing = subprocess.run(["tar", "-tzf", tarball], check=True, capture_output=True, text=True).stdout.splitlines()
    top = {name.split("/")[0] for name in listing}
    assert top == {
        "FILES.json",
        "LICENSE",
        "MANIFEST.json",
        "README.md",
        "inventory",
        "meta",
        "playbooks",
        "plugins",
        "roles",
    }
