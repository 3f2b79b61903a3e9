"""What a document is known to change, and what its parameters become."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import documents
from ansible_collections.patchwave.aws.plugins.module_utils._service.run_command import Reply, Step
from ansible_collections.patchwave.aws.plugins.plugin_utils import _run_command

OPTIONS: dict[str, Any] = dict.fromkeys(("document_version", "document_hash", "output_bucket", "output_prefix"))
ARN = "arn:aws:ssm:eu-central-1:123456789012:document/AWS-RunPatchBaseline"


def document(name: str, **parameters: Any) -> _run_command.Document:
    return _run_command.Document.of({**OPTIONS, "document": name, "parameters": parameters})


@pytest.mark.parametrize(
    ("name", "parameters", "changes"),
    [
        ("AWS-RunPatchBaseline", {"Operation": "Scan"}, False),
        (ARN, {"Operation": ["Scan"]}, False),
        ("AWS-RunPatchBaseline", {"Operation": "Install"}, True),
        ("AWS-RunPatchBaseline", {}, True),
        ("My-Document", {"Operation": "Scan"}, True),
    ],
)
def test_a_scan_alone_changes_nothing(name: str, parameters: dict[str, Any], changes: bool) -> None:
    one = document(name, **parameters)
    assert one.changes == changes
    reply = Reply(None, "", "", "c", "out", "Success", (Step("x", "Success", 0, "out"),))
    assert _run_command.result(reply, one)["changed"] == changes


def test_a_node_that_was_never_reached_is_not_changed() -> None:
    reply = Reply("unknown", "undeliverable", "no sign", "c", "", "Undeliverable")
    found = _run_command.result(reply, document("AWS-RunShellScript"))
    assert (found["changed"], found["outcome"], found["command_id"]) == (False, "unknown", "c")


def test_what_ran_too_long_may_have_changed_something() -> None:
    steps = (Step("x", "TimedOut", 137, "half"),)
    reply = Reply("unknown", "execution_timed_out", "too long", "c", "", "ExecutionTimedOut", steps)
    found = _run_command.result(reply, document("AWS-RunShellScript"))
    assert (found["changed"], found["failed"], found["rc"], found["stdout"]) == (True, True, 137, "half")


def test_parameters_are_lists_of_texts() -> None:
    given = {"a": "x", "b": ["x", 1], "c": 3, "d": True, "e": {"k": "v"}, "f": []}
    assert documents.texts(given) == {
        "a": ["x"],
        "b": ["x", "1"],
        "c": ["3"],
        "d": ["true"],
        "e": ['{"k": "v"}'],
        "f": [],
    }


def test_what_send_command_takes_besides() -> None:
    options = {**OPTIONS, "document": "d", "parameters": {}, "document_hash": "ab", "document_version": 3}
    assert _run_command.Document.of(options).request == {
        "DocumentVersion": "3",
        "DocumentHash": "ab",
        "DocumentHashType": "Sha256",
    }


def test_a_journal_tells_documents_and_parameters_apart_and_shows_none() -> None:
    works = {document("d", a="secret").work, document("d", a="x").work, document("e", a="x").work, document("d").work}
    assert len(works) == 4
    assert not any("secret" in work for work in works)
    assert document("d", a="x", b=["y"]).work == document("d", b=["y"], a="x").work
