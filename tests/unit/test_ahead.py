"""Claiming the next batch while one is handled: when, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_core import Bench, envelope, fields, reply
from typed_rmq.commands import Verdict
from typed_rmq.deliveries import AHEAD


def half_done(**options: Any) -> Bench:
    """A consumer of forty at a time that has handled half of its first batch."""
    bench = Bench(prefetch=40, **options)
    bench.exchange(*[envelope(n) for n in range(40)])
    message = bench.take()
    while not bench.core.low:
        assert message is not None
        message = bench.core.advance(message.envelope, bench.now)
    return bench


def test_half_way_through_a_batch_the_next_is_claimed() -> None:
    bench = half_done()
    request = bench.core.ahead(bench.now)
    assert request is not None
    assert not bench.core.low
    assert request.acks == fields(*[envelope(n) for n in range(20)])
    assert request.held == 40, "what Redis holds for the session, the acks of this call included"
    assert request.want == 20, "one is in hand, nineteen are left, and forty is the most"


def test_what_was_claimed_ahead_comes_after_what_is_left() -> None:
    bench = half_done()
    request = bench.core.ahead(bench.now)
    assert request is not None
    bench.core.on_reply(request, reply(*[envelope(n) for n in range(40, 60)]), bench.now)
    payloads = []
    while (message := bench.take()) is not None:
        payloads.append(message.id[-8:])
    assert payloads == [f"{n:08x}" for n in range(21, 60)]


def test_a_call_that_is_under_way_is_the_next_one_to_be_repeated() -> None:
    bench = half_done()
    request = bench.core.ahead(bench.now)
    assert bench.next() is request
    assert bench.core.begin(bench.now) is request


def test_a_batch_claimed_ahead_is_claimed_ahead_of() -> None:
    bench = half_done()
    request = bench.core.ahead(bench.now)
    assert request is not None
    bench.core.on_reply(request, reply(*[envelope(n) for n in range(40, 60)]), bench.now)
    [held] = bench.core.in_hand()
    while not bench.core.low:
        message = bench.core.advance(held, bench.now)
        assert message is not None
        held = message.envelope
    again = bench.core.ahead(bench.now)
    assert again is not None
    assert again.n == request.n + 1


def stop(bench: Bench) -> None:
    bench.core.stopping = True


def open_call(bench: Bench) -> None:
    assert bench.core.begin(bench.now) is not None


def failed(bench: Bench) -> None:
    held = bench.core.in_hand()[-1]
    bench.core.verdict(held, Verdict(b"r", fields(held)[0], 0))


@pytest.mark.parametrize("disturb", [stop, open_call, failed])
def test_nothing_is_claimed_ahead_where_something_is_out_of_the_ordinary(disturb: Any) -> None:
    bench = half_done()
    disturb(bench)
    assert bench.core.ahead(bench.now) is None
    assert not bench.core.low


def test_a_consumer_of_so_many_messages_claims_no_more_than_those() -> None:
    bench = half_done(max_messages=60)
    assert bench.core.ahead(bench.now) is None


def test_small_batches_are_not_claimed_ahead() -> None:
    bench = Bench(prefetch=AHEAD - 1)
    bench.hold(*[envelope(n) for n in range(AHEAD - 1)])
    assert not bench.core.low


def test_prefetch_adapts_to_what_a_batch_would_have_taken() -> None:
    bench = Bench(prefetch="auto")
    bench.core.prefetch.size = 64
    bench.exchange(*[envelope(n) for n in range(64)])
    while not bench.core.low:
        bench.now += 0.002
        assert bench.take() is not None
    # 64 of them take 0.128 s, and a batch should take 0.05 s.
    bench.core._hands.clear()
    assert bench.core.ahead(bench.now) is not None or bench.core.prefetch.size == 32
    assert bench.core.prefetch.size == 32
