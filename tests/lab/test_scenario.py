"""Scenario files are read strictly; output is cut exactly."""

import pytest

from patchwave_lab import scenario
from patchwave_lab.errors import LabError
from patchwave_lab.ssm import output

HEAD = 'accounts: ["111111111111"]\nregions: [eu-west-1]\n'


def parse(text):
    return scenario.parse("my.yml", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "nodez: []\n", "my.yml: unknown key nodez"),
        (HEAD + "settings: {workerz: 3}\n", "my.yml: unknown key settings.workerz"),
        (HEAD + "settings: {workers: many}\n", "my.yml: settings.workers: must be a number"),
        (HEAD + "settings: {consistency_seconds: null}\n", "my.yml: settings.consistency_seconds: must be a number"),
        (HEAD + "nodes: [{name: a_b}]\n", "my.yml: nodes[0].name: must be a host name"),
        (HEAD + "nodes: [{name: a, type: metal}]\n", "my.yml: nodes[0].type: 'metal' is not one of ec2, hybrid"),
        (
            HEAD + "nodes: [{name: a, region: us-east-1}]\n",
            "my.yml: nodes[0].region: 'us-east-1' is not one of eu-west-1",
        ),
        (HEAD + "nodes: [{name: a, agent: maybe}]\n", "my.yml: nodes[0].agent: 'maybe' is not one of on, off"),
        (HEAD + "nodes: [{name: a, agent: [on]}]\n", "my.yml: nodes[0].agent: [True] is not one of on, off"),
        (HEAD + "nodes: [{name: a, count: 0}]\n", "my.yml: nodes[0].count: must be a whole number"),
        (HEAD + "nodes: [{name: a, tags: {b: [c]}}]\n", "my.yml: nodes[0].tags.b: a tag's value must be text"),
        (HEAD + "nodes: [{name: a}, {name: a}]\n", "my.yml: nodes: two nodes named a"),
        (
            HEAD + "nodes: [{name: a, files: {/etc/../x: y}}]\n",
            "my.yml: nodes[0].files./etc/../x: must be an absolute path",
        ),
        (
            HEAD + "nodes: [{name: a, files: {/boot/x: y}}]\n",
            "my.yml: nodes[0].files./boot/x: must be an absolute path",
        ),
        ("accounts: [111111111111]\nregions: [eu-west-1]\n", "my.yml: accounts: 111111111111 is not 12 digits, quoted"),
        ("accounts: ['111111111111']\n", "my.yml: regions: must be a list"),
        ("- a\n", "my.yml: the file: must be a mapping"),
        ("a: [\n", "my.yml: not YAML"),
    ],
)
def test_the_first_mistake_is_one_line_that_names_file_and_key(text, said):
    with pytest.raises(LabError) as caught:
        parse(text)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", scenario.builtin_names())
def test_ready_scenarios_can_be_read(name):
    assert scenario.parse(*scenario.read_text(name)).nodes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faults: [{name: gremlins}]\n", "my.yml: faults[0]: no fault 'gremlins'"),
        ("faults: [{name: throttle, rate: fast}]\n", "my.yml: faults[0]: rate of fault throttle must be a number"),
        (
            "faults: [{name: lost-reply, count: 1.5}]\n",
            "my.yml: faults[0]: count of fault lost-reply must be a whole number, 1 or more",
        ),
        ("faults: [{name: lost-reply, nodes: a}]\nnodes: [{name: a}]\n", "my.yml: faults[0]: nodes must be a list"),
        ("faults: [{name: lost-reply, nodes: [b]}]\nnodes: [{name: a}]\n", "my.yml: faults[0]: no node b"),
        (
            "faults: [{name: region-down, region: eu-wset-1}]\n",
            "my.yml: faults[0]: no region 'eu-wset-1' in this lab; there are: eu-west-1, us-east-1",
        ),
        (
            "settings: {percent_rounding: sideways}\n",
            "my.yml: settings.percent_rounding: 'sideways' is not one of down, up",
        ),
        ("nodes: [{name: a, platform: Windows}]\n", "my.yml: nodes[0].platform: only a virtual node can be Windows"),
    ],
)
def test_mistakes_in_faults_and_words_are_named(text, said):
    with pytest.raises(LabError) as caught:
        parse(HEAD + text)
    assert str(caught.value).startswith(said)


def test_count_makes_numbered_nodes():
    nodes = parse(HEAD + "nodes: [{name: web, count: 3, tags: {Patch Group: web, PatchWave: 1}}]\n").nodes
    assert [node.name for node in nodes] == ["web-01", "web-02", "web-03"]
    assert nodes[2].tags == {"Name": "web-03", "Patch Group": "web", "PatchWave": "1"}


@pytest.mark.parametrize(("written", "on"), [("on", True), ("off", False), ('"on"', True), ('"off"', False)])
def test_agent_may_be_quoted_or_not(written, on):
    assert parse(HEAD + f"nodes: [{{name: a, agent: {written}}}]\n").nodes[0].agent_on is on


@pytest.mark.parametrize("stdout", [0, 1, 1200, 1239, 1240, 2450, 2499, 2500, 2501, 9000])
@pytest.mark.parametrize("stderr", [0, 1, 1200, 1239, 1240, 2450, 2500, 9000])
def test_combined_output_never_exceeds_2500(stdout, stderr):  # aws.md 2
    text = output.combine("o" * stdout, "e" * stderr)
    assert len(text) <= 2500
    assert ("truncated" in text) == (text.count("o") - text.count("Output") < stdout or "Error truncated" in text)


def test_a_text_that_would_just_fit_is_cut():  # aws.md 2
    assert output.combine("o" * 2499, "") == "o" * 2499
    assert output.combine("o" * 2500, "").endswith("\n---Output truncated---")
