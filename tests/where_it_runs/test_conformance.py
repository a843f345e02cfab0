"""Cases of the conformance suite, over every kind of connection: see ``conftest.py``."""

from __future__ import annotations

from tests.conformance.harness import Mode
from tests.conformance.test_connections import round_trip
from tests.conformance.test_consume import (
    test_receive_without_a_limit_waits_for_a_message,
    test_stop_from_a_thread_wakes_a_loop_that_waits,
)
from tests.conformance.test_dedup import test_an_equal_message_within_the_window_is_one_message
from tests.conformance.test_leaving import (
    test_f20_cancelling_a_consumer_that_waits,
)
from tests.conformance.test_publish import (
    test_many_are_stored_in_their_order_with_a_receipt_each,
)
from tests.conformance.test_run import (
    test_a_worker_wakes_for_each_message,
    test_each_message_is_handled_once_by_many_hands,
)
from tests.conformance.test_steering import (
    test_every_number_of_the_stats,
)
from tests.conformance.test_waiting import test_an_idle_consumer_wakes_for_a_new_message

__all__ = [
    "test_a_worker_wakes_for_each_message",
    "test_an_equal_message_within_the_window_is_one_message",
    "test_an_idle_consumer_wakes_for_a_new_message",
    "test_each_message_is_handled_once_by_many_hands",
    "test_every_number_of_the_stats",
    "test_f20_cancelling_a_consumer_that_waits",
    "test_many_are_stored_in_their_order_with_a_receipt_each",
    "test_receive_without_a_limit_waits_for_a_message",
    "test_stop_from_a_thread_wakes_a_loop_that_waits",
]


def test_everything_once(mode: Mode) -> None:
    round_trip(mode.open())
