"""Build hook: put the collection where ansible finds it.

Ansible looks for collections in `ansible_collections` packages on `sys.path`. A wheel carries the collection there; an
editable install puts `.collections` on `sys.path`, in which this hook makes one link to the checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COLLECTION = "ansible_collections/patchwave/aws"
SHIPPED = ("plugins", "roles", "playbooks", "meta", "galaxy.yml", "README.md", "LICENSE")


class Collection(BuildHookInterface[Any]):
    """Ship the collection in a wheel, or link to it for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build; `version` is `standard` or `editable`."""
        if version != "editable":
            build_data["force_include"].update({path: f"{COLLECTION}/{path}" for path in SHIPPED})
            return
        link = Path(self.root, ".collections", COLLECTION)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path("..", "..", ".."), target_is_directory=True)
