"""Own documents of schema 2.2: several steps, preconditions, and how their results are read."""

import json

import pytest
from botocore.exceptions import ClientError

STEPS = [
    {"action": "aws:runShellScript", "name": "First", "inputs": {"runCommand": ["echo {{ word }}", "{{ lines }}"]}},
    {
        "action": "aws:runPowerShellScript",
        "name": "Windows",
        "precondition": {"StringEquals": ["platformType", "Windows"]},
        "inputs": {"runCommand": ["Get-Date"]},
    },
    {
        "action": "aws:runShellScript",
        "name": "Last",
        "inputs": {"runCommand": ["pwd; exit {{ code }}"], "workingDirectory": "/opt"},
    },
]
PARAMETERS = {
    "word": {"type": "String", "allowedValues": ["hello", "bye"]},
    "lines": {"type": "StringList", "default": ["echo one", "echo two"]},
    "code": {"type": "String", "default": "0", "allowedPattern": "[0-9]+"},
}


def create(ssm, name, steps, parameters=None):
    content = {"schemaVersion": "2.2", "parameters": parameters or {}, "mainSteps": steps}
    ssm.create_document(Name=name, DocumentType="Command", Content=json.dumps(content))


@pytest.fixture(scope="module")
def document(lab, ssm):
    create(ssm, "ThreeSteps", STEPS, PARAMETERS)
    return "ThreeSteps"


def run(lab, name, node="web-01", **parameters):
    sent = lab.client("ssm").send_command(
        InstanceIds=lab.ids(node),
        DocumentName=name,
        Parameters={key: [value] for key, value in parameters.items()},
        OutputS3BucketName="results",
    )["Command"]
    (found,) = lab.finished(sent["CommandId"]).values()
    return sent["CommandId"], found


def code(caught):
    return caught.value.response["Error"]["Code"]


def test_steps_run_one_after_the_other_with_their_parameters(lab, document):  # aws.md 1.7
    _, found = run(lab, document, word="hello")
    assert found["Status"] == "Success"
    plugins = found["CommandPlugins"]
    assert [each["Name"] for each in plugins] == ["First", "Windows", "Last"]
    assert plugins[0]["Output"] == "hello\none\ntwo\n"
    assert plugins[2]["Output"] == "/opt\n"


def test_an_unmet_precondition_skips_the_step_as_a_success(lab, document):  # aws.md 1.7
    skipped = run(lab, document, word="hello")[1]["CommandPlugins"][1]
    assert (skipped["Status"], skipped["ResponseCode"]) == ("Success", 0)
    assert skipped["Output"] == (
        "Step execution skipped due to unsatisfied preconditions: "
        "'\"StringEquals\": [platformType, Windows]'. Step name: Windows"
    )


def test_a_document_of_several_steps_needs_the_name_of_one(lab, ssm, document):  # aws.md 2
    command_id, found = run(lab, document, word="bye", code="3")
    assert found["Status"] == "Failed"
    where = {"CommandId": command_id, "InstanceId": lab.ids("web-01")[0]}
    with pytest.raises(ClientError) as caught:
        ssm.get_command_invocation(**where)
    assert code(caught) == "InvalidPluginName"
    first, last = (ssm.get_command_invocation(**where, PluginName=name) for name in ("First", "Last"))
    assert (first["ResponseCode"], first["StandardOutputContent"]) == (0, "bye\none\ntwo\n")
    assert (last["ResponseCode"], last["StandardOutputContent"]) == (3, "/opt\n")
    assert last["PluginName"] == "Last"


def test_output_goes_to_a_key_with_the_name_of_the_step(lab, document):  # aws.md 1.8
    command_id, found = run(lab, document, word="hello")
    assert found["StandardOutputUrl"] == ""
    key = f"{command_id}/{found['InstanceId']}/awsrunShellScript/First/stdout"
    assert lab.client("s3").get_object(Bucket="results", Key=key)["Body"].read() == b"hello\none\ntwo\n"


def test_a_failed_step_does_not_stop_the_next(lab, ssm):  # aws.md 1.7
    create(ssm, "FailsFirst", [{**STEPS[0], "inputs": {"runCommand": ["exit 5"]}}, STEPS[2]], PARAMETERS)
    _, found = run(lab, "FailsFirst", word="hello")
    assert found["Status"] == "Failed"
    assert [each["ResponseCode"] for each in found["CommandPlugins"]] == [5, 0]


def flow(lab, name, *steps):
    """Run steps given as (shell, further inputs); how the command ended, the steps' codes, and who was skipped."""
    made = [
        {"action": "aws:runShellScript", "name": f"Step{place}", "inputs": {"runCommand": [shell], **inputs}}
        for place, (shell, inputs) in enumerate(steps)
    ]
    create(lab.client("ssm"), name, made)
    command_id, found = run(lab, name)
    plugins = found["CommandPlugins"]
    skipped = [each["Name"] for each in plugins if "skipped due to prior step with an exit condition" in each["Output"]]
    return command_id, (found["Status"], [each["ResponseCode"] for each in plugins], skipped)


