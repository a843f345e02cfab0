"""The dashboard in a real browser: every page, every action, by mouse, by keyboard, and by axe.

Chromium comes from the system (Debian: chromium); Playwright only drives it.
"""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.servers import RunningServer, start

from .service import Service
from .shop import NAMES, Order, shop_queue

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-nobody-guesses"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 780}
PATIENCE = 30_000
"""Milliseconds that anything on a page may take, on a machine that is busy."""


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RunningServer]:
    server = start("valkey", tcp=True)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def services(redis_server: RunningServer) -> Iterator[dict[str, Service]]:
    """One that shows payloads, one that only looks, one that asks for a token."""
    url = redis_server.url
    for name in NAMES:  # so that there is something to discover
        with shop_queue(name, url) as queue:
            queue.pause()
            queue.resume()
    with ExitStack() as stack:
        queues = [f"tests.dashboard.shop:{name}" for name in NAMES]
        made = {
            "open": Service(*queues, "--show-payloads", "--interval", "0.5", url=url),
            "read-only": Service("--read-only", url=url),
            "token": Service("--host", "0.0.0.0", url=url, token=TOKEN),
        }
        for one in made.values():
            stack.enter_context(one)
        yield made


@pytest.fixture
def open_page(browser: Any, services: dict[str, Service]) -> Iterator[Callable[..., Any]]:
    """``open_page(path, service=..., **options of the context)``.

    A fault of the script, a breach of the policy, or a dialog on a page of ours fails the test.
    """
    faults: list[str] = []
    contexts: list[Any] = []

    def make(
        path: str = "/", *, service: str = "open", foreign: bool = False, **options: Any
    ) -> Any:
        context = browser.new_context(
            **{"viewport": WIDE, "base_url": services[service].base, **options}
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()

        def note(text: str) -> None:
            # A refused page is an error of the network, which some tests are about.
            if not foreign and "Failed to load resource" not in text:
                faults.append(text)

        page.on("pageerror", lambda error: note(str(error)))
        page.on("console", lambda line: line.type == "error" and note(line.text))
        page.on("dialog", lambda dialog: (note(dialog.message), dialog.dismiss()))
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []


def fill(name: str, url: str, dead: int = 1) -> list[str]:
    """Dead letters, and one message done, delayed, and ready; returns the ids of the dead."""
    with shop_queue(name, url) as queue:
        queue.publish(Order(order_id=1, sku="done"))
        for msg in queue.consume(until_empty=True):
            msg.ack()
        for n in range(dead):
            queue.publish(Order(order_id=100 + n, sku="broken"), headers={"trace": f"t-{n}"})
        for msg in queue.consume(until_empty=True):
            with msg as order:
                raise ValueError(f"out of {order.sku}")
        queue.publish(Order(order_id=2, sku="later"), delay=3600)
        queue.publish(Order(order_id=3, sku="ready"))
        return [letter.id for letter in queue.dead]


def confirm(page: Any, button: str) -> None:
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    dialog.get_by_role("button", name=button).click()
    page.wait_for_url(re.compile("did="))


# --- the story that all this is for


def test_a_dead_letter_is_found_read_redriven_and_processed(
    open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    fill("story", redis_server.url)
    page = open_page("/")
    row = page.get_by_role("row", name=re.compile("^story"))
    row.get_by_role("link", name="1 dead in story").click()
    page.get_by_role("rowheader").get_by_role("link").click()
    main = page.get_by_role("main")
    for part in (
        "its handler raised in attempt 1 of 1",
        "ValueError: out of broken",
        'raise ValueError(f"out of {order.sku}")',
        '"order_id": 100',
        "t-0",
    ):
        main.get_by_text(part).first.wait_for()
    page.get_by_role("link", name="Redrive").click()
    confirm(page, "Redrive")
    page.get_by_text("One dead letter is ready again.").wait_for()
    page.get_by_text("No message is dead.").wait_for()
    with shop_queue("story", redis_server.url) as queue:
        assert [m.payload.sku for m in queue.consume(until_empty=True)] == ["ready", "broken"]
    page.get_by_role("link", name=re.compile("^Done")).click()
    page.wait_for_url(re.compile("/done"))
    assert page.locator("#messages tbody tr").count() == 3


# --- every action


def test_chosen_letters_are_redriven_and_then_all(
    open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    ids = fill("choosing", redis_server.url, dead=5)
    page = open_page("/queues/choosing/dead")
    page.get_by_role("button", name="Redrive chosen").click()
    page.get_by_text("No message is chosen.").wait_for(state="attached")
    for one in ids[:2]:
        page.get_by_role("checkbox", name=f"Choose {one}").check()
    page.wait_for_timeout(1500)  # fresh figures come in and leave the choice alone
    assert page.locator("input[name=id]:checked").count() == 2
    page.get_by_role("button", name="Redrive chosen").click()
    page.get_by_role("dialog").get_by_text("Redrive dead letters of choosing (2)?").wait_for()
    confirm(page, "Redrive")
    with shop_queue("choosing", redis_server.url) as queue:
        assert [letter.id for letter in queue.dead] == ids[2:]
        page.get_by_role("checkbox", name="Choose all on this page").check()
        assert page.locator("input[name=id]:checked").count() == 3
        page.get_by_role("link", name="Redrive all").click()
        page.get_by_role("dialog").get_by_role("link", name="Cancel").click()
        page.get_by_role("dialog").wait_for(state="detached")
        assert len(queue.dead) == 3
        page.get_by_role("link", name="Redrive all").click()
        confirm(page, "Redrive")
        assert len(queue.dead) == 0
        assert queue.stats().ready == 6


def test_pausing_retrying_and_deleting(
    open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    fill("steering", redis_server.url)
    with shop_queue("steering", redis_server.url) as queue:
        page = open_page("/queues/steering")
        page.get_by_role("link", name="Pause").click()
        confirm(page, "Pause")
        page.get_by_text("Paused", exact=True).wait_for()
        assert queue.stats().paused
        page.get_by_role("link", name="Resume").click()
        confirm(page, "Resume")
        assert not queue.stats().paused
        page.get_by_role("link", name=re.compile("^Delayed")).click()
        page.get_by_role("rowheader").get_by_role("link").click()
        page.get_by_role("link", name="Retry now").click()
        confirm(page, "Retry now")
        assert (queue.stats().ready, queue.stats().delayed) == (2, 0)
        page.goto("/queues/steering")
        page.get_by_role("link", name="Purge…").click()
        page.get_by_role("dialog").get_by_text("This cannot be undone.").wait_for()
        confirm(page, "Delete them")
        assert queue.stats().ready == 0
        page.goto("/queues/steering/dead")
        page.get_by_role("link", name="Delete all…").click()
        confirm(page, "Delete them")
        page.get_by_text("One dead letter was deleted.").wait_for()
        assert len(queue.dead) == 0


def test_without_its_script_everything_works_on_pages(
    open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    fill("orders", redis_server.url)
    page = open_page("/queues/orders/dead", java_script_enabled=False)
    page.get_by_role("checkbox", name=re.compile("^Choose [a-z0-9]{24}")).first.check()
    page.get_by_role("button", name="Redrive chosen").click()
    page.get_by_role("heading", name="Redrive this dead letter of orders?").wait_for()
    page.get_by_role("button", name="Redrive").click()
    page.get_by_text("One dead letter is ready again.").wait_for()


# --- fresh figures, search, looks


def test_figures_stay_fresh_unless_one_stops_them(
    open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    page = open_page("/queues/fresh")
    tabs = page.get_by_role("navigation", name="Parts of fresh")
    tabs.get_by_text("Ready 0").wait_for()
    with shop_queue("fresh", redis_server.url) as queue:
        queue.publish(Order(order_id=1, sku="a"))
        tabs.get_by_text("Ready 1").wait_for()
        page.locator("#charts summary").first.click()
        live = page.get_by_role("button", name="Live")
        live.click()
        assert live.get_attribute("aria-pressed") == "false"
        queue.publish(Order(order_id=2, sku="b"))
        page.wait_for_timeout(2500)
        assert tabs.get_by_text("Ready 1").count() == 1
        live.click()
        tabs.get_by_text("Ready 2").wait_for()
        assert page.locator("#charts details[open]").count() == 1


def test_search_by_id_and_by_name(
    open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    with shop_queue("orders", redis_server.url) as queue:
        receipt = queue.publish(Order(order_id=77, sku="sought"))
    page = open_page("/")
    field = page.get_by_role("searchbox")
    field.fill(receipt.id)
    field.press("Enter")
    page.get_by_text('"sku": "sought"').wait_for()
    page.get_by_role("searchbox").fill("orders")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("heading", name="orders", exact=True).wait_for()
    page.get_by_role("searchbox").fill("<b>none</b>")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_text("<b>none</b>").wait_for()


def test_dark_and_light_are_chosen_and_remembered(open_page: Callable[..., Any]) -> None:
    def background(page: Any) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page = open_page("/", color_scheme="light")
    light = background(page)
    page.get_by_role("button", name="Dark").click()
    dark = background(page)
    assert dark != light
    page.reload()
    assert background(page) == dark
    page.get_by_role("button", name="Light").click()
    assert background(page) == light
    assert background(open_page("/", color_scheme="dark")) == dark


# --- by keyboard


def test_a_message_is_redriven_by_keyboard_alone(
    open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    fill("keyboard", redis_server.url)
    page = open_page("/")

    def focused() -> str:
        return str(page.evaluate("document.activeElement.innerText || document.activeElement.id"))

    def tab_to(text: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none", f"where is the focus? {focused()!r}"
            if focused().startswith(text):
                return
        pytest.fail(f"no way to {text!r} by keyboard")

    tab_to("Skip to content")
    page.keyboard.press("Enter")
    tab_to("keyboard")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/queues/keyboard$"))
    tab_to("Dead")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/dead$"))
    tab_to("Redrive all")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert focused() == "Redrive all"
    tab_to("Delete all")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert focused() == "Cancel", "what deletes is never a key away"
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert focused() == "Redrive"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("did=redrive&n=1"))


# --- what is hostile


MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'`{{7*7}}</pre>&lt;"


def test_markup_in_every_field_is_only_text(
    open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    url = redis_server.url
    with shop_queue("hostile", url) as queue, redis.Redis.from_url(url) as client:
        headers = {MARKUP: MARKUP, "javascript:alert(3)": "\u202eevil"}
        order = Order(order_id=1, sku=MARKUP, note=MARKUP)
        for _ in range(2):
            queue.publish(order, headers=headers)
        queue.publish(order, headers=headers, delay=3600)
        first = queue.receive()
        assert first
        first.reject(MARKUP)
        for msg in queue.consume(until_empty=True):
            with msg:
                raise ValueError(MARKUP)
        # Foreign bytes in the list, a foreign id in a head, a session of somebody's making.
        prefix = "trmq:{hostile}:"
        client.rpush(f"{prefix}ready:normal", MARKUP.encode())
        head = b"1%013dn--00010000" % 1_700_000_000_000 + b'"><script>alert(4)</scri' + b":000001"
        client.rpush(f"{prefix}ready:normal", head + MARKUP.encode())
        client.zadd(f"{prefix}sessions", {MARKUP: 9e15})
        page = open_page("/queues/hostile")
        assert page.get_by_text(MARKUP).count() >= 1, "the session's name"
        links: list[str] = []
        for state in ("ready", "delayed", "in-flight", "dead", "done"):
            page.goto(f"/queues/hostile/{state}")
            links += [one.get_attribute("href") for one in page.locator("a.id").all()]
            assert page.locator("main img, main script").count() == 0
        assert len(links) >= 5
        seen = ""
        for link in links:
            page.goto(link)
            seen += page.inner_text("body")
            assert page.locator("main img, main script, main iframe").count() == 0
        assert seen.count(MARKUP) >= 6
        assert "\\u202eevil" in seen
        client.zrem(f"{prefix}sessions", MARKUP)
        queue.purge()


def test_a_page_of_another_site_changes_nothing(
    open_page: Callable[..., Any], services: dict[str, Service], redis_server: RunningServer
) -> None:
    target = f"{services['open'].base}/queues/csrf/do/pause"
    body = f"""<form method=post action="{target}"><button>Win a prize</button></form>
        <iframe src="{services["open"].base}/"></iframe>""".encode()

    class Attacker(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Attacker) as attacker:
        thread = threading.Thread(target=attacker.serve_forever)
        thread.start()
        try:
            for host in ("localhost", "127.0.0.1"):  # another site, and another port of the same
                page = open_page(f"http://{host}:{attacker.server_port}/", foreign=True)
                assert "Queues" not in page.frames[1].inner_text("body")
                with page.expect_response(target) as caught:
                    page.get_by_role("button").click()
                assert caught.value.status == 403
        finally:
            attacker.shutdown()
            thread.join()
    with shop_queue("csrf", redis_server.url) as queue:
        assert not queue.stats().paused


def test_a_name_bent_to_this_machine_shows_nothing(
    open_page: Callable[..., Any], services: dict[str, Service]
) -> None:
    page = open_page("/", foreign=True)
    answer = page.goto(f"http://attacker.example:{services['open'].port}/")
    assert answer.status == 403
    assert "orders" not in page.inner_text("body")


def test_one_that_only_looks_has_no_buttons(open_page: Callable[..., Any]) -> None:
    page = open_page("/queues/orders", service="read-only")
    page.get_by_text("Read-only.").wait_for()
    for path in ("/queues/orders", "/queues/orders/dead", "/queues/orders/delayed"):
        page.goto(path)
        assert page.locator("main form, main a[data-dialog], main input").count() == 0
    page.goto("/queues/orders/ready")
    page.locator("a.id").first.click()
    page.get_by_text("Hidden:").wait_for()


def test_a_token_is_asked_for(open_page: Callable[..., Any], services: dict[str, Service]) -> None:
    page = open_page("/queues/orders", service="token")
    page.wait_for_url(re.compile("/login$"))
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("That is not the token.").wait_for()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Queues").wait_for()
    page.get_by_role("link", name="orders", exact=True).click()
    page.get_by_role("heading", name="orders", exact=True).wait_for()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(re.compile("/login$"))
    page.goto("/")
    page.wait_for_url(re.compile("/login$"))


# --- for everybody


@pytest.mark.parametrize("look", ["light", "dark"])
def test_axe_finds_nothing_and_a_phone_is_wide_enough(
    look: str, open_page: Callable[..., Any], redis_server: RunningServer
) -> None:
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
    [dead, *_] = fill("orders", redis_server.url)
    with shop_queue("orders", redis_server.url) as queue:
        taken = queue.receive()
        assert taken
        view = WIDE if look == "light" else PHONE
        page = open_page("/", color_scheme=look, viewport=view, reduced_motion="reduce")
        base = "/queues/orders"
        paths = ["/", base, f"{base}/dead", f"{base}/messages/{dead}", f"{base}/in-flight"]
        if look == "light":
            paths += [f"{base}/delayed", "/search?q=none"]
        problems: list[str] = []

        def examine(what: str) -> None:
            page.evaluate(axe + "; undefined")
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            problems.extend(
                f"{what}: {one['id']}: {node['html']}"
                for one in found["violations"]
                for node in one["nodes"]
            )
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > view["width"]:
                problems.append(f"{what} is {width} wide")

        for path in paths:
            page.goto(path)
            examine(path)
        page.goto(base)
        page.locator("#charts summary").first.click()
        page.get_by_role("link", name="Purge…").click()
        page.get_by_role("dialog").wait_for()
        examine("a question")
        taken.release()
    page = open_page("/login", service="token", color_scheme=look, viewport=view)
    examine("login")
    assert not problems, "\n".join(problems)
