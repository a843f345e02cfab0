"""Mounted in FastAPI, in Starlette, and beside Django."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from typed_rmq.dashboard import create_app

from .kit import ORIGIN, fill, make_queue, running

Run = Callable[[Any], Any]


async def walk(app: Any, alive: Starlette, name: str, message_id: str) -> None:
    """Every link stays below where the dashboard is mounted."""
    async with running(app, lifespan=alive, host="localhost:8070") as http:
        page = (await http.get("/admin/queues/")).text
        assert f'href="/admin/queues/queues/{name}"' in page
        assert 'href="/admin/queues/static/dashboard.css' in page
        assert (await http.get("/admin/queues/static/dashboard.css")).status_code == 200
        answer = await http.get("/admin/queues/search", params={"q": message_id})
        assert answer.headers["location"] == f"/admin/queues/queues/{name}/messages/{message_id}"
        assert (await http.get(answer.headers["location"])).status_code == 200
        page = (await http.get(f"/admin/queues/queues/{name}/do/redrive")).text
        assert f'action="/admin/queues/queues/{name}/do/redrive"' in page
        answer = await http.post(f"/admin/queues/queues/{name}/do/redrive", headers=ORIGIN)
        assert answer.headers["location"] == f"/admin/queues/queues/{name}/dead?did=redrive&n=1"
        answer = await http.post("/admin/queues/logout")
        assert answer.status_code == 403


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("where", ["starlette", "fastapi", "django"])
def test_mounted_in_another_app(
    where: str, redis_url: str, queue_name: str, run_async: Run
) -> None:
    queue = make_queue(queue_name, redis_url)
    ids = fill(queue)

    async def use() -> None:
        dashboard = create_app([queue])

        @asynccontextmanager
        async def lifespan(_: Any) -> AsyncGenerator[None]:
            async with dashboard.router.lifespan_context(dashboard):
                yield

        app: Any
        if where == "fastapi":
            from fastapi import FastAPI

            app = FastAPI(lifespan=lifespan)
            app.mount("/admin/queues", dashboard)
        elif where == "django":
            app = Starlette(
                routes=[Mount("/admin/queues", dashboard), Mount("/", django_app())],
                lifespan=lifespan,
            )
        else:
            app = Starlette(routes=[Mount("/admin/queues", dashboard)], lifespan=lifespan)
        await walk(app, app, queue_name, ids["dead"])
        if where == "django":
            async with running(app, host="localhost") as http:
                assert (await http.get("/")).text == "the shop"
        await queue.aclose()

    run_async(use())


def django_app() -> Any:
    """A Django project of one page."""
    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def shop(request: HttpRequest) -> HttpResponse:
        return HttpResponse("the shop")

    class Urls:
        urlpatterns = (path("", shop),)

    if not settings.configured:
        settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["localhost"], SECRET_KEY="x" * 50)
        django.setup()
    return get_asgi_application()
