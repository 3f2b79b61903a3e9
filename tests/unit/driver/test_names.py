from __future__ import annotations

import pytest

from patchwave import names


@pytest.mark.parametrize("wave", ["wave_1", "Wave-1.b", "_x", "w" * 50])
def test_a_usual_name_stays_as_it_is(wave: str) -> None:
    assert names.short(wave) == wave


@pytest.mark.parametrize(
    "wave", ["w" * 51, "w" * 300, "a/b", "../up", "..", ".hidden", "-x", "", "é", "a b", "a\nb", "\ud800", "/", "x\0"]
)
def test_an_odd_or_long_one_becomes_a_file_name_and_a_token_of_its_own(wave: str) -> None:
    short = names.short(wave)
    assert len(f"{'0' * 16} {short}") <= 70
    assert short.isascii()
    assert short.replace("-", "x").replace("_", "x").isalnum()
    assert short not in (names.short(wave + "x"), names.short("x" + wave))


@pytest.mark.parametrize("host", ["i-0123456789abcdef0", "mi-1", "web-1.example.com", "10.0.0.1", "fe80::1", "é"])
def test_a_host_that_ansible_takes_for_itself(host: str) -> None:
    assert names.limit_problem(host, {"web"}) == ""


@pytest.mark.parametrize(
    "host", ["!canary", "&x", "~x", "@file", "-x", "a:b", "a,b", "a;b", "x[0]", "*", "a?", "{a}", "a b", "", "a\x07"]
)
def test_a_host_that_ansible_takes_for_a_pattern(host: str) -> None:
    assert names.limit_problem(host, ()) == "is a pattern to Ansible"


def test_a_host_that_is_called_like_a_group_would_be_the_group() -> None:
    assert names.limit_problem("web", {"web"}) == "is also the name of a group"
