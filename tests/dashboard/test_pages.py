"""What the pages show, and what the buttons do."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis

from typed_rmq import Connection, Queue, QueueStats, Retry
from typed_rmq.dashboard import Discovery, create_app

from .kit import ORIGIN, Order, browse, fill, make_queue, running

Run = Callable[[Any], Any]


def text_of(page: str) -> str:
    """The words of a page, without its markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.mark.servers("valkey")
def test_every_page_shows_what_there_is(redis_url: str, queue_name: str, run_async: Run) -> None:
    queue = make_queue(queue_name, redis_url)
    ids = fill(queue)

    async def look() -> None:
        async with browse(queue, show_payloads=True) as http:
            home = text_of((await http.get("/")).text)
            assert queue_name in home
            assert "No consumer" in home
            page = text_of((await http.get(f"/queues/{queue_name}")).text)
            for part in ("Ready 1", "Delayed 1", "In flight 0", "Dead 1", "Done 1", "Depth"):
                assert part in page
            assert "Nobody consumes this queue." in page
            assert "since" in page
            for state, message_id in ids.items():
                page = (await http.get(f"/queues/{queue_name}/{state}")).text
                assert message_id in page
                for other in ids.values():
                    assert other == message_id or other not in page
                page = text_of((await http.get(f"/queues/{queue_name}/messages/{message_id}")).text)
                assert f'"sku": "{state}"' in page
                assert "Published" in page
                answer = await http.get("/search", params={"q": f" {message_id} "})
                assert answer.headers["location"] == f"/queues/{queue_name}/messages/{message_id}"
            page = text_of((await http.get(f"/queues/{queue_name}/messages/{ids['dead']}")).text)
            assert "its handler raised in attempt 1 of 1" in page
            assert "ValueError: out of paper" in page
            assert 'raise ValueError("out of paper")' in page
            assert "trace t-2" in page
            answer = await http.get("/search", params={"q": queue_name})
            assert answer.headers["location"] == f"/queues/{queue_name}"

    run_async(look())


@pytest.mark.servers("valkey")
def test_payloads_are_hidden_unless_wanted(redis_url: str, queue_name: str, run_async: Run) -> None:
    queue = make_queue(queue_name, redis_url)
    ids = fill(queue)
    queue.publish(Order(order_id=9, sku="hunter2"))

    async def look() -> None:
        async with browse(queue) as http:
            pages = [f"/queues/{queue_name}/{state}" for state in ids]
            pages += [f"/queues/{queue_name}/messages/{one}" for one in ids.values()]
            for path in [*pages, "/", f"/queues/{queue_name}", f"/queues/{queue_name}/in-flight"]:
                answer = await http.get(path)
                assert answer.status_code == 200
                assert "hunter2" not in answer.text
                assert "order_id" not in answer.text

    run_async(look())


@pytest.mark.servers("valkey")
def test_what_is_not_there_is_not_found(redis_url: str, queue_name: str, run_async: Run) -> None:
    async def look() -> None:
        async with browse(make_queue(queue_name, redis_url)) as http:
            for path in (
                "/queues/other",
                f"/queues/{queue_name}/nothing",
                f"/queues/{queue_name}/messages/none",
                f"/queues/{queue_name}/messages/{'x' * 500}",
                f"/queues/{queue_name}/messages/..%2F..%2Fetc",
                f"/queues/{queue_name}/do/nothing",
                "/static/..%2Fapp.py",
                "/static/app.py",
                "/search?q=none",
            ):
                assert (await http.get(path)).status_code == 404, path
            for after in ("x", "1-1", "-1", "9" * 30):
                answer = await http.get(f"/queues/{queue_name}/ready", params={"after": after})
                assert answer.status_code == 400, after
            answer = await http.post(f"/queues/{queue_name}/do/nothing", headers=ORIGIN)
            assert answer.status_code == 404

    run_async(look())


@pytest.mark.servers("valkey")
def test_long_lists_come_in_pages(redis_url: str, queue_name: str, run_async: Run) -> None:
    queue = make_queue(queue_name, redis_url)
    made = [one.id for one in queue.publish_many(Order(order_id=n, sku="x") for n in range(60))]

    async def look() -> None:
        async with browse(queue) as http:
            path, seen = f"/queues/{queue_name}/ready", list[str]()
            while path:
                page = (await http.get(path)).text
                seen += re.findall(r"/messages/([a-z0-9]+)\"", page)
                found = re.search(r'rel="next" href="([^"]+)"', page)
                path = html.unescape(found[1]) if found else ""
        assert seen == made

    run_async(look())


