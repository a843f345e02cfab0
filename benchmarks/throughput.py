"""Messages per second: publishing and consuming, ours and raw, in slices that take turns."""

from __future__ import annotations

import asyncio
from time import perf_counter_ns

from typed_rmq import Queue

from .machine import Address, Server
from .payload import Order, Orders
from .slices import Case, Figure, alternate, ratio

__all__ = ["Throughput"]

RAW_KEY = "raw"
BATCH = 500
PRELOAD = 1_000


class Throughput:
    """All cases of one address. A context manager: it closes its clients."""

    def __init__(self, server: Server, address: Address, orders: Orders) -> None:
        self._server = server
        self._orders = orders
        self._raw = address.raw()
        self._queue = Queue[Order]("bench", address.url)
        # One event loop for all slices, so that each finds its connections open.
        self._runner = asyncio.Runner()
        self._raw_async = address.raw_async()

    def __enter__(self) -> Throughput:
        return self

    def __exit__(self, *_: object) -> None:
        async def close() -> None:
            await self._raw_async.aclose()
            await self._queue.aclose()

        self._runner.run(close())
        self._runner.close()
        self._raw.close()

    def publishing(self, rounds: int, seconds: float, *, main: bool = True) -> list[Figure]:
        """With goals and all cases in the ``main`` part; elsewhere the most important, as told."""
        raw = Case("raw LPUSH", self._lpush, 10_000)
        one = Case("publish", self._publish, 8_000)
        many = Case(f"publish_many by {BATCH}", self._publish_many, 150_000, BATCH)
        raw_async = Case("raw async LPUSH", self._lpush_async, 6_000)
        one_async = Case("apublish", self._apublish, 5_000)
        cases = [raw, one, many]
        if main:
            cases += [raw_async, one_async]
        alternate(cases, rounds, seconds)
        if not main:
            return [ratio(one, raw), ratio(many, raw)]
        return [ratio(one, raw, 0.8), ratio(many, raw, 18), ratio(one_async, raw_async)]

    def consuming(self, rounds: int, seconds: float, *, main: bool = True) -> list[Figure]:
        """As ``publishing``."""
        raw = Case("raw LPOP", self._lpop, 10_000)
        bare = Case("loop", self._loop, 150_000)
        precise = Case("loop with `with msg`", self._loop_with, 120_000)
        single = Case("loop, prefetch=1", self._loop_single, 7_000)
        bare_async = Case("async loop", self._loop_async, 120_000)
        raw_async = Case("raw async LPOP", self._lpop_async, 6_000)
        cases = [raw, bare, bare_async, single]
        if main:
            cases += [precise, raw_async]
        alternate(cases, rounds, seconds)
        if not main:
            return [ratio(case, raw) for case in (bare, bare_async, single)]
        return [
            ratio(bare, raw, 25),
            ratio(precise, raw),
            ratio(bare_async, raw, 20),
            ratio(bare_async, raw_async),
            ratio(single, raw, 0.75),
        ]

    # --- publishing: payloads are made beforehand on both sides, and all are different

    def _lpush(self, n: int) -> int:
        items, lpush = self._orders.raw(n), self._raw.lpush
        began = perf_counter_ns()
        for item in items:
            lpush(RAW_KEY, item)
        return self._since(began)

    def _publish(self, n: int) -> int:
        models, publish = self._orders.models(n), self._queue.publish
        began = perf_counter_ns()
        for model in models:
            publish(model)
        return self._since(began)

    def _publish_many(self, n: int) -> int:
        models = self._orders.models(n)
        began = perf_counter_ns()
        self._queue.publish_many(models, batch=BATCH)
        return self._since(began)

    def _lpush_async(self, n: int) -> int:
        items, lpush = self._orders.raw(n), self._raw_async.lpush

        async def slice_() -> int:
            began = perf_counter_ns()
            for item in items:
                await lpush(RAW_KEY, item)
            return self._since(began)

        return self._runner.run(slice_())

    def _apublish(self, n: int) -> int:
        models, publish = self._orders.models(n), self._queue.apublish

        async def slice_() -> int:
            began = perf_counter_ns()
            for model in models:
                await publish(model)
            return self._since(began)

        return self._runner.run(slice_())

    # --- consuming: the backlog is there beforehand; ours end with every ack confirmed

    def _lpop(self, n: int) -> int:
        self._fill_raw(n)
        lpop = self._raw.lpop
        began = perf_counter_ns()
        for _ in range(n):
            lpop(RAW_KEY)
        return self._since(began)

    def _lpop_async(self, n: int) -> int:
        self._fill_raw(n)
        lpop = self._raw_async.lpop

        async def slice_() -> int:
            began = perf_counter_ns()
            for _ in range(n):
                await lpop(RAW_KEY)
            return self._since(began)

        return self._runner.run(slice_())

    def _loop(self, n: int) -> int:
        self._fill(n)
        began = perf_counter_ns()
        for _msg in self._queue.consume(until_empty=True):
            pass
        return self._since(began)

    def _loop_with(self, n: int) -> int:
        self._fill(n)
        began = perf_counter_ns()
        for msg in self._queue.consume(until_empty=True):
            with msg as _order:
                pass
        return self._since(began)

    def _loop_single(self, n: int) -> int:
        self._fill(n)
        began = perf_counter_ns()
        for _msg in self._queue.consume(until_empty=True, prefetch=1):
            pass
        return self._since(began)

    def _loop_async(self, n: int) -> int:
        self._fill(n)

        async def slice_() -> int:
            began = perf_counter_ns()
            async for _msg in self._queue.consume(until_empty=True):
                pass
            return self._since(began)

        return self._runner.run(slice_())

    def _fill(self, n: int) -> None:
        self._queue.publish_many(self._orders.models(n), batch=PRELOAD)

    def _fill_raw(self, n: int) -> None:
        items = self._orders.raw(n)
        for at in range(0, n, PRELOAD):
            self._raw.lpush(RAW_KEY, *items[at : at + PRELOAD])

    def _since(self, began: int) -> int:
        took = perf_counter_ns() - began
        # Every slice begins with an empty server: no case pays for what another one left.
        self._server.empty()
        return took
