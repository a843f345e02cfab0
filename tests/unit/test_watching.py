"""The watched core, where a message leaves otherwise than by a loop that goes on."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.test_core import Bench, Owner, envelope
from typed_rmq.events import Handled, Handling
from typed_rmq.steps import Plan
from typed_rmq.watching import WatchedCore


class Watched(Bench):
    """A bench with a watched core; ``ended`` is what was told."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Handled] = []
        self.core: WatchedCore[str] = WatchedCore(
            Plan(queue="q", lease=60.0, prefetch=2),
            self,
            Owner(),  # type: ignore[arg-type]  # it has what is called here
            self.told,
            clock=lambda: self.now,
            hooks=(self.handling,),
        )

    def handling(self, event: Handling) -> Callable[[Handled], object]:
        assert event.queue == "q"
        return self.ended.append


def test_a_lost_lease_leaves_no_outcome() -> None:
    bench = Watched()
    one, two = bench.hold(envelope(1), envelope(2))
    bench.core.ack(two)
    bench.exchange(reaped=True)
    assert bench.ended == [], "the code that handles them does not know yet"
    error = ValueError("late")
    bench.core.left(one, error)
    bench.core.left(two, None)
    assert bench.ended == [Handled(None, error), Handled("done", None)]
    bench.core.left(one, None)
    bench.core.entered(one)
    bench.core.left(one, None)
    assert len(bench.ended) == 2, "once each, and nothing begins that is not in hand"


def test_after_a_fork_nothing_is_told() -> None:
    bench = Watched()
    [one] = bench.hold(envelope(1))
    bench.core.disown()
    bench.core.left(one, None)
    assert bench.ended == []
