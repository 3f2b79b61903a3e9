"""Who may import whom: the rooms of the house, walked by their syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.patchwave.aws."
UTILS = COLLECTION + "plugins.module_utils."
AMAZON = "ansible_collections.amazon.aws"

#: Room: what it may import besides the standard library and itself.
RULES: dict[str, tuple[str, ...]] = {
    "plugins/module_utils/_core": (),
    "plugins/module_utils/_aws": (UTILS + "_core", "botocore", "boto3", AMAZON),
    "plugins/module_utils/_service": (UTILS + "_aws", UTILS + "_core"),
    "plugins/module_utils/_node": (UTILS + "_core", "ansible.module_utils"),
    "plugins/modules": (UTILS + "_service", UTILS + "_node", UTILS + "_core", "ansible.module_utils", AMAZON),
    "plugins/plugin_utils": ("ansible", AMAZON, "jmespath", UTILS + "_service", UTILS + "_core"),
    "plugins/action": ("ansible", AMAZON, COLLECTION + "plugins.plugin_utils", UTILS + "_service", UTILS + "_core"),
    "plugins/inventory": ("ansible", AMAZON, COLLECTION + "plugins.plugin_utils", UTILS + "_service"),
    "src/patchwave": (UTILS + "_core", "ansible", "ansible_runner", "jinja2", "rich", "typer", "yaml"),
    "src/patchwave_lab": ("boto3", "botocore", "dateutil", "flask", "moto", "typer", "werkzeug", "yaml"),
}
#: Inside the driver only one file may know ansible-runner, and one is Ansible in a process of its own.
FACADES = {"ansible_runner": "src/patchwave/runner.py", "ansible": "src/patchwave/child.py"}


def modules() -> list[tuple[str, Path]]:
    return [(room, path) for room in RULES for path in sorted((ROOT / room).rglob("*.py"))]


def own_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    parts = relative.parts[1:] if relative.parts[0] == "src" else (*COLLECTION.strip(".").split("."), *relative.parts)
    return ".".join(parts)


def imported(path: Path) -> list[str]:
    found: list[str] = []
    package = own_name(path).split(".") if path.name == "__init__.py" else own_name(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module or "")))
            found.extend(f"{origin}.{alias.name}" for alias in node.names)
    return found


def within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(allowed + ".")


def forbidden(room: str, path: Path) -> list[str]:
    import sys

    own = own_name(ROOT / room / "x.py").rpartition(".")[0]
    allowed = (own, *RULES[room])
    return [
        f"{path.relative_to(ROOT)} may not import {name}"
        for name in imported(path)
        if name.split(".")[0] not in sys.stdlib_module_names and not any(within(name, one) for one in allowed)
    ]


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda value: value if isinstance(value, str) else value.stem)
def test_a_room_imports_only_what_it_may(room: str, path: Path) -> None:
    assert forbidden(room, path) == []


@pytest.mark.parametrize("library", FACADES)
def test_only_its_facade_in_the_driver_knows_a_library_of_ansible(library: str) -> None:
    files = [path for room, path in modules() if room == "src/patchwave"]
    users = [path for path in files if any(within(name, library) for name in imported(path))]
    assert [str(path.relative_to(ROOT)) for path in users] == [FACADES[library]]


def test_the_rule_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "plugins" / "module_utils" / "_core" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("import boto3\nfrom .._aws import ssm\nfrom . import plan\n", encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert forbidden("plugins/module_utils/_core", bad) == [
        "plugins/module_utils/_core/bad.py may not import boto3",
        f"plugins/module_utils/_core/bad.py may not import {UTILS}_aws.ssm",
    ]
