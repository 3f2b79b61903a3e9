"""The engine of one account and region against a Systems Manager in virtual time, where answers can be lost."""

from __future__ import annotations

import datetime
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._service import region_run, sending
from ansible_collections.patchwave.aws.plugins.module_utils._service.access import Account
from ansible_collections.patchwave.aws.plugins.module_utils._service.control import Control
from ansible_collections.patchwave.aws.plugins.module_utils._service.run_command_types import (
    Command,
    Reply,
    Sent,
    Target,
)
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
#: Seconds that a call takes.
CALL = 0.1


class Clock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return EPOCH.timestamp() + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Killed(BaseException):
    """The controller was killed."""


class Service:
    """Run Command of one account and region. `run` says how long a node's nth run takes; None: it never answers."""

    def __init__(self, nodes: list[str], run: Callable[[str, int], float | None], clock: Clock) -> None:
        self.nodes, self.run, self.clock = nodes, run, clock
        self.platforms: dict[str, str] = {}
        self.chance = random.Random(1)
        self.calls: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.commands: dict[str, dict[str, Any]] = {}
        #: What goes wrong with the next sendings: `throttled`, `request` or `answer` lost, `500`, or an error's code.
        self.losses: list[str] = []
        #: Steps that the controller may still take before it is killed.
        self.life = float("inf")
        #: What InvalidInstanceId and the like say of these nodes; they make the whole call fail.
        self.bad: dict[str, str] = {}
        #: Seconds after a sending when AWS itself ends an invocation; 0: it does not.
        self.total_timeout = 0.0
        self.quota = 0
        #: Seconds after which a command is listed.
        self.lag = 0.0
        #: Says the error's code with which an operation fails now; nothing: it does not.
        self.fails: Callable[[str], str] = lambda operation: ""
        #: Seconds until an agent begins with a command; by default at once.
        self.delay: Callable[[str], float] = lambda node: 0.0
        #: Nodes that were asked not to begin, by call.
        self.cancelled: list[list[str]] = []
        self.output = ""
        self.undeliverable: set[tuple[str, int]] = set()
        #: StatusDetails, code and output of a node's first, second, ... command, where they are not a success.
        self.ends_as: dict[tuple[str, int], tuple[str, int, str]] = {}

    def get_paginator(self, operation: str) -> Any:
        def paginate(PaginationConfig: dict[str, int], **request: Any) -> Any:
            (pair,) = getattr(self, "_" + operation)(**request).items()
            size = PaginationConfig["PageSize"]
            for start in range(0, max(1, len(pair[1])), size):
                self._call(operation)
                yield {pair[0]: pair[1][start : start + size]}

        return SimpleNamespace(paginate=paginate)

    def step(self) -> None:
        self.life -= 1
        if self.life < 0:
            raise Killed

    def _call(self, operation: str) -> None:
        self.step()
        self.calls[operation] += 1
        self.clock.now += CALL
        code = self.fails(operation)
        if code:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    def _describe_instance_properties(self) -> dict[str, Any]:
        return {
            "InstanceProperties": [
                {"InstanceId": node, "PingStatus": "Online", "PlatformType": self.platforms.get(node, "Linux")}
                for node in self.nodes
            ]
        }

    def send_command(self, InstanceIds: list[str], Comment: str, **request: Any) -> dict[str, Any]:
        self._call("send_command")
        assert len(InstanceIds) <= 50
        for code, message in self._refusals(InstanceIds):
            raise ClientError({"Error": {"Code": code, "Message": message}}, "SendCommand")
        loss = self.losses.pop(0) if self.losses else ""
        if loss == "connection":
            raise EndpointConnectionError(endpoint_url="https://x")
        if loss == "throttled":
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "SendCommand")
        command = {} if loss == "request" else self._taken(InstanceIds, Comment, request)
        self.step()
        if loss == "500":
            details: Any = {"Error": {"Code": "InternalServerError"}, "ResponseMetadata": {"HTTPStatusCode": 500}}
            raise ClientError(details, "SendCommand")
        if loss:
            raise ReadTimeoutError(endpoint_url="https://x")
        return {"Command": command}

    def _refusals(self, nodes: list[str]) -> Iterator[tuple[str, str]]:
        for node in nodes:
            if node in self.bad:
                code, _, message = self.bad[node].partition(" ")
                yield code, message

    def _taken(self, InstanceIds: list[str], Comment: str, request: dict[str, Any]) -> dict[str, Any]:
        ends = {}
        for place, node in enumerate(InstanceIds):
            self.sent[node] += 1
            seconds = self.run(node, self.sent[node])
            begun = self.clock.now + self.delay(node) + 0.05 * place.bit_length() + self.chance.uniform(0.05, 0.5)
            done = float("inf") if seconds is None else begun + seconds
            details = "Undeliverable" if (node, self.sent[node]) in self.undeliverable else "Success"
            details = self.ends_as.get((node, self.sent[node]), (details,))[0]
            ends[node] = (begun, done, done + self.chance.uniform(0.05, 0.5), details)
        dropped = self.quota and self.pending() + len(InstanceIds) > self.quota
        command = {
            "CommandId": f"c-{len(self.commands) + 1}",
            "Comment": Comment,
            "RequestedDateTime": EPOCH + datetime.timedelta(seconds=self.clock.now),
            "StatusDetails": "RateExceeded" if dropped else "InProgress",
            "nodes": {} if dropped else ends,
            "request": request,
        }
        if dropped:
            self.sent.subtract(InstanceIds)
        self.commands[command["CommandId"]] = command
        return command

    def most_in_flight(self) -> int:
        """Return how many nodes worked at once at most, each from the sending until its end was known here."""
        spans = [
            (command["RequestedDateTime"].timestamp() - EPOCH.timestamp(), seen)
            for command in self.commands.values()
            for *_, seen, _ in command["nodes"].values()
        ]
        return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)

    def pending(self) -> int:
        """Return how many nodes have not ended."""
        return sum(seen > self.clock.now for one in self.commands.values() for *_, seen, _ in one["nodes"].values())

    def list_commands(self, CommandId: str) -> dict[str, Any]:
        self._call("list_commands")
        return {"Commands": [self.commands[CommandId]]}

    def _list_commands(self, Filters: list[dict[str, str]]) -> dict[str, Any]:
        found = []
        for command in self._after(Filters):
            seen = [seen for *_, seen, _ in command["nodes"].values()]
            completed = sum(each <= self.clock.now for each in seen)
            if completed < len(seen) or len(Filters) == 1:
                found.append({**command, "CompletedCount": completed})
        return {"Commands": found}

    def _list_command_invocations(
        self, Details: bool, CommandId: str = "", Filters: list[dict[str, str]] | None = None
    ) -> dict[str, Any]:
        chosen = [self.commands[CommandId]] if CommandId else self._after(Filters or [])
        return {"CommandInvocations": [self._invocation(one, node) for one in chosen for node in one["nodes"]]}

    def _after(self, filters: list[dict[str, str]]) -> list[dict[str, Any]]:
        after = datetime.datetime.fromisoformat(filters[0]["value"])
        until = EPOCH + datetime.timedelta(seconds=self.clock.now - self.lag)
        return [command for command in self.commands.values() if after < command["RequestedDateTime"] <= until]

    def cancel_command(self, CommandId: str, InstanceIds: list[str]) -> None:
        self._call("cancel_command")
        self.cancelled.append(InstanceIds)
        ends = self.commands[CommandId]["nodes"]
        ends.update({node: (self.clock.now, self.clock.now, self.clock.now, "Cancelled") for node in InstanceIds})

    def get_command_invocation(self, CommandId: str, InstanceId: str) -> dict[str, Any]:
        self._call("get_command_invocation")
        return {"StandardOutputContent": f"{CommandId} {InstanceId}"}

    def _invocation(self, command: dict[str, Any], node: str) -> dict[str, Any]:
        begun, done, seen, details = command["nodes"][node]
        running = {"CommandId": command["CommandId"], "InstanceId": node}
        if seen > self.clock.now:
            expired = self.total_timeout and command["RequestedDateTime"] + datetime.timedelta(
                seconds=self.total_timeout
            ) < EPOCH + datetime.timedelta(seconds=self.clock.now)
            age = (EPOCH - command["RequestedDateTime"]).total_seconds() + self.clock.now
            word = "DeliveryTimedOut" if expired else "Delayed" if age > 15 and begun > self.clock.now else "InProgress"
            return {**running, "Status": "TimedOut" if expired else word, "StatusDetails": word}
        dummy, code, output = self.ends_as.get((node, self.sent[node]), ("", 0, ""))
        plugin = {
            "Name": "run",
            "ResponseCode": code,
            "Output": output or self.output or f"{command['CommandId']} {node}",
            "ResponseStartDateTime": EPOCH + datetime.timedelta(seconds=begun),
            "ResponseFinishDateTime": EPOCH + datetime.timedelta(seconds=done),
        }
        status = details if details in ("Success", "Cancelled") else "Failed"
        return {**running, "Status": status, "StatusDetails": details, "CommandPlugins": [plugin]}


