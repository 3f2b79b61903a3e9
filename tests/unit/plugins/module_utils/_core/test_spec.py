import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.spec import problems

SPEC = {
    "schema": {"type": "int", "required": True, "choices": [1]},
    "name": {"type": "str", "required": True},
    "waves": {"type": "list", "elements": "str"},
    "archive": {"type": "dict", "options": {"sha256": {"required": True}, "strip": {"type": "int"}}},
    "loud": {"type": "bool"},
}
GOOD = {"schema": 1, "name": "x", "waves": ["a"], "archive": {"sha256": "0"}, "loud": True}


def test_a_good_file_has_no_problems() -> None:
    assert problems(SPEC, GOOD) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"wave": []}, "wave: unknown key; did you mean 'waves'?"),
        ({"zzz": 1}, "zzz: unknown key; known keys: archive, loud, name, schema, waves"),
        ({"name": None}, "name: is required and missing"),
        ({"schema": 2}, "schema: must be one of 1, not 2"),
        ({"schema": True}, "schema: must be int, not True"),
        ({"waves": ["a", 7]}, "waves[1]: must be str, not 7; put it in quotes"),
        ({"waves": "a"}, "waves: must be list, not 'a'"),
        ({"archive": {"strip": 1}}, "archive.sha256: is required and missing"),
        ({"archive": {"sha256": "0", "stripp": 1}}, "archive.stripp: unknown key; did you mean 'strip'?"),
        ({"loud": "yes"}, "loud: must be bool, not 'yes'"),
        ({3: 4}, "3: unknown key; known keys: archive, loud, name, schema, waves"),
    ],
)
def test_a_problem_names_its_key(change: dict[object, object], problem: str) -> None:
    assert problems(SPEC, {**GOOD, **change}) == [problem]


def test_what_is_no_mapping_is_one_problem() -> None:
    assert problems(SPEC, ["x"]) == ["the file: must be a mapping, not a list"]
    assert problems(SPEC, None, "just") == ["just: must be a mapping, not empty"]
