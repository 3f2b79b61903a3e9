"""What a node's result may tell Ansible."""

from __future__ import annotations

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils._facts import cleaned, harmless

KNOWN = {"node_id": "i-1", "owner": "team-a"}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "node_id",
            "region",
            "account",
            "assume_role_arn",
            "patch_windows",
            "gate_override",
            "not_patchable",
            "owner",
        ),
        *(
            "ansible_sftp_executable",
            "ansible_aws_ssm_instance_id",
            "ansible_aws_ssm_access_key_id",
            "ansible_sudo_exe",
        ),
        *("ansible_paramiko_proxy_command", "ansible_remote_tmp", "ansible_async_dir", "ansible_kubectl_namespace"),
        *(
            "awx_job_id",
            "awx_workflow_job_id",
            "tower_job_id",
            "omit",
            "query",
            "lookup",
            "dict",
            "__patch_software_done",
        ),
        *("ansible_host", "ansible_user", "ansible_python_interpreter", "ansible_shell_type", "ansible_ssh_executable"),
    ],
)
def test_facts_that_decide_over_the_node_are_left_out(name: str) -> None:
    found = harmless({"changed": False, "ansible_facts": {name: "evil", "ansible_hostname": "web-1"}}, KNOWN)
    assert found == {"changed": False, "ansible_facts": {"ansible_hostname": "web-1"}}


@pytest.mark.parametrize(
    "name",
    [
        *("services", "packages", "ansible_distribution", "ansible_user_id", "ansible_local", "ansible_hostname"),
        *("ansible_python", "ansible_python_version", "ansible_ssh_host_key_rsa_public", "ansible_system_vendor"),
    ],
)
def test_facts_of_a_node_about_itself_stay(name: str) -> None:
    assert harmless({"ansible_facts": {name: {}}}, KNOWN) == {"ansible_facts": {name: {}}}


@pytest.mark.parametrize(
    "key", ["ansible_stats", "add_host", "results", "failed_when_result", "deprecations", "_ansible_notify"]
)
def test_what_is_for_the_whole_play_is_left_out(key: str) -> None:
    assert harmless({"rc": 0, key: {"data": {}}}, KNOWN) == {"rc": 0}


def test_facts_that_are_no_mapping_are_none() -> None:
    assert harmless({"ansible_facts": ["x"]}, KNOWN) == {"ansible_facts": {}}


def test_flags_are_truths_and_texts_obey_nobody() -> None:
    warnings = ["\x1b]0;pwned\x07\x1b[2J ok: [x]\nfatal: [forged]", 5]
    answer = {"skipped": 5, "failed": "x", "warnings": warnings, "exception": 7, "diff": {"before": "\x1b[31m\n"}}
    found = harmless(answer, KNOWN)
    assert (found["skipped"], found["failed"], found["exception"]) == (True, True, "7")
    assert all(text.isprintable() for text in found["warnings"])
    assert found["diff"] == {"before": "\ufffd[31m\n"}


def test_signatures_of_urls_are_not_shown() -> None:
    url = "https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIA%2F1&X-Amz-Expires=9&X-Amz-Signature=0123&X-Amz-Security-Token=t"
    found = harmless({"msg": f"could not fetch <{url}>", "deep": [{"a": url}]}, KNOWN)
    assert "0123" not in str(found)
    assert "AKIA" not in str(found)
    assert found["msg"].endswith("X-Amz-Security-Token=...>")


def test_results_of_all_hosts_show_no_signatures_either() -> None:
    assert cleaned({"web-1": {"msg": "X-Amz-Signature=0123 \x1b"}}) == {"web-1": {"msg": "X-Amz-Signature=... \ufffd"}}
