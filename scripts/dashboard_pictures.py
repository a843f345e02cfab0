"""Make the pictures of docs/dashboard.md: a shop's queues, with an hour of made-up traffic.

python scripts/dashboard_pictures.py        # needs Chromium, and the extras dashboard and browser
"""

from __future__ import annotations

import linecache
import math
import random
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis
import uvicorn
from playwright.sync_api import sync_playwright
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.servers import start  # noqa: E402 - the folder of the tests is no package of ours
from typed_rmq import Queue, Retry  # noqa: E402
from typed_rmq.dashboard import create_app  # noqa: E402
from typed_rmq.dashboard.series import BUCKET, History  # noqa: E402

FOLDER = ROOT / "docs" / "images"
PORT = 8071
SKUS = ("tea-assam-500", "mug-blue", "kettle-1l", "honey-250")
HANDLER = """\
def ship(order):
    stock = {"mug-blue": 3, "kettle-1l": 8}
    if order.quantity > stock.get(order.sku, 0):
        raise OutOfStock(f"{order.sku}: {order.quantity} wanted, {stock.get(order.sku, 0)} there")
    return stock


def work(queue, fails):
    for msg in queue.consume(until_empty=True):
        with msg as order:
            if fails(msg):
                ship(order)
"""


class Order(BaseModel):
    order_id: int
    sku: str
    quantity: int
    customer: str
    express: bool = False


class OutOfStock(Exception):
    """What the shop's handler raises."""


def handlers() -> Any:
    """``work`` as it would stand in an app of the reader's."""
    name = "/srv/shop/app/jobs.py"
    linecache.cache[name] = (len(HANDLER), None, HANDLER.splitlines(keepends=True), name)
    space: dict[str, Any] = {"OutOfStock": OutOfStock}
    exec(compile(HANDLER, name, "exec"), space)
    return space["work"]


def order(n: int) -> Order:
    """One of many, always the same."""
    rng = random.Random(n)
    names = ("Ada", "Grace", "Edsger", "Barbara")
    return Order(
        order_id=48_000 + n,
        sku=rng.choice(SKUS),
        quantity=rng.randrange(9, 40),
        customer=rng.choice(names),
        express=n % 5 == 0,
    )


def fill(url: str) -> list[Queue[Any]]:
    """A shop at noon."""
    work = handlers()
    retry = Retry(max_attempts=3, backoff=0, jitter="none")
    orders = Queue[Order]("orders", url, dedup=None, keep_done=1000, retry=retry)
    emails = Queue[dict[str, str]]("emails", url, dedup=None, keep_done=1000)
    invoices = Queue[dict[str, str]]("invoices.monthly", url, dedup=None)
    thumbnails = Queue[str]("thumbnails", url, dedup=None)
    orders.publish_many((order(n) for n in range(1840)), batch=1000)
    work(orders, lambda msg: msg.payload.order_id % 300 == 299)
    for n in range(5):
        trace = f"4bf92f3577b34da6a3ce929d0e0e47{n:02x}"
        orders.publish(order(2000 + n), headers={"trace-id": trace, "tenant": "north"})
    work(orders, lambda _: True)
    orders.publish_many(order(3000 + n) for n in range(38))
    for n in range(12):
        orders.publish(order(4000 + n), delay=30 + 47 * n)
    emails.publish_many({"to": f"{n}@example.org", "template": "shipped"} for n in range(400))
    for msg in emails.consume(until_empty=True):
        msg.ack()
    invoices.publish_many(({"month": "May", "number": str(n)} for n in range(230)), delay=86_400)
    thumbnails.publish_many(f"photo-{n}.jpg" for n in range(64))
    thumbnails.pause()
    return [orders, emails, invoices, thumbnails]


def consumers(url: str, queue: str, hosts: list[str], holding: list[Any]) -> None:
    """Sessions on machines that a reader may have; those in hand are given to them."""
    prefix = f"trmq:{{{queue}}}:"
    with redis.Redis.from_url(url) as client:
        seconds, _ = client.time()
        real = client.zrange(f"{prefix}sessions", 0, -1)
        for at, host in enumerate(hosts):
            name = f"{'abcdefgh'[at] * 16}@{host}"
            client.zadd(f"{prefix}sessions", {name: (seconds + 40 + 5 * at) * 1000})
            if holding and at < len(real):
                client.rename(f"{prefix}inflight:{real[at].decode()}", f"{prefix}inflight:{name}")
        for one in real:
            client.zrem(f"{prefix}sessions", one)


