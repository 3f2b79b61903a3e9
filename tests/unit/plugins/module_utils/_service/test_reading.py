"""What a node printed, whole, as Run Command's agent cuts it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service.reading import ERROR_TITLE, Reader

WHOLE = {"StandardOutputContent": "out", "StandardErrorContent": "err"}


@pytest.mark.parametrize(
    ("shown", "whole", "expected"),
    [
        ("out", {}, "out"),
        (f"{ERROR_TITLE}err", {}, f"{ERROR_TITLE}err"),
        ("o\n---Output truncated---", WHOLE, f"out{ERROR_TITLE}err"),
        (f"out{ERROR_TITLE}e\n---Error truncated----", WHOLE, f"out{ERROR_TITLE}err"),
        (f"{ERROR_TITLE}e\n---Error truncated----", {**WHOLE, "StandardOutputContent": ""}, f"{ERROR_TITLE}err"),
        ("o\n---Output truncated---", {**WHOLE, "StandardErrorContent": ""}, "out"),
    ],
)
def test_what_was_cut_is_asked_for(shown: str, whole: dict[str, Any], expected: str) -> None:
    ssm = SimpleNamespace(get_command_invocation=lambda **request: whole)
    plugin = {"Name": "run", "Output": shown}
    invocation = {"InstanceId": "i-0", "StatusDetails": "Success", "CommandPlugins": [plugin]}
    assert Reader(ssm, "AWS-RunShellScript", "here").reply("c", invocation).output == expected
