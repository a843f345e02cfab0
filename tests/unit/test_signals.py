"""SIGINT and SIGTERM: the first ends loops, the second is passed on, an application's own stay."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
import weakref
from collections.abc import Iterator

import pytest

from typed_rmq import signals

BOTH = [signal.SIGINT, signal.SIGTERM]


class Loop:
    def __init__(self) -> None:
        self.stops = 0
        self.interrupts = 0

    def stop(self) -> None:
        self.stops += 1

    def interrupted(self) -> None:
        self.interrupts += 1


@pytest.fixture(autouse=True)
def pythons_own_handlers() -> Iterator[None]:
    for loop in signals._running():  # of another test
        signals.unwatch(loop)
    before = {number: signal.getsignal(number) for number in BOTH}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    leftover = signals._running()
    for loop in leftover:
        signals.unwatch(loop)
    for number, handler in before.items():
        signal.signal(number, handler)
    assert not leftover


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in BOTH]


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_stops_every_loop(number: signal.Signals) -> None:
    one, two = Loop(), Loop()
    signals.watch(one)
    signals.watch(two)
    signal.raise_signal(number)
    assert (one.stops, two.stops) == (1, 1)
    assert (one.interrupts, two.interrupts) == (0, 0)
    signals.unwatch(one)
    signals.unwatch(two)


def test_handlers_are_back_after_the_last_loop_and_not_before() -> None:
    before = handlers()
    one, two = Loop(), Loop()
    signals.watch(one)
    during = handlers()
    assert during != before
    signals.watch(two)
    signals.unwatch(one)
    assert handlers() == during
    signals.unwatch(two)
    assert handlers() == before
    signals.unwatch(two)
    assert handlers() == before


def test_a_second_interrupt_is_raised_at_once() -> None:
    before, loop = handlers(), Loop()
    signals.watch(loop)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert (loop.stops, loop.interrupts) == (1, 1)
    assert handlers() == before
    signals.unwatch(loop)
    assert handlers() == before


def test_an_interrupt_after_a_terminate_is_a_second_signal() -> None:
    loop = Loop()
    signals.watch(loop)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signals.unwatch(loop)


def test_after_loops_have_ended_the_next_ones_first_signal_is_a_first_one_again() -> None:
    for _ in range(2):
        loop = Loop()
        signals.watch(loop)
        signal.raise_signal(signal.SIGINT)
        assert (loop.stops, loop.interrupts) == (1, 0)
        signals.unwatch(loop)


def test_an_applications_own_handlers_are_left_alone() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before, loop = handlers(), Loop()
    signals.watch(loop)
    assert handlers() == before
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert (seen, loop.stops) == ([signal.SIGTERM], 0)
    signals.unwatch(loop)
    assert handlers() == before


def test_only_the_free_one_of_two_is_taken() -> None:
    def own(number: int, frame: object) -> None: ...

    signal.signal(signal.SIGTERM, own)
    loop = Loop()
    signals.watch(loop)
    assert signal.getsignal(signal.SIGTERM) is own
    signal.raise_signal(signal.SIGINT)
    assert loop.stops == 1
    signals.unwatch(loop)
    assert handlers() == [signal.default_int_handler, own]


def test_a_handler_that_came_later_stays() -> None:
    def later(number: int, frame: object) -> None: ...

    loop = Loop()
    signals.watch(loop)
    signal.signal(signal.SIGTERM, later)
    signals.unwatch(loop)
    assert handlers() == [signal.default_int_handler, later]


def test_outside_of_the_main_thread_nothing_is_touched() -> None:
    before, loop = handlers(), Loop()
    thread = threading.Thread(target=signals.watch, args=(loop,))
    thread.start()
    thread.join()
    assert handlers() == before
    assert signals._watched == []


def test_a_loop_dropped_in_another_thread_swallows_no_signal() -> None:
    """Garbage collection may drop an iterator anywhere; handlers can be set in one thread only."""
    before, loop = handlers(), Loop()
    signals.watch(loop)
    thread = threading.Thread(target=signals.unwatch, args=(loop,))
    thread.start()
    thread.join()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert handlers() == before
    assert loop.stops == 0


def test_a_loop_dropped_in_another_thread_leaves_the_next_one_in_order() -> None:
    before, loop, after = handlers(), Loop(), Loop()
    signals.watch(loop)
    thread = threading.Thread(target=signals.unwatch, args=(loop,))
    thread.start()
    thread.join()
    signals.watch(after)
    signal.raise_signal(signal.SIGINT)
    assert after.stops == 1
    signals.unwatch(after)
    assert handlers() == before


def test_under_asyncio_run_its_own_interrupt_handler_is_the_second_one() -> None:
    loop = Loop()

    async def main() -> str:
        before = signal.getsignal(signal.SIGINT)
        assert before is not signal.default_int_handler
        signals.watch(loop)
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0.01)
            assert loop.stops == 1
            signal.raise_signal(signal.SIGINT)
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                # asyncio cancels the main task, and raises KeyboardInterrupt at the end of run().
                assert loop.interrupts == 1
                raise
        finally:
            signals.unwatch(loop)
            assert signal.getsignal(signal.SIGINT) is before
        return "not interrupted"

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_loop_that_stops_while_it_is_told_to_stop_disturbs_nobody() -> None:
    class Quick(Loop):
        def stop(self) -> None:
            super().stop()
            signals.unwatch(self)

    one, two = Quick(), Loop()
    signals.watch(one)
    signals.watch(two)
    signal.raise_signal(signal.SIGINT)
    assert (one.stops, two.stops) == (1, 1)
    signals.unwatch(two)


def test_a_loop_that_nobody_holds_is_forgotten() -> None:
    before, loop = handlers(), Loop()
    signals.watch(loop)
    gone = weakref.ref(loop)
    del loop
    assert gone() is None
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert handlers() == before
    another = Loop()
    signals.watch(another)
    signal.raise_signal(signal.SIGINT)
    assert another.stops == 1
    signals.unwatch(another)
    assert handlers() == before


def test_a_main_task_that_is_over_is_not_held() -> None:
    loop, tasks = Loop(), []

    async def main() -> None:
        tasks.append(weakref.ref(asyncio.current_task()))
        signals.watch(loop)
        raise ValueError

    with contextlib.suppress(ValueError):
        asyncio.run(main())
    gc.collect()
    assert tasks[0]() is None
    signals.unwatch(loop)
    # What asyncio.run() itself would have gone back to.
    assert handlers() == [signal.default_int_handler, signal.SIG_DFL]
