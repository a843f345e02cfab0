"""The demo's own check must see when the sums are off."""

from __future__ import annotations

from dataclasses import replace

import pytest

from examples.demo.journal import Entry
from examples.demo.screen import rows
from examples.demo.tally import Evidence, Journals, check


def entries() -> list[Entry]:
    """Six lines: one refused, one duplicate, four published; d is dead, b was in the crash."""
    return [
        Entry(who="p1", event="published", message_id="a", order_id="order-a"),
        Entry(who="p1", event="published", message_id="b", order_id="order-b"),
        Entry(who="p1", event="refused", why="price: Field required"),
        Entry(who="p1", event="read", count=3),
        Entry(who="p2", event="published", message_id="c", order_id="order-c"),
        Entry(who="p2", event="published", message_id="d", order_id="order-d"),
        Entry(who="p2", event="duplicate", message_id="a", order_id="order-a"),
        Entry(who="p2", event="read", count=3),
        Entry(who="w1", event="delivered", message_id="a"),
        Entry(who="w1", event="completed", message_id="a"),
        Entry(who="w2", event="delivered", message_id="b"),
        Entry(who="w2", event="stalled", message_id="b"),
        Entry(who="w1", event="delivered", message_id="b"),
        Entry(who="w1", event="completed", message_id="b"),
        Entry(who="w1", event="delivered", message_id="c"),
        Entry(who="w1", event="failed", message_id="c"),
        Entry(who="w1", event="delivered", message_id="c"),
        Entry(who="w1", event="completed", message_id="c"),
        Entry(who="w1", event="delivered", message_id="d"),
        Entry(who="w1", event="rejected", message_id="d", why="discontinued"),
    ]


def evidence(*, without: int | None = None, more: tuple[Entry, ...] = ()) -> Evidence:
    journals = Journals()
    journals.add(entry for index, entry in enumerate(entries()) if index != without)
    journals.add(more)
    return Evidence(
        journals=journals,
        lines_in_file=6,
        fulfillable=frozenset({"order-a", "order-b", "order-c"}),
        done=("a", "b", "c"),
        dead={"d": "discontinued"},
        held_at_kill=frozenset({"b"}),
        killed="w2",
        counters={"published": 4, "duplicates": 1, "completed": 3, "dead_lettered": 1},
        left_over=0,
    )


def test_sums_that_add_up() -> None:
    assert check(evidence()) == []


def test_the_table_shows_them() -> None:
    shown = {row.what: row.number for row in rows(evidence())}
    assert shown == {
        "lines read": 6,
        "refused": 1,
        "price: Field required": 1,
        "duplicates": 1,
        "published": 4,
        "processed once": 3,
        "after a retry": 1,
        "dead": 1,
        "discontinued": 1,
        "in the killed worker's hands": 1,
        "redelivered after the crash": 1,
        "deliveries in all": 6,
    }


def test_an_order_fulfilled_again_after_a_crash_is_no_fault() -> None:
    again = Entry(who="w1", event="completed", message_id="b")
    assert check(evidence(more=(again,))) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (replace(evidence(), lines_in_file=7), "7 lines in the file, 6 read"),
        (evidence(without=2), "read 6 is not refused 0 + duplicates 1 + published 4"),
        (evidence(without=6), "read 6 is not refused 1 + duplicates 0 + published 4"),
        (evidence(without=4), "read 6 is not refused 1 + duplicates 1 + published 3"),
        (replace(evidence(), done=("a", "b")), "published, then lost: 1 (c)"),
        (replace(evidence(), done=("a", "b")), "published 4 is not processed once 2 + dead 1"),
        (replace(evidence(), dead={}), "published, then lost: 1 (d)"),
        (replace(evidence(), done=("a", "b", "c", "c")), "completed more than once: 1 (c)"),
        (replace(evidence(), done=("a", "b", "c", "d")), "both completed and dead: 1 (d)"),
        (replace(evidence(), done=("a", "b", "c", "x")), "never published, yet there: 1 (x)"),
        (evidence(without=9), "completed by the queue's log, not by a worker: 1 (a)"),
        (
            evidence(more=(Entry(who="w1", event="completed", message_id="d"),)),
            "completed by a worker, not by the queue's log: 1 (d)",
        ),
        (
            evidence(
                more=(Entry(who="p1", event="published", message_id="c", order_id="order-a"),)
            ),
            "orders processed as two messages: 1 (order-a)",
        ),
        (
            evidence(
                more=(Entry(who="p1", event="published", message_id="c", order_id="order-c"),)
            ),
            "5 publishes gave only 4 message ids",
        ),
        (
            replace(
                evidence(), fulfillable=frozenset({"order-a", "order-b", "order-c", "order-e"})
            ),
            "orders not processed: 1 (order-e)",
        ),
        (
            replace(evidence(), fulfillable=frozenset({"order-a", "order-b"})),
            "orders processed that cannot be fulfilled: 1 (order-c)",
        ),
        (evidence(without=11), "no worker was killed in the middle of an order"),
        (
            replace(evidence(), held_at_kill=frozenset({"a"})),
            "message b was not in flight when its worker was killed",
        ),
        (
            replace(evidence(), killed="w1", held_at_kill=frozenset({"b", "a"})),
            "held by the killed worker, never redelivered: 1 (a)",
        ),
        (
            replace(evidence(), counters={"published": 4, "duplicates": 1, "completed": 4}),
            "the queue counted 4 completed, it should be 3",
        ),
        (replace(evidence(), left_over=2), "2 messages are left in the queue"),
    ],
)
def test_sums_that_are_off_are_told(fault: Evidence, said: str) -> None:
    assert said in check(fault)


def test_many_ids_are_cut_short() -> None:
    problems = check(replace(evidence(), done=("a", "b", "c", "v", "w", "x", "y", "z")))
    assert "never published, yet there: 5 (v, w, x, ...)" in problems
