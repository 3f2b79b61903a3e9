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
  - Its file must have a name that ends in C(patch_groups.yml) or C(patch_groups.yaml).
  - Finds the EC2 instances and hybrid servers (C(mi-*)) that are in scope of patching, in all given accounts and
    regions, which are read side by side.
  - Scope is opt-in. A node without the tag C(Patch Group) or C(PatchGroup), or with one that is empty, is not in the
    inventory unless O(include_out_of_scope) asks for it. Such nodes are counted.
  - Hosts are named by their node id unless O(host_name) says otherwise, since the id is unique over accounts and
    time.
  - Nodes are put into the groups C(managed_nodes), C(patch_group_NAME), C(wave_NAME) and C(platform_NAME). A node
    that cannot be patched now is also in C(not_patchable_REASON), with the reason C(held), C(stopped), C(no_agent),
    C(agent_offline) or C(unsupported_platform), and has it in the variable C(not_patchable).
  - A node whose patch group or wave would become the group of another value, such as C(web a) beside C(web-a), is
    left out. The value of most nodes has the group. Where as many nodes have two values, all of them are left out.
  - Host variables are C(node_id), C(node_name), C(account), C(region), C(patch_group), C(patch_wave), C(platform),
    C(node_tags), C(ssm) (what Systems Manager knows of the agent, C(ping_status), C(last_ping), C(agent_version),
    C(computer_name), C(platform_name) and C(platform_version)), C(ansible_host) (the private address; that of a
    hybrid server is what its agent says, and only an IP address that a node may have and no other node has is taken),
    and, where a role was assumed or a profile that the file names used, C(assume_role_arn), C(assume_role_external_id),
    C(assume_role_session_name) and C(assume_role_profile).
  - C(node_name) is the tag C(Name), or the node id. What an agent says of itself is the node's own word, and names
    nothing. C(platform) is that of EC2 as far as EC2 knows whether it is Windows. An instance whose agent says
    otherwise has none.
  - What could not be read and was left out is in the variable C(unread) of all hosts (a list of C(account), C(region)
    and C(error)) and in a group C(unread_ACCOUNT_REGION) without hosts.
  - Where it reads is in the variable C(inventory_regions) of all hosts, also where no node is now (C(account),
    C(region) and how the account is entered). M(patchwave.aws.stop) looks for commands there.
  - What else concerns everybody is in variables of all hosts, each absent where there is nothing to say. C(left_out)
    lists nodes in scope that were left out because of a tag (C(account), C(region), C(node_id), C(why)),
    C(out_of_scope) how many nodes have no patch group (C(account), C(region), C(nodes)), and C(inventory_warnings)
    has lines on tags that are nearly right, names and addresses that were refused. Each has at most 50 entries, of
    which the last one stands for the rest. Warnings show the first 20 lines.
  - Tags are data. Nothing in them is ever evaluated as a template, and none stops the inventory unless O(strict) is
    set. Halves of characters and control characters in what AWS says are replaced.
  - With O(strict) one node on which O(compose), O(groups) or O(keyed_groups) fail stops everything, so that whoever
    may tag one node may do so. Expressions that allow for absent tags, such as V(node_tags.Role | default('none'\)),
    do without it.
  - A group of O(keyed_groups) does not share its name with a host that O(host_name) names. Of the host and the group
    the one of fewer nodes is left out, and both where each has one node. So are nodes whose O(keyed_groups) fail
    without O(strict), or whose groups would contain themselves.