@pytest.mark.servers("valkey")
def test_the_actions_do_what_they_say(redis_url: str, queue_name: str, run_async: Run) -> None:
    queue = make_queue(queue_name, redis_url)
    ids = fill(queue)

    async def act() -> None:
        async with browse(queue) as http:

            async def do(action: str, *chosen: str) -> str:
                data = {"id": list(chosen), **({"chosen": "1"} if chosen else {})}
                path = f"/queues/{queue_name}/do/{action}"
                answer = await http.post(path, data=data, headers=ORIGIN, follow_redirects=True)
                assert answer.status_code == 200
                return text_of(answer.text)

            assert "The queue is paused." in await do("pause")
            assert (await queue.astats()).paused
            assert "Consumers go on." in await do("resume")
            assert not (await queue.astats()).paused
            assert "One message is ready now." in await do("promote", ids["delayed"])
            assert "0 dead letters are ready again." in await do("redrive", "nosuchmessage")
            assert "One dead letter is ready again." in await do("redrive", ids["dead"])
            stats = await queue.astats()
            assert (stats.ready, stats.delayed, stats.dead) == (3, 0, 0)
            assert "3 messages were deleted." in await do("purge")
            assert (await queue.astats()).ready == 0
            answer = await http.post(
                f"/queues/{queue_name}/do/redrive", data={"chosen": "1"}, headers=ORIGIN
            )
            assert answer.status_code == 400, "nothing chosen is not everything"
            answer = await http.post(
                f"/queues/{queue_name}/do/redrive", content=b"x" * 300_000, headers=ORIGIN
            )
            assert answer.status_code == 413

    run_async(act())
    with make_queue(queue_name, redis_url) as again:
        again.publish_many(Order(order_id=n, sku="x") for n in range(3))
        for msg in again.consume(until_empty=True):
            msg.reject("no")

    async def act_on_all() -> None:
        async with browse(make_queue(queue_name, redis_url)) as http:
            question = await http.get(f"/queues/{queue_name}/do/redrive")
            assert f"Redrive dead letters of {queue_name} (3)?" in question.text
            await http.post(f"/queues/{queue_name}/do/redrive", headers=ORIGIN)
            for msg in queue.consume(until_empty=True):
                msg.reject("no")
            answer = await http.post(f"/queues/{queue_name}/do/purge-dead", headers=ORIGIN)
            assert answer.headers["location"].endswith("/dead?did=purge-dead&n=3")
            assert len(queue.dead) == 0

    run_async(act_on_all())
    queue.close()


@pytest.mark.servers("valkey")
def test_a_failed_attempt_that_a_sample_saw_has_its_time(
    redis_url: str, queue_name: str, run_async: Run
) -> None:
    queue = make_queue(queue_name, redis_url, retry=Retry(backoff=600, jitter="none"))
    receipt = queue.publish(Order(order_id=1, sku="x"))

    def fail() -> None:
        msg = queue.receive()
        assert msg
        msg.retry()
        msg.settle()

    async def look() -> None:
        async with browse(make_queue(queue_name, redis_url), interval=0.5) as http:
            fail()

            async def shows(*parts: str) -> bool:
                answer = await http.get(f"/queues/{queue_name}/messages/{receipt.id}")
                line = text_of(answer.text).partition("Time line")[2]
                return all(re.search(part, line) for part in parts)

            async def until(*parts: str) -> None:
                async with asyncio.timeout(30):
                    while not await shows(*parts):
                        await asyncio.sleep(0.1)

            first = r"Attempt 1 had failed: seen waiting for attempt 2 \d{4}-\d\d-\d\d"
            await until(first, r"Due for attempt 2 \d{4}-")
            assert queue.promote(receipt.id) == 1
            fail()
            await until(first, r"Attempt 2 had failed: seen waiting for attempt 3 \d{4}-")

    run_async(look())
    queue.close()


@pytest.mark.servers("valkey")
def test_consumers_are_shown_with_what_they_hold(
    redis_url: str, queue_name: str, run_async: Run
) -> None:
    import os
    import socket

    queue = make_queue(queue_name, redis_url)
    receipt = queue.publish(Order(order_id=1, sku="x"))
    msg = queue.receive()
    assert msg

    async def look() -> None:
        async with browse(make_queue(queue_name, redis_url)) as http:
            page = text_of((await http.get(f"/queues/{queue_name}")).text)
            assert socket.gethostname() in page
            assert str(os.getpid()) in page
            assert "s left 1 " + receipt.id in page
            page = text_of((await http.get(f"/queues/{queue_name}/in-flight")).text)
            assert f"{socket.gethostname()}, process {os.getpid()}" in page
            page = text_of((await http.get(f"/queues/{queue_name}/messages/{receipt.id}")).text)
            assert "In flight now, attempt 1" in page
            assert f"Seen in flight at {socket.gethostname()}" in page

    run_async(look())
    msg.release()
    queue.close()


