"""dead, pause, resume, purge: what an operator does to a queue, with its name alone."""

from __future__ import annotations

import json

import pytest
import redis

from tests.cli.conftest import Shell
from tests.cli.models import Order
from typed_rmq import Dedup, Queue, Retry

SECRET = "hunter2-4711"


@pytest.fixture
def ids(shell: Shell) -> list[str]:
    """Three dead letters in `orders`, the last of them with a traceback."""
    with Queue[Order]("orders", shell.url, retry=Retry(max_attempts=1)) as queue:
        queue.publish_many(
            [Order(order_id=n, sku=SECRET) for n in range(3)], headers={"from": "shop"}
        )
        for msg in queue.consume(until_empty=True):
            with msg as order:
                if order.order_id == 2:
                    raise ValueError("no such article")
                msg.reject("warehouse closed")
        return [letter.id for letter in queue.dead]


def test_the_list_and_one_letter(shell: Shell, ids: list[str]) -> None:
    done = shell("dead", "list", "orders")
    assert [row["id"] for row in done.rows] == ids
    assert done.rows[0]["reason"] == "warehouse closed"
    assert SECRET not in done.out
    few = shell("dead", "list", "orders", "-n", "1")
    assert (len(few.rows), "there are more" in few.err) == (1, True)
    some = shell("dead", "list", "orders", "--reason", "warehouse", "--json", "--show-payloads")
    assert [one["payload"]["order_id"] for one in some.records] == [0, 1]
    shown = shell("dead", "show", "orders", ids[0])
    assert "reason: warehouse closed" in shown.out
    assert "header from: shop" in shown.out
    assert "hidden" in shown.out
    assert SECRET not in shown.out
    assert SECRET in shell("dead", "show", "orders", ids[0], "--show-payloads").out
    assert shell("dead", "show", "orders", ids[0], "--json").records[0]["headers"] == {
        "from": "shop"
    }
    missing = shell("dead", "show", "orders", "nothing")
    assert (missing.code, missing.out) == (3, "")


def test_a_traceback_is_shown(shell: Shell, ids: list[str]) -> None:
    shown = shell("dead", "show", "orders", ids[2])
    assert "no such article" in shown.out
    assert shell("dead", "list", "orders", "--reason", "no such article").rows[0]["id"] == ids[2]


def test_redrive_some_by_id_by_reason_and_all(shell: Shell, ids: list[str]) -> None:
    assert shell("dead", "redrive", "orders").code == 2
    assert shell("dead", "redrive", "orders", ids[2], "--all").code == 2
    done = shell("dead", "redrive", "orders", ids[2])
    assert (done.code, done.err) == (0, "typed-rmq: 1 of 1 dead letters are back in orders\n")
    assert shell("dead", "redrive", "orders", ids[2]).code == 3
    assert shell("dead", "redrive", "orders", "--reason", "warehouse").code == 0
    assert shell("dead", "redrive", "orders", "--all").code == 0
    with Queue[Order]("orders", shell.url) as queue:
        stats = queue.stats()
        assert (stats.ready, stats.dead) == (3, 0)
        assert {msg.attempt for msg in queue.consume(until_empty=True)} == {1}


@pytest.mark.parametrize(("given", "most"), [((), 7200.0), (("--window", "60"), 60.0)])
def test_a_redriven_letter_takes_its_key_back(
    shell: Shell, given: tuple[str, ...], most: float
) -> None:
    """For the window that its publishers hold it for, or the one that is given."""
    once, two_hours = Retry(max_attempts=1), Dedup[Order](window=7200.0)
    with Queue[Order]("orders", shell.url, retry=once, dedup=two_hours) as queue:
        queue.publish(Order(order_id=1))
        for msg in queue.consume(until_empty=True):
            msg.reject("warehouse closed")
        assert shell("dead", "redrive", "orders", "--all", *given).code == 0
        assert queue.publish(Order(order_id=1)).duplicate
    with redis.Redis.from_url(shell.url) as other:
        [key] = other.keys("trmq:{orders}:dedup:*")
        assert most - 30 < other.pttl(key) / 1000 <= most


