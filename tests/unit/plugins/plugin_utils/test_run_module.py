"""What each sending carries, and what stays where."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import json
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account
from ansible_collections.patchwave.aws.plugins.module_utils._service.payload import Leftover
from ansible_collections.patchwave.aws.plugins.module_utils._service.run_command import Reply, Step, Target
from ansible_collections.patchwave.aws.plugins.plugin_utils import _batch, _payload, _run_module

LIMITS: dict[str, Any] = {
    "max_in_flight": 0,
    "max_errors": "0",
    "rollout": None,
    "token": "work",
    "journal": None,
    "stop_file": None,
    "owner_lock": None,
}
SETTINGS: dict[str, Any] = {
    "bucket": "b-1",
    "bucket_owner": None,
    "prefix": "patchwave/",
    "keep_payload": False,
    "reboot": "if_required",
    "reboot_timeout": 300,
    "latest_start": "2026-11-22T04:00:00Z",
    "delivery_timeout": 600,
    "execution_timeout": 3600,
    "idempotent": True,
    "stop_at": None,
}
NODE = Target("web", "i-0123456789abcdef0", "123456789012", Account(), "eu-central-1")


def limits(**changes: Any) -> _batch.Limits:
    return _batch.Limits.of({**LIMITS, **changes})


class Shipping:
    """Ships modules to nobody and keeps what would be sent: commands, and payloads by their key."""

    def __init__(self) -> None:
        self.commands: list[Any] = []
        self.keys: list[str] = []
        self.payloads: dict[str, Any] = {}
        self.replies: dict[str, Any] = {}
        self.deleted: list[tuple[str, str]] = []
        self.stuck = False

    def delete(self, sessions: Any, objects: list[tuple[str, str]], owners: Any) -> list[Leftover]:
        self.deleted = objects
        return [Leftover(bucket, key, "AccessDenied") for bucket, key in objects if self.stuck]

    def works(self, *works: _run_module.Work, **changes: Any) -> _batch.Done:
        return _run_module.ship(
            None, works, limits(**{name: changes[name] for name in changes if name in _batch.LIMITS})
        )  # type: ignore[arg-type]

    def __call__(self, payload: bytes = b"program", interpreter: str = "", **changes: Any) -> Any:
        """Ship one module; return its command and the keys of all payloads so far."""
        settings = _run_module.Settings.of({**SETTINGS, **changes})
        module = _run_module.Module("m", payload, changes.get("objects", {}))
        environment = changes.get("environment", {})
        self.works(_run_module.Work(module, [NODE], settings, interpreter, environment), **changes)
        return self.commands[-1], self.keys


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Shipping:
    numbers = itertools.count()
    shipping = Shipping()

    @contextlib.contextmanager
    def stored(sessions: Any, payloads: Any, then: Any) -> Any:
        shipping.keys += [one.key for one in payloads]
        shipping.payloads.update({one.key: one for one in payloads})
        yield lambda: None

    def signer(sessions: Any) -> Any:
        return lambda bucket, key, seconds, owner=None: f"https://{bucket}/{key}?{seconds}&{next(numbers)}"

    def fan_out(sessions: Any, works: Any, *others: Any) -> None:
        for command, targets in works:
            shipping.commands.append(command)
            for target in targets:
                if target.host in shipping.replies:
                    command.ended(target.host, shipping.replies[target.host])

    monkeypatch.setattr(_run_module.payload_service, "stored", stored)
    monkeypatch.setattr(_run_module.payload_service, "signer", signer)
    monkeypatch.setattr(_run_module.payload_service, "delete", shipping.delete)
    monkeypatch.setattr(_run_module.run_command, "fan_out", fan_out)
    monkeypatch.setattr(_run_module.stop_marks, "look", lambda *dummy: None)
    monkeypatch.setattr(_run_module.stop_marks.Watch, "doubt", lambda self: None)
    return shipping


def config(command: Any) -> dict[str, Any]:
    script = "\n".join(command.parameters()["commands"])
    (packed,) = set(re.findall(r"PATCHWAVE_CONFIG='([^']+)'", script))
    return dict(json.loads(zlib.decompress(base64.b64decode(packed))))


def test_each_sending_has_urls_of_its_own(sent: Any) -> None:
    command, keys = sent(objects={"s3://a/x": ("a", "x"), "s3://a/y": ("a", "y")})
    first, second = config(command), config(command)
    assert first["url"] != second["url"]
    assert set(first["objects"]) == {"s3://a/x", "s3://a/y"}
    assert not set(first["objects"].values()) & set(second["objects"].values())
    assert first["objects"]["s3://a/x"].startswith("https://a/x?4200&")
    assert first["url"].startswith(f"https://b-1/{keys[0]}?900&")
    assert first["latest_start"] == 1795320000


def test_the_same_work_waits_for_its_reboot_under_one_name(sent: Any) -> None:
    first = config(sent()[0])["reboot"]
    assert config(sent()[0])["reboot"] == first
    assert config(sent(token="other")[0])["reboot"] != first
    assert config(sent(payload=b"other")[0])["reboot"] != first
    assert "reboot" not in config(sent(reboot="never")[0])


def test_a_reboot_has_time_of_its_own(sent: Any) -> None:
    command, dummy = sent()
    assert command.execution_timeout == 3600 + 60 + 60 + 300
    assert command.parameters()["executionTimeout"] == ["4020"]
    assert sent(reboot="never")[0].execution_timeout == 3660


def test_a_payload_that_goes_has_a_key_of_its_own(sent: Any) -> None:
    for keep in (False, False):
        dummy, keys = sent(keep_payload=keep)
    assert len(set(keys)) == 2
    assert {key.rpartition("/")[0] for key in keys} == {"patchwave/run/work"}


def test_a_payload_that_is_kept_is_shared_and_each_batch_has_a_permit_of_its_own(sent: Any) -> None:
    for dummy in range(2):
        command, keys = sent(keep_payload=True)
        assert [path.partition("?")[0] for path in (config(command)["url"], config(command)["permit"])] == [
            f"https://b-1/{key}" for key in keys[-2:]
        ]
    assert keys[0] == keys[2] == f"patchwave/kept/{hashlib.sha256(b'program').hexdigest()}"
    assert keys[1] != keys[3]
    assert {key.rpartition("/")[0] for key in (keys[1], keys[3])} == {"patchwave/run/work"}
    assert b"program" not in sent.payloads[keys[1]].content


def test_a_journal_names_the_payload_that_a_crash_would_leave(sent: Any, tmp_path: Path) -> None:
    for keep in (False, True):
        path = tmp_path / str(keep)
        dummy, keys = sent(keep_payload=keep, journal=str(path))
        started = json.loads(path.read_text().splitlines()[0])
        assert started["payloads"] == [{"bucket": "b-1", "key": keys[-1]}]


def test_a_payload_that_cannot_be_deleted_is_said_and_the_next_run_tries_again(sent: Shipping, tmp_path: Path) -> None:
    work = _run_module.Work(_run_module.Module("m", b"x", {}), [NODE], _run_module.Settings.of(SETTINGS))
    path, sent.stuck = str(tmp_path / "journal"), True
    for runs in (1, 2):
        (*dummy, warning) = sent.works(work, journal=path).warnings
        assert warning == (
            f"payload s3://b-1/{sent.keys[0]} could not be deleted: AccessDenied; delete it or let a lifecycle rule "
            "clear the prefix; it holds the module's arguments"
        )
        assert {key for dummy, key in sent.deleted} == set(sent.keys[:runs])
    sent.stuck = False
    assert sent.works(work, journal=path).warnings == []
    assert len(sent.deleted) == 3
    sent.works(work, journal=path)
    assert len(sent.deleted) == 1


def test_too_many_objects_are_one_line(sent: Any) -> None:
    names = [f"{number:05}" for number in range(20_000)]
    with pytest.raises(ValueError, match=r"presign: 20000 URLs are too long for one command; use fewer objects"):
        sent(objects={f"s3://a/{name}": ("a", name) for name in names})


def test_objects_are_found_wherever_they_are() -> None:
    args = {"a": "s3://b/k/x y", "list": [{"url": "s3://c/k"}, "https://s3://", "say s3://d/k"], "n": 1, "m": "s3://b"}
    assert _payload.s3_objects(args) == {"s3://b/k/x y": ("b", "k/x y"), "s3://c/k": ("c", "k")}
    assert _payload.replaced(args, {"s3://c/k": "https://c"})["list"][0] == {"url": "https://c"}


@pytest.mark.parametrize("separator", ":/")
def test_an_access_point_is_read_whole(separator: str) -> None:
    point = f"arn:aws:s3:eu-west-1:123456789012:accesspoint{separator}mine"
    assert _payload.s3_objects(f"s3://{point}/a/k") == {f"s3://{point}/a/k": (point, "a/k")}


@pytest.mark.parametrize("text", ["zip_data='UEsDBA=='", "date_time=datetime.datetime(2026, 1, 1, 2, 3, 4),"])
def test_arguments_that_look_like_ansible_s_own_lines_stay(text: str) -> None:
    program = b"params=%r,\n" % json.dumps({"content": f"x\n{text}\ny"})
    assert _payload.stable(program) == program


@pytest.mark.parametrize(
    ("moment", "archive"),
    [
        ("date_time=datetime.datetime(2026, 11, 22, 1, 2, {0}, 7, tzinfo=datetime.timezone.utc),", "zip_data='{0}',"),
        ("        zinfo.date_time = (2026, 11, 22, 1, 2, {0})", "    ZIPDATA = '{0}'"),
    ],
    ids=["since 2.19", "2.18"],
)
def test_one_module_is_one_program(moment: str, archive: str) -> None:
    programs = set()
    for second, names in ((1, "ab"), (2, "ba")):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as file:
            for name in names:
                file.writestr(zipfile.ZipInfo(name, (2026, 11, 22, 1, 2, 2 * second)), f"content of {name}")
        text = "\n".join((moment.format(second), archive.format(base64.b64encode(packed.getvalue()).decode())))
        programs.add(_payload.stable(text.encode()))
    (program,) = programs
    (packed_again,) = re.findall(rb"'([^']+)'", program)
    content = zipfile.ZipFile(io.BytesIO(base64.b64decode(packed_again)))
    assert {name: content.read(name) for name in "ab"} == {"a": b"content of a", "b": b"content of b"}


def test_each_host_is_a_target_or_says_why_not() -> None:
    node = "i-0123456789abcdef0"
    known = {
        "web": {"node_id": node, "region": "eu-central-1", "account": "123456789012", "assume_role_arn": "arn"},
        "alias": {"node_id": node, "region": "eu-central-1"},
        "win": {"node_id": "mi-0123456789abcdef0", "region": "eu-central-1", "platform": "windows"},
        "switch": {},
        "i-0123456789abcdef1": {},
    }
    targets, refused = _run_module.targets(known, known.__getitem__)
    assert [(one.host, one.id, one.access.role_arn) for one in targets] == [("web", node, "arn")]
    reasons = {host: (result["outcome"], result["reason"]) for host, result in refused.items()}
    assert reasons == {
        "alias": ("skipped", "duplicate"),
        "win": ("unsupported", "platform"),
        "switch": ("unreachable", "not_managed"),
        "i-0123456789abcdef1": ("unreachable", "not_managed"),
    }


def test_each_work_has_a_window_of_its_own(sent: Shipping) -> None:
    assert [sent(stop_at=end)[0].stop_at for end in ("2020-01-01T00:00+01:00", None)] == [1577833200.0, None]


def test_a_stop_at_that_is_no_time_is_named() -> None:
    with pytest.raises(ValueError, match=r"^stop_at: must be a date such as .*, not 'soon'$"):
        _run_module.Settings.of({**SETTINGS, "stop_at": "soon"})


def test_works_of_one_program_share_a_payload_and_others_have_their_own(sent: Shipping) -> None:
    def work(payload: bytes, **changes: Any) -> _run_module.Work:
        settings = {name: value for name, value in changes.items() if name in SETTINGS}
        module = _run_module.Module("m", payload, {})
        return _run_module.Work(
            module, [], _run_module.Settings.of({**SETTINGS, **settings}), "", changes.get("environment", {})
        )

    sent.works(
        work(b"a", execution_timeout=10),
        work(b"a", execution_timeout=20),
        work(b"b"),
        work(b"a", bucket="b-2"),
        work(b"a", environment={"A": "1"}),
    )
    urls = [config(command)["url"].partition("?")[0] for command in sent.commands]
    assert len(sent.payloads) == len(set(urls)) == 4
    assert urls[0] == urls[1]
    assert [command.execution_timeout for command in sent.commands[:2]] == [430, 440]


def test_variables_travel_in_the_payload_and_not_in_the_command(sent: Shipping) -> None:
    command, dummy = sent(environment={"TOKEN": "secret"})
    (payload,) = sent.payloads.values()
    assert config(command)["sha256"] == hashlib.sha256(payload.content).hexdigest()
    assert payload.content.startswith(b"program\n# patchwave-environment ")
    assert "secret" not in str(config(command))
    assert base64.b64encode(b"secret").decode() not in str(command.parameters())


@pytest.mark.parametrize("variables", [{"": "x"}, {"A=B": "x"}, {"A": "x\0"}, {"A": "\ud83d"}])
def test_a_variable_that_no_process_can_have_is_named(sent: Shipping, variables: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^environment: no process can have the variable '.*'; correct its name"):
        sent(environment=variables)


@pytest.mark.parametrize("interpreter", ["/usr/bin/python3\nrm", "-", " ", "--x\0"])
def test_an_interpreter_that_can_be_none_is_named(sent: Shipping, interpreter: str) -> None:
    with pytest.raises(ValueError, match=r"^interpreter: must be the path or name of a Python"):
        sent(interpreter=interpreter)


def answer(result: Any) -> Reply:
    return Reply(None, "", "", "c-1", f"PATCHWAVE1 {json.dumps(result)}", "Success")


@pytest.mark.parametrize(
    ("result", "charged"),
    [
        ({"failed": True}, True),
        ({"failed": True, "outcome": "rolled_back"}, True),
        ({"failed": True, "outcome": "skipped"}, False),
        ({"changed": True}, False),
        ({"failed": True, "outcome": "splendid"}, True),  # another module's own word
        ({"failed": True, "outcome": ["patched"]}, True),
        ({"outcome": {}}, False),
    ],
)
def test_what_uses_up_the_error_budget(sent: Shipping, result: dict[str, Any], charged: bool) -> None:
    command, dummy = sent()
    assert command.ended("web", answer(result)) == charged


def test_results_travel_in_the_journal(sent: Shipping, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    forged = {"outcome": "patched", "changed": True, "seconds": {"total": 2}, "version_before": 1, "command_id": "x"}
    sent.replies = {"web": answer(forged), "db": Reply("unknown", "no_answer", "no answer in time", "c-2")}
    nodes = [NODE, NODE._replace(host="db", id="i-1")]
    work = _run_module.Work(_run_module.Module("m", b"x", {}), nodes, _run_module.Settings.of(SETTINGS))
    refused = {"win": _batch.ended("unsupported", "platform", "no")}
    done = _run_module.ship(None, [work], limits(journal=str(path)), refused)  # type: ignore[arg-type]
    assert {host: one["outcome"] for host, one in done.results.items()} == {
        "web": "patched",
        "db": "unknown",
        "win": "unsupported",
    }
    assert done.results["web"]["command_id"] == "c-1"
    started, *lines, finished = map(json.loads, path.read_text().splitlines())
    assert (started["event"], started["pid"], finished["event"]) == ("started", os.getpid(), "finished")
    results = {line.pop("host"): line for line in lines if line.pop("event") == "result"}
    for line in results.values():
        del line["time"]
    common = {"reason": "", "msg": "", "version_before": None, "version_after": None, "seconds": None}
    common |= {"changed": False, "command_id": ""}
    engine = {**common, "source": "engine"}
    assert results == {
        "win": {**engine, "outcome": "unsupported", "reason": "platform", "msg": "no"},
        "web": {
            **common,
            "source": "node",
            "outcome": "patched",
            "changed": True,
            "seconds": 2.0,
            "version_before": "1",
            "command_id": "c-1",
        },
        "db": {
            **engine,
            "outcome": "unknown",
            "reason": "no_answer",
            "msg": "no answer in time",
            "command_id": "c-2",
        },
    }


@pytest.mark.parametrize(("name", "outcome"), [("patchwave.aws.software_patch", "failed"), ("ping", "current")])
def test_a_module_that_ends_with_an_outcome_fails_without_one(
    sent: Shipping, tmp_path: Path, name: str, outcome: str
) -> None:
    sent.replies = {"web": answer({"ping": "pong"})}
    work = _run_module.Work(_run_module.Module(name, b"x", {}), [NODE], _run_module.Settings.of(SETTINGS))
    sent.works(work, journal=str(tmp_path / "journal"))
    assert json.loads((tmp_path / "journal").read_text().splitlines()[1])["outcome"] == outcome


def test_a_batch_that_is_sent_to_nobody_has_results_all_the_same(sent: Shipping, tmp_path: Path) -> None:
    refused = {"win": _batch.ended("unsupported", "platform", "no")}
    _run_module.ship(None, [], limits(journal=str(tmp_path / "journal")), refused)  # type: ignore[arg-type]
    events = [json.loads(line)["event"] for line in (tmp_path / "journal").read_text().splitlines()]
    assert events == ["started", "result", "finished"]


@pytest.mark.parametrize("bucket", ["", "ab", "s3://example-patchwave", "example/patchwave"])
def test_a_bucket_that_can_be_none_is_named(bucket: str) -> None:
    with pytest.raises(ValueError, match=f"^bucket: must be the name of a bucket, not '{bucket}'$"):
        _run_module.Settings.of({**SETTINGS, "bucket": bucket})


def test_a_module_that_was_not_begun_is_charged_to_nobody(sent: Shipping, tmp_path: Path) -> None:
    said = 'PATCHWAVE1N {"reason": "payload_failed", "msg": "no way to the bucket"}'
    sent.replies = {"web": Reply(None, "", "", "c-1", said, "Success")}
    work = _run_module.Work(_run_module.Module("m", b"x", {}), [NODE], _run_module.Settings.of(SETTINGS))
    done = sent.works(work, journal=str(tmp_path / "journal"))
    assert done.results["web"] == {
        "unreachable": True,
        "outcome": "unreachable",
        "reason": "payload_failed",
        "msg": "no way to the bucket",
        "command_id": "c-1",
    }
    line = json.loads((tmp_path / "journal").read_text().splitlines()[1])
    assert (line["outcome"], line["reason"], line["source"]) == ("unreachable", "payload_failed", "node")
    assert not _run_module.result(sent.replies["web"])[1].charged


def failed(code: int, output: str) -> Reply:
    step = Step("aws:runShellScript", "Failed", code, output)
    return Reply(None, "", "", "c-1", output, "Failed", (step,))


@pytest.mark.parametrize(
    ("reply", "reason", "charged"),
    [
        (failed(1, ""), "script_not_started", False),
        (failed(1, "\n"), "script_not_started", False),
        (failed(126, "sh: 1: /var/lib/amazon/_script.sh: Permission denied"), "script_not_started", False),
        (failed(126, "sh: 1: /opt/x: Permission denied"), "unreadable_answer", True),
        (failed(137, ""), "unreadable_answer", True),
        (failed(1, "Traceback"), "unreadable_answer", True),
        (failed(1, 'PATCHWAVE1 {"failed": true, "reason": "x"}'), "x", True),
        (Reply(None, "", "", "c-1", "", "Success"), "unreadable_answer", True),
    ],
)
def test_a_script_that_the_agent_could_not_start_is_charged_to_nobody(reply: Reply, reason: str, charged: bool) -> None:
    result, known = _run_module.result(reply)
    assert (result["reason"], known.reason, known.charged) == (reason, reason, charged)
    assert charged or (known.outcome, result["outcome"]) == ("unreachable", "unreachable")


@pytest.mark.parametrize("owner", ["1", "123456789012 ", "x" * 12, "arn:aws:iam::123456789012:root"])
def test_an_owner_that_is_no_account_is_named(owner: str) -> None:
    with pytest.raises(ValueError, match=r"^bucket_owner: must be an account's 12 digits"):
        _run_module.Settings.of({**SETTINGS, "bucket_owner": owner})


def test_the_launcher_is_told_size_and_owner(sent: Any) -> None:
    told = config(sent(payload=b"twelve bytes", bucket_owner="123456789012")[0])
    assert (told["size"], told["owner"]) == (12, "123456789012")
    assert config(sent()[0])["owner"] is None


@pytest.mark.parametrize(
    ("said", "outcome", "failed"),
    [
        ({"outcome": "patched", "changed": True}, "patched", False),
        ({"outcome": "current"}, "current", False),
        ({"outcome": "reboot_pending"}, "reboot_pending", False),
        ({"outcome": "unreachable", "msg": "disk broken"}, "failed", True),
        ({"outcome": "banana"}, "failed", True),
        ({"outcome": "Failed", "changed": True}, "failed", True),
        ({}, "failed", True),
        ({"outcome": "rolled_back"}, "rolled_back", True),
        ({"skipped": True, "outcome": "failed"}, "failed", True),
        ({"skipped": True, "msg": "x"}, "failed", True),
        ({"outcome": "skipped", "reason": "unsafe_process"}, "skipped", True),
        ({"outcome": "unsupported"}, "unsupported", True),
        ({"outcome": "patched", "failed": True}, "failed", True),
    ],
)
def test_a_module_that_speaks_fails_unless_its_node_is_right(said: dict[str, Any], outcome: str, failed: bool) -> None:
    reply = Reply(None, "", "", "c", f"PATCHWAVE1 {json.dumps(said)}", "Success")
    found, known = _run_module.result(reply)
    assert (found["outcome"], found["failed"], known.outcome) == (outcome, failed, outcome)
    assert "skipped" not in found


@pytest.mark.parametrize(
    ("reason", "doubted"), [("withdrawn", True), ("payload_failed", True), ("disk_full", False), ("clock_wrong", False)]
)
def test_a_node_without_a_payload_is_a_reason_to_look_for_it(
    sent: Shipping, monkeypatch: pytest.MonkeyPatch, reason: str, doubted: bool
) -> None:
    doubts: list[str] = []
    monkeypatch.setattr(_run_module.stop_marks.Watch, "doubt", lambda self: doubts.append("x"))
    line = f"PATCHWAVE1N {json.dumps({'reason': reason, 'msg': 'no'})}"
    sent.replies["web"] = Reply(None, "", "", "c", line, "Success")
    sent()
    assert bool(doubts) == doubted
