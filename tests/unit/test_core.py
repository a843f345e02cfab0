"""The consumer core: every decision, without Redis, clock, or threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from typed_rmq import AlreadySettled, ConfigError, LeaseLost, TypedRMQError, wire
from typed_rmq.commands import CycleReply, Verdict
from typed_rmq.core import (
    HAND_BACK,
    MAX_WAIT,
    MIN_WAIT,
    ConsumerCore,
)
from typed_rmq.deliveries import Report
from typed_rmq.message import Message
from typed_rmq.prefetch import MAX_BATCH, Prefetch
from typed_rmq.steps import Cycle, Drain, Plan, Reap, Stop, Wait


def envelope(
    number: int, *, suspect: bool = False, mode: str = "-", delivery: int = 1, payload: str = "x"
) -> bytes:
    flag = "s" if suspect else "-"
    digest = "" if mode == "-" else "k" * 22
    head = f"1{1_790_000_000_000}n{flag}{mode}00010000idididididididid{number:08x}:{delivery:06}"
    return (head + digest + payload).encode()


def fields(*envelopes: bytes) -> tuple[bytes, ...]:
    return tuple(one[wire.FIELD] for one in envelopes)


def reply(
    *envelopes: bytes,
    status: str = "new",
    wait: float | None = None,
    stale: tuple[bytes, ...] = (),
    reaped: bool = False,
    lost: int = 0,
    drain: bool = False,
    expired: tuple[bytes, ...] = (),
) -> CycleReply:
    return CycleReply(status, wait, stale, reaped, lost, drain, expired, list(envelopes))


@dataclass
class Told(Report):
    claims: list[bytes] = field(default_factory=list)
    stale: list[bytes] = field(default_factory=list)
    lost: list[bytes] = field(default_factory=list)
    losses: list[int] = field(default_factory=list)
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)

    def claimed(self, envelopes: list[bytes], seconds: float) -> None:
        self.claims += envelopes

    def settled(self, request: Cycle, stale: tuple[bytes, ...], seconds: float) -> None:
        self.stale += stale

    def lease_lost(self, fields: list[bytes]) -> None:
        self.lost += fields

    def data_loss(self, lost: int) -> None:
        self.losses.append(lost)

    def undecodable(self, envelope: bytes, reason: str) -> None:
        self.unreadable.append((envelope, reason))


class Owner:
    queue_name = "q"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the core must not call {name} of the owner")


class Bench:
    """A core with a clock to turn, and tokens that can be told apart."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("lease", 60.0)
        self.now = 100.0
        self.told = Told()
        self.tokens: Iterator[bytes] = iter([b"first", b"second", b"third"])
        self.core: ConsumerCore[str] = ConsumerCore(
            Plan(queue="q", **options),
            self,
            Owner(),  # type: ignore[arg-type]  # it has what is called here
            self.told,
            clock=lambda: self.now,
            token=lambda: next(self.tokens),
        )

    @staticmethod
    def decode(data: bytes) -> str:
        text = data[wire.content_offset(data) :].decode()
        if text == "bad":
            raise ValueError("not readable")
        if text == "interrupt":
            raise KeyboardInterrupt
        return text

    @staticmethod
    def plain(data: bytes, start: int) -> str:
        assert start == wire.content_offset(data)
        return Bench.decode(data)

    def next(self) -> Any:
        return self.core.next(self.now)

    def take(self) -> Message[str] | None:
        return self.core.take(self.now)

    def cycle(self) -> Cycle:
        step = self.next()
        if isinstance(step, Wait) and step.then is not None:
            step = step.then
        assert isinstance(step, Cycle), step
        return step

    def answer(self, request: Cycle, *envelopes: bytes, **what: Any) -> None:
        self.core.on_reply(request, reply(*envelopes, **what), self.now)

    def exchange(self, *envelopes: bytes, **what: Any) -> Cycle:
        """The next call and its answer."""
        request = self.cycle()
        self.answer(request, *envelopes, **what)
        return request

    def hold(self, *envelopes: bytes) -> list[bytes]:
        """These are claimed and handed out."""
        self.exchange(*envelopes)
        for _ in envelopes:
            assert self.take() is not None
        return list(envelopes)