def test_a_window_beside_a_queue_that_has_its_own_is_refused(shell: Shell) -> None:
    model = ("--model", "tests.cli.app:orders")
    done = shell("dead", "redrive", "orders", "--all", *model, "--window", "60")
    assert (done.code, "--window" in done.err) == (2, True)


def test_a_letter_whose_key_is_taken_stays_and_the_exit_code_says_so(
    shell: Shell, ids: list[str]
) -> None:
    with Queue[Order]("orders", shell.url) as queue:
        queue.publish(Order(order_id=0, sku=SECRET))
    done = shell("dead", "redrive", "orders", "--all")
    assert (done.code, "2 of 3" in done.err) == (3, True)


def test_export_and_publish_again(shell: Shell, ids: list[str]) -> None:
    done = shell("dead", "export", "orders", "out.ndjson")
    assert done.code == 0
    path = shell.folder / "out.ndjson"
    assert path.stat().st_mode & 0o077 == 0
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["id"] for one in records] == ids
    assert records[0]["payload"] == {"order_id": 0, "sku": SECRET}
    again = shell("dead", "export", "orders", "out.ndjson")
    assert (again.code, "File exists" in again.err) == (1, True)
    piped = shell("dead", "export", "orders", "-", "--payloads-only", "--reason", "warehouse")
    (shell.folder / "in.ndjson").write_text(piped.out)
    done = shell("publish", "other", "in.ndjson", "--model", "tests.cli.models:Order")
    assert (done.code, "2 published" in done.err) == (0, True)


@pytest.mark.parametrize("what", ["purge", "dead purge"])
def test_nothing_is_deleted_without_a_yes(shell: Shell, ids: list[str], what: str) -> None:
    with Queue[Order]("orders", shell.url) as queue:
        queue.publish_many([Order(order_id=n) for n in (10, 11)])

        def left() -> tuple[int, int]:
            stats = queue.stats()
            return stats.ready, stats.dead

        refused = shell(*what.split(), "orders")
        assert (refused.code, refused.err.count("\n"), left()) == (2, 1, (2, 3))
        assert shell(*what.split(), "orders", "--yes").code == 0
        assert left() == ((0, 3) if what == "purge" else (2, 0))


@pytest.mark.slow
def test_a_no_and_a_yes_on_the_terminal(shell: Shell, ids: list[str]) -> None:
    with Queue[Order]("orders", shell.url) as queue:
        queue.publish(Order(order_id=10))
        for what in ("purge", "dead purge"):
            screen = shell.screen(*what.split(), "orders")
            screen.shows(r"Delete \d .*of orders\?")
            screen.type("n\r")
            assert (screen.ends(), queue.stats().ready, queue.stats().dead) == (1, 1, 3)
    screen = shell.screen("dead", "purge", "orders")
    screen.shows("Delete 3 dead letters")
    screen.type("y\r")
    assert screen.ends() == 0
    assert "3 dead letters of orders deleted" in screen.text


def test_pause_and_resume(shell: Shell) -> None:
    with Queue[Order]("orders", shell.url) as queue:
        queue.publish(Order(order_id=1))
        assert shell("pause", "orders").code == 0
        assert queue.stats().paused
        assert queue.receive() is None
        assert shell("resume", "orders").code == 0
        assert not queue.stats().paused


def test_letters_that_are_no_messages_can_be_seen_and_deleted(shell: Shell) -> None:
    """Foreign bytes in a list of the queue: dead letters with their raw bytes."""
    with Queue[int]("foreign", shell.url) as queue:
        queue.publish(1)
        with redis.Redis.from_url(shell.url) as other:
            other.rpush("trmq:{foreign}:ready:normal", b"\x00\xffnonsense\x1b[31m")
        for msg in queue.consume(until_empty=True):
            with msg:
                pass
        assert queue.stats().dead == 1
    row = shell("dead", "list", "foreign", "--show-payloads").rows[0]
    assert "cannot be read here" in row["payload"]
    done = shell("dead", "show", "foreign", row["id"], "--show-payloads")
    assert done.code == 0
    assert "\x1b" not in done.out
    export = shell("dead", "export", "foreign", "-", "--payloads-only")
    assert (export.code, export.out) == (3, "")
