# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""What a node's result may tell Ansible: facts about itself, and nothing that decides over it or over others."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.patchwave.aws.plugins.module_utils._core.results import shown, text

#: Variables by which Patchwave decides who is patched, when, with what and how a host is reached.
_DECIDING = r"(patch|gate|not_patchable|assume_role|node_|inventory_)\w*|platform|region|account|unread|left_out|ssm"
#: Variables by which connection, become and shell plugins decide what they run and where. Ansible keeps only those of
#: its own plugins out of facts, and not all of them.
_PLUGINS = (
    r"ssh(?!_host_key_)|sftp|scp|paramiko|aws_ssm|winrm|psrp|docker|podman|buildah|kubectl|oc|lxc|lxd|incus|jail|iocage"
    r"|chroot|zone|libvirt|qemu|nsenter|saltstack|funcd|vmware_tools|network|netconf|httpapi|grpc|persistent|command"
    r"|become|sudo|su|doas|pbrun|pfexec|pmrun|runas|run0|dzdo|ksu|machinectl|sesu|enable|shell|remote|async|pipelining"
    r"|terminal|connection|connect|control|private_key|local_tmp|transfer|delegate|ignore|check|diff"
)
_CONNECTING = (
    rf"ansible_(({_PLUGINS})(_\w+)?|host|port|user|pass|password|timeout|executable|\w+_(interpreter|exe|flags))"
)
#: What templates of ours and of the user call or ask: functions of Jinja and Ansible, a job server's numbers.
_IN_TEMPLATES = (
    r"__\w*|(awx|tower)_\w*|vars|omit|query|q|lookup|now|finalize|undef|range|dict|list|lipsum|cycler|joiner|namespace|item"
    r"|loop|self|caller|varargs|kwargs|groups|group_names|hostvars|play_hosts|environment|role_\w*|playbook_dir"
)
_NO_FACT = re.compile(f"{_DECIDING}|out_of_scope|{_IN_TEMPLATES}|{_CONNECTING}", re.IGNORECASE)
#: What Ansible takes from a result for the play as a whole, or as its own word about the task: statistics, results of a
#: loop, that C(failed_when) has decided.
_OF_ANSIBLE = (
    *("ansible_stats", "add_host", "add_group", "ansible_job_id", "attempts", "retries", "deprecations"),
    *("results", "failed_when_result", "failed_when_suppressed_exception", "include", "include_args", "censored"),
)
_FLAGS = ("changed", "failed", "skipped", "unreachable")
#: Warnings of a node, and characters of each, that are shown.
_WARNINGS, _WARNING = 20, 500


def harmless(result: t.Mapping[str, t.Any], known: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a node's result without what would change how this or another host is treated.

    Texts hold nothing that a terminal would obey, and no signature of a presigned URL.

    Args:
        result: the result of a module on the node.
        known: the host's variables of the inventory, none of which a fact replaces.
    """
    names = [
        key for key in result if isinstance(key, str) and key not in _OF_ANSIBLE and not key.startswith("_ansible")
    ]
    found = {key: cleaned(result[key]) for key in names}
    found.update({flag: bool(found[flag]) for flag in _FLAGS if flag in found})
    if "warnings" in found:
        warnings = found["warnings"] if isinstance(found["warnings"], list) else [found["warnings"]]
        found["warnings"] = [text(str(warning), _WARNING) for warning in warnings[:_WARNINGS]]
    if "exception" in found:
        found["exception"] = text(str(found["exception"]), _WARNING)
    if "ansible_facts" in found:
        facts = found["ansible_facts"] if isinstance(found["ansible_facts"], dict) else {}
        found["ansible_facts"] = {
            name: value for name, value in facts.items() if name not in known and not _NO_FACT.fullmatch(str(name))
        }
    return found


def cleaned(value: t.Any) -> t.Any:
    """Return a value whose texts hold nothing that a terminal would obey, and no signature of a presigned URL."""
    if isinstance(value, dict):
        return {key: cleaned(child) for key, child in value.items()}
    if isinstance(value, list):
        return [cleaned(child) for child in value]
    return shown(value) if isinstance(value, str) else value
