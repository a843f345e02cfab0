"""Who goes with whom, and what each is told of a reply that they share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from typed_rmq import QueueUnavailable, sync_grouping
from typed_rmq.commands import Command, PublishReply, Told
from typed_rmq.grouping import MOST, MOST_BYTES, shares
from typed_rmq.lanes import Batch, Lane, Mark
from typed_rmq.scripts import ENQUEUE
from typed_rmq.sync_grouping import AT_ONCE, Group


def test_a_total_is_shared_as_if_one_had_come_after_the_other() -> None:
    assert [share.total for share in shares(PublishReply("new", "", 0, 103), 3)] == [101, 102, 103]


def test_exceptions_go_to_their_own_and_a_loss_is_told_once() -> None:
    first, second, third = shares(PublishReply("new", "1=aa,2!bb", 7), 3)
    assert first == PublishReply("new", "", 7)
    assert second == PublishReply("new", "0=aa", 0)
    assert third == PublishReply("new", "0!bb", 0)


def test_what_is_told_of_the_lane_goes_to_the_first() -> None:
    told = Told(b"7", 1, 2)
    got = shares(PublishReply("new", "1=aa", 0, published=103, told=told), 3)
    assert [share.published for share in got] == [102, 0, 103]
    assert [share.told for share in got] == [told, None, None]


class One:
    """A message that is its number."""

    def __init__(self, number: int, size: int = 100) -> None:
        self.batch = Batch([b"%d" % number], [b"x" * size], [], Mark(), 0, Lane())

    def pack(self, lane: Lane) -> Batch:
        return self.batch

    def command(self, lane: Lane) -> Command[PublishReply]:
        return self.joined(lane, self.batch)

    def joined(self, lane: Lane, batch: Batch) -> Command[PublishReply]:
        return Command(ENQUEUE, (), [lane.next_number(), *batch.ids], lambda _: _never())


def _never() -> PublishReply:
    raise AssertionError


Make = Callable[[Lane], Command[PublishReply]]


class Sender:
    """Takes calls as Redis would, and lets the test decide what becomes of them."""

    def __init__(self, *faults: BaseException) -> None:
        self.sent: list[Command[PublishReply]] = []
        self._faults = list(faults)
        self._lock = threading.Lock()
        self.gate = threading.Event()

    def __call__(self, make: Make) -> PublishReply:
        command = make(Lane())
        self.gate.wait(10)
        with self._lock:
            self.sent.append(command)
            if self._faults:
                raise self._faults.pop(0)
        return PublishReply("new", "", 0, len(command.args) - 1)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine it takes a while until all have come."""
    monkeypatch.setattr(sync_grouping, "PATIENCE", 60.0)


def _together(group: Group, sender: Sender, parcels: list[One]) -> list[object]:
    """Join with all of them at once, and return what each got."""
    got: dict[int, object] = {}

    def join(index: int, parcel: One) -> None:
        try:
            got[index] = group.join(parcel, sender)
        except BaseException as error:
            got[index] = error

    free = [group.free.pop() for _ in range(AT_ONCE)]
    threads = [threading.Thread(target=join, args=each) for each in enumerate(parcels)]
    for thread in threads:
        thread.start()
    while len(group.waiting) < len(parcels):
        time.sleep(0.001)
    group.free.append(free[0])
    group.pass_on()
    sender.gate.set()
    for thread in threads:
        thread.join(20)
    return [got[index] for index in range(len(parcels))]


def test_all_that_wait_are_one_call(patient: None) -> None:
    sender = Sender()
    got = _together(Group(), sender, [One(number) for number in range(20)])
    assert len(sender.sent) == 1
    assert sorted(sender.sent[0].args[1:]) == sorted(b"%d" % number for number in range(20))
    assert sorted(share.total for share in got if isinstance(share, PublishReply)) == [
        *range(1, 21)
    ]


def test_a_leader_that_is_interrupted_hands_its_call_to_another(patient: None) -> None:
    sender = Sender(KeyboardInterrupt(), SystemExit())
    got = _together(Group(), sender, [One(number) for number in range(10)])
    assert sorted(type(each).__name__ for each in got) == [
        "KeyboardInterrupt", *["PublishReply"] * 8, "SystemExit",
    ]  # fmt: skip
    assert len(sender.sent) == 3
    assert all(command is sender.sent[0] for command in sender.sent), "the same call, unchanged"


def test_an_error_is_each_ones_own(patient: None) -> None:
    sender = Sender(QueueUnavailable("no answer", queue="orders"))
    got = _together(Group(), sender, [One(number) for number in range(10)])
    assert len({id(each) for each in got}) == 10
    for each in got:
        assert isinstance(each, QueueUnavailable)
        assert (str(each), each.queue) == ("no answer", "orders")
    assert len(sender.sent) == 1


@pytest.mark.parametrize(
    ("size", "parcels", "calls"),
    [(MOST_BYTES // 4, 10, 3), (MOST_BYTES * 2, 3, 3), (10, MOST + 1, 2)],
)
def test_a_call_has_a_bound_in_number_and_bytes(
    patient: None, size: int, parcels: int, calls: int
) -> None:
    sender = Sender()
    if parcels > 100:
        threading.stack_size(131_072)
    try:
        _together(Group(), sender, [One(number, size) for number in range(parcels)])
    finally:
        threading.stack_size(0)
    assert len(sender.sent) >= calls
    assert sum(len(command.args) - 1 for command in sender.sent) == parcels
    for command in sender.sent:
        assert len(command.args) - 1 <= MOST


def test_one_that_nobody_takes_goes_by_itself() -> None:
    group, sender = Group(), Sender()
    sender.gate.set()
    group.free.clear()  # and whoever they were never come back
    assert group.join(One(1), sender).total == 1
    assert len(group.free) == AT_ONCE