# --- steps


def test_it_begins_with_a_claim_of_one() -> None:
    bench = Bench()
    assert bench.take() is None
    assert bench.cycle() == Cycle(
        n=1, session=b"first", want=1, held=0, acks=(), verdicts=(), closing=False
    )


def test_a_call_without_an_answer_is_repeated_unchanged() -> None:
    bench = Bench()
    request = bench.cycle()
    bench.now += 5
    assert bench.next() is request
    assert bench.core.begin(bench.now) is request
    assert bench.core.begin(bench.now, closing=True) is request
    bench.core.stopping = True
    assert bench.next() is request, "also when somebody wants to leave"


def test_verdicts_that_come_up_meanwhile_wait_for_the_next_call() -> None:
    bench = Bench(prefetch=2)
    one, two = bench.hold(envelope(1), envelope(2))
    bench.core.ack(one)
    request = bench.cycle()
    assert request.acks == fields(one)
    bench.core.ack(two)
    assert bench.next() is request
    bench.answer(request)
    assert bench.core.begin(bench.now) == Cycle(
        n=3, session=b"first", want=0, held=1, acks=fields(two), verdicts=()
    )


def test_an_answer_to_an_older_call_is_ignored() -> None:
    bench = Bench()
    old = bench.exchange()
    bench.core.on_reply(old, reply(envelope(1)), bench.now)
    assert bench.take() is None


def test_numbers_follow_one_another() -> None:
    bench = Bench()
    assert [bench.exchange(envelope(i)).n for i in range(1, 2)] == [1]
    assert bench.take() is not None
    assert bench.exchange().n == 2


def test_it_waits_only_after_a_call_that_found_nothing_and_calls_after_each_wait() -> None:
    bench = Bench()
    bench.exchange(wait=3.0)
    step = bench.next()
    assert isinstance(step, Wait)
    assert step.seconds == pytest.approx(3.0)
    assert step.then is not None
    assert bench.next() is step.then, "the call behind the wait is repeated until answered"
    bench.answer(step.then)
    assert isinstance(bench.next(), Wait)


def test_with_something_in_hand_the_lane_stays_free_while_it_waits() -> None:
    bench = Bench(prefetch=2)
    bench.hold(envelope(1))
    bench.exchange()
    step = bench.next()
    assert isinstance(step, Wait)
    assert step.then is None
    assert isinstance(bench.next(), Cycle), "and a call follows the wait"


def test_who_waited_with_something_in_hand_passes_the_ring_on() -> None:
    """The ring that ended the wait may have been for others, too."""
    bench = Bench(prefetch=2)
    bench.hold(envelope(1))
    bench.exchange()
    assert isinstance(bench.next(), Wait)
    bench.now += 0.01
    bench.core.begin(bench.now)  # a call that claims nothing passes nothing on
    bench.exchange()
    assert bench.exchange(envelope(2)).way == "woken"
    message = bench.take()
    assert message is not None
    bench.core.ack(message.envelope)
    assert bench.cycle().way == "short", "once is enough"


@pytest.mark.parametrize(
    ("lease", "wait", "seconds"),
    [(60, None, MAX_WAIT), (9, None, 3.0), (60, 7.0, 7.0), (60, 0.0001, MIN_WAIT)],
)
def test_the_wait_is_bounded(lease: float, wait: float | None, seconds: float) -> None:
    bench = Bench(lease=lease)
    bench.exchange(wait=wait)
    assert bench.next().seconds == pytest.approx(seconds)


def test_what_is_due_counts_from_the_answer() -> None:
    bench = Bench()
    bench.exchange(wait=3.0)
    bench.now += 2
    assert bench.next().seconds == pytest.approx(1.0)


def test_due_now_is_asked_for_at_once() -> None:
    bench = Bench(until_empty=True)
    bench.exchange(wait=0.0)
    assert isinstance(bench.next(), Cycle)


