"""moto's Systems Manager backend, which learns of the lab's hybrid nodes and their tags."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import moto.ssm.urls
from moto.core.resource_tagging import TaggedResource
from moto.ssm.models import SimpleSystemManagerBackend

from patchwave_lab.ssm.errors import error
from patchwave_lab.world import World

KIND = "ManagedInstance"
#: Tags that a managed node can have (AddTagsToResource).
MAX_TAGS = 50


class LabSystemsManagerBackend(SimpleSystemManagerBackend):
    """One account and region of Systems Manager. `world` is set once, before the first is made."""

    world: World

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._ever_tagged: set[str] = set()

    @property
    def _url_module(self) -> ModuleType:
        # moto derives this from the class's own module, which is not moto's.
        module: ModuleType = moto.ssm.urls
        return module

    def add_tags_to_resource(self, resource_type: str, resource_id: str, tags: dict[str, str]) -> None:
        """As moto, and TooManyTagsError beyond 50 on a managed node."""
        if resource_type == KIND and len({*self._resource_tags[KIND][resource_id], *tags}) > MAX_TAGS:
            raise error("TooManyTagsError", "The Targets parameter includes too many tags.")
        super().add_tags_to_resource(resource_type, resource_id, tags)
        if resource_type == KIND and tags:
            self._ever_tagged.add(resource_id)

    def iter_tagged_resources(self) -> Iterator[Any]:
        """For the Resource Groups Tagging API: what is tagged, or was tagged before."""
        yield from super().iter_tagged_resources()
        for node_id in sorted(self._ever_tagged):
            tags = dict(self._resource_tags[KIND][node_id])
            arn = f"arn:{self.partition}:ssm:{self.region_name}:{self.account_id}:managed-instance/{node_id}"
            yield TaggedResource(arn, tags, "ssm:managed-instance", {"include_untagged": True})

    def _validate_resource_type_and_id(self, resource_type: str, resource_id: str) -> str:
        if resource_type != KIND:
            return str(super()._validate_resource_type_and_id(resource_type, resource_id))
        # Only hybrid nodes: an EC2 instance's tags are EC2's.
        if not resource_id.startswith("mi-") or not self.world.node(self.account_id, self.region_name, resource_id):
            raise error("InvalidResourceId", "Invalid Resource Id")
        return resource_id
