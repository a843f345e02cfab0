"""The Django site of the examples, run as its users run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from typed_rmq.testing import RedisForTests

SITE = ROOT / "examples" / "django_app"

# Requests as a WSGI and an ASGI server would make them, by Django's own test clients.
REQUESTS = """
import asyncio, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
import django
django.setup()
from django.db import connections
from django.test import AsyncClient, Client
from shop.models import Order
from shop.queues import orders

client = Client()
assert client.post("/orders/", {"sku": "A-1"}).status_code == 202
assert client.post("/orders/", {}).status_code == 400
assert client.get("/orders/").status_code == 405
assert client.get("/orders/state/").json() == {"ready": 1, "completed": 0, "dead": 0}

async def asgi():
    client = AsyncClient()
    assert (await client.post("/orders/async/", {"sku": "A-2"})).status_code == 202
    assert (await client.post("/orders/async/", {})).status_code == 400
    await orders().aclose()

asyncio.run(asgi())
assert client.get("/orders/state/").json()["ready"] == 2
assert Order.objects.filter(shipped=False).count() == 2
orders().close()
connections.close_all()
"""


@pytest.fixture
def environment(rmq_redis: RedisForTests, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_DATABASE": str(tmp_path / "db.sqlite3"),
        "ORDERS_REDIS_URL": rmq_redis.url,
        "PYTHONPATH": str(ROOT),
    }


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", *command],
        cwd=SITE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def site(environment: dict[str, str]) -> dict[str, str]:
    run(environment, "manage.py", "migrate", "--verbosity", "0")
    return environment


def test_views_publish_and_the_command_ships(site: dict[str, str]) -> None:
    run(site, "-c", REQUESTS)
    shipped = run(site, "manage.py", "ship_orders", "--until-empty", "--concurrency", "2")
    assert sorted(shipped.splitlines()) == ["shipped order 1", "shipped order 2"]
    assert run(site, "manage.py", "ship_orders", "--until-empty") == ""
    assert run(site, "manage.py", "check") != ""


@pytest.mark.slow
def test_sigterm_ends_the_command_calmly(site: dict[str, str]) -> None:
    run(site, "-c", REQUESTS)
    with subprocess.Popen(
        [sys.executable, "manage.py", "ship_orders"],
        cwd=SITE,
        env=site,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline().startswith("shipped order")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        finally:
            worker.kill()


@pytest.mark.slow
def test_servers_find_the_site(site: dict[str, str]) -> None:
    code = "from project.{} import application; assert callable(application)"
    run(site, "-c", code.format("asgi"))
    run(site, "-c", code.format("wsgi"))
    migrations = run(site, "manage.py", "makemigrations", "--check", "--dry-run")
    assert "No changes" in migrations


def test_the_page_shows_the_site() -> None:
    """Its blocks are files of the site, or pieces of them."""
    page = (ROOT / "docs" / "integrations.md").read_text()
    shown = [block for block in blocks(page) if (block.not_run or "").startswith("examples/")]
    assert len(shown) >= 3
    for block in shown:
        assert block.not_run is not None
        assert block.code in (ROOT / block.not_run.split()[0].rstrip(",")).read_text()
