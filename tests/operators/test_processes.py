"""``run(processes=N)``: real processes, kill -9, signals, and what cannot be handed to them."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import BaseModel

from typed_rmq import Compressed, ConfigError, Connection, Dedup, MsgPack, Queue, Retry

from . import many

pytestmark = pytest.mark.servers("valkey")

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 40.0


class Order(BaseModel):
    order_id: int


class Orders(Queue[Order]):
    def __init__(self, region: str) -> None:
        super().__init__(f"orders-{region}", "redis://127.0.0.1:1/0", max_length=7)


def by_id(order: Order) -> str:
    return str(order.order_id)


class Program:
    """``many.py`` in a process of its own."""

    def __init__(self, url: str, queue: str, folder: Path, *options: str) -> None:
        self.log = folder / "log"
        self.log.touch()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.operators.many", url, queue, *options],
            cwd=ROOT,
            env={**os.environ, "MANY_LOG": str(self.log), "MANY_GATE": str(folder / "gate")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def handled(self) -> list[tuple[int, int]]:
        lines = self.log.read_text().splitlines()
        return [(int(number), int(pid)) for number, pid in (line.split() for line in lines)]

    def output(self) -> str:
        return self.process.communicate(timeout=LIMIT)[0]


@pytest.fixture
def program(redis_url: str, queue_name: str, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    started: list[Program] = []

    def start(*options: str) -> Program:
        started.append(Program(redis_url, queue_name, tmp_path, *options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.mark.slow
def test_all_processes_work_and_end_when_the_queue_is_empty(
    program: Callable[..., Program], redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, redis_url, lease=2.0) as queue:
        queue.publish_many([*range(50), *range(1500, 1502)])
        one = program("until-empty")
        text = one.output()
        assert one.process.returncode == 0, text
        assert "ended" in text
        assert sorted(number for number, _ in one.handled()) == [*range(50), 1500, 1501]
        assert os.getpid() not in {pid for _, pid in one.handled()}
        assert (queue.stats().completed, queue.stats().in_flight) == (52, 0)


@pytest.mark.slow
def test_f15_a_process_that_is_killed_is_started_again_and_its_message_handled_again(
    program: Callable[..., Program], redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, redis_url, lease=2.0) as queue:
        one = program()
        queue.publish(-1)
        until(lambda: [number for number, _ in one.handled()].count(-1) == 2)
        first, second = [pid for _, pid in one.handled()]
        assert first != second
        # Both places are taken again.
        numbers = itertools.count(1050)

        def two_are_at_work() -> bool:
            queue.publish(next(numbers))
            return len({pid for number, pid in one.handled() if number >= 1000}) == 2

        until(two_are_at_work)
        assert first not in {pid for _, pid in one.handled()[1:]}
        one.process.send_signal(signal.SIGTERM)
        text = one.output()
        assert one.process.returncode == 0, text
        assert "was killed by SIGKILL; starting it again now" in text
        assert queue.stats().in_flight == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_after_the_message_in_hand(
    program: Callable[..., Program], redis_url: str, queue_name: str, number: signal.Signals
) -> None:
    with Queue[int](queue_name, redis_url, lease=2.0) as queue:
        one = program()
        until(lambda: len(queue.consumers()) == 2)
        queue.publish_many([1600, 1601])
        until(lambda: len({pid for _, pid in one.handled()}) == 2)
        # As a terminal does it: to the whole group of processes.
        os.killpg(one.process.pid, number)
        text = one.output()
        assert one.process.returncode == 0, text
        assert "ended" in text
        stats = queue.stats()
        assert (stats.completed, stats.in_flight, stats.ready) == (2, 0, 0)
        for _, pid in one.handled():
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


@pytest.mark.slow
def test_they_end_when_their_parent_is_killed(
    program: Callable[..., Program], redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, redis_url, lease=2.0) as queue:
        one = program()
        until(lambda: len(queue.consumers()) == 2)
        queue.publish_many([1200, 1201])
        until(lambda: len({pid for _, pid in one.handled()}) == 2)
        one.process.kill()
        until(lambda: not queue.consumers())
        assert queue.stats().completed == 2


@pytest.mark.slow
def test_close_from_another_thread_ends_them(
    redis_url: str, queue_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv("MANY_LOG", str(log))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    queue = Queue[int](queue_name, redis_url)
    queue.publish_many(range(5))

    def stop() -> None:
        until(lambda: len(log.read_text().splitlines()) == 5)
        queue.close()

    thread = threading.Thread(target=stop)
    thread.start()
    queue.run(many.handle, processes=2)
    thread.join()
    assert queue.stats().completed == 5
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    queue.close()


def test_a_queue_is_made_anew_from_its_options() -> None:
    with Connection("redis://127.0.0.1:1/0", retry_budget=3) as connection:
        queue = Queue[Order](
            "orders", connection, lease=7, dedup=Dedup(key=by_id), serializer=MsgPack(),
            retry=Retry(max_attempts=2), max_length=9, overflow="block",
        )  # fmt: skip
        again = pickle.loads(pickle.dumps(queue))
        assert type(again) is type(queue)
        assert (again.name, again.payload_type) == ("orders", Order)
        assert (again._parts.lease, again._parts.producer.max_length) == (7.0, 9)
        assert again._parts.codec.content_type == queue._parts.codec.content_type
        assert again._parts._connection is not connection
        assert again._parts._connection.retry_budget == 3.0
    orders = pickle.loads(pickle.dumps(Orders("eu")))
    assert type(orders) is Orders
    assert (orders.name, orders._parts.producer.max_length) == ("orders-eu", 7)
    small = pickle.loads(pickle.dumps(Compressed(MsgPack(), threshold=100)))
    assert len(small.wrap(b"again and " * 100, b"id")) < 50
    either = pickle.loads(pickle.dumps(Queue[int | str]("either", "redis://127.0.0.1:1/0")))
    assert either.payload_type == int | str


def test_what_no_process_could_be_given_is_said_beforehand(
    redis_url: str, client: redis.Redis
) -> None:
    queue = Queue[int]("orders", redis_url)
    with pytest.raises(ConfigError, match="The handler must be a function"):
        queue.run(lambda _: None, processes=2)
    with pytest.raises(ConfigError, match="made with a client"):
        Queue[int]("orders", client).run(many.handle, processes=2)
    with pytest.raises(ConfigError, match="made with a client"):
        Queue[int]("orders", Connection(client)).run(many.handle, processes=2)
    with pytest.raises(ConfigError, match="Dedup"):
        Queue[int]("orders", redis_url, dedup=Dedup(key=lambda n: str(n))).run(
            many.handle, processes=2
        )
    for number in (0, -1, 257, 1.5):
        with pytest.raises(ConfigError, match="processes must be 1 to 256"):
            queue.run(many.handle, processes=number)  # type: ignore[arg-type]  # wrong on purpose
    queue.close()


@pytest.mark.slow
def test_a_program_without_a_guard_is_told_so(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "unguarded.py"
    file.write_text(
        "from typed_rmq import Queue\n"
        "def handle(n: int) -> None: ...\n"
        f"Queue[int]('orders', {redis_url!r}).run(handle, processes=2)\n"
    )
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr
    assert "ConfigError" in done.stderr