def an_hour(history: History, stats: Any, busy: float, seed: int) -> None:
    """Made-up samples of the last hour that end at what is really there."""
    rng, now = random.Random(seed), time.time()
    steps = 360
    load = [
        busy
        * (1 + 0.35 * math.sin(n / 38) + 0.12 * rng.uniform(-1, 1))
        * (2.1 if 196 < n < 220 else 1)
        for n in range(steps)
    ]
    backlog, published, completed, failed, dead = 20.0, 0.0, 0.0, 0, 0
    for n, rate in enumerate(load):
        at = now - (steps - n) * BUCKET
        done = min(rate + backlog / BUCKET, busy * 1.55)
        backlog = max(0.0, backlog + (rate - done) * BUCKET)
        published, completed = published + rate * BUCKET, completed + done * BUCKET
        failed += rng.random() < 0.22 + (0.5 if 200 < n < 226 else 0)
        dead += rng.random() < (0.16 if 200 < n < 226 else 0.004)
        sample = replace(
            stats,
            ready=int(backlog + (stats.ready * n / steps) * rng.uniform(0.8, 1.0)),
            delayed=int(stats.delayed * rng.uniform(0.7, 1.1)),
            in_flight=rng.randrange(2, 6) if busy else 0,
            published=int(published),
            completed=int(completed),
            failed=failed,
            dead_lettered=dead,
            oldest_age=backlog / max(busy, 0.1),
        )
        history.record(at, sample, BUCKET)
        wait = backlog / max(busy, 0.1) / 10
        history.buckets[-1].total.extend(wait + rng.lognormvariate(-2.6, 0.6) for _ in range(60))


def main() -> int:
    """Fill, serve, look."""
    where = shutil.which("chromium")
    if where is None:
        print("no Chromium was found", file=sys.stderr)
        return 1
    server = start("valkey", tcp=True)
    queues = fill(server.url)
    holding = [queues[0].receive(), Queue[Order]("orders", server.url, dedup=None).receive()]
    consumers(server.url, "orders", ["worker-1:4127", "worker-2:388", "worker-2:391"], holding)
    consumers(server.url, "emails", ["worker-1:4130"], [])
    app = create_app(queues, show_payloads=True, interval=10)
    sampler = app.state.sampler
    sampler.interval = 120  # none but those that the pages take
    for n, (queue, busy) in enumerate(zip(queues, (21.0, 8.0, 0.1, 0.02), strict=True)):
        an_hour(sampler.histories[queue.name], queue.stats(), busy, n)
    web = uvicorn.Server(uvicorn.Config(app, port=PORT, log_level="warning"))
    thread = threading.Thread(target=web.run)
    thread.start()
    while not web.started:
        time.sleep(0.05)
    letter = list(queues[0].dead)[-1].id
    FOLDER.mkdir(exist_ok=True)
    looks = [
        ("overview", "/", "light", 1180, 480),
        ("queue", "/queues/orders", "light", 1180, 1210),
        ("dead", "/queues/orders/dead", "light", 1180, 640),
        ("message", f"/queues/orders/messages/{letter}", "light", 1180, 960),
        ("queue-dark", "/queues/orders", "dark", 1180, 790),
        ("phone-overview", "/", "dark", 360, 780),
        ("phone-message", f"/queues/orders/messages/{letter}", "light", 360, 780),
        ("question", "/queues/orders/dead", "light", 1180, 560),
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=where, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        for name, path, scheme, width, height in looks:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            page = context.new_page()
            for history in sampler.histories.values():
                history.sampled_at = None  # the real counters do not go on where the made-up end
            time.sleep(1.1)  # then the page takes a sample of its own
            page.goto(f"http://127.0.0.1:{PORT}{path}")
            if name == "question":
                page.get_by_role("link", name="Redrive all").click()
                page.get_by_role("dialog").wait_for()
            page.screenshot(path=FOLDER / f"dashboard-{name}.png")
            context.close()
        browser.close()
    web.should_exit = True
    thread.join()
    for one in holding:
        one.release()
    for queue in queues:
        queue.close()
    server.stop()
    for picture in sorted(FOLDER.glob("dashboard-*.png")):
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
