"""stats, peek, tail: what they show, in a pipe and on a terminal, and how they end."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.cli.models import Order
from typed_rmq import Encrypted, Json, Queue, Retry
from typed_rmq.cli import tail

SECRET = "hunter2-4711"
HOSTILE = "\x1b]0;owned\x07\x1b[31mred\u202e\r\nnext [bold]x[/bold]"


def orders(shell: Shell, name: str = "orders", **options: Any) -> Queue[Order]:
    return Queue[Order](name, shell.url, **options)


def fill(shell: Shell, count: int, name: str = "orders") -> None:
    with orders(shell, name) as queue:
        queue.publish_many(Order(order_id=n, sku=SECRET) for n in range(count))


# --- stats


def test_stats_lists_all_queues_or_those_that_are_named(shell: Shell) -> None:
    for name, count in (("b", 1), ("a", 3)):
        fill(shell, count, name)
    shell("pause", "b")
    done = shell("stats")
    assert (done.code, done.err) == (0, "")
    assert [(row["queue"], row["ready"], row["paused"]) for row in done.rows] == [
        ("a", "3", "no"),
        ("b", "1", "yes"),
    ]
    assert [record["queue"] for record in shell("stats", "b", "--json").records] == ["b"]
    record = shell("stats", "a", "--json").records[0]
    assert (record["published"], record["consumers"], record["paused"]) == (3, 0, False)


def test_an_empty_redis_and_a_slip_of_the_finger_are_told_apart(shell: Shell) -> None:
    assert shell("stats").code == 0
    assert shell("stats", "--json").out == ""
    fill(shell, 1)
    for command in (["stats", "ordes"], ["peek", "ordes"], ["dead", "list", "ordes"]):
        done = shell(*command)
        assert (done.code, done.out) == (3, "")
        assert done.err.count("\n") == 1
        assert "'ordes'" in done.err
        assert "there are: orders" in done.err


@pytest.mark.slow
def test_the_live_screen_follows_the_queue_and_ends_with_ctrl_c(shell: Shell) -> None:
    fill(shell, 5)
    screen = shell.screen("stats", "--watch", "--interval", "0.2")
    screen.shows(r"orders +5 ")
    with orders(shell) as queue:
        queue.publish_many(Order(order_id=n) for n in range(100, 107))
        screen.shows(r"orders +12 ")
        for msg in queue.consume(until_empty=True):
            with msg:
                pass
    screen.shows(r"orders +0 .*▁*█")
    fill(shell, 1, "later")
    screen.shows("later +1 ")
    screen.type("\x03")
    assert screen.ends() == 0
    assert screen.raw.endswith(b"\x1b[?1049l\x1b[?25h") or b"\x1b[?1049l" in screen.raw[-40:]


@pytest.mark.slow
def test_the_live_screen_outlives_a_server_that_is_away(shell: Shell, make_server: Any) -> None:
    server = make_server(tcp=True)
    with Queue[int]("q", server.url) as queue:
        queue.publish(1)
    screen = shell.screen("stats", "-w", "--interval", "0.2", "--redis", server.url)
    screen.shows(r"q +1 ")
    server.signal(signal.SIGSTOP)
    screen.shows("no answer for")
    assert "q " in screen.text, "what was seen last stays"
    server.signal(signal.SIGCONT)
    deadline = time.monotonic() + 60
    while "no answer" in screen.text:
        assert time.monotonic() < deadline
        screen._read(0.1)
    screen.type("\x03")
    assert screen.ends() == 0


@pytest.mark.slow
def test_watching_in_a_pipe_gives_lines(shell: Shell) -> None:
    fill(shell, 2)
    process = shell.start("stats", "--watch", "--json", "--interval", "0.1")
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert {look["ready"] for look in looks} == {2}
    assert looks[0]["time"] < looks[2]["time"]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


# --- what is printed, and where


@pytest.mark.slow
def test_in_a_pipe_there_is_no_escape_and_on_a_terminal_no_colour_is_honoured(
    shell: Shell,
) -> None:
    fill(shell, 1)
    assert "\x1b" not in shell("stats").out + shell("--help").out
    coloured = shell.screen("stats")
    assert coloured.ends() == 0
    assert b"\x1b[1m" in coloured.raw
    shell.env["NO_COLOR"] = "1"
    plain = shell.screen("stats", "--watch")
    plain.shows("orders")
    plain.type("\x03")
    plain.ends()
    assert not [code for code in (b"\x1b[31m", b"\x1b[32m", b"\x1b[36m") if code in plain.raw]


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_it_in_silence(shell: Shell) -> None:
    process = shell.start("stats", "--watch", "--json", "--interval", "0.1")
    fill(shell, 1)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stdout = None  # closed: not to be read again


# --- peek


def test_peek_hides_payloads_unless_asked(shell: Shell) -> None:
    fill(shell, 3)
    for hidden in (shell("peek", "orders"), shell("peek", "orders", "--json")):
        assert hidden.code == 0
        assert SECRET not in hidden.out
    assert len(shell("peek", "orders", "-n", "2").rows) == 2
    shown = shell("peek", "orders", "--show-payloads")
    assert json.loads(shown.rows[0]["payload"]) == {"order_id": 0, "sku": SECRET}
    records = shell("peek", "orders", "--show-payloads", "--json").records
    assert [record["payload"]["order_id"] for record in records] == [0, 1, 2]


def test_every_state_can_be_peeked_at(shell: Shell) -> None:
    with orders(shell, keep_done=10) as queue:
        queue.publish(Order(order_id=1), delay=60)
        queue.publish_many([Order(order_id=n) for n in (2, 3, 4)])
        for number, msg in enumerate(queue.consume(until_empty=True, max_messages=2)):
            msg.ack() if number else msg.reject("no such article")
        held = queue.receive()
        assert held is not None
        assert shell("peek", "orders").out == ""
        seen = {
            state: shell("peek", "orders", "--state", state).rows
            for state in ("delayed", "in_flight", "dead", "done")
        }
        held.ack()
    assert seen["dead"][0]["reason"] == "no such article"
    assert len(seen["in_flight"][0]["consumer"]) > 10
    assert float(seen["done"][0]["took"]) >= 0
    assert seen["delayed"][0]["due"] > seen["delayed"][0]["published"]


def test_payloads_that_are_no_json_are_shown_as_far_as_they_can_be_read(shell: Shell) -> None:
    pytest.importorskip("msgpack")
    from typed_rmq import MsgPack

    big = 2**70
    with Queue[dict[str, int]]("packed", shell.url, serializer=MsgPack()) as queue:
        queue.publish({"n": big})
    with Queue[int]("locked", shell.url, serializer=Encrypted(Json(), keys=[b"k" * 32])) as locked:
        locked.publish(1)
    assert shell("peek", "packed", "--show-payloads", "--json").records[0]["payload"] == {"n": big}
    record = shell("peek", "locked", "--show-payloads", "--json").records[0]
    assert record["payload"] is None
    assert len(record["raw"]) > 20
    assert "cannot be read here" in shell("peek", "locked", "--show-payloads").out


def test_a_model_reads_and_another_queue_is_refused(shell: Shell) -> None:
    fill(shell, 1)
    done = shell("peek", "orders", "--model", "tests.cli.models:Order", "--show-payloads", "--json")
    assert done.records[0]["payload"]["order_id"] == 0
    done = shell("peek", "orders", "--model", "tests.cli.app:keyed")
    assert done.code == 2
    assert "is the queue 'keyed', not 'orders'" in done.err


@pytest.mark.slow
def test_nothing_that_others_wrote_reaches_the_terminal_unescaped(shell: Shell) -> None:
    with orders(shell) as queue:
        queue.publish(Order(order_id=1, sku=HOSTILE), headers={"h\x1b[5m": HOSTILE})
        for msg in queue.consume(until_empty=True):
            msg.reject(HOSTILE)
        message_id = next(iter(queue.dead)).id
    commands = (
        ["peek", "orders", "--state", "dead", "--show-payloads"],
        ["dead", "list", "orders", "--show-payloads"],
        ["dead", "show", "orders", message_id, "--show-payloads"],
        ["dead", "show", "orders", message_id, "--json", "--show-payloads"],
    )
    for command in commands:
        screen = shell.screen(*command)
        assert screen.ends() == 0
        for bad in (b"\x1b]0;", b"\x1b[31mred", b"\x07", "\u202e".encode(), b"\x1b[5m"):
            assert bad not in screen.raw, command
        assert "[bold]x" in screen.text
        assert "\x1b" not in shell(*command).out


# --- tail


@pytest.mark.slow
def test_tail_follows_completions_failures_and_dead_letters(shell: Shell) -> None:
    with orders(shell, keep_done=100, retry=Retry(max_attempts=2, backoff=1.0)) as queue:
        queue.publish(Order(order_id=0))
        for msg in queue.consume(until_empty=True):
            msg.ack()
        process = shell.start("tail", "orders", "--json", "--interval", "0.1")
        found: list[dict[str, Any]] = []
        assert process.stdout is not None

        def read() -> None:
            assert process.stdout is not None
            found.extend(json.loads(line) for line in process.stdout)

        reader = threading.Thread(target=read)
        reader.start()
        number = 1
        deadline = time.monotonic() + 60
        # It may not follow yet: go on until it has seen one of each.
        while {one["what"] for one in found} != {"completed", "failed", "dead"}:
            assert time.monotonic() < deadline, found
            queue.publish_many([Order(order_id=n) for n in range(number, number + 3)])
            for nth, msg in enumerate(queue.consume(until_empty=True)):
                if nth == 0:
                    msg.ack()
                elif nth == 1:
                    msg.retry(delay=30)
                else:
                    msg.reject("no such article")
            number += 3
            time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        reader.join()
    by_kind = {one["what"]: one for one in found}
    assert by_kind["dead"]["reason"] == "no such article"
    assert by_kind["failed"]["attempt"] == 1
    assert by_kind["completed"]["duration"] >= 0
    seen = [(one["what"], one["id"], one["at"]) for one in found if one["what"] != "failed"]
    assert len(seen) == len(set(seen)), "nothing is told twice"


def test_tail_goes_through_pages_and_counts_what_it_cannot_see(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a page between two looks; and a log that holds less than came."""
    with orders(shell, keep_done=10_000) as queue, Queue[object]("orders", shell.url) as seen:
        follower = tail.Follower(seen)

        def happens(completed: int, rejected: int) -> dict[tuple[str, object], int]:
            start = queue.stats().published
            queue.publish_many(Order(order_id=start + n) for n in range(completed + rejected))
            for nth, msg in enumerate(queue.consume(until_empty=True)):
                msg.ack() if nth < completed else msg.reject("no such article")
            found = follower.look()
            assert len({one.id for one in found if one.id}) == sum(1 for one in found if one.id)
            counts = Counter((one.what, one.details.get("of")) for one in found if one.id)
            missed = {("missed", one.details["of"]): one.details["count"] for one in found
                      if one.what == "missed"}  # fmt: skip
            return {**counts, **missed}

        both = {("completed", None): 450, ("dead", None): 210}
        assert happens(450, 210) == both
        monkeypatch.setattr(tail, "PAGES", 2)
        assert happens(450, 10) == {
            ("completed", None): 400,
            ("dead", None): 10,
            ("missed", "completed"): 50,
        }
        assert happens(1, 1) == {("completed", None): 1, ("dead", None): 1}
        queue.publish(Order(order_id=10**6))
        held = queue.receive()
        assert held is not None
        held.retry(delay=0)
        held.settle()
        [one] = follower.look()
        assert (one.what, one.details) == ("missed", {"count": 1, "of": "failed"})


@pytest.mark.slow
def test_tail_counts_where_the_queue_keeps_no_log(shell: Shell) -> None:
    with orders(shell) as queue:
        queue.publish(Order(order_id=0))
        process = shell.start("tail", "orders", "--interval", "0.1")
        lines: list[str] = []
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        deadline, number = time.monotonic() + 60, 0
        while not lines:
            assert time.monotonic() < deadline
            number += 1
            queue.publish(Order(order_id=number))
            for msg in queue.consume(until_empty=True):
                msg.ack()
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        reader.join()
    assert lines[0].split("\t")[1] == "completed"
    assert "messages" in lines[0]