@pytest.mark.servers("valkey")
def test_bytes_that_are_no_message_are_shown_too(
    redis_url: str, queue_name: str, client: redis.Redis, run_async: Run
) -> None:
    queue = make_queue(queue_name, redis_url)
    queue.publish(Order(order_id=1, sku="x"))
    client.rpush(f"trmq:{{{queue_name}}}:ready:normal", b"\xff\x00foreign<b>")
    with Queue[int](queue_name, redis_url, dedup=None) as other:
        assert [msg.payload for msg in other.consume(until_empty=True)] == []

    async def look() -> None:
        async with browse(queue, show_payloads=True) as http:
            page = (await http.get(f"/queues/{queue_name}/dead")).text
            links = re.findall(r'<a class="id" href="([^"]+)"', page)
            assert len(links) == 2
            shown = [text_of((await http.get(link)).text) for link in links]
            assert any("ff 00 66 6f 72" in one for one in shown)
            assert any('"sku": "x"' in one for one in shown)

    run_async(look())


@pytest.mark.servers("valkey")
def test_queues_are_discovered_by_name(redis_url: str, queue_name: str, run_async: Run) -> None:
    with Queue[dict[str, int]](queue_name, redis_url, keep_done=5) as queue:
        receipt = queue.publish({"order_id": 12})

        async def look() -> None:
            for where in (redis_url, Connection(redis_url)):
                found = Discovery(where)
                app = create_app(found, show_payloads=True)
                async with running(app, host="localhost") as http:
                    answer = await http.get(f"/queues/{queue_name}/messages/{receipt.id}")
                    assert '"order_id": 12' in text_of(answer.text)
                    answer = await http.get("/")
                    assert queue_name in answer.text
                await found.aclose()
                if isinstance(where, Connection):
                    await where.aclose()

        run_async(look())


@pytest.mark.servers("valkey")
def test_a_queue_that_is_new_is_found_when_asked_for(
    redis_url: str, queue_name: str, run_async: Run
) -> None:
    async def look() -> None:
        found = Discovery(redis_url)
        app = create_app(found)
        with Queue[int](queue_name, redis_url) as queue:
            async with running(app, host="localhost") as http:
                assert (await http.get(f"/queues/{queue_name}")).status_code == 404
                receipt = queue.publish(1)
                for _ in range(200):
                    if (await http.get(f"/queues/{queue_name}")).status_code == 200:
                        break
                    await asyncio.sleep(0.05)
                page = await http.get(f"/queues/{queue_name}/messages/{receipt.id}")
                assert page.status_code == 200
        await found.aclose()

    run_async(look())


@pytest.mark.servers("valkey")
def test_samples_are_shared_by_all_who_look(
    redis_url: str, queue_name: str, run_async: Run
) -> None:
    class Counted(Queue[int]):
        calls = 0

        async def astats(self) -> QueueStats:
            self.calls += 1
            return await super().astats()

    async def look() -> None:
        queue = Counted(queue_name, redis_url)
        async with browse(queue, interval=600) as http:
            pages = await asyncio.gather(*(http.get("/") for _ in range(20)))
            assert all(page.status_code == 200 for page in pages)
            assert queue.calls <= 3

    run_async(look())


@pytest.mark.servers("valkey")
def test_a_queue_with_a_sync_client_is_shown(
    redis_url: str, queue_name: str, client: redis.Redis, run_async: Run
) -> None:
    queue = Queue[int](queue_name, client, dedup=None, retry=Retry(max_attempts=1))
    queue.publish(7)
    for msg in queue.consume(until_empty=True):
        msg.reject("no")

    async def look() -> None:
        async with browse(queue) as http:
            assert "Dead 1" in text_of((await http.get(f"/queues/{queue_name}/dead")).text)
            answer = await http.post(f"/queues/{queue_name}/do/redrive", headers=ORIGIN)
            assert answer.headers["location"].endswith("n=1")

    run_async(look())


def test_without_redis_the_pages_say_so(run_async: Run) -> None:
    queue = Queue[int]("q", Connection("redis://127.0.0.1:1/0", retry_budget=0.1))

    async def look() -> None:
        async with browse(queue) as http:
            answer = await http.get("/")
            assert answer.status_code == 200
            assert "No answer" in answer.text
            answer = await http.get("/queues/q")
            assert answer.status_code == 200
            assert "Redis did not answer" in answer.text
            answer = await http.get("/queues/q/ready")
            assert answer.status_code == 503

    run_async(look())
