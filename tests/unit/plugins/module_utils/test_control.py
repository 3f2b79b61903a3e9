from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control


def test_slots_are_shared_and_come_back() -> None:
    control = Control(5, 0, lambda: False)
    assert [control.exchange(0, 3), control.exchange(0, 3), control.exchange(0, 3)] == [3, 2, 0]
    assert control.exchange(2, 1) == 1
    assert control.exchange(0, 9) == 1


def test_without_a_limit_there_are_always_slots() -> None:
    assert Control(0, 0, lambda: False).exchange(0, 10_000) == 10_000


def test_a_budget_of_one_stops_at_the_second_failure() -> None:
    control = Control(0, 1, lambda: False)
    control.charge()
    assert (control.stop_reason(), control.errors_left()) == ("", 0)
    control.charge()
    assert (control.stop_reason(), control.errors_left()) == ("max_errors_reached", 0)


def test_who_asks_to_stop_is_heard_at_once() -> None:
    asked: list[int] = []
    control = Control(0, 9, lambda: bool(asked))
    assert control.stop_reason() == ""
    asked.append(1)
    assert control.stop_reason() == "asked_to_stop"


def test_what_is_in_flight_already_has_its_slots_also_beyond_the_limit() -> None:
    control = Control(3, 0, lambda: False)
    control.claim(5)
    assert [control.exchange(0, 1), control.exchange(2, 1), control.exchange(1, 4)] == [0, 0, 1]


def test_who_breaks_off_stops_everybody() -> None:
    control = Control(3, 0, lambda: False)
    control.break_off()
    assert control.stop_reason() == "broken_off"