def test_a_wait_that_is_not_done_is_forgotten() -> None:
    bench = Bench()
    bench.exchange()
    step = bench.next()
    bench.core.skip_wait(step)
    assert bench.cycle().n == 2


# --- ends


def test_until_empty() -> None:
    bench = Bench(until_empty=True)
    bench.hold(envelope(1))
    bench.exchange()
    assert bench.next() == Stop()


def test_until_empty_sends_what_may_put_a_message_back_before_it_ends() -> None:
    bench = Bench(until_empty=True, prefetch=2)
    one = bench.hold(envelope(1))[0]
    bench.exchange()  # another thread of the worker found nothing
    bench.core.verdict(one, Verdict(b"r", one[wire.FIELD], 0))
    request = bench.cycle()
    assert [verdict.kind for verdict in request.verdicts] == [b"r"]
    bench.answer(request, envelope(1, delivery=2))
    assert bench.take() is not None


def test_idle_timeout_counts_from_the_first_empty_answer() -> None:
    bench = Bench(idle_timeout=10.0)
    bench.exchange()
    step = bench.next()
    assert step.seconds == pytest.approx(10.0)
    bench.now += 6
    bench.answer(step.then)
    step = bench.next()
    assert step.seconds == pytest.approx(4.0)
    bench.answer(step.then, envelope(1))
    assert bench.take() is not None
    bench.now += 60
    bench.exchange()
    assert bench.next().seconds == pytest.approx(10.0)
    bench.now += 10
    bench.exchange()
    assert bench.next() == Stop()


def test_max_messages() -> None:
    bench = Bench(max_messages=3, prefetch=2)
    assert bench.exchange(envelope(1), envelope(2)).want == 2
    bench.take()
    bench.take()
    assert bench.exchange(envelope(3)).want == 1
    bench.take()
    assert bench.next() == Stop()


def test_what_cannot_be_read_is_not_one_of_max_messages() -> None:
    bench = Bench(max_messages=1)
    bench.exchange(envelope(1, payload="bad"))
    assert bench.take() is None
    assert bench.exchange(envelope(2)).want == 1


def test_stopping_hands_out_nothing_more_and_gives_back_what_was_fetched() -> None:
    bench = Bench(prefetch=3)
    one, two, three = envelope(1), envelope(2), envelope(3)
    bench.exchange(one, two, three)
    assert bench.take() is not None
    bench.core.stopping = True
    assert bench.take() is None
    assert bench.next() == Stop()
    bench.core.ack(one)
    request = bench.core.begin(bench.now, closing=True)
    assert request is not None
    assert (request.want, request.closing, request.acks) == (0, True, fields(one))
    assert [(v.kind, v.field) for v in request.verdicts] == [
        (b"R", field) for field in fields(two, three)
    ]
    bench.answer(request)
    assert bench.core.begin(bench.now) is None, "the session is over"


def test_nothing_is_sent_before_a_session_began() -> None:
    assert Bench().core.begin(0.0) is None


# --- answers


def test_again_adds_only_what_is_not_known_yet() -> None:
    bench = Bench(prefetch=3)
    one, two = bench.hold(envelope(1), envelope(2))
    bench.core.ack(one)
    request = bench.cycle()
    bench.core.ack(two)
    bench.answer(request, two, envelope(3), status="again")
    message = bench.take()
    assert message is not None
    assert message.envelope == envelope(3)
    assert bench.take() is None
    assert bench.told.losses == []


def test_lost_replaces_the_view_and_is_told() -> None:
    bench = Bench(prefetch=5)
    kept, gone = envelope(1), envelope(2)
    bench.hold(kept, gone)
    request = bench.cycle()
    back = envelope(9)
    bench.answer(request, kept, back, status="lost", lost=4)
    assert bench.told.losses == [4]
    assert bench.told.lost == list(fields(gone))
    assert bench.core.in_hand() == [kept]
    message = bench.take()
    assert message is not None
    assert message.envelope == back
    with pytest.raises(LeaseLost):
        bench.core.ack(gone)


def test_a_loss_is_told_also_to_who_was_reaped() -> None:
    bench = Bench()
    bench.exchange(status="lost", lost=2, reaped=True)
    assert bench.told.losses == [2]


