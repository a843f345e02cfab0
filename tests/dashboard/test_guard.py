"""Who may come in, and what may be done: the checks before every page."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from typed_rmq import ConfigError
from typed_rmq.dashboard import create_app, serve
from typed_rmq.dashboard.guard import COOKIE, is_signed, sign

from .kit import ORIGIN, browse, make_queue

TOKEN = "a-token-that-nobody-guesses"

Run = Callable[[Any], Any]


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8070", "[::1]:8070", "127.1.2.3"])
def test_without_a_token_this_machine_may_look(
    host: str, redis_url: str, queue_name: str, run_async: Run
) -> None:
    async def look() -> None:
        async with browse(make_queue(queue_name, redis_url), host=host) as http:
            assert (await http.get("/")).status_code == 200

    run_async(look())


@pytest.mark.servers("valkey")
@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"client": "192.168.1.20"}, {}),
        ({"client": "2001:db8::1"}, {}),
        # DNS rebinding: the attacker's own name points to 127.0.0.1.
        ({"host": "attacker.example"}, {}),
        ({"host": "localhost.attacker.example:8070"}, {}),
        ({"host": "127.0.0.1.attacker.example"}, {}),
        ({"host": "2130706433"}, {}),
        ({}, {"x-forwarded-for": "203.0.113.9"}),
        ({}, {"forwarded": "for=203.0.113.9"}),
        ({}, {"host": ""}),
    ],
)
def test_without_a_token_nobody_else_may(
    options: dict[str, Any],
    headers: dict[str, str],
    redis_url: str,
    queue_name: str,
    run_async: Run,
) -> None:
    async def look() -> None:
        async with browse(make_queue(queue_name, redis_url), **options) as http:
            for path in ("/", f"/queues/{queue_name}", "/login", "/static/dashboard.js"):
                answer = await http.get(path, headers=headers)
                assert answer.status_code == 403
                assert queue_name not in answer.text
            answer = await http.post(
                f"/queues/{queue_name}/do/pause", headers={**ORIGIN, **headers}
            )
            assert answer.status_code == 403

    run_async(look())


@pytest.mark.servers("valkey")
def test_with_a_token_one_logs_in(redis_url: str, queue_name: str, run_async: Run) -> None:
    async def look() -> None:
        queue = make_queue(queue_name, redis_url)
        async with browse(queue, host="ops.example", client="192.0.2.1", token=TOKEN) as http:
            same = {"origin": "http://ops.example"}
            answer = await http.get("/")
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")
            assert (await http.get("/login")).status_code == 200
            answer = await http.post("/login", data={"token": "wrong"}, headers=same)
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
            elsewhere = {"origin": "http://attacker.example"}
            answer = await http.post("/login", data={"token": TOKEN}, headers=elsewhere)
            assert answer.status_code == 403
            answer = await http.post("/login", data={"token": TOKEN}, headers=same)
            assert answer.status_code == 303
            cookie = answer.headers["set-cookie"]
            assert TOKEN not in cookie
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert queue_name in (await http.get("/")).text
            answer = await http.post("/logout", headers=same)
            assert answer.status_code == 303
            http.cookies.clear()
            assert (await http.get("/")).status_code == 303
            bearer = {"authorization": f"Bearer {TOKEN}"}
            assert queue_name in (await http.get("/", headers=bearer)).text
            answer = await http.get("/", headers={"authorization": "Bearer wrong"})
            assert answer.status_code == 401
            answer = await http.post(f"/queues/{queue_name}/do/pause", headers=same)
            assert answer.status_code == 401

    run_async(look())


def test_a_cookie_ends_and_cannot_be_made_up() -> None:
    cookie = sign(TOKEN)
    assert is_signed(TOKEN, cookie)
    assert not is_signed("another-token-of-some-length", cookie)
    assert not is_signed(TOKEN, cookie, now=time.time() + 13 * 3600)
    ends, _, signature = cookie.partition(".")
    later = f"{int(ends) + 1}.{signature}"
    for forged in ("", ".", "9999999999.", later, f"nan.{signature}", f"{ends}.ü", "inf."):
        assert not is_signed(TOKEN, forged)


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_ones_own_check_decides(kind: str, redis_url: str, queue_name: str, run_async: Run) -> None:
    def plain(request: Request) -> bool:
        return request.headers.get("x-user") == "ada"

    async def asynchronous(request: Request) -> bool:
        return plain(request)

    async def look() -> None:
        queue = make_queue(queue_name, redis_url)
        auth = plain if kind == "plain" else asynchronous
        async with browse(queue, host="ops.example", client="192.0.2.1", auth=auth) as http:
            assert (await http.get("/")).status_code == 403
            assert (await http.get("/", headers={COOKIE: sign(TOKEN)})).status_code == 403
            assert (await http.get("/", headers={"x-user": "ada"})).status_code == 200

    run_async(look())


FORGED = [
    {},
    {"origin": "http://attacker.example"},
    {"origin": "null"},
    {"origin": "http://localhost:8071"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": "http://localhost:8070", "sec-fetch-site": "cross-site"},
    {"origin": "http://attacker.example", "sec-fetch-site": "same-origin"},
]


@pytest.mark.servers("valkey")
def test_only_our_own_pages_may_change_something(
    redis_url: str, queue_name: str, run_async: Run
) -> None:
    async def act() -> None:
        queue = make_queue(queue_name, redis_url)
        async with browse(queue) as http:
            for headers in FORGED:
                answer = await http.post(f"/queues/{queue_name}/do/pause", headers=headers)
                assert answer.status_code == 403, headers
            assert not (await queue.astats()).paused
            answer = await http.post(f"/queues/{queue_name}/do/pause", headers=ORIGIN)
            assert answer.status_code == 303
            assert (await queue.astats()).paused
            for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
                answer = await http.request(method, f"/queues/{queue_name}", headers=ORIGIN)
                assert answer.status_code == 405, method

    run_async(act())


@pytest.mark.servers("valkey")
def test_looking_changes_nothing(redis_url: str, queue_name: str, run_async: Run) -> None:
    async def look() -> None:
        queue = make_queue(queue_name, redis_url)
        await queue.apublish({"order_id": 1, "sku": "A"})  # type: ignore[arg-type]  # Pydantic takes a dict for an Order
        before = await queue.astats()
        async with browse(queue) as http:
            for action in ("pause", "resume", "purge", "redrive", "promote", "purge-dead"):
                answer = await http.get(f"/queues/{queue_name}/do/{action}")
                assert answer.status_code == 200
                assert '<form method="post"' in answer.text
            after = await queue.astats()
        assert (after.ready, after.paused) == (before.ready, before.paused) == (1, False)

    run_async(look())


@pytest.mark.servers("valkey")
def test_read_only_changes_nothing_and_offers_nothing(
    redis_url: str, queue_name: str, run_async: Run
) -> None:
    async def act() -> None:
        queue = make_queue(queue_name, redis_url)
        async with browse(queue, read_only=True) as http:
            for action in ("pause", "purge", "redrive", "purge-dead", "promote"):
                answer = await http.post(f"/queues/{queue_name}/do/{action}", headers=ORIGIN)
                assert answer.status_code == 403
                assert (await http.get(f"/queues/{queue_name}/do/{action}")).status_code == 403
            page = (await http.get(f"/queues/{queue_name}")).text
            assert "/do/" not in page
            assert "Read-only." in page
            assert not (await queue.astats()).paused

    run_async(act())


@pytest.mark.servers("valkey")
def test_every_answer_says_what_a_browser_may_do(
    redis_url: str, queue_name: str, run_async: Run
) -> None:
    def check(answer: httpx.Response) -> None:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"

    async def look() -> None:
        async with browse(make_queue(queue_name, redis_url)) as http:
            for path in ("/", f"/queues/{queue_name}", "/nothing", "/queues/none", "/search?q=x"):
                answer = await http.get(path)
                check(answer)
                assert answer.headers["cache-control"] == "no-store"
                assert " style=" not in answer.text
                assert " on" not in {text[:3] for text in answer.text.split("<script")[1:]}
            check(await http.get("/static/dashboard.js"))
            check(await http.post("/"))

    run_async(look())


# --- options


def test_it_does_not_start_unguarded_on_an_open_address() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.20", "ops.example", ""):
        with pytest.raises(ConfigError, match="token"):
            serve([], host=host)


def test_a_token_must_not_be_guessable_and_checks_do_not_add_up() -> None:
    with pytest.raises(ConfigError, match="16 characters"):
        create_app([], token="short")
    with pytest.raises(ConfigError, match="not both"):
        create_app([], token=TOKEN, auth=lambda _: True)
    with pytest.raises(ConfigError, match="interval"):
        create_app([], interval=float("nan"))
