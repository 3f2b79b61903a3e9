"""What the batch actions share: options of all hosts, the budget of hosts that work alone."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils import _action
from ansible_collections.patchwave.aws.plugins.plugin_utils._action import Asked, named, refuse_become, validated
from ansible_collections.patchwave.aws.plugins.plugin_utils._hosts import Group, Request

SPEC = {"max_in_flight": {"type": "int", "default": 0}, "secret_key": {"type": "str", "no_log": True}}


def group(*hosts: str, become_user: str = "", check_mode: bool = False, **args: Any) -> Group:
    return Group(Request(args, {}, become_user, "", check_mode), list(hosts))


def asked(*groups: Group) -> list[Asked]:
    return [Asked(one, validated(SPEC, one)) for one in groups]


def test_options_have_types_whatever_a_survey_makes_of_them() -> None:
    assert validated(SPEC, group("a", max_in_flight="7"))["max_in_flight"] == 7
    with pytest.raises(ValueError, match=r"^hosts a, b: .*max_in_flight"):
        validated(SPEC, group("a", "b", max_in_flight="many"))
    with pytest.raises(ValueError, match=r"^host a: .*max_inflight"):
        validated(SPEC, group("a", max_inflight=1))


def test_what_a_batch_has_once_must_not_differ() -> None:
    same = asked(group("a", max_in_flight=1), group("b", max_in_flight="1"))
    assert _action.shared(same, ["max_in_flight"]) == {"max_in_flight": 1}
    with pytest.raises(ValueError, match=r"^max_in_flight: differs between host a and hosts b, c;"):
        _action.shared(asked(group("a", max_in_flight=1), group("b", "c")), ["max_in_flight"])
    with pytest.raises(ValueError, match=r"^check_mode: differs between host a and host b$"):
        _action.shared(asked(group("a"), group("b", check_mode=True)), ["max_in_flight"])


def test_a_secret_that_differs_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"^secret_key: differs") as error:
        _action.shared(asked(group("a", secret_key="s3cr3t"), group("b")), ["secret_key"])
    assert "s3cr3t" not in str(error.value)


@pytest.mark.parametrize(
    ("max_errors", "spent", "left"),
    [("0", 0, "0"), ("0", 1, None), ("50%", 1, "1"), ("50%", 2, "0"), ("50%", 3, None), ("3", 1, "2")],
)
def test_a_host_that_works_alone_keeps_the_budget_of_all(max_errors: str, spent: int, left: str | None) -> None:
    options = {"max_errors": max_errors}
    assert _action._Budget(4, spent).limit(options) == (left is not None)
    assert options["max_errors"] == (left or "0")


@pytest.mark.parametrize(
    ("result", "charged"),
    [
        ({"outcome": "failed"}, True),
        ({"outcome": "unreachable", "unreachable": True}, False),
        ({"outcome": "skipped", "failed": True}, False),
        ({"outcome": "nonsense", "failed": True}, True),
        ({"failed": True}, True),
        ({"changed": True}, False),
    ],
)
def test_what_uses_up_the_budget(result: dict[str, Any], charged: bool) -> None:
    assert _action._charged(result) == charged


def test_another_user_than_root_is_refused() -> None:
    for user in ("", "root"):
        refuse_become(group("a", become_user=user), "ping")
    with pytest.raises(ValueError, match=r"^become_user: ping runs as root over Run Command, not as 'oracle'"):
        refuse_become(group("a", become_user="oracle"), "ping")


def test_a_message_names_few_hosts() -> None:
    assert named(["a"]) == "host a"
    assert named(["a", "b", "c", "d", "e"]) == "hosts a, b, c and 2 more"