def test_old_begins_a_new_session() -> None:
    bench = Bench()
    held = bench.hold(envelope(1))
    bench.exchange(status="old")
    assert bench.told.lost == list(fields(*held))
    request = bench.cycle()
    assert (request.session, request.n) == (b"second", 1)


def test_reaped_its_messages_belong_to_others_and_its_name_is_never_used_again() -> None:
    bench = Bench(prefetch=3)
    bench.exchange(envelope(1), envelope(2))
    message = bench.take()
    assert message is not None
    bench.core.ack(message.envelope)
    bench.now += 1
    bench.core.give_back()
    request = bench.cycle()
    bench.answer(request, reaped=True, stale=(*request.acks, request.verdicts[0].field))
    assert bench.told.stale == list(fields(envelope(1), envelope(2)))
    with pytest.raises(LeaseLost):
        bench.core.check_sent(message.envelope)
    assert bench.cycle().session == b"second"


def test_reaped_with_something_in_hand() -> None:
    bench = Bench(prefetch=2)
    one, _ = bench.hold(envelope(1), envelope(2))
    bench.exchange(reaped=True)
    assert bench.core.is_lost(one, bench.now)
    assert not bench.core.holding
    with pytest.raises(LeaseLost):
        bench.core.verdict(one, Verdict(b"R", one[wire.FIELD]))


def test_a_verdict_recorded_before_the_loss_was_known_is_sent_and_stale() -> None:
    bench = Bench(prefetch=2)
    [one] = bench.hold(envelope(1))
    request = bench.cycle()
    bench.core.ack(one)
    bench.answer(request, reaped=True)
    assert bench.cycle().acks == fields(one)


def test_such_a_verdict_needs_no_claim_to_be_sent() -> None:
    """Where its handler waits for the answer nobody asks for more."""
    bench = Bench(prefetch=2)
    [one] = bench.hold(envelope(1))
    request = bench.cycle()
    bench.core.ack(one)
    bench.answer(request, reaped=True)
    assert bench.core.begin(bench.now, closing=True) is None, "no new session, only to close it"
    again = bench.core.begin(bench.now)
    assert again is not None
    assert (again.session, again.want, again.acks) == (b"second", 0, fields(one))
    bench.answer(again, stale=fields(one))
    with pytest.raises(LeaseLost):
        bench.core.check_sent(one)


def test_a_verdict_that_nobody_sends_any_more_is_lost_and_one_that_was_answered_is_not() -> None:
    bench = Bench(prefetch=2)
    one, two = bench.hold(envelope(1), envelope(2))
    bench.core.ack(one)
    closing = bench.core.begin(bench.now, closing=True)
    assert closing is not None
    bench.core.ack(two)
    bench.answer(closing)
    bench.core.not_sent(one)
    with pytest.raises(LeaseLost):
        bench.core.not_sent(two)


# --- suspects


def test_while_a_suspect_is_in_hand_nothing_else_is_claimed() -> None:
    bench = Bench(prefetch=5)
    [suspect] = bench.hold(envelope(1, suspect=True))
    assert bench.next() == Drain()
    bench.core.ack(suspect)
    assert isinstance(bench.next(), Cycle)


def test_a_suspect_that_another_thread_is_just_taking_counts_as_held() -> None:
    bench = Bench(prefetch=5)
    bench.exchange(envelope(1, suspect=True))
    taken = bench.core._buffer.popleft()  # between the two steps of take()
    assert bench.next() == Drain()
    bench.core._hands[taken[wire.FIELD]] = taken
    assert bench.next() == Drain()


@pytest.mark.parametrize("way", ["retry", "bad", "give back", "lease", "reaped", "fork"])
def test_a_suspect_is_gone_however_it_went(way: str) -> None:
    bench = Bench()
    suspect = envelope(1, suspect=True, payload="bad" if way == "bad" else "x")
    bench.exchange(suspect)
    if way == "give back":
        bench.core.give_back()
    elif way == "lease":
        bench.now += 100
        assert bench.take() is None
    elif way == "fork":
        bench.core.disown()
        assert bench.next() == Stop()
        return
    else:
        bench.take()
    if way == "retry":
        bench.core.verdict(suspect, Verdict(b"r", suspect[wire.FIELD], 0))
    elif way == "reaped":
        request = bench.core.begin(bench.now)
        assert request is not None
        bench.answer(request, reaped=True)
    assert isinstance(bench.next(), Cycle)


