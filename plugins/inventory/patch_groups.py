# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: patch_groups
short_description: Managed nodes of many accounts and regions by patch group and wave
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Finds the EC2 instances and hybrid servers (C(mi-*)) that are in scope of patching, in all given accounts and
    regions.
  - Scope is opt-in. A node without the tag C(Patch Group) or C(PatchGroup) is not in the inventory.
  - Hosts are named by their node id, since that is unique over accounts, regions and time.
  - Nodes are put into the groups C(managed_nodes), C(patch_group_NAME), C(wave_NAME) and C(platform_NAME).
  - Host variables are C(node_id), C(node_name), C(account), C(region), C(patch_group), C(patch_wave), C(platform),
    C(node_tags), C(ssm) (what Systems Manager knows of the agent), C(ansible_host) (the private address), and, where a
    role was assumed, C(assume_role_arn) and C(assume_role_external_id).
  - Tags are data. Nothing in them is ever evaluated as a template.
extends_documentation_fragment:
  - amazon.aws.boto3
  - amazon.aws.common.plugins
  - amazon.aws.region.plugins
options:
  plugin:
    description: The name of this plugin; marks the file as its configuration.
    type: str
    required: true
    choices: [patchwave.aws.patch_groups]
  accounts:
    description:
      - The accounts to read, each by the role to assume with the caller's credentials.
      - An empty entry C({}) is the account of the credentials themselves.
    type: list
    elements: dict
    default: [{}]
    suboptions:
      role_arn:
        description: The ARN of the role to assume. Without it the caller's own account is read.
        type: str
      external_id:
        description: The external id that the role's trust policy asks for.
        type: str
  regions:
    description: The regions to read in every account. Without any it is the region of O(region).
    type: list
    elements: str
    default: []
  filters:
    description:
      - EC2 filters (DescribeInstances) that narrow the EC2 nodes, each a name with a list of values.
      - They do not concern hybrid nodes, which EC2 does not know.
    type: dict
    default: {}
  wave_tag:
    description: The tag whose value names a node's wave.
    type: str
    default: PatchWave
  on_error:
    description:
      - What to do when an account or region cannot be read. V(fail) gives no inventory at all; V(warn) leaves its nodes
        out and says so.
    type: str
    choices: [fail, warn]
    default: fail
"""

EXAMPLES = r"""
# inventory/patch_groups.yml: the own account and another one, in two regions
plugin: patchwave.aws.patch_groups
accounts:
  - {}
  - role_arn: arn:aws:iam::210987654321:role/patchwave
regions:
  - eu-central-1
  - us-east-1
---
# Only production, and what cannot be read is left out with a warning
plugin: patchwave.aws.patch_groups
regions: [eu-west-1]
filters:
  tag:Environment: [production]
on_error: warn
"""

import typing as t

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account, AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.plugin_utils import _inventory


class InventoryModule(BaseInventoryPlugin):
    """Inventory source C(patchwave.aws.patch_groups)."""

    NAME = "patchwave.aws.patch_groups"

    def verify_file(self, path: str) -> bool:
        """Take files named C(*patch_groups.yml) or C(*patch_groups.yaml)."""
        return bool(super().verify_file(path)) and path.endswith(("patch_groups.yml", "patch_groups.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Fill the inventory from AWS."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            found, unread = self._read()
        except AwsError as error:
            raise AnsibleParserError(f"{self.NAME}: {error}") from error
        for missing in unread:
            message = f"{self.NAME}: {missing.where}: {missing.error}"
            if self.get_option("on_error") == "fail":
                raise AnsibleParserError(message)
            self.display.warning(f"{message}; its nodes are not in the inventory")
        for item in found:
            self._add(item)

    def _read(self) -> tuple[list[_inventory.Found], list[_inventory.Unread]]:
        options = self.get_options()
        sessions = Sessions(options)
        regions = options["regions"] or [sessions.region]
        if not all(regions):
            raise AnsibleParserError(f"{self.NAME}: no region; set 'regions' in the inventory file or AWS_REGION")
        accounts = [self._account(index, entry) for index, entry in enumerate(options["accounts"])]
        filters = {name: [values] if isinstance(values, str) else values for name, values in options["filters"].items()}
        return _inventory.read(sessions, accounts, regions, filters)

    def _account(self, index: int, entry: dict[str, str]) -> Account:
        unknown = sorted(set(entry) - set(Account._fields))
        if unknown:
            known = ", ".join(Account._fields)
            raise AnsibleParserError(f"{self.NAME}: accounts[{index}].{unknown[0]}: unknown key; known keys: {known}")
        return Account(**entry)

    def _add(self, item: _inventory.Found) -> None:
        known = _inventory.variables(item, self.get_option("wave_tag"))
        host = self.inventory.add_host(item.node.id)
        for name, value in known.items():
            self.inventory.set_variable(host, name, wrap_var(value))
        for group in _inventory.groups(known):
            self.inventory.add_host(host, self.inventory.add_group(self._sanitize_group_name(group)))
