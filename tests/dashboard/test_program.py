"""``python -m typed_rmq.dashboard``: what it refuses, and that it ends when told."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import httpx
import pytest

from typed_rmq.dashboard.__main__ import main

from .service import Service


def refused(*arguments: str) -> str:
    """What a start that does not come about says."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, str), "a line on stderr, and exit code 1"
    return ended.value.code


def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.delenv("TYPED_RMQ_DASHBOARD_TOKEN", raising=False)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    assert "give it a token" in refused("--host", "0.0.0.0")
    assert "app.queues:orders" in refused("orders")
    assert "cannot find tests.dashboard.shop:nothing" in refused("tests.dashboard.shop:nothing")
    assert "is no Queue" in refused("tests.dashboard.shop:URL")
    assert "cannot read the token" in refused("--token-file", str(tmp_path / "none"))
    (tmp_path / "token").write_text("short\n")
    assert "16 characters" in refused("--token-file", str(tmp_path / "token"))


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_it_serves_until_it_is_told_to_end(redis_url: str) -> None:
    with Service("tests.dashboard.shop:orders", url=redis_url) as service:
        assert httpx.get(f"{service.base}/queues/orders").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) in (0, -signal.SIGTERM)
