"""The life of a call, event by event: no broker, no loop, no waiting."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowait.amqp.methods import Confirmed, Delivery, Returned
from nowait.bridge.backlog import Place
from nowait.bridge.calls import Acknowledge, Calls, Complete, Decode, Effect, GiveUp, Report, Resend, SendProbe
from nowait.budget import Budget
from nowait.errors import (
    BridgeError,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    Refused,
    ResultTooLarge,
    Stopped,
    Unroutable,
)
from nowait.messages.reply import LARGE, Reply


@dataclass(eq=False)
class SomeCall:
    id: str
    deadline: float = 100.0
    idempotent: bool = False
    expects_reply: bool = True
    encoded: bool = False
    queue: str = "tasks"
    client: str = ""
    place: Place | None = None
    destination: str = "tasks"
    confirmed: bool = False
    link: int = 0
    sent_at: float = 0.0
    confirmed_at: float | None = None


def connected(*calls: SomeCall, limit: int = 10, **options: Any) -> Calls[SomeCall]:
    """Calls that were published on the first link, with the tags from 1 on."""
    table: Calls[SomeCall] = Calls(limit, **options)
    table.connected(0.0)
    for call in calls:
        table.add(call)
        table.published(call, 0.0)
    return table


def reply(call_id: str, status: str = "SUCCESS", result: Any = None, tag: int = 1, user: str = "") -> Delivery:
    body = json.dumps({"status": status, "result": result}).encode()
    return Delivery(tag, call_id, "application/json", user, (body,), len(body))


def outcome(effects: list[Effect[SomeCall]]) -> Any:
    """What the only effect completes its call with."""
    (effect,) = effects
    assert isinstance(effect, Complete)
    return effect.outcome


def kinds(effects: list[Effect[SomeCall]]) -> list[tuple[str, type[BridgeError]]]:
    return [(e.call.id, type(e.outcome)) for e in effects if isinstance(e, Complete)]


def probe(table: Calls[SomeCall], now: float) -> str:
    """The id of the probe that is due."""
    (effect,) = table.tick(now, last_received=now, unblocked_at=0.0)
    assert isinstance(effect, SendProbe)
    table.published(None, now)
    return effect.correlation_id


def probe_back(table: Calls[SomeCall], correlation_id: str, now: float, tag: int = 1) -> list[Effect[SomeCall]]:
    return table.received(Delivery(tag, correlation_id, "", "", ()), now)


def test_a_call_is_answered_once_and_its_second_reply_is_a_duplicate() -> None:
    table = connected(SomeCall("a"))
    assert outcome(table.received(reply("a", result=5), 1.0)) == 5
    assert table.received(reply("a", result=6), 1.0) == []
    assert (len(table), table.counts.duplicate) == (0, 1)


def test_a_reply_after_the_call_gave_up_is_late() -> None:
    call = SomeCall("a")
    table = connected(call)
    table.abandon(call)
    table.abandon(call)
    assert table.received(reply("a"), 1.0) == []
    assert (table.counts.late, table.counts.unknown) == (1, 0)


def test_a_reply_to_no_call_is_unknown() -> None:
    table = connected()
    assert table.received(reply("a"), 1.0) == []
    assert table.counts.unknown == 1


def test_one_call_too_many_is_refused_and_the_others_stay() -> None:
    table = connected(SomeCall("a"), limit=1)
    with pytest.raises(Overloaded):
        table.admit(deadline=5.0, now=0.0)
    assert [call.id for call in table] == ["a"]


def test_the_last_room_is_for_clients_that_have_less_than_their_share() -> None:
    table = connected(*[SomeCall(str(number), client="flood") for number in range(7)], limit=8)
    with pytest.raises(Overloaded):
        table.admit(5.0, 0.0, "tasks", "flood")
    table.admit(5.0, 0.0, "tasks", "calm")
    table.received(reply("0"), 1.0)
    table.admit(5.0, 0.0, "tasks", "flood")


def timed(call_id: str, runtime: float) -> Delivery:
    """A reply that has how long its task ran."""
    body = json.dumps({"status": "SUCCESS", "result": None, "runtime": runtime}).encode()
    return Delivery(1, call_id, "application/json", "", (body,), len(body))


def test_a_call_that_would_wait_too_long_is_refused_and_one_with_more_time_or_for_another_queue_is_not() -> None:
    table = connected(*[SomeCall(str(number)) for number in range(20)], limit=100)
    for number in range(10):
        table.received(timed(str(number), 0.1), 1.0 + number)  # one a second
    table.admit(15.0, 10.0, "tasks")  # is tried
    with pytest.raises(Overloaded, match="10 calls wait for about") as caught:
        table.admit(15.0, 10.0, "tasks")
    assert caught.value.retry_after == pytest.approx(5.0, rel=0.1)
    table.admit(30.0, 10.0, "tasks")
    table.admit(15.0, 10.0, "others")
    table.admit(15.0, 10.0)  # is never too late


def test_a_queue_that_answers_nothing_any_more_is_left_alone() -> None:
    table = connected(*[SomeCall(str(number), deadline=10.0) for number in range(20)], SomeCall("later"), limit=100)
    table.tick(10.0, last_received=10.0, unblocked_at=None)
    assert [call.id for call in table] == ["later"]
    table.admit(11.0, 10.0, "tasks")  # is tried
    with pytest.raises(Overloaded):
        table.admit(11.0, 10.0, "tasks")


def test_a_call_whose_deadline_has_passed_is_not_sent() -> None:
    with pytest.raises(DeadlineExceeded):
        connected().admit(deadline=1.0, now=1.0)


def test_an_id_that_is_in_flight_cannot_be_used_again() -> None:
    with pytest.raises(ValueError):
        connected(SomeCall("a")).add(SomeCall("a"))


def test_a_table_without_room_makes_no_sense() -> None:
    with pytest.raises(ValueError):
        Calls(0)


def test_a_task_that_reports_is_still_in_flight() -> None:
    table = connected(SomeCall("a"))
    (effect,) = table.received(reply("a", "PROGRESS", {"step": 1}), 1.0)
    assert isinstance(effect, Report) and (effect.state, effect.meta) == ("PROGRESS", {"step": 1})
    assert len(table) == 1


@pytest.mark.parametrize(
    "hostile",
    [
        Delivery(1, "a", "application/json", "", (b"not json",)),
        Delivery(1, "a", "text/plain", "", (b"{}",)),
        Delivery(1, "a", "application/json", "", (b'{"status": 5}',)),
    ],
)
def test_a_malformed_reply_is_counted_and_answers_nobody(hostile: Delivery) -> None:
    table = connected(SomeCall("a"))
    assert table.received(hostile, 1.0) == []
    assert (len(table), table.counts.malformed) == (1, 1)


def unkept(size: int) -> Delivery:
    """A reply whose body was dropped."""
    return Delivery(1, "a", "application/json", "", None, size)


def test_a_reply_that_is_too_large_fails_its_call() -> None:
    table = connected(SomeCall("a"), budget=Budget(1000))
    error = outcome(table.received(unkept(1001), 1.0))
    assert isinstance(error, ResultTooLarge) and (error.limit, error.unit) == (1000, "bytes")


@pytest.mark.parametrize(("idempotent", "error"), [(True, Overloaded), (False, OutcomeUnknown)])
def test_a_reply_for_which_there_is_no_room_fails_its_call(idempotent: bool, error: type[BridgeError]) -> None:
    table = connected(SomeCall("a", idempotent=idempotent), budget=Budget(1000, 1000))
    assert type(outcome(table.received(unkept(1000), 1.0))) is error
    assert table.counts.malformed == 0


def test_a_reply_that_would_never_find_room_refuses_no_other_call() -> None:
    budget = Budget(1000, 1000)
    assert budget.take(1001) is None and not budget.full


def test_calls_are_refused_from_a_reply_without_room_on_until_there_is_room() -> None:
    budget = Budget(1000, 1000)
    table = connected(budget=budget)
    share = budget.take(600)
    table.admit(10.0, 0.0)
    assert budget.take(600) is None
    with pytest.raises(Overloaded, match="600 bytes of replies"):
        table.admit(10.0, 0.0)
    assert share is not None
    share.release()
    table.admit(10.0, 0.0)


def test_a_large_reply_is_decoded_elsewhere_while_its_call_waits() -> None:
    table = connected(SomeCall("a"), SomeCall("b", deadline=5.0), SomeCall("c"))
    waiting = []
    for call_id in "abc":
        (effect,) = [e for e in table.received(reply(call_id, result="x" * LARGE), 1.0) if isinstance(e, Decode)]
        waiting.append(effect.call)
    assert len(table) == 3
    assert outcome(table.decoded(waiting[0], Reply("SUCCESS", 1), 1.0)) == 1
    assert kinds(table.tick(5.0, 5.0, 0.0)) == [("b", DeadlineExceeded)]
    assert table.decoded(waiting[1], Reply("SUCCESS", 1), 1.0) == []
    assert table.decoded(waiting[2], None, 1.0) == []
    assert (len(table), table.counts.late, table.counts.malformed) == (1, 1, 1)


def test_a_reply_of_another_user_is_ignored() -> None:
    table = connected(SomeCall("a"), reply_user="worker")
    assert table.received(reply("a", user="server"), 1.0) == []
    assert table.counts.malformed == 1
    assert outcome(table.received(reply("a", result=1, user="worker"), 1.0)) == 1


def test_a_call_ends_at_its_deadline_and_not_before() -> None:
    table = connected(SomeCall("a", deadline=5.0), SomeCall("b", deadline=3.0))
    table.disconnected("gone", refused=False)
    table = connected(SomeCall("a", deadline=5.0), SomeCall("b", deadline=3.0))
    probe(table, 0.0)
    assert kinds(table.tick(2.9, 2.9, 0.0)) == []
    assert kinds(table.tick(3.0, 3.0, 0.0)) == [("b", DeadlineExceeded)]
    assert kinds(table.tick(9.0, 9.0, 0.0)) == [("a", DeadlineExceeded)]


def test_tick_is_due_at_the_next_deadline_or_probe() -> None:
    table: Calls[SomeCall] = Calls(10)
    assert table.wakeup is None
    table.add(SomeCall("a", deadline=5.0))
    assert table.wakeup == 5.0
    table.connected(1.0)
    assert table.wakeup == 1.0


def test_an_id_may_be_used_again_after_its_call_and_has_its_own_deadline() -> None:
    table = connected(SomeCall("a", deadline=5.0))
    table.received(reply("a"), 1.0)
    table.add(SomeCall("a", deadline=8.0))
    assert kinds(table.tick(5.0, 5.0, None)) == []
    assert kinds(table.tick(8.0, 8.0, None)) == [("a", DeadlineExceeded)]


def test_ended_calls_leave_no_deadlines_behind() -> None:
    table = connected(limit=10)
    for number in range(10_000):
        call = SomeCall(str(number))
        table.add(call)
        table.abandon(call)
    assert len(table._deadlines) <= 1001


# Publisher confirms.


def test_a_confirm_is_for_one_tag_or_for_all_up_to_it() -> None:
    calls = [SomeCall(name) for name in "abcd"]
    table = connected(*calls)
    assert table.confirmed(Confirmed(2, False, True), 0.0) == []
    assert [call.confirmed for call in calls] == [False, True, False, False]
    table.confirmed(Confirmed(3, True, True), 0.0)
    assert [call.confirmed for call in calls] == [True, True, True, False]
    assert table.unconfirmed == 1
    table.confirmed(Confirmed(0, True, True), 0.0)
    assert table.unconfirmed == 0


def test_a_refused_message_fails_its_call() -> None:
    assert kinds(connected(SomeCall("a")).confirmed(Confirmed(1, False, acked=False), 0.0)) == [("a", Refused)]


def test_a_link_that_refuses_all_messages_is_given_up_and_the_next_one_has_more_time() -> None:
    table = connected(SomeCall("a"))
    table.confirmed(Confirmed(1, False, acked=False), 0.0)
    probe_back(table, probe(table, 0.0), 0.0)
    (effect,) = table.tick(0.6, last_received=0.6, unblocked_at=0.0)
    assert isinstance(effect, GiveUp)
    table.disconnected("every message was refused", refused=False)
    table.connected(1.0)
    table.add(call := SomeCall("b"))
    table.published(call, 1.0)
    table.confirmed(Confirmed(1, False, acked=False), 0.0)
    for moment in (1.0, 1.6):
        probe_back(table, probe(table, moment), moment)
    (effect,) = table.tick(2.2, last_received=2.2, unblocked_at=0.0)
    assert isinstance(effect, GiveUp)


def test_a_link_that_refuses_all_messages_for_one_queue_is_given_up() -> None:
    table = connected(SomeCall("a"), SomeCall("b", destination="jobs"))
    table.confirmed(Confirmed(1, False, acked=False), 1.0)
    table.confirmed(Confirmed(2, False, acked=True), 1.0)
    probe_back(table, probe(table, 0.0), 0.0)
    (effect,) = table.tick(0.6, last_received=0.6, unblocked_at=0.0)
    assert isinstance(effect, GiveUp)


def test_a_queue_that_goes_on_refusing_ends_links_ever_less_often_whatever_others_accept() -> None:
    table: Calls[SomeCall] = Calls(10)
    lives = []
    for number in range(4):
        table.connected(0.0)
        other, refused = SomeCall(f"other {number}", destination="jobs"), SomeCall(f"refused {number}")
        for call in (other, refused):
            table.add(call)
            table.published(call, 0.0)
        table.confirmed(Confirmed(1, False, acked=True), 1.0)
        probe_back(table, probe(table, 0.0), 0.0)
        table.confirmed(Confirmed(2, False, acked=False), 1.0)
        now = 0.5
        while isinstance((effect := table.tick(now, now, 0.0)[0]), SendProbe):
            table.published(None, now)
            probe_back(table, effect.correlation_id, now)
            now += 0.5
        assert isinstance(effect, GiveUp)
        lives.append(now)
    assert lives == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("confirms", [[], [True, False], [False, True]])
def test_a_link_that_has_accepted_a_message_or_got_none_stays(confirms: list[bool]) -> None:
    table = connected(*(SomeCall(str(number)) for number in range(len(confirms))))
    for tag, acked in enumerate(confirms, 1):
        table.confirmed(Confirmed(tag, False, acked), 0.0)
    for moment in (0.0, 0.6, 1.2, 60.0):
        probe_back(table, probe(table, moment), moment)


def test_a_call_that_expects_no_reply_is_answered_by_its_confirm() -> None:
    table = connected(SomeCall("a", expects_reply=False))
    assert outcome(table.confirmed(Confirmed(1, False, True), 0.0)) is None
    assert len(table) == 0


def test_a_message_that_found_no_queue_fails_its_call() -> None:
    table = connected(SomeCall("a"))
    assert kinds(table.returned(Returned("a", "NO_ROUTE"))) == [("a", Unroutable)]
    assert table.returned(Returned("a", "NO_ROUTE")) == []


def test_a_message_that_is_not_confirmed_in_time_fails_its_call_and_a_late_confirm_is_for_nobody() -> None:
    table = connected(SomeCall("a"))
    effects = table.tick(5.5, last_received=5.5, unblocked_at=0.0)
    assert kinds(effects) == [("a", OutcomeUnknown)]
    assert table.confirmed(Confirmed(1, False, True), 0.0) == []


def test_what_waited_for_an_alarm_to_end_gets_its_time_from_then_on() -> None:
    table = connected(SomeCall("a"))
    assert kinds(table.tick(60.0, last_received=60.0, unblocked_at=58.0)) == []


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans())), st.integers(0, 20))
def test_no_message_is_confirmed_twice(acks: list[tuple[int, bool]], count: int) -> None:
    table = connected(*(SomeCall(str(number), expects_reply=False) for number in range(count)), limit=100)
    ended = [call for tag, multiple in acks for call, _ in kinds(table.confirmed(Confirmed(tag, multiple, True), 0.0))]
    assert len(ended) == len(set(ended)) == count - len(table)


# The link.


def test_a_lost_connection_decides_what_was_not_confirmed_and_cannot_be_sent_again() -> None:
    for refused, expected in [(False, ["plain"]), (True, ["plain", "idempotent"])]:
        calls = SomeCall("confirmed"), SomeCall("plain"), SomeCall("idempotent", idempotent=True)
        table = connected(*calls)
        table.confirmed(Confirmed(1, False, True), 0.0)
        effects = table.disconnected("gone", refused)
        assert kinds(effects) == [(name, OutcomeUnknown) for name in expected]


def reconnected(table: Calls[SomeCall], now: float, *earlier: str) -> list[str]:
    """The ids that are sent again on a new link, after the probes of earlier ones have come back."""
    table.disconnected("gone", refused=False)
    table.connected(now)
    current = probe(table, now)
    for tag, each in enumerate(earlier):
        assert probe_back(table, each, now, tag + 1) == []
    effects = probe_back(table, current, now, len(earlier) + 1)
    resent = [effect.call for effect in effects if isinstance(effect, Resend)]
    for call in resent:
        table.published(call, now)
    return [call.id for call in resent]


def test_after_a_lost_connection_only_what_was_not_confirmed_is_sent_again() -> None:
    table = connected()
    first = probe(table, 0.0)
    probe_back(table, first, 0.0)
    for name in ("confirmed", "unconfirmed"):
        call = SomeCall(name, idempotent=True)
        table.add(call)
        table.published(call, 0.0)
    table.confirmed(Confirmed(2, False, True), 0.0)
    assert reconnected(table, 1.0, first) == ["unconfirmed"]
    assert table.counts.resent == 1


def test_after_a_restart_of_the_broker_confirmed_calls_are_sent_again_too() -> None:
    table = connected(SomeCall("confirmed", idempotent=True), SomeCall("not idempotent"))
    table.confirmed(Confirmed(2, True, True), 0.0)
    assert reconnected(table, 1.0) == ["confirmed"]
    assert [call.id for call in table] == ["confirmed", "not idempotent"]


def test_what_was_sent_on_the_new_link_is_never_sent_again() -> None:
    table = connected()
    table.disconnected("gone", refused=False)
    table.connected(1.0)
    current = probe(table, 1.0)
    call = SomeCall("new", idempotent=True)
    table.add(call)
    table.published(call, 1.0)
    assert not [effect for effect in probe_back(table, current, 1.0) if isinstance(effect, Resend)]


def test_calls_whose_deadline_has_passed_are_not_sent_again() -> None:
    table = connected(SomeCall("a", deadline=1.5, idempotent=True))
    table.disconnected("gone", refused=False)
    table.connected(1.0)
    assert probe_back(table, probe(table, 1.0), 1.6) == []


def test_a_restart_is_noticed_over_a_link_that_never_settled() -> None:
    table = connected()
    first = probe(table, 0.0)
    probe_back(table, first, 0.0)
    call = SomeCall("a", idempotent=True)
    table.add(call)
    table.published(call, 0.0)
    table.confirmed(Confirmed(2, False, True), 0.0)
    table.disconnected("the broker restarts", refused=False)
    table.connected(1.0)
    second = probe(table, 1.0)  # it does not come back before this link is lost, too
    assert reconnected(table, 2.0, second) == ["a"]


def test_a_confirmed_call_survives_any_number_of_reconnects_without_being_sent_again() -> None:
    table = connected()
    last = probe(table, 0.0)
    probe_back(table, last, 0.0)
    call = SomeCall("a", idempotent=True)
    table.add(call)
    table.published(call, 0.0)
    table.confirmed(Confirmed(2, False, True), 0.0)
    for number in range(1, 11):
        assert reconnected(table, float(number), last) == []
        last = f"{last.rpartition('.')[0]}.{number + 1}"


def test_a_link_whose_probe_does_not_come_back_is_given_up() -> None:
    table = connected()
    probe(table, 0.0)
    for now in (0.5, 1.0, 1.5, 1.7):
        assert table.tick(now, last_received=0.0, unblocked_at=0.0) == []
    assert table.wakeup == 1.75
    (effect,) = table.tick(1.75, last_received=0.0, unblocked_at=0.0)
    assert isinstance(effect, GiveUp)


def test_a_probe_may_take_its_time_while_other_things_arrive_or_the_broker_is_blocked() -> None:
    table = connected()
    probe(table, 0.0)
    for now in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.4):
        assert table.tick(now, last_received=min(now, 1.7), unblocked_at=0.0) == []
    assert table.wakeup == 1.7 + 1.75
    assert table.tick(60.0, last_received=0.0, unblocked_at=None) == []
    probe(table, 61.0)


def test_a_loop_that_stood_still_gives_no_link_up() -> None:
    table = connected()
    probe(table, 0.0)
    # Until now, nothing was sent, and nothing was read.
    assert table.tick(10.0, last_received=0.0, unblocked_at=0.0) == []
    for now in (10.5, 11.0):
        assert table.tick(now, last_received=0.0, unblocked_at=0.0) == []
    (effect,) = table.tick(11.25, last_received=0.0, unblocked_at=0.0)
    assert isinstance(effect, GiveUp)


def test_a_reply_queue_that_is_gone_ends_the_link() -> None:
    table = connected()
    (effect,) = table.returned(Returned(probe(table, 0.0), "NO_ROUTE"))
    assert isinstance(effect, GiveUp)


def test_replies_are_acknowledged_when_the_next_probe_is_there_and_it_is_not() -> None:
    table = connected()
    first = probe(table, 0.0)
    assert probe_back(table, first, 0.0, tag=1) == []
    for tag in (2, 3):
        table.received(reply("nobody", tag=tag), 0.1)
    assert probe_back(table, probe(table, 0.5), 0.5, tag=4) == [Acknowledge(3, multiple=True)]
    assert probe_back(table, probe(table, 1.0), 1.0, tag=5) == [Acknowledge(4, multiple=True)]


def test_large_replies_are_acknowledged_at_once_and_one_by_one() -> None:
    table = connected()
    large = Delivery(2, "nobody", "application/json", "", (b"x" * 600_000,), 600_000)
    assert table.received(large, 0.0) == []
    assert table.received(Delivery(3, "nobody", "application/json", "", (b"x" * 600_000,), 600_000), 0.0) == [
        Acknowledge(2, multiple=False),
        Acknowledge(3, multiple=False),
    ]


def test_stopping_ends_every_call_and_what_may_have_run_is_not_known() -> None:
    table = connected(SomeCall("a"), SomeCall("b", idempotent=True))
    table.add(SomeCall("c"))
    assert kinds(table.stop()) == [("a", OutcomeUnknown), ("b", Stopped), ("c", Stopped)]
    assert len(table) == 0


def test_its_repr_shows_the_counts() -> None:
    assert repr(connected(SomeCall("a"), limit=5)) == (
        "<Calls 1 of 5 in flight, Counts(resent=0, late=0, duplicate=0, unknown=0, malformed=0)>"
    )


ACTIONS = ["add", "answer", "abandon", "lose", "expire", "confirm"]


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5))))
def test_every_call_that_enters_ends_once_or_is_still_in_flight(steps: list[tuple[str, int]]) -> None:
    table = connected(limit=100)
    calls: dict[str, SomeCall] = {}
    entered: list[SomeCall] = []
    ended: list[SomeCall] = []
    now = 0.0
    for action, number in steps:
        now += 1.0
        name = str(number)
        effects: list[Effect[SomeCall]] = []
        if action == "add" and name not in {call.id for call in table}:
            calls[name] = SomeCall(name, deadline=now + number, idempotent=bool(number % 2))
            table.add(calls[name])
            table.published(calls[name], now)
            entered.append(calls[name])
        elif action == "answer":
            effects = table.received(reply(name), now)
        elif action == "abandon" and name in {call.id for call in table}:
            table.abandon(calls[name])
            ended.append(calls[name])
        elif action == "lose":
            effects = table.disconnected("gone", refused=not number)
            table.connected(now)
        elif action == "expire":
            effects = table.tick(now, now, 0.0)
        elif action == "confirm":
            effects = table.confirmed(Confirmed(number, True, bool(number % 3)), 0.0)
        ended += [effect.call for effect in effects if isinstance(effect, Complete)]
    assert len(set(map(id, ended))) == len(ended)
    assert len(entered) - len(ended) == len(table)