extends_documentation_fragment:
  - amazon.aws.boto3
  - amazon.aws.common.plugins
  - amazon.aws.region.plugins
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: The name of this plugin; marks the file as its configuration.
    type: str
    required: true
    choices: [patchwave.aws.patch_groups]
  accounts:
    description:
      - The accounts to read, each by the role to assume with the caller's credentials, or by a profile.
      - An empty entry C({}) is the account of the credentials themselves. That is the default unless O(organization)
        is given.
      - Values here, in O(organization), O(regions), O(filters) and the options for credentials may be vaulted, or be
        templates, with lookups. A template that gives nothing is refused.
      - Where O(profile) is in the file, it is the profile of each entry without one, in plays as well.
    type: list
    elements: dict
    default: []
    suboptions:
      role_arn:
        description: The ARN of the role to assume. Without it the caller's own account is read.
        type: str
      external_id:
        description: The external id that the role's trust policy asks for.
        type: str
      session_name:
        description: The role session name, which CloudTrail shows. C(patchwave) unless given.
        type: str
      profile:
        description: A profile to use in place of the caller's credentials, also to assume the role with.
        type: str
      on_error:
        description: O(on_error) for this account.
        type: str
  organization:
    description:
      - Reads also the active accounts of organizational units of the caller's organization, and of all units below
        them, each through the role of one name. The caller must be allowed to list them.
    type: dict
    suboptions:
      units:
        description: Ids of roots (C(r-...)) or organizational units (C(ou-...)).
        type: list
        elements: str
        required: true
      role_name:
        description: The name of the role to assume in each account, with its path if it has one.
        type: str
        default: patchwave
      external_id:
        description: The external id that the roles' trust policies ask for.
        type: str
      exclude:
        description: Ids of accounts to leave out.
        type: list
        elements: str
        default: []
  regions:
    description:
      - The regions to read in every account, by name or by a shell pattern such as V(eu-*). V(*) is every region that
        is enabled for the account. Without any it is O(region).
    type: list
    elements: str
    default: []
  filters:
    description:
      - EC2 filters (DescribeInstances) that narrow the EC2 nodes, each a name with a list of values.
      - They do not concern hybrid nodes, which EC2 does not know.
    type: dict
    default: {}
  include_out_of_scope:
    description:
      - Whether nodes without a patch-group tag are in the inventory too, to look at. They are in the groups
        C(out_of_scope) and C(platform_NAME), and in neither C(managed_nodes) nor a wave.
    type: bool
    default: false
  wave_tag:
    description:
      - The tag whose value names a node's wave. A key that is nearly it names none, and a value that is nearly another
        one makes a group of its own; both are warnings.
    type: str
    default: PatchWave
  hold_tag:
    description:
      - The tag that holds a node from patching, whatever its value, unless that is C(false), C(no), C(off) or C(0).
      - So does a tag whose key is nearly it, such as C(Patchhold) or C(PatchHolds), with a warning. It is the same but
        for case, spaces and separators, or one slip away.
      - The playbook C(patchwave.aws.patch_software) and the driver leave such nodes alone. Plays of your own do so with
        C(!not_patchable_held) in C(hosts).
    type: str
    default: PatchHold
  hostvars:
    description:
      - V(full) adds everything that EC2 and Systems Manager say of a node, in the variables C(instance) and C(ssm),
        with snake-cased keys. It takes much more CPU time and memory.
    type: str
    choices: [small, full]
    default: small
  select:
    description:
      - A JMESPath expression over a host's variables. Hosts for which it is false or empty are not in the inventory.
      - Where it fails for a node, such as V(starts_with(node_tags.Role, 'web'\)) for one without that tag, the node is
        left out with a warning, in C(left_out). Where it fails for all nodes, nothing is read.
    type: str
  host_name:
    description:
      - A JMESPath expression over a host's variables that names the host, such as V(node_name), or
        C(join('_', [node_name, node_id])), which has the name beside the id and is never another node's.
      - A host name has letters, digits, dots, underscores and hyphens only, begins with a letter or digit, and is no
        address, no node id and no name of the controller itself. What is no host name for any node gives way to the
        node id, with a warning.
      - Nodes that want one name, also in another case or from another source, are all left out with a warning, in
        C(left_out). So is a node whose name is that of a group or of another host. None gets its id in place of the
        name, since C(host_vars), C(--limit) and freezes would not apply to it any more. So is a node for which the
        expression fails, as with O(select).
      - Who may tag a node decides which C(host_vars) it gets.
    type: str
  connections:
    description:
      - How Ansible connects, by platform (C(linux), C(windows), C(macos)), each V(ssh), V(winrm), V(aws_ssm) or
        V(run_command). Without an entry only C(ansible_host) is set.
      - V(aws_ssm) is the connection of amazon.aws 10 or newer, which assumes no role and needs a bucket
        (C(ansible_aws_ssm_bucket_name)).
    type: dict
    default: {}
  on_error:
    description:
      - What to do about an account or region that cannot be read. V(fail) gives no inventory at all, V(warn) leaves its
        nodes out and says so, V(skip) leaves them out.
      - It concerns nothing else. An odd tag only ever concerns its own node.
      - With a cache, what was left out is out until the cache ends or is flushed (C(--flush-cache)).
    type: str
    choices: [fail, warn, skip]
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
# A whole organization in Europe; an account that is not ready yet does not stop the others
plugin: patchwave.aws.patch_groups
organization:
  units: [ou-ab12-11111111]
  exclude: ["345678901234"]
