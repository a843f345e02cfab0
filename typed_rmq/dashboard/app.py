"""The dashboard as an ASGI app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from typed_rmq import ConfigError, TypedRMQError

from .actions import Actions
from .guard import Guard
from .options import Auth, Options
from .pages import Pages
from .queues import DashboardQueue, QueueSource
from .render import Renderer
from .sampler import Sampler

__all__ = ["create_app"]

PATIENCE: Final = 15.0
"""Seconds until a page gives up; an action that has begun is not cut short."""

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    queues: Iterable[DashboardQueue] | QueueSource,
    *,
    token: str | None = None,
    auth: Auth | None = None,
    read_only: bool = False,
    show_payloads: bool = False,
    interval: float = 5.0,
    title: str = "typed_rmq",
) -> Starlette:
    """The dashboard as an ASGI app, to be served or to be mounted in another one.

    Without ``token`` and ``auth`` it only answers requests from this machine, addressed to this
    machine. It samples the queues from its first request on; where its lifespan is run (by a
    server, or by ``app.router.lifespan_context(app)`` in the lifespan of the app around it) from
    the start.

    Args:
        queues: the queues to show, or a ``Discovery``, which shows all there are.
        token: who gives it may come in: by the login page, or as ``Authorization: Bearer``. At
            least 16 characters.
        auth: your own check, plain or async: is given each request, and says whether it may
            come in.
        read_only: show no buttons, and refuse everything that changes something.
        show_payloads: show what the messages hold. Headers, errors, and tracebacks are always
            shown.
        interval: seconds between two samples, 0.1 to 600.
        title: stands at the top of each page.

    Raises:
        ConfigError: an option is wrong.

    Example:
        >>> from typed_rmq import Queue
        >>> from typed_rmq.dashboard import create_app
        >>> orders = Queue[int]("doc-dashboard")
        >>> app = create_app([orders], read_only=True)
        >>> app.url_path_for("queue", queue="orders")
        '/queues/orders'
    """
    options = Options(token, auth, read_only, show_payloads, interval, title)
    sampler = Sampler(queues, options.interval)
    renderer = Renderer(options)
    pages = Pages(options, sampler, renderer)
    actions = Actions(options, sampler, renderer, pages)

    def looks(endpoint: Endpoint) -> Endpoint:
        async def page(request: Request) -> Response:
            sampler.ensure_running()
            async with asyncio.timeout(PATIENCE):
                await sampler.knows(request.path_params.get("queue", ""))
                return await endpoint(request)

        return page

    async def does(request: Request) -> Response:
        sampler.ensure_running()
        await sampler.knows(request.path_params["queue"])
        return await actions.do(request)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        sampler.ensure_running()
        try:
            yield
        finally:
            await sampler.stop()

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        heading = {404: "Not found", 403: "Refused", 405: "Refused"}.get(error.status_code, "Error")
        return renderer.error(request, error.status_code, heading, error.detail)

    async def failed(request: Request, error: Exception) -> Response:
        if isinstance(error, ConfigError):
            return renderer.error(request, 400, "That does not work", str(error))
        text = str(error) or f"It did not answer within {PATIENCE:.0f} s."
        return renderer.error(request, 503, "Redis does not answer as it should", text)

    app = Starlette(
        routes=[
            Route("/", looks(pages.home), name="home"),
            Route("/login", actions.login, methods=["GET", "POST"], name="login"),
            Route("/logout", actions.logout, methods=["POST"], name="logout"),
            Route("/search", looks(pages.search), name="search"),
            Route("/static/{name}", pages.static, name="static"),
            Route("/queues/{queue}", looks(pages.queue), name="queue"),
            Route("/queues/{queue}/messages/{id:path}", looks(pages.message), name="message"),
            Route("/queues/{queue}/do/{action}", looks(actions.ask), name="ask"),
            Route("/queues/{queue}/do/{action}", does, methods=["POST"], name="do"),
            Route("/queues/{queue}/{state}", looks(pages.messages), name="messages"),
        ],
        middleware=[Middleware(Guard, options, renderer)],
        exception_handlers={
            HTTPException: refused,
            TypedRMQError: failed,
            TimeoutError: failed,
        },
        lifespan=lifespan,
    )
    app.state.sampler = sampler
    return app
