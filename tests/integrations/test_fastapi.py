"""The service that the page on frameworks shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from tests.docs.pages import ROOT, blocks
from typed_rmq.testing import QueueFactory, RedisForTests, await_until_empty


def service() -> dict[str, Any]:
    """The page's first program, run."""
    names: dict[str, Any] = {"__name__": "service"}
    block = next(
        block
        for block in blocks((ROOT / "docs" / "integrations.md").read_text())
        if block.language == "python"
    )
    # Without this file's own future import, so that FastAPI can resolve the annotations.
    exec(compile(block.code, "integrations.md", "exec", dont_inherit=True), names)
    return names


def test_an_order_is_accepted_and_shipped(
    rmq_redis: RedisForTests,
    run_async: Callable[[Coroutine[Any, Any, None]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = service()["app"]

    async def test() -> None:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")
        async with asyncio.timeout(30), app.router.lifespan_context(app), client:
            first = await client.post("/orders", json={"order_id": 1, "sku": "A-1"})
            assert first.status_code == 202
            assert len(first.json()) == 24
            await await_until_empty(app.state.orders, 30)
            refused = await client.post("/orders", json={"order_id": "none"})
            assert refused.status_code == 422
        assert capsys.readouterr().out == "shipping A-1\n"

    run_async(test())


def test_a_test_can_give_it_another_queue(
    rmq_queue: QueueFactory, run_async: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    names = service()

    async def test() -> None:
        app = names["app"]
        async with rmq_queue(names["Order"], "other") as other:
            app.dependency_overrides[names["get_orders"]] = lambda: other
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")
            async with client:
                await client.post("/orders", json={"order_id": 1, "sku": "A-1"})
            assert [one.payload.sku for one in await other.apeek()] == ["A-1"]

    run_async(test())