def test_a_waiting_suspect_drains_the_hands_first_and_is_then_asked_for_at_once() -> None:
    bench = Bench(prefetch=5, until_empty=True)
    [held] = bench.hold(envelope(1))
    bench.exchange(drain=True)
    assert bench.next() == Drain()
    bench.core.ack(held)
    assert bench.cycle().acks == fields(held), "not a wait, and not the end"


def test_with_all_hands_full_it_drains_rather_than_asks_again_and_again() -> None:
    bench = Bench(prefetch=MAX_BATCH)
    held = bench.hold(*[envelope(i) for i in range(MAX_BATCH)])
    assert bench.next() == Drain()
    bench.core.ack(held[0])
    request = bench.cycle()
    assert (request.want, len(request.acks)) == (1, 1)


# --- leases


def test_a_lease_counts_from_when_the_call_was_sent() -> None:
    bench = Bench(lease=60.0)
    request = bench.cycle()
    bench.now += 10
    bench.answer(request, envelope(1))
    assert bench.core.plan.lease_in_redis == 58.0
    assert bench.core.lease_until == 100.0 + 58.0
    assert bench.core.renewal_due() == 110.0 + 20.0


def test_what_outlived_its_lease_before_it_was_taken_is_given_back() -> None:
    bench = Bench(prefetch=2)
    one, two = envelope(1), envelope(2)
    bench.exchange(one, two)
    bench.now += 58.5
    assert bench.take() is None
    request = bench.cycle()
    assert [(v.kind, v.field) for v in request.verdicts] == [(b"R", f) for f in fields(one, two)]
    assert request.held == 2


def test_a_renewal_moves_the_lease_and_a_refused_one_ends_it() -> None:
    bench = Bench()
    [held] = bench.hold(envelope(1))
    bench.now += 50
    bench.core.on_renewed(b"first", bench.now - 1, bench.now, alive=True)
    assert bench.core.lease_until == bench.now - 1 + 58
    assert not bench.core.is_lost(held, bench.now)
    bench.core.on_renewed(b"another", bench.now, bench.now, alive=False)
    assert not bench.core.is_lost(held, bench.now)
    bench.core.on_renewed(b"first", bench.now, bench.now, alive=False)
    assert bench.core.is_lost(held, bench.now)


def test_after_a_fork_nothing_is_ours() -> None:
    bench = Bench(prefetch=3)
    bench.exchange(envelope(1), envelope(2))
    message = bench.take()
    assert message is not None
    bench.core.disown()
    assert bench.next() == Stop()
    assert not bench.core.busy
    assert bench.core.begin(bench.now) is None


# --- reaping


def test_a_session_is_reaped_when_it_was_seen_expired_twice_a_grace_apart() -> None:
    bench = Bench(lease=60.0)
    bench.exchange(expired=(b"x",))
    step = bench.next()
    assert step.seconds == pytest.approx(bench.core.plan.grace)
    bench.now += 0.5
    bench.answer(step.then, expired=(b"x",))
    step = bench.next()
    assert step.seconds == pytest.approx(0.5)
    bench.now += 0.5
    bench.answer(step.then, expired=(b"x",))
    assert bench.next() == Reap(b"x")
    assert isinstance(bench.next(), Cycle), "what came back can be claimed now"


def test_until_empty_looks_again_after_reaping() -> None:
    bench = Bench(until_empty=True, prefetch=2)
    bench.exchange(envelope(1), expired=(b"x",))
    bench.take()
    bench.now += 1
    bench.exchange(expired=(b"x",))
    assert bench.next() == Reap(b"x")
    assert isinstance(bench.next(), Cycle)


