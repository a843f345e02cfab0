"""The keeper: a thread that is there while there is something to keep, and never dies before."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator

import pytest

from typed_rmq.keeper import IDLE_EXIT, Keeper


def eventually(what: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


class Chores:
    """Counts its calls; answers with ``pauses`` in turn, then with the last one."""

    def __init__(self, *pauses: float | BaseException | None) -> None:
        self.pauses = list(pauses)
        self.calls: list[float] = []

    def __call__(self) -> float | None:
        self.calls.append(time.monotonic())
        pause = self.pauses.pop(0) if len(self.pauses) > 1 else self.pauses[0]
        if isinstance(pause, BaseException):
            raise pause
        return pause


@pytest.fixture
def make() -> Iterator[Callable[[Callable[[], float | None]], Keeper]]:
    made: list[Keeper] = []

    def keeper(chores: Callable[[], float | None]) -> Keeper:
        made.append(Keeper(chores, "keeper under test"))
        return made[-1]

    yield keeper
    for one in made:
        one.end()


Make = Callable[[Callable[[], float | None]], Keeper]


def test_an_idle_keeper_has_no_thread(make: Make) -> None:
    keeper = make(Chores(None))
    assert not keeper.running
    keeper.wake()
    assert keeper.running
    assert eventually(lambda: not keeper.running)


def test_its_thread_ends_soon_after_the_last_chore_and_starts_again(make: Make) -> None:
    chores = Chores(None)
    keeper = make(chores)
    for turn in range(3):
        started = time.monotonic()
        keeper.wake()
        assert eventually(lambda: not keeper.running)
        assert IDLE_EXIT / 2 < time.monotonic() - started < 5
        assert len(chores.calls) > turn


def test_it_waits_as_long_as_the_chores_say_and_no_longer(make: Make) -> None:
    chores = Chores(0.05, 0.05, 60.0)
    make(chores).wake()
    assert eventually(lambda: len(chores.calls) == 3)
    assert chores.calls[1] - chores.calls[0] >= 0.045
    assert chores.calls[2] - chores.calls[1] >= 0.045
    time.sleep(0.1)
    assert len(chores.calls) == 3


def test_waking_ends_a_long_pause(make: Make) -> None:
    chores = Chores(60.0)
    keeper = make(chores)
    keeper.wake()
    assert eventually(lambda: len(chores.calls) == 1)
    keeper.wake()
    assert eventually(lambda: len(chores.calls) == 2)


def test_waking_during_a_chore_is_not_forgotten(make: Make) -> None:
    entered, go = threading.Event(), threading.Event()
    calls: list[int] = []

    def chores() -> float:
        calls.append(1)
        entered.set()
        go.wait(10)
        return 60.0

    keeper = make(chores)
    keeper.wake()
    assert entered.wait(10)
    keeper.wake()
    go.set()
    assert eventually(lambda: len(calls) == 2)


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), SystemExit(3)])
def test_f18_a_chore_that_fails_is_tried_again(
    make: Make, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    chores = Chores(error, 60.0)
    keeper = make(chores)
    keeper.wake()
    assert eventually(lambda: len(chores.calls) == 2)
    assert keeper.running
    assert "a chore failed" in caplog.text


def test_f18_where_there_are_no_threads_it_says_so_and_tries_again_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chores = Chores(None)
    keeper = make(chores)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            keeper.wake()
    assert not keeper.running
    keeper.wake()
    assert eventually(lambda: len(chores.calls) >= 1)


def test_ending_waits_for_the_chore_and_nothing_runs_afterwards(make: Make) -> None:
    entered, go = threading.Event(), threading.Event()
    calls: list[int] = []

    def chores() -> float:
        entered.set()
        go.wait(10)
        calls.append(1)
        return 0.0

    keeper = make(chores)
    keeper.wake()
    assert entered.wait(10)
    threading.Timer(0.05, go.set).start()
    keeper.end()
    done = len(calls)
    assert done >= 1
    keeper.wake()
    time.sleep(0.05)
    assert len(calls) == done
    assert not keeper.running


def test_a_chore_may_end_the_keeper_itself(make: Make) -> None:
    def chores() -> None:
        keeper.end()

    keeper = make(chores)
    keeper.wake()
    assert eventually(lambda: not keeper.running)


def test_waking_from_a_finalizer_that_runs_inside_the_keeper_does_not_lock_up(make: Make) -> None:
    chores = Chores(60.0)
    keeper = make(chores)
    # Garbage collection may run a __del__, and so wake(), at any point of wake() itself.
    with keeper._condition:
        keeper.wake()
        keeper.wake()
    assert eventually(lambda: len(chores.calls) >= 1)


def test_waking_at_once_from_many_threads_starts_one(make: Make) -> None:
    names: set[int] = set()

    def chores() -> float:
        names.add(threading.get_ident())
        time.sleep(0.001)
        return 60.0

    keeper = make(chores)
    threads = [threading.Thread(target=keeper.wake) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.05)
    assert len(names) == 1


def test_f24_after_a_fork_the_child_has_a_thread_of_its_own(make: Make) -> None:
    chores = Chores(60.0)
    keeper = make(chores)
    keeper.wake()
    assert eventually(lambda: len(chores.calls) == 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside a thread, on purpose
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(10)
            keeper.forget()
            before = len(chores.calls)
            keeper.wake()
            status = 0 if eventually(lambda: len(chores.calls) > before) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert keeper.running