NODES = ["i-0000000a", "i-0000000b"]


def many(count: int) -> list[str]:
    return [f"i-{number:08x}" for number in range(count)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(region_run, "time", clock)
    monkeypatch.setattr(sending, "time", clock)
    random.seed(1)
    return clock


@pytest.fixture
def service(clock: Clock) -> Service:
    return Service(NODES, lambda node, ordinal: 1.0, clock)


class Run:
    """Runs commands everywhere and keeps what was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ends: dict[str, float] = {}
        self.stop_at = float("inf")

    def __call__(
        self,
        service: Service,
        earlier: list[Sent] | None = None,
        hosts: list[str] | None = None,
        slots: int = 0,
        errors: int = 0,
        idempotent: bool = True,
        charged: Callable[[Reply], bool] = lambda reply: False,
        ready: Callable[[], None] = lambda: None,
        control: Control | None = None,
        works: list[tuple[list[str], dict[str, Any]]] | None = None,
    ) -> dict[str, Reply]:
        """Run; works are nodes and what their command has of its own, by default all nodes and nothing."""
        made: list[str] = []
        replies: dict[str, Reply] = {}

        def fresh() -> dict[str, list[str]]:
            made.append(f"url-{len(made)}")
            return {"commands": [made[-1]]}

        def tell(kind: str, event: dict[str, Any]) -> None:
            service.step()
            self.events.append((kind, {**event, "at": service.clock.now}))
            service.step()

        def ended(host: str, reply: Reply) -> bool:
            service.step()
            assert host not in replies, "ended twice"
            replies[host], self.ends[host] = reply, service.clock.now
            service.step()
            return charged(reply)

        command = Command("AWS-RunShellScript", fresh, "token", 600, 600, ended, idempotent)
        sent = [
            (
                command._replace(**own),
                [Target(node, node, "123456789012", Account(), "eu-west-1") for node in nodes],
            )
            for nodes, own in works or [(hosts or service.nodes, {})]
        ]
        control = control or Control(slots, errors, lambda: self.stop_at <= service.clock.now)
        clients = sending.Clients(service, service)
        region_run.RegionRun(clients, sent, control, tell, earlier or [], ready).run()
        return replies

    def may_have_been_sent(self) -> set[str]:
        """Return the nodes that something was sent to by what is in the journal."""
        refused = {event["comment"] for kind, event in self.events if kind == "refused"}
        intents = [event for kind, event in self.events if kind == "intent"]
        return {node for one in intents if one["comment"] not in refused for node in one["nodes"]}

    def journal(self) -> list[Sent]:
        """Return the sendings that a next run finds in the journal, also those that AWS refused."""
        intents = [event for kind, event in self.events if kind == "intent"]
        return [Sent(one["comment"], tuple(one["nodes"]), EPOCH.timestamp() + one["at"]) for one in intents]


@pytest.fixture
def run() -> Run:
    return Run()


def outcomes(replies: dict[str, Reply]) -> set[tuple[str | None, str]]:
    return {(reply.outcome, reply.reason) for reply in replies.values()}


ANSWERED = {(None, "")}


@pytest.mark.parametrize("loss", ["answer", "500"])
def test_a_sending_whose_answer_was_lost_is_found_and_not_repeated(service: Service, run: Run, loss: str) -> None:
    service.losses = [loss]
    replies = run(service)
    assert service.calls["send_command"] == 1
    assert {reply.output for reply in replies.values()} == {f"c-1 {node}" for node in NODES}


def test_a_sending_whose_answer_was_lost_is_listed_late(service: Service, run: Run) -> None:
    service.losses, service.lag = ["answer"], 7
    assert outcomes(run(service)) == ANSWERED
    assert service.calls["send_command"] == 1


def test_a_sending_is_not_repeated_where_nobody_can_tell_what_became_of_it(service: Service, run: Run) -> None:
    service.losses = ["answer"]
    service.fails = lambda operation: "InternalServerError" if operation == "list_commands" else ""
    assert outcomes(run(service)) == {("unknown", "api_error")}
    assert service.calls["send_command"] == 1


def test_a_sending_that_never_arrived_is_repeated_once(service: Service, run: Run) -> None:
    service.losses = ["request"]
    assert outcomes(run(service)) == ANSWERED
    assert service.calls["send_command"] == 2


@pytest.mark.parametrize(("losses", "ends"), [(1, ANSWERED), (2, {("unreachable", "api_error")})])
def test_a_sending_that_never_left_is_not_looked_for(
    service: Service, run: Run, losses: int, ends: set[tuple[str | None, str]]
) -> None:
    service.losses = ["connection"] * losses
    assert outcomes(run(service)) == ends
    assert service.calls["send_command"] == 2
    assert service.calls["list_commands"] == 0
    assert [kind for kind, _ in run.events] == ["intent", "sent" if losses == 1 else "refused"]


@pytest.mark.parametrize("second", ["request", "connection"])
def test_two_lost_sendings_leave_the_nodes_unknown(service: Service, run: Run, second: str) -> None:
    service.losses = ["request", second]
    assert outcomes(run(service)) == {("unknown", "api_error")}
    assert service.calls["send_command"] == 2


def test_a_throttled_sending_is_made_again_after_a_rest(service: Service, run: Run) -> None:
    service.losses = ["throttled", "throttled"]
    assert outcomes(run(service)) == ANSWERED
    assert service.calls["send_command"] == 3
    first, *_, last = [event["at"] for kind, event in run.events if kind == "intent"]
    assert last - first > 4
    told = [(kind, event.get("comment")) for kind, event in run.events]
    assert [kind for kind, _ in told] == ["intent", "refused", "intent", "refused", "intent", "sent"]
    assert [told[place][1] for place in (0, 2)] == [told[place][1] for place in (1, 3)]


def test_nothing_is_sent_before_what_it_needs_is_ready(service: Service, run: Run) -> None:
    def missing() -> None:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        run(service, ready=missing)
    assert (run.events, service.calls["send_command"]) == ([], 0)


def test_what_an_earlier_run_sent_is_adopted(service: Service, run: Run) -> None:
    service._taken([NODES[0]], "token 1", {})
    replies = run(service, [Sent("token 1", (NODES[0],), 0.0)])
    assert service.sent == {NODES[0]: 1, NODES[1]: 1}
    assert replies[NODES[0]].output == f"c-1 {NODES[0]}"
    assert replies[NODES[1]].output == f"c-2 {NODES[1]}"


def test_of_two_earlier_sendings_to_a_node_the_later_one_counts(service: Service, run: Run) -> None:
    service.undeliverable = {(NODES[0], 1)}
    service._taken([NODES[0]], "token 1", {})
    service.clock.sleep(60)
    service._taken([NODES[0]], "token 2", {})
    replies = run(service, [Sent("token 1", (NODES[0],), 0.0), Sent("token 2", (NODES[0],), 60.0)])
    assert service.sent == {NODES[0]: 2, NODES[1]: 1}
    assert replies[NODES[0]].output == f"c-2 {NODES[0]}"


@pytest.mark.parametrize("age", [0, 60, -3600])
def test_a_command_sent_just_before_the_crash_is_waited_for_until_it_is_listed(
    service: Service, run: Run, age: float
) -> None:
    """However long its request was under way, and whatever the clock says."""
    service.lag = 7
    service._taken(NODES, "token 1", {})
    assert outcomes(run(service, [Sent("token 1", tuple(NODES), service.clock.time() - age)])) == ANSWERED
    assert service.calls["send_command"] == 0


def test_nothing_is_sent_when_what_ran_cannot_be_read(
    service: Service, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(Filters: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListCommands")

    monkeypatch.setattr(service, "_list_commands", denied)
    replies = run(service, [Sent("token 1", (NODES[0],), 0.0)])
    assert [(replies[node].outcome, replies[node].reason) for node in NODES] == [
        ("unknown", "api_error"),
        ("unreachable", "api_error"),  # nobody ever sent to it
    ]
    assert service.calls["send_command"] == 0


def test_an_intent_that_was_never_sent_is_sent_now(service: Service, run: Run) -> None:
    assert outcomes(run(service, [Sent("token 1", (NODES[0],), 0.0)])) == ANSWERED
    assert service.calls["send_command"] == 1


def test_a_node_that_systems_manager_does_not_know_costs_nobody_else(service: Service, run: Run) -> None:
    replies = run(service, hosts=[*NODES, "i-0000000c"])
    assert replies.pop("i-0000000c").reason == "not_managed"
    assert outcomes(replies) == ANSWERED


@pytest.mark.parametrize(
    ("refusal", "outcome", "reason"),
    [
        ("InvalidInstanceId Instances [[{node}]] not in a valid state", "unreachable", "not_managed"),
        ("InvalidInstanceId ", "unreachable", "not_managed"),
        ("AccessDeniedException not authorized on instance/{node}", "unreachable", "access_denied"),
        ("UnsupportedPlatformType one of them", "unsupported", "invalid_platform"),
    ],
)
@pytest.mark.parametrize("slots", [0, 7])
def test_a_node_that_aws_refuses_costs_nobody_else(
    service: Service, run: Run, refusal: str, outcome: str, reason: str, slots: int
) -> None:
    service.nodes = many(60)
    bad = (service.nodes[3], service.nodes[40])
    service.bad = {node: refusal.format(node=node) for node in bad}
    replies = run(service, slots=slots)
    assert outcomes({node: replies.pop(node) for node in bad}) == {(outcome, reason)}
    assert (len(replies), outcomes(replies)) == (58, ANSWERED)
    assert set(service.sent.values()) == {1}


def test_throttling_while_a_bad_node_is_looked_for_loses_nobody(service: Service, run: Run) -> None:
    service.nodes = many(40)
    service.bad = {service.nodes[7]: "InvalidInstanceId "}
    service.losses = ["", "throttled", "throttled", "", "throttled"]
    replies = run(service, slots=25)
    assert replies.pop(service.nodes[7]).reason == "not_managed"
    assert (len(replies), outcomes(replies)) == (39, ANSWERED)
    assert set(service.sent.values()) == {1}
    assert service.most_in_flight() <= 25


def test_a_command_goes_to_one_platform(service: Service, run: Run) -> None:
    service.nodes = many(20)
    service.platforms = {node: "Windows" for node in service.nodes[::4]}
    run(service)
    groups = [{service.platforms.get(node, "Linux") for node in one["nodes"]} for one in service.commands.values()]
    assert sorted(map(sorted, groups)) == [["Linux"], ["Windows"]]


def test_a_node_that_waited_for_its_slot_gets_parameters_of_its_own(service: Service, run: Run) -> None:
    run(service, slots=1)
    sent = [command["request"]["Parameters"]["commands"] for command in service.commands.values()]
    assert sent == [["url-0"], ["url-1"]]


def test_a_budget_beyond_all_nodes_is_one_that_aws_takes(service: Service, run: Run) -> None:
    run(service, errors=99_999_999)
    assert [command["request"]["MaxErrors"] for command in service.commands.values()] == ["2"]


def test_ten_thousand_and_one_nodes(service: Service, run: Run) -> None:
    service.nodes = many(10_001)
    service.bad = {service.nodes[5000]: f"InvalidInstanceId Instances [[{service.nodes[5000]}]] not in a valid state"}
    replies = run(service)
    assert Counter(reply.reason for reply in replies.values()) == {"": 10_000, "not_managed": 1}
    assert sum(service.calls.values()) < 0.2 * 10_001


@pytest.mark.parametrize(("count", "slots", "calls"), [(250, 25, 0.4), (500, 50, 0.2), (1000, 100, 0.2)])
def test_sliding_is_near_the_ideal_and_costs_few_calls(
    service: Service, run: Run, count: int, slots: int, calls: float
) -> None:
    service.nodes, service.run = many(count), lambda node, ordinal: 20.0
    start = service.clock.now
    assert outcomes(run(service, slots=slots)) == ANSWERED
    # From the sending until it is seen to have ended a node of 20 s takes up to 21.3 s here.
    assert service.clock.now - start < 1.1 * 20 * count / slots
    assert sum(service.calls.values()) < calls * count


def test_long_work_is_not_asked_for_all_the_time(service: Service, run: Run) -> None:
    service.nodes, service.run = many(250), lambda node, ordinal: 600.0
    start = service.clock.now
    assert outcomes(run(service, slots=50)) == ANSWERED
    assert service.clock.now - start < 1.02 * 600 * 5
    assert sum(service.calls.values()) < 200


def test_slots_that_come_free_together_are_filled_by_one_command(service: Service, run: Run) -> None:
    service.nodes, service.run = many(300), lambda node, ordinal: 60.0
    assert outcomes(run(service, slots=50)) == ANSWERED
    assert service.calls["send_command"] < 12


def test_commands_of_others_are_not_ours(service: Service, run: Run) -> None:
    service.nodes, service.run = many(60), lambda node, ordinal: 10.0
    for _ in range(8):
        service._taken(many(50), "somebody else", {})
        service.clock.sleep(1)
    service.clock.sleep(-9)
    service.sent.clear()
    assert outcomes(run(service, slots=20)) == ANSWERED
    assert service.sent == dict.fromkeys(service.nodes, 1)
    assert sum(service.calls.values()) < 2 * 60


def test_a_slow_node_holds_only_its_own_slot(service: Service, run: Run) -> None:
    service.nodes = many(200)
    service.run = lambda node, ordinal: 400.0 if node == service.nodes[0] else 10.0
    start = service.clock.now
    run(service, slots=10)
    # The others share nine slots, as if there were no tenth.
    assert max(run.ends[node] for node in service.nodes[1:]) - start < 1.3 * 199 * 10 / 9
    assert sum(service.calls.values()) < 2 * 200


def test_a_node_that_never_answers_ends_unknown_in_its_own_time(service: Service, run: Run) -> None:
    # It is sent to early, and others end all the time until long after its time is up.
    service.nodes = many(300)
    service.run = lambda node, ordinal: None if node == service.nodes[0] else 60.0
    start = service.clock.now
    replies = run(service, slots=10)
    assert (replies[service.nodes[0]].outcome, replies[service.nodes[0]].reason) == ("unknown", "no_answer")
    assert 1260 < run.ends[service.nodes[0]] - start < 1260 + 15
    assert service.clock.now - start > 1800
    assert outcomes({node: replies[node] for node in service.nodes[1:]}) == ANSWERED


def test_a_node_without_an_answer_is_asked_again_while_others_still_run(service: Service, run: Run) -> None:
    service.undeliverable = {(NODES[0], 1)}
    service.run = lambda node, ordinal: 1.0 if node == NODES[0] else 300.0
    start = service.clock.now
    replies = run(service)
    assert outcomes(replies) == ANSWERED
    assert service.sent == {NODES[0]: 2, NODES[1]: 1}
    assert run.ends[NODES[0]] - start < 20


def test_a_node_that_gives_no_answer_twice_is_unknown(service: Service, run: Run) -> None:
    service.undeliverable = {(NODES[0], 1), (NODES[0], 2)}
    replies = run(service)
    assert (replies[NODES[0]].outcome, replies[NODES[0]].reason) == ("unknown", "undeliverable")
    assert service.sent[NODES[0]] == 2


WENT_DOWN = (
    "document process failed unexpectedly: ipc messaging received timeout signal , check "
    "[ssm-document-worker]/[ssm-session-worker] log for crash reason"
)


@pytest.mark.parametrize(
    ("end", "reason", "said"),
    [
        (("Failed", 1, WENT_DOWN), "interrupted", "went down while the command ran"),
        (
            ("ExecutionTimedOut", 137, "half of"),
            "killed",
            "killed (137) after 3 s, long before its time limit of 600 s",
        ),
    ],
)
def test_a_node_that_went_down_or_was_killed_is_asked_once_more(
    service: Service, run: Run, end: tuple[str, int, str], reason: str, said: str
) -> None:
    """The agent never runs it again, and its answer says nothing of what was done; measured with the real one."""
    service.run = lambda node, ordinal: 3.0
    service.ends_as = {(NODES[0], 1): end}
    assert outcomes(run(service)) == ANSWERED
    assert service.sent == {NODES[0]: 2, NODES[1]: 1}
    service.sent.clear()
    service.ends_as[NODES[0], 2] = end
    reply = run(service)[NODES[0]]
    assert (reply.outcome, reply.reason, service.sent[NODES[0]]) == ("unknown", reason, 2)
    assert said in reply.msg
    service.sent.clear()
    assert run(service, idempotent=False)[NODES[0]].reason == reason


def test_a_time_limit_that_was_reached_is_one_and_a_sentence_of_a_script_is_not(service: Service, run: Run) -> None:
    service.run = lambda node, ordinal: 600.5
    service.ends_as = {(NODES[0], 1): ("ExecutionTimedOut", 137, ""), (NODES[1], 1): ("Failed", 1, f"x {WENT_DOWN}")}
    replies = run(service)
    assert [replies[node].reason for node in NODES] == ["execution_timed_out", ""]
    assert set(service.sent.values()) == {1}


def test_work_that_may_not_run_twice_is_not_sent_again(service: Service, run: Run) -> None:
    service.undeliverable = {(NODES[0], 1)}
    assert outcomes(run(service, idempotent=False)) == {("unknown", "undeliverable"), (None, "")}
    assert service.sent == dict.fromkeys(NODES, 1)


def test_commands_that_aws_dropped_because_too_many_were_pending_are_sent_later(service: Service, run: Run) -> None:
    service.nodes, service.quota = many(130), 100
    service.run = lambda node, ordinal: 30.0
    assert outcomes(run(service)) == ANSWERED
    assert set(service.sent.values()) == {1}


@pytest.mark.parametrize(
    ("lag", "losses"), [(0, []), (7, []), (7, ["answer", "", "500"]), (7, ["request", "throttled"])]
)
@pytest.mark.parametrize("slots", [0, 4])
def test_a_run_killed_at_any_moment_and_run_again_sends_to_every_node_once(
    clock: Clock, slots: int, lag: float, losses: list[str]
) -> None:
    for life in itertools.count():
        service, run = Service(many(12), lambda node, ordinal: 3.0, clock), Run()
        service.life, service.lag, service.losses = life, lag, [*losses]
        killed = True
        try:
            replies = run(service, slots=slots)
            killed = False
        except Killed:
            service.life = float("inf")
            assert set(+service.sent) <= run.may_have_been_sent(), f"killed after {life} steps"
            replies = run(service, run.journal(), slots=slots)
        assert (len(replies), outcomes(replies)) == (12, ANSWERED)
        assert service.sent == dict.fromkeys(service.nodes, 1), f"killed after {life} steps"
        assert service.most_in_flight() <= (slots or 12)
        if not killed:
            break
    assert life > 30


def test_a_run_killed_again_and_again_sends_to_every_node_once(service: Service, run: Run) -> None:
    service.nodes, kills = many(40), 0
    while True:
        service.life = 10 + kills
        try:
            replies = run(service, run.journal(), slots=7)
            break
        except Killed:
            kills += 1
    assert kills > 10
    assert outcomes(replies) == ANSWERED
    assert service.sent == dict.fromkeys(service.nodes, 1)
    assert service.most_in_flight() <= 7


def test_slots_are_never_exceeded(service: Service, run: Run) -> None:
    service.nodes = many(120)
    service.run = lambda node, ordinal: 2.0 + int(node[-2:], 16) % 37
    service.losses = ["", "throttled", "answer", "", "request", "500"]
    assert outcomes(run(service, slots=9)) == ANSWERED
    assert service.most_in_flight() == 9


def test_what_an_earlier_run_has_in_flight_keeps_its_slots_from_the_start(service: Service) -> None:
    service.run = lambda node, ordinal: 100.0
    service._taken(NODES, "token 1", {})
    control = Control(3, 0, lambda: False)
    targets = [Target(node, node, "123456789012", Account(), "eu-west-1") for node in NODES]
    replies: dict[str, Reply] = {}
    command = Command(
        "AWS-RunShellScript", dict, "token", 600, 600, lambda host, reply: bool(replies.update({host: reply})), True
    )
    earlier = [Sent("token 1", tuple(NODES), service.clock.time()), Sent("token 2", (NODES[0], "other"), 0.0)]
    clients = sending.Clients(service, service)
    one = region_run.RegionRun(clients, [(command, targets)], control, lambda kind, event: None, earlier)
    assert control.exchange(0, 3) == 1  # another region begins first
    one.run()
    assert outcomes(replies) == ANSWERED
    assert control.exchange(1, 9) == 3


@pytest.mark.parametrize("spent", ["asked_to_stop", "max_errors_reached"])
def test_a_stop_cancels_what_waits_for_its_agent_and_waits_for_what_runs(
    service: Service, run: Run, spent: str
) -> None:
    service.nodes = many(30)
    slow, quick, late = service.nodes[:10], service.nodes[10:20], service.nodes[20:]
    service.delay = lambda node: 500.0 if node in slow else 0.0
    service.run = lambda node, ordinal: 3.0 if node == quick[0] else 60.0
    throttled = iter(["ThrottlingException", "ThrottlingException"])
    service.fails = lambda operation: next(throttled, "") if operation == "cancel_command" else ""
    start = service.clock.now
    if spent == "asked_to_stop":
        run.stop_at = start + 5
    replies = run(service, slots=20, charged=lambda reply: spent != "asked_to_stop" and not reply.outcome)
    assert outcomes({node: replies[node] for node in quick}) == ANSWERED
    assert outcomes({node: replies[node] for node in slow}) == {("unknown", "cancelled")}
    sent_late = [node for node in late if node in service.sent]
    assert outcomes({node: replies[node] for node in late if node not in sent_late}) == {("skipped", spent)}
    assert len(sent_late) <= 1  # the slot of the first that ended
    assert service.cancelled == [slow]
    assert service.clock.now - start < 100


def test_a_stop_is_heard_between_two_sendings(service: Service, run: Run) -> None:
    service.nodes = many(500)
    run.stop_at = service.clock.now + 0.5
    assert set(outcomes(run(service))) <= {*ANSWERED, ("unknown", "cancelled"), ("skipped", "asked_to_stop")}
    assert service.calls["send_command"] < 6


def test_the_end_of_a_work_s_time_is_heard_between_two_sendings(service: Service, run: Run) -> None:
    service.nodes = many(500)
    run(service, works=[(service.nodes, {"stop_at": service.clock.time() + 0.5})])
    assert service.calls["send_command"] < 6


def test_throttling_before_anything_is_sent_is_waited_out(service: Service, run: Run) -> None:
    service._taken([NODES[0]], "token 1", {})
    throttled = iter(["ThrottlingException"] * 6)
    service.fails = lambda operation: next(throttled, "")
    assert outcomes(run(service, [Sent("token 1", (NODES[0],), 0.0)])) == ANSWERED
    assert service.sent == dict.fromkeys(NODES, 1)


def test_output_that_was_cut_is_read_when_throttling_is_over(service: Service, run: Run) -> None:
    service.nodes, service.output = many(200), "---Output truncated---"
    throttled = iter(["", "ThrottlingException"] * 20)
    service.fails = lambda operation: next(throttled, "") if operation == "get_command_invocation" else ""
    replies = run(service)
    assert {reply.output.split()[1] for reply in replies.values()} == set(service.nodes)
    assert outcomes(replies) == ANSWERED


FINAL = ["ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "AccessDeniedException"]


@pytest.mark.parametrize("code", FINAL)
def test_credentials_that_end_on_the_way_leave_no_node_without_a_word(service: Service, run: Run, code: str) -> None:
    service.nodes, service.run = many(60), lambda node, ordinal: 20.0
    start = service.clock.now
    service.fails = lambda operation: code if service.clock.now > start + 30 else ""
    control = Control(20, 0, lambda: False)
    replies = run(service, control=control)
    assert Counter((reply.outcome, reply.reason) for reply in replies.values()) == {
        (None, ""): 20,
        ("unknown", "api_error"): 20,
        ("skipped", "api_error"): 20,
    }
    assert service.clock.now - start < 120
    # What may still work keeps its slots: nothing is sent elsewhere instead.
    assert (control.exchange(0, 20), control.stop_reason()) == (0, "slots_lost")
    if code.startswith("Expired"):
        assert all("renew the credentials and run again" in one.msg for one in replies.values() if one.outcome)
    # Run again with new ones, it reads what ran meanwhile and sends to the others.
    service.fails = lambda operation: ""
    assert outcomes(run(service, run.journal(), slots=20)) == ANSWERED
    assert service.sent == dict.fromkeys(service.nodes, 1)


def told(run: Run, *kinds: str) -> list[str]:
    return [kind for kind, _ in run.events if kind in kinds]


@pytest.mark.parametrize("code", ["InternalServerError", "RequestExpired", "AccessDeniedException"])
@pytest.mark.parametrize("seconds", [3, 7, 60, 500])
def test_a_hiccup_costs_nothing(service: Service, run: Run, code: str, seconds: float) -> None:
    if code in FINAL and seconds > 7:
        return
    service.nodes, service.run = many(40), lambda node, ordinal: 20.0
    begin = service.clock.now + 15
    service.fails = lambda operation: code if begin < service.clock.now < begin + seconds else ""
    assert outcomes(run(service, slots=10)) == ANSWERED
    assert service.most_in_flight() <= 10
    assert service.sent == dict.fromkeys(service.nodes, 1)
    assert told(run, "unreadable", "readable") in (["unreadable", "readable"], [])
    assert seconds < 60 or told(run, "unreadable")


def test_nothing_is_sent_to_what_cannot_be_read(service: Service, run: Run) -> None:
    service.nodes, service.run = many(40), lambda node, ordinal: 20.0
    begin = service.clock.now + 5
    reads = ("list_commands", "list_command_invocations")
    service.fails = lambda operation: (
        "InternalServerError" if operation in reads and begin < service.clock.now < begin + 100 else ""
    )
    control, others = Control(20, 0, lambda: False), [10]
    control.claim(10)  # by another region, which gives them back while nothing can be read here
    rest = service.clock.sleep

    def sleep(seconds: float) -> None:
        rest(seconds)
        if others and service.clock.now > begin + 50:
            control.exchange(others.pop(), 0)

    service.clock.sleep = sleep  # type: ignore[method-assign]
    assert outcomes(run(service, control=control)) == ANSWERED
    events = [(kind, event["at"]) for kind, event in run.events if kind in ("unreadable", "readable", "intent")]
    (down,), (up,) = ([at for kind, at in events if kind == name] for name in ("unreadable", "readable"))
    assert down < begin + 50 < up
    assert not [at for kind, at in events if kind == "intent" and down < at < up]


def test_what_cannot_be_read_keeps_its_slots_until_its_own_time_is_over(service: Service, run: Run) -> None:
    service.nodes, service.run = many(40), lambda node, ordinal: 20.0
    start = service.clock.now
    service.fails = lambda operation: "InternalServerError" if service.clock.now > start + 10 else ""
    control = Control(20, 0, lambda: False)
    free: list[tuple[float, int]] = []
    rest = service.clock.sleep

    def sleep(seconds: float) -> None:
        rest(seconds)
        free.append((service.clock.now, control.exchange(0, 20)))
        control.exchange(free[-1][1], 0)

    service.clock.sleep = sleep  # type: ignore[method-assign]
    replies = run(service, control=control)
    assert Counter((reply.outcome, reply.reason) for reply in replies.values()) == {
        ("unknown", "api_error"): 20,
        ("skipped", "api_error"): 20,
    }
    limit = 600 + 600 + 60
    assert {slots for at, slots in free if at < start + limit} == {0}
    assert all(limit <= end - start < limit + 60 for end in run.ends.values())
    assert control.stop_reason() == ""


def test_what_aws_says_in_another_shape_is_unreadable_and_no_end(service: Service, run: Run) -> None:
    service.nodes, service.run = many(20), lambda node, ordinal: 20.0
    listed = service._list_command_invocations
    begin = service.clock.now + 10
    odd = [{"Message": "<html>"}, {"CommandInvocations": [{}]}, {"CommandInvocations": [None]}]

    def answers(**request: Any) -> dict[str, Any]:
        return odd[int(service.clock.now) % 3] if begin < service.clock.now < begin + 30 else listed(**request)

    service._list_command_invocations = answers  # type: ignore[assignment, method-assign]
    assert outcomes(run(service, slots=10)) == ANSWERED
    assert told(run, "unreadable", "readable") == ["unreadable", "readable"]


def test_a_sending_that_is_lost_while_nothing_can_be_read_keeps_its_slots(service: Service, run: Run) -> None:
    service.nodes, service.run = many(20), lambda node, ordinal: 20.0
    service.losses = ["answer"]
    start = service.clock.now
    service.fails = lambda operation: (
        "InternalServerError" if operation == "list_commands" and service.clock.now < start + 300 else ""
    )
    assert outcomes(run(service, slots=10)) == ANSWERED
    assert service.sent == dict.fromkeys(service.nodes, 1)
    assert service.most_in_flight() <= 10


@pytest.mark.parametrize(
    ("losses", "ends"), [(["request"], ANSWERED), (["request", "request"], {("unknown", "api_error")})]
)
def test_a_sending_that_never_arrived_is_repeated_once_when_it_can_be_read(
    service: Service, run: Run, losses: list[str], ends: set[tuple[str | None, str]]
) -> None:
    service.losses = losses
    start = service.clock.now
    lost: list[float] = []

    def fails(operation: str) -> str:
        if operation == "send_command":
            lost.append(service.clock.now)
        return "InternalServerError" if operation == "list_commands" and service.clock.now < lost[-1] + 60 else ""

    service.fails = fails
    assert outcomes(run(service)) == ends
    assert service.calls["send_command"] == 2
    assert service.clock.now - start < 300


@pytest.mark.parametrize(("seconds", "adopted"), [(50, True), (2000, False)])
def test_what_an_earlier_run_sent_is_waited_for_until_it_can_be_read(
    service: Service, run: Run, seconds: float, adopted: bool
) -> None:
    service.run = lambda node, ordinal: 20.0
    service._taken([NODES[0]], "token 1", {})
    start, now = service.clock.now, service.clock.time()
    service.fails = lambda operation: "InternalServerError" if service.clock.now < start + seconds else ""
    control = Control(1, 0, lambda: False)
    replies = run(service, [Sent("token 1", (NODES[0],), now)], control=control)
    if adopted:
        assert outcomes(replies) == ANSWERED
        assert service.sent == dict.fromkeys(NODES, 1)
        assert service.most_in_flight() == 1
    else:
        found = {node: (reply.outcome, reply.reason) for node, reply in replies.items()}
        assert found == {NODES[0]: ("unknown", "api_error"), NODES[1]: ("unreachable", "api_error")}
        assert service.clock.now - start > 1260
        assert control.stop_reason() == ""


def test_what_an_earlier_run_sent_and_nobody_may_read_keeps_its_slots(service: Service, run: Run) -> None:
    service._taken([NODES[0]], "token 1", {})
    service.fails = lambda operation: "AccessDeniedException" if operation == "list_commands" else ""
    control = Control(1, 0, lambda: False)
    run(service, [Sent("token 1", (NODES[0],), service.clock.time())], control=control)
    assert (control.exchange(0, 1), control.stop_reason()) == (0, "slots_lost")


def test_a_stop_while_aws_throttles_gives_no_slot_of_an_earlier_run_away(service: Service, run: Run) -> None:
    service._taken([NODES[0]], "token 1", {})
    service.run = lambda node, ordinal: 20.0
    start = service.clock.now
    run.stop_at = start
    service.fails = lambda operation: "ThrottlingException" if service.clock.now < start + 30 else ""
    replies = run(service, [Sent("token 1", (NODES[0],), service.clock.time())])
    found = {node: (reply.outcome, reply.reason) for node, reply in replies.items()}
    assert found == {NODES[0]: (None, ""), NODES[1]: ("skipped", "asked_to_stop")}


@pytest.mark.parametrize(("seconds", "answered"), [(30, True), (10_000, False)])
def test_output_that_was_cut_is_asked_for_again(service: Service, run: Run, seconds: float, answered: bool) -> None:
    service.nodes, service.output = many(20), "---Output truncated---"
    start = service.clock.now
    service.fails = lambda operation: (
        "AccessDeniedException" if operation == "get_command_invocation" and service.clock.now < start + seconds else ""
    )
    assert outcomes(run(service)) == (ANSWERED if answered else {("unknown", "api_error")})
    assert service.clock.now - start < 120
    assert told(run, "unreadable") == []
    assert service.calls["get_command_invocation"] < 60


def test_a_second_chance_waits_until_it_is_known_who_is_there(service: Service, run: Run) -> None:
    service.undeliverable = {(NODES[0], 1)}
    start = service.clock.now
    service.fails = lambda operation: (
        "InternalServerError"
        if operation.startswith("describe") and start + 0.5 < service.clock.now < start + 300
        else ""
    )
    assert outcomes(run(service)) == ANSWERED
    assert service.sent == {NODES[0]: 2, NODES[1]: 1}


def test_nodes_of_two_kinds_that_wait_again_are_all_sent_to(service: Service, run: Run) -> None:
    service.nodes, service.quota = many(60), 5
    service.platforms = dict.fromkeys(service.nodes[10:], "Windows")
    rest, begin = service.clock.sleep, service.clock.now

    def sleep(seconds: float) -> None:
        rest(seconds)
        service.quota = 5 if service.clock.now < begin + 12 else 0

    service.clock.sleep = sleep  # type: ignore[method-assign]
    assert outcomes(run(service, slots=30)) == ANSWERED
    assert len(run.ends) == 60


def test_nodes_that_wait_again_are_not_taken_for_others(service: Service, run: Run) -> None:
    service.nodes, service.quota = many(90), 50
    service.platforms = {node: "Windows" for node in service.nodes[::2]}
    service.run = lambda node, ordinal: 10.0
    assert outcomes(run(service)) == ANSWERED
    assert service.sent == dict.fromkeys(service.nodes, 1)
    groups = [{service.platforms.get(node, "Linux") for node in one["nodes"]} for one in service.commands.values()]
    assert {len(group) for group in groups} <= {0, 1}


def test_two_works_share_no_command_and_have_one_set_of_slots(service: Service, run: Run) -> None:
    service.nodes, service.run = many(60), lambda node, ordinal: 5.0
    own = {"delivery_timeout": 100, "document": "Other", "parameters": lambda: {"word": ["x"]}}
    replies = run(service, slots=10, works=[(service.nodes[::2], {}), (service.nodes[1::2], own)])
    assert (len(replies), outcomes(replies)) == (60, ANSWERED)
    assert service.most_in_flight() == 10
    for command in service.commands.values():
        odd = {service.nodes.index(node) % 2 for node in command["nodes"]}
        request = command["request"]
        found = request["DocumentName"], request["TimeoutSeconds"], "word" in request["Parameters"]
        assert (odd, found) in (({0}, ("AWS-RunShellScript", 600, False)), ({1}, ("Other", 100, True)))


def test_the_time_of_one_work_ends_and_not_that_of_the_other(service: Service, run: Run) -> None:
    service.nodes, service.run = many(40), lambda node, ordinal: 30.0
    early, late = service.nodes[:20], service.nodes[20:]
    service.delay = lambda node: 500.0 if node == early[0] else 0.0
    end = service.clock.time() + 20
    replies = run(service, slots=10, works=[(early, {"stop_at": end}), (late, {})])
    assert Counter((replies[node].outcome, replies[node].reason) for node in early) == {
        ("skipped", "asked_to_stop"): 10,
        ("unknown", "cancelled"): 1,
        (None, ""): 9,
    }
    assert outcomes({node: replies[node] for node in late}) == ANSWERED


def test_each_work_has_its_own_deadline(service: Service, run: Run) -> None:
    service.run = lambda node, ordinal: None
    short, long = NODES
    run(service, works=[([short], {"execution_timeout": 100}), ([long], {"execution_timeout": 1000})])
    assert run.ends[long] - run.ends[short] > 800


def test_what_an_earlier_run_sent_is_adopted_for_each_work(service: Service, run: Run) -> None:
    service._taken(NODES, "token 1", {})
    works: list[tuple[list[str], dict[str, Any]]] = [([NODES[0]], {"document": "A"}), ([NODES[1]], {"document": "B"})]
    replies = run(service, [Sent("token 1", tuple(NODES), 0.0)], works=works)
    assert {reply.output for reply in replies.values()} == {f"c-1 {node}" for node in NODES}
    assert service.calls["send_command"] == 0