def test_one_that_came_back_is_not_reaped() -> None:
    bench = Bench()
    bench.exchange(expired=(b"x",))
    bench.exchange()
    bench.now += 5
    bench.exchange(expired=(b"x",))
    assert not isinstance(bench.next(), Reap)


def test_after_an_outage_everybody_gets_a_new_grace() -> None:
    bench = Bench()
    bench.exchange(expired=(b"x", b"y"))
    bench.now += 30
    bench.core.on_reconnect()
    bench.exchange(expired=(b"x", b"y"))
    step = bench.next()
    assert isinstance(step, Wait)
    bench.now += 1
    bench.answer(step.then, expired=(b"x", b"y"))
    assert [bench.next(), bench.next()] == [Reap(b"x"), Reap(b"y")]


def test_an_outage_clears_what_was_to_be_reaped() -> None:
    bench = Bench()
    bench.exchange(expired=(b"x",))
    bench.now += 1
    bench.exchange(expired=(b"x",))
    bench.core.on_reconnect()
    assert not isinstance(bench.next(), Reap)


def test_a_call_that_only_settles_says_nothing_about_others() -> None:
    """It may go over another connection, which comes back first after an outage."""
    bench = Bench(prefetch=2)
    [held] = bench.hold(envelope(1))
    bench.exchange(expired=(b"x",))
    bench.now += 30
    bench.core.ack(held)
    request = bench.core.begin(bench.now)
    assert request is not None
    bench.answer(request, expired=(b"x",))
    assert not isinstance(bench.next(), Reap)


# --- what is handed out


def test_messages_come_in_their_order_with_what_their_head_says() -> None:
    bench = Bench(prefetch=2)
    bench.exchange(envelope(1, payload="a"), envelope(2, payload="b"))
    one, two = bench.take(), bench.take()
    assert one is not None
    assert two is not None
    assert (one.payload, one.attempt, two.payload) == ("a", 1, "b")
    assert bench.told.claims == [envelope(1, payload="a"), envelope(2, payload="b")]


def test_what_cannot_be_read_becomes_a_dead_letter_and_the_next_one_is_handed_out() -> None:
    bench = Bench(prefetch=2)
    bad = envelope(1, payload="bad")
    bench.exchange(bad, envelope(2))
    message = bench.take()
    assert message is not None
    assert message.envelope == envelope(2)
    assert bench.told.unreadable == [(bad, "not readable")]
    bench.core.ack(message.envelope)
    request = bench.cycle()
    assert request.verdicts == (Verdict(b"d", bad[wire.FIELD], "not readable"),)
    assert request.held == 2


def test_f21_an_interrupt_while_decoding_loses_nothing() -> None:
    bench = Bench(prefetch=2)
    first = envelope(1, payload="interrupt")
    bench.exchange(first, envelope(2))
    with pytest.raises(KeyboardInterrupt):
        bench.take()
    bench.core.give_back()
    request = bench.cycle()
    assert [v.field for v in request.verdicts] == list(fields(first, envelope(2)))


# --- verdicts


def test_a_second_verdict_is_refused() -> None:
    bench = Bench()
    [held] = bench.hold(envelope(1))
    bench.core.ack(held)
    with pytest.raises(AlreadySettled) as caught:
        bench.core.verdict(held, Verdict(b"R", held[wire.FIELD]))
    assert caught.value.message_id == "idididididididid00000001"
    assert caught.value.queue == "q"
    with pytest.raises(AlreadySettled):
        bench.core.check_held(held)


def test_check_sent_waits_for_the_answer() -> None:
    bench = Bench()
    [held] = bench.hold(envelope(1))
    with pytest.raises(TypedRMQError, match="no verdict yet"):
        bench.core.check_sent(held)
    bench.core.ack(held)
    assert not bench.core.check_sent(held)
    request = bench.cycle()
    assert not bench.core.check_sent(held)
    bench.answer(request)
    assert bench.core.check_sent(held)


def test_a_late_verdict_raises_lease_lost() -> None:
    bench = Bench()
    [held] = bench.hold(envelope(1))
    bench.core.verdict(held, Verdict(b"r", held[wire.FIELD], 5))
    request = bench.cycle()
    assert not bench.core.check_sent(held)
    bench.answer(request, stale=fields(held))
    with pytest.raises(LeaseLost):
        bench.core.check_sent(held)


