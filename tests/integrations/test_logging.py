"""What typed_rmq logs, in the words of structlog and of standard logging."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT, blocks
from typed_rmq.testing import RedisForTests

PAGE = ROOT / "docs" / "integrations.md"


def run(rmq_redis: RedisForTests, tmp_path: Path, word: str) -> list[dict[str, str]]:
    """The lines that the page's program with ``word`` in it logs, as JSON."""
    (block,) = [
        block
        for block in blocks(PAGE.read_text())
        if block.language == "python" and word in block.code
    ]
    done = subprocess.run(
        [sys.executable, "-c", block.code],
        cwd=tmp_path,
        env={"REDIS_URL": rmq_redis.url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_structlog(rmq_redis: RedisForTests, tmp_path: Path) -> None:
    lines = run(rmq_redis, tmp_path, "import structlog")
    of_handler = next(line for line in lines if line["event"] == "shipping")
    of_queue = next(line for line in lines if line["logger"] == "typed_rmq" and "exception" in line)
    for line in (of_handler, of_queue):
        assert line["queue"] == "logged-orders"
        assert len(line["message_id"]) == 24
        assert line["attempt"] == 1
    assert "no such article" in of_queue["exception"]


def test_standard_logging(rmq_redis: RedisForTests, tmp_path: Path) -> None:
    lines = run(rmq_redis, tmp_path, "class JsonFormatter")
    of_handler = next(line for line in lines if line["text"] == "shipping")
    of_queue = next(line for line in lines if line["logger"] == "typed_rmq" and "exception" in line)
    for line in (of_handler, of_queue):
        assert line["queue"] == "plain-orders"
        assert len(line["message_id"]) == 24
    assert "no such article" in of_queue["exception"]