regions: ["eu-*"]
on_error: warn
cache: true
---
# Only production that can be patched now, by name
plugin: patchwave.aws.patch_groups
regions: [eu-west-1]
filters:
  tag:Environment: [production]
select: "!not_patchable"
host_name: node_name
connections:
  linux: ssh
  windows: winrm
"""

import os
import typing as t

from ansible import constants
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import AwsError, Sessions
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory import (
    hosts,
    listing,
    names,
    options,
    read,
    tags,
)
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.errors import OptionError
from ansible_collections.patchwave.aws.plugins.plugin_utils._inventory.notes import LeftOut, Notes, bounded, one_line

#: Marks what must not be templated. Since ansible-core 2.19 that is so for all that an inventory plugin sets.
_data = (lambda value: value) if hasattr(BaseInventoryPlugin, "trusted_by_default") else wrap_var

#: Variables that all hosts get.
_OF_ALL = frozenset({"inventory_regions", "inventory_warnings", "left_out", "out_of_scope", "unread"})
#: How the names of files for this plugin end.
_NAMES = ("patch_groups.yml", "patch_groups.yaml")
#: How many lines on tags the screen shows.
_LINES = 20


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Inventory source C(patchwave.aws.patch_groups)."""

    NAME = "patchwave.aws.patch_groups"
    inventory: t.Any

    def verify_file(self, path: str) -> bool:
        """Take files named C(*patch_groups.yml) or C(*patch_groups.yaml)."""
        if not super().verify_file(path):
            return False
        ours = path.endswith(_NAMES)
        # Ansible asks no plugin that the file does not name, unless it is enabled for all files.
        if not ours and self.NAME not in constants.INVENTORY_ENABLED:
            raise AnsibleParserError(
                f"{self.NAME}: the name of such a file must end in {' or '.join(_NAMES)}; rename it"
            )
        return ours

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Fill the inventory from AWS or the cache."""
        super().parse(inventory, loader, path, cache)
        try:
            # Ansible takes no notice of keys that it does not know, and without a filter there are more nodes in scope.
            config = self._read_config_data(path)
            options.check_keys(config, self.option_definitions)
            if listing.is_export():
                listing.check_export(self.inventory, os.path.dirname(path))
            chosen = options.plain(self.get_options(), self.templar.template)
            sessions = Sessions(chosen)
            # One from the environment is there in plays as well, wherever they run.
            names = ["profile", *(self.option_definitions["profile"].get("aliases") or ())]
            profile = chosen["profile"] if any(config.get(name) for name in names) else None
            estate = self._estate(sessions, options.query(sessions, chosen, profile), path, cache)
            self._say_unread(estate.unread)
            visited = [
                {"account": one.account, "region": one.region, **hosts.entry(one.access)} for one in estate.visited
            ]
            self._tell("inventory_regions", visited)
            self._tell("out_of_scope", bounded([one._asdict() for one in estate.out_of_scope], _others))
            self._fill(estate, chosen)
        except (AwsError, OptionError, AnsibleError) as error:
            # Ansible would print the cause once more behind the message, which says it all.
            raise AnsibleParserError(f"{self.NAME}: {error}") from None

    def _estate(self, sessions: Sessions, query: read.Query, path: str, cache: bool) -> read.Estate:
        cached = self.get_option("cache")
        key = self.get_cache_key(path)
        estate = read.from_cache(query, self._cache.get(key)) if cached and cache else None
        if estate is None:
            estate = read.read(sessions, query)
            if cached and not any(missing.on_error == "fail" for missing in estate.unread):
                self._cache[key] = read.to_cache(query, estate)
        return estate

    def _fill(self, estate: read.Estate, chosen: dict[str, t.Any]) -> None:
        keys, left_out = tags.Tags(chosen["wave_tag"], chosen["hold_tag"]), LeftOut()
        notes = tags.look([item.node for item in estate.found], estate.strays, keys, self._sanitize_group_name)
        found = hosts.own_addresses(estate.found, notes)
        known = [hosts.variables(item, keys, chosen["connections"]) for item in found]
        if chosen["select"]:
            select = hosts.Expression("select", chosen["select"])
            known = [one for one, value in select.of_all(known, left_out) if value]
        naming = hosts.Expression("host_name", chosen["host_name"]) if chosen["host_name"] else None
        named = names.wanted_names(known, naming, notes, left_out)
        composed = set(map(self._sanitize_group_name, chosen["groups"]))
        names.leave_out_rivals(self.inventory, named, composed, left_out)
        earlier = names.earlier_hosts(self.inventory)
        group_names = names.GroupNames([one.known for one in named], self._sanitize_group_name, earlier)
        for one in (*(one.known for one in named), *earlier):
            why = group_names.clash(one)
            if why:
                left_out.add(one, why)
        self._remove(left_out)
        named = [one for one in named if one.known not in left_out]
        for name, variables in named:
            self._add(name, variables, group_names, chosen)
        if chosen["keyed_groups"]:
            self._add_keyed_groups(named, left_out, chosen)
        self._say(notes, left_out)
        if listing.is_listing():
            self._list_plainly()

    def _list_plainly(self) -> None:
        """Have C(ansible-inventory) write values, and those that the user's expressions made of them, as they are."""
        for host in self.inventory.hosts.values():
            if "node_id" in host.vars:
                host.vars = {name: listing.plain(value) for name, value in host.vars.items()}
        of_all = self.inventory.groups["all"].vars
        of_all.update({name: listing.plain(of_all[name]) for name in _OF_ALL & of_all.keys()})

    def _remove(self, left_out: LeftOut) -> None:
        """Take back hosts, also of earlier sources, that turned out to be left out."""
        for host in list(self.inventory.hosts.values()) if left_out.entries() else ():
            if "node_id" in host.vars and host.vars in left_out:
                self.inventory.remove_host(host)

    def _add(self, name: str, known: dict[str, t.Any], group_names: names.GroupNames, chosen: dict[str, t.Any]) -> None:
        host = self.inventory.add_host(name)
        # Not by the inventory's own set_variable(), which since ansible-core 2.19 copies each value to mark it with its
        # file and to take trust from it: a third of the time, and memory. Plain values of AWS have none.
        holder = self.inventory.hosts[host]
        if name != known["node_id"]:
            # Without an address Ansible would connect to the name, and a tag would say where that is.
            known.setdefault("ansible_host", known["node_id"])
        # Also what the user's expressions see is marked: without it Ansible before 2.19 runs a tag as a template there.
        marked = {variable: _data(value) for variable, value in known.items()}
        for variable, value in marked.items():
            holder.set_variable(variable, value)
        for group in group_names.of(known):
            if group not in self.inventory.groups:
                self.inventory.add_group(group)
            self.inventory.add_host(host, group)
        try:
            self._set_composite_vars(chosen["compose"], marked, host, strict=chosen["strict"])
            self._add_host_to_composed_groups(chosen["groups"], {}, host, strict=chosen["strict"])
        except AnsibleError as error:
            raise _stopped(known, error, chosen["strict"]) from error

    def _add_keyed_groups(self, named: list[names.Named], left_out: LeftOut, chosen: dict[str, t.Any]) -> None:
        """Put hosts into keyed groups. These are known for all hosts before the first one is made.

        A group with a host's name would be taken for that host, or the host for it.
        """
        keyed = self._keyed(named, left_out, chosen)
        names.leave_out_namesakes(self.inventory, keyed, names.claimed(self.inventory), left_out)
        self._remove(left_out)
        names.nest(self.inventory, {host: one for host, one in keyed.items() if host in self.inventory.hosts}, left_out)
        self._remove(left_out)
        for host, groups in keyed.items():
            for group in groups.groups if host in self.inventory.hosts else ():
                self.inventory.add_host(host, self.inventory.add_group(group))

    def _keyed(
        self, named: list[names.Named], left_out: LeftOut, chosen: dict[str, t.Any]
    ) -> dict[str, names.KeyedGroups]:
        inventory, found, failed = self.inventory, {}, []
        for name, known in named:
            self.inventory = found[name] = names.KeyedGroups(inventory.hosts[name])
            try:
                self._add_host_to_keyed_groups(chosen["keyed_groups"], {}, name, strict=chosen["strict"])
            except AnsibleError as error:
                failed.append((known, _stopped(known, error, chosen["strict"])))
                if chosen["strict"] or len(failed) == len(named):
                    raise failed[0][1] from error
            finally:
                self.inventory = inventory
        for known, why in failed:
            left_out.add(known, f"keyed_groups fails for it: {why}")
        return found

    def _say(self, notes: Notes, left_out: LeftOut) -> None:
        """Tell all hosts, and whoever looks, which tags need a person."""
        lines = notes.lines()
        self._tell("left_out", bounded(left_out.entries(), _more_nodes))
        self._tell("inventory_warnings", bounded(lines, lambda rest: f"and {len(rest)} more lines like these"))
        lines = left_out.lines() + lines
        for line in lines[:_LINES]:
            self.display.warning(f"{self.NAME}: {line}")
        if len(lines) > _LINES:
            self.display.warning(f"{self.NAME}: and {len(lines) - _LINES} more lines like these")

    def _say_unread(self, unread: list[read.Unread]) -> None:
        for missing in unread:
            if missing.on_error == "fail":
                raise OptionError(f"{missing}")
            if missing.on_error == "warn":
                self.display.warning(f"{self.NAME}: {missing}; its nodes are not in the inventory")
        entries = [{"account": one.account, "region": one.region, "error": one_line(one.error)} for one in unread]
        self._tell("unread", entries)
        for one in unread:
            self.inventory.add_group(self._sanitize_group_name(f"unread_{one.account}_{one.region}"))

    def _tell(self, variable: str, entries: list[t.Any]) -> None:
        """Give entries to all hosts, behind those that another source of this plugin gave."""
        if entries:
            before = self.inventory.groups["all"].vars.get(variable)
            before = list(before) if isinstance(before, list) else []
            self.inventory.set_variable("all", variable, _data([*before, *entries]))


def _stopped(known: dict[str, t.Any], error: Exception, strict: bool) -> OptionError:
    """Return what to say where an expression of the user's cannot be had of a node."""
    why = one_line(str(error))
    if not strict:
        return OptionError(why)
    named = "" if known["node_name"] == known["node_id"] else f" ({known['node_name']})"
    where = f"account {known['account']}, region {known['region']}, node {known['node_id']}{named}"
    return OptionError(f"{why} ({where}); with 'strict' one node's tags stop everything")


def _others(rest: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    return {"account": "others", "region": "others", "nodes": sum(one["nodes"] for one in rest)}


def _more_nodes(rest: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    return {"account": "others", "region": "others", "node_id": "others", "why": f"{len(rest)} more nodes"}