@pytest.mark.parametrize(("exit_code", "status"), [(168, "Success"), (169, "Failed")])
def test_168_and_169_skip_the_rest(lab, exit_code, status):  # aws.md 1.7
    steps = ((f"exit {exit_code}", {}), ("exit 5", {}), ("exit 6", {"finallyStep": True}), ("exit 7", {}))
    assert flow(lab, f"Skips{exit_code}", *steps)[1] == (status, [exit_code, 0, 0, 0], ["Step1", "Step2", "Step3"])


@pytest.mark.parametrize(
    ("shell", "inputs", "expected"),
    [
        ("exit 5", {"onFailure": "exit"}, ("Failed", [5, 0, 0], ["Step1"])),
        ("exit 5", {"onFailure": "successAndExit"}, ("Success", [168, 0, 0], ["Step1"])),
        ("exit 0", {"onFailure": "exit"}, ("Success", [0, 0, 0], [])),
        ("exit 0", {"onSuccess": "exit"}, ("Success", [0, 0, 0], ["Step1"])),
        ("exit 5", {"onSuccess": "exit"}, ("Failed", [5, 0, 0], [])),
    ],
)
def test_a_step_may_end_the_document_but_for_the_final_step(lab, shell, inputs, expected):  # runpluginutil.go
    name = "-".join(["Flow", shell[-1], *inputs, *inputs.values()])
    command_id, found = flow(lab, name, (shell, inputs), ("true", {}), ("echo last", {"finallyStep": True}))
    assert found == expected
    where = {"CommandId": command_id, "InstanceId": lab.ids("web-01")[0]}
    shown = lab.client("ssm").get_command_invocation
    assert shown(**where, PluginName="Step2")["StandardOutputContent"] == "last\n"
    noted = shown(**where, PluginName="Step0")["StandardOutputContent"]
    assert ("onFailure property" in noted) == (shell == "exit 5" and "onFailure" in inputs)


@pytest.mark.parametrize(
    ("parameters", "name", "expected"),
    [
        ({}, "ThreeSteps", "InvalidParameters"),
        ({"word": ["hullo"]}, "ThreeSteps", "InvalidParameters"),
        ({"word": ["hello"], "code": ["x"]}, "ThreeSteps", "InvalidParameters"),
        ({}, "NoSuchDocument", "InvalidDocument"),
    ],
)
def test_what_does_not_fit_the_document_is_refused(lab, ssm, document, parameters, name, expected):  # aws.md 1.1
    with pytest.raises(ClientError) as caught:
        ssm.send_command(InstanceIds=lab.ids("web-01"), DocumentName=name, Parameters=parameters)
    assert code(caught) == expected


@pytest.mark.parametrize(
    "content",
    [
        {"schemaVersion": "2.2"},
        {"schemaVersion": "2.2", "mainSteps": [{"action": "aws:runShellScript"}]},
        {
            "schemaVersion": "2.2",
            "mainSteps": STEPS[:1],
            "parameters": {"word": {"type": "String", "allowedPattern": "(("}},
        },
    ],
)
def test_a_document_that_makes_no_sense_is_refused(lab, ssm, content):  # aws.md 1.1
    name = f"Odd{abs(hash(str(content)))}"
    ssm.create_document(Name=name, DocumentType="Command", Content=json.dumps(content))
    with pytest.raises(ClientError) as caught:
        ssm.send_command(InstanceIds=lab.ids("web-01"), DocumentName=name)
    assert code(caught) == "InvalidDocument"


def test_an_action_that_the_agent_lacks_fails_its_step(lab, ssm):  # runpluginutil.go
    create(ssm, "Docker", [{"action": "aws:runDockerAction", "name": "D", "inputs": {"action": "Info"}}])
    _, found = run(lab, "Docker")
    assert "aws:runDockerAction is not supported" in found["CommandPlugins"][0]["Output"]


def test_a_document_says_for_whom_it_is_and_what_it_takes(ssm, document):  # DescribeDocument, API reference
    found = ssm.describe_document(Name="AWS-RunPowerShellScript")["Document"]
    assert (found["Owner"], found["PlatformTypes"], found["DocumentType"]) == ("Amazon", ["Windows"], "Command")
    assert [each["Name"] for each in found["Parameters"] if "DefaultValue" not in each] == ["commands"]
    found = ssm.describe_document(Name=document)["Document"]
    assert found["PlatformTypes"] == ["Linux", "MacOS", "Windows"]
    assert found["Parameters"][:2] == [
        {"Name": "word", "Type": "String"},
        {"Name": "lines", "Type": "StringList", "DefaultValue": "echo one,echo two"},
    ]
    with pytest.raises(ClientError) as caught:
        ssm.describe_document(Name="AWS-NoSuchDocument")
    assert code(caught) == "InvalidDocument"
