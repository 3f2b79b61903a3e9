from __future__ import annotations

from pathlib import Path

import pytest

from patchwave import cli, environment, output

INI = "[WARNING]: Failed to parse inventory with 'ini' plugin: Invalid host pattern 'plugin:'\n"
END = "[ERROR]: Completely failed to parse inventory source /etc/my estate/a.yml\n"


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (
            "[WARNING]: Failed to parse inventory with 'auto' plugin: patchwave.aws.patch_groups: select: is not "
            "JMESPath: [0\nFailed to parse inventory with 'auto' plugin.\n" + INI + END,
            "/etc/my estate/a.yml: select: is not JMESPath: [0",
        ),
        (
            "[WARNING]: Failed to parse inventory with 'auto' plugin: YAML parsing failed: while parsing\n"
            "Origin: /etc/x:3:1\n" + INI + END,
            "/etc/my estate/a.yml: YAML parsing failed: while parsing",
        ),
        ("something else", "src: something else"),
        ("", "src: ansible-inventory could not read it"),
    ],
)
def test_of_all_that_ansible_prints_the_file_and_the_reason_are_told(printed: str, line: str) -> None:
    assert output.why_no_inventory(Path("src"), printed) == line


@pytest.mark.parametrize("arguments", [[], ["aply"], ["apply"], ["apply", "--outptu", "x", "r.yml"], ["apply", "x"]])
def test_a_wrong_command_line_does_not_end_like_nodes_that_need_a_person(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["patchwave", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1


@pytest.mark.parametrize(("own", "most", "forks"), [("", 0, "20"), ("", 5, "5"), ("", 200, "20"), ("50", 200, "50")])
def test_no_more_nodes_at_once_than_allowed_over_ansibles_own_connection(
    own: str, most: int, forks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_FORKS", own)
    assert environment.ansible(Path("cache"), most)["ANSIBLE_FORKS"] == forks