def test_acks_are_plain_unless_redis_must_look_at_the_message() -> None:
    bench = Bench()
    [held] = bench.hold(envelope(1))
    bench.core.ack(held)
    assert bench.exchange().acks == fields(held)
    [held] = bench.hold(envelope(2, mode="d"))
    bench.core.ack(held)
    request = bench.cycle()
    assert (request.acks, request.verdicts) == ((), (Verdict(b"a", held[wire.FIELD], 0),))


def test_a_suspect_that_holds_its_key_until_done_frees_it_too() -> None:
    bench = Bench()
    [held] = bench.hold(envelope(1, mode="d", suspect=True))
    assert bench.next() == Drain()
    bench.core.ack(held)
    assert bench.cycle().acks == ()


def test_each_kind_of_head_is_read_from_its_own_place() -> None:
    bench = Bench(prefetch=8)
    kinds = ["-", "w", "w", "-", "d", "-", "w", "d"]
    bench.exchange(*[envelope(i, mode=kind, payload=f"p{i}") for i, kind in enumerate(kinds)])
    messages = [bench.take() for _ in kinds]
    assert [one and one.payload for one in messages] == [f"p{i}" for i in range(8)]


def test_with_a_log_of_completions_acks_bring_their_duration() -> None:
    bench = Bench(keep_done=5)
    [held] = bench.hold(envelope(1))
    bench.now += 0.1
    bench.core.ack(held)
    assert bench.cycle().verdicts == (Verdict(b"a", held[wire.FIELD], 100),)


def test_a_batch_that_is_stuck_is_handed_back() -> None:
    bench = Bench()
    for size in (1, 2, 4):
        assert bench.exchange(*[envelope(10 * size + i) for i in range(size)]).want == size
        while (message := bench.take()) is not None:
            bench.core.ack(message.envelope)
    bench.exchange(envelope(1), envelope(2))
    assert bench.take() is not None
    assert bench.core.hand_back_due() == bench.now + HAND_BACK
    bench.core.hand_back()
    assert bench.core.hand_back_due() is None
    request = bench.core.begin(bench.now)
    assert request is not None
    assert [v.field for v in request.verdicts] == list(fields(envelope(2)))
    bench.answer(request)
    assert bench.cycle().want == 1


def test_busy_pending_holding() -> None:
    bench = Bench()
    core = bench.core
    assert (core.busy, core.pending, core.holding) == (False, False, False)
    request = bench.cycle()
    assert not core.busy, "a claim that waits for the bell needs no keeper"
    bench.answer(request, envelope(1))
    assert (core.busy, core.holding) == (True, True)
    bench.take()
    assert core.holding
    core.ack(envelope(1))
    assert (core.busy, core.pending, core.holding) == (True, True, False)
    request = bench.cycle()
    assert (core.busy, core.pending) == (True, False)
    bench.answer(request)
    assert not core.busy


# --- prefetch


def test_prefetch_doubles_while_batches_are_quick_and_halves_when_they_are_slow() -> None:
    bench = Bench()
    wants: list[int] = []
    number = 0
    for seconds in [0.01] * 12 + [0.2] * 12:
        request = bench.cycle()
        wants.append(request.want)
        batch = [envelope(number := number + 1) for _ in range(request.want)]
        bench.answer(request, *batch)
        while (message := bench.take()) is not None:
            bench.core.ack(message.envelope)
        bench.now += seconds
    assert wants[:12] == [min(2**i, MAX_BATCH) for i in range(12)]
    assert wants[12:] == [1000, 500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1]


def test_a_fixed_prefetch_stays() -> None:
    prefetch = Prefetch(7)
    prefetch.handled(0.001)
    prefetch.handled(10)
    prefetch.stuck()
    assert prefetch.size == 7
    for wrong in (0, MAX_BATCH + 1):
        with pytest.raises(ConfigError):
            Prefetch(wrong)
