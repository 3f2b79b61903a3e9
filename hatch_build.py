"""Build hook: an editable install finds the collection in this checkout.

Ansible looks for collections in `ansible_collections` packages on `sys.path`. An editable install puts `.collections`
there; this hook makes the one link that it needs, and nothing for an ordinary wheel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EditableCollection(BuildHookInterface):  # type: ignore[type-arg]
    """Link `.collections/ansible_collections/patchwave/aws` to the checkout for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the link when hatchling builds the `editable` version."""
        if version != "editable":
            return
        link = Path(self.root, ".collections", "ansible_collections", "patchwave", "aws")
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path("..", "..", ".."), target_is_directory=True)
