"""What `ansible-inventory --export` would lose is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.inventory.data import InventoryData
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory import listing
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.errors import OptionError


def write(folder: Path, *files: tuple[str, str]) -> None:
    for name, text in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    "files",
    [
        [("group_vars/web/a.yml", "patch_freezes: []"), ("group_vars/web/b/c.yml", "x: 1\npatch_freezes: []")],
        [("group_vars/web/a.yml", "patch_freezes_sale: []"), ("group_vars/web/b.json", '{"patch_freezes_sale": []}')],
        [("host_vars/h1/a", "patch_windows: []"), ("host_vars/h1/b.yaml", "'patch_windows': []")],
        [("group_vars/all.yml", "patch_freezes: []")],
    ],
)
def test_two_values_of_one_variable_are_refused(tmp_path: Path, files: list[tuple[str, str]]) -> None:
    write(tmp_path, *files)
    inventory = InventoryData()
    inventory.set_variable("all", "patch_freezes", [])
    with pytest.raises(OptionError, match="keeps one of them; remove one, or give each"):
        listing.check_export(inventory, str(tmp_path))


def test_names_of_their_own_are_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        ("group_vars/web/a.yml", "patch_freezes_a: []\n# patch_freezes: []"),
        ("group_vars/web/b.yml", "patch_freezes_b: []"),
        ("group_vars/web/b.yml.orig", "patch_freezes_a: []"),
        ("group_vars/db.yml", "patch_freezes_a: []"),
    )
    listing.check_export(InventoryData(), str(tmp_path))
    listing.check_export(InventoryData(), str(tmp_path / "none"))
