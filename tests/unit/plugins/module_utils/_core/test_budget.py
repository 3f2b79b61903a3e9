import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core import budget


@pytest.mark.parametrize(
    ("value", "nodes", "allowed"),
    [(0, 50, 0), (3, 50, 3), ("3", 50, 3), ("10%", 50, 5), ("10%", 49, 4), ("1%", 50, 0), ("100%", 7, 7), (80, 7, 80)],
)
def test_a_percentage_is_rounded_down(value: object, nodes: int, allowed: int) -> None:
    assert budget.allowed(value, nodes) == allowed


@pytest.mark.parametrize("value", ["", "five", -1, "101%", "\u0663", "\uff15%", "5 %", 2.5, None, True])
def test_what_is_no_budget_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a number of nodes or a percentage"):
        budget.allowed(value, 10)


def test_a_budget_of_two_stops_at_the_third_failure() -> None:
    spent = budget.Budget(2, 100)
    for outcome in ("failed", "rolled_back", "patched", "current"):
        spent.charge(outcome)
    assert spent.exceeded() is None
    assert spent.errors_left() == 0
    spent.charge("unknown")
    assert spent.exceeded() == "3 nodes failed, 2 allowed"
    assert spent.errors_left() == 0


def test_unreachable_nodes_have_a_budget_of_their_own() -> None:
    spent = budget.Budget(0, 1)
    spent.charge("unreachable")
    assert spent.exceeded() is None
    spent.charge("unreachable")
    assert spent.exceeded() == "2 nodes were unreachable, 1 allowed"


@pytest.mark.parametrize(
    ("value", "nodes", "number"),
    [("50%", 4, 2), ("50%", 5, 2), ("50%", 1, 1), ("1%", 10, 1), ("0%", 10, 0), (0, 10, 0), (3, 2, 3), ("100%", 7, 7)],
)
def test_the_budget_of_a_wave_is_at_least_one_node(value: int | str, nodes: int, number: int) -> None:
    assert budget.allowed_in_wave(value, nodes) == number
