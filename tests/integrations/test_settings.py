"""Settings from the environment reach the connection and the queue."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from typed_rmq import ConfigError, Connection, Queue, Retry
from typed_rmq.settings import QueueSettings
from typed_rmq.testing import RedisForTests


def test_defaults_are_those_of_the_classes() -> None:
    parameters = {
        **inspect.signature(Queue.__init__).parameters,
        **inspect.signature(Connection.__init__).parameters,
        **inspect.signature(Retry).parameters,
    }
    fields = QueueSettings.model_fields
    assert set(fields) - {"redis_url"} <= set(parameters)
    for name, field in fields.items():
        if name != "redis_url":
            assert field.default == parameters[name].default, name


def test_options_hold_all_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        "retry_budget": 1.5, "lease": 5.0, "max_length": 10, "overflow": "block",
        "keep_done": 3, "keep_dead": 4, "max_payload": 500, "max_attempts": 2,
        "backoff": 0.5, "factor": 3.0, "max_backoff": 9.0, "jitter": "none",
    }  # fmt: skip
    assert set(wanted) == set(QueueSettings.model_fields) - {"redis_url"}
    for name, value in wanted.items():
        monkeypatch.setenv(f"TYPED_RMQ_{name.upper()}", str(value))
    settings = QueueSettings()
    options = settings.options()
    assert options == {
        "retry": Retry(max_attempts=2, backoff=0.5, factor=3.0, max_backoff=9.0, jitter="none"),
        "lease": 5.0,
        "max_length": 10,
        "overflow": "block",
        "keep_done": 3,
        "keep_dead": 4,
        "max_payload": 500,
    }
    assert settings.model_copy(update={"redis_url": None}).retry_budget == 1.5


def test_they_work(rmq_redis: RedisForTests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_REDIS_URL", rmq_redis.url)
    monkeypatch.setenv("ORDERS_MAX_LENGTH", "1")
    monkeypatch.setenv("ORDERS_OVERFLOW", "drop_oldest")
    monkeypatch.setenv("ORDERS_RETRY_BUDGET", "0.5")
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")
    settings = QueueSettings(_env_prefix="ORDERS_")
    with settings.connection() as connection:
        assert connection.retry_budget == 0.5
        with Queue[int]("numbers", connection, **settings.options()) as numbers:
            numbers.publish(1)
            numbers.publish(2)
            assert [one.payload for one in numbers.peek()] == [2]
    monkeypatch.setenv("REDIS_URL", rmq_redis.url)
    with QueueSettings().connection() as found, Queue[int]("numbers", found) as numbers:
        assert numbers.stats().ready == 1


def test_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(ConfigError, match="set REDIS_URL"):
        QueueSettings().connection()


def test_what_makes_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYPED_RMQ_MAX_ATTEMPTS", "0")
    with pytest.raises(ConfigError):
        QueueSettings().options()
    monkeypatch.setenv("TYPED_RMQ_LEASE", "hunter2")
    with pytest.raises(ValidationError) as error:
        QueueSettings()
    assert "hunter2" not in str(error.value)


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYPED_RMQ_REDIS_URL", "redis://:hunter2@localhost")
    settings = QueueSettings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    assert "hunter2" not in repr(settings.connection())


def test_without_the_extra(tmp_path: Path) -> None:
    (tmp_path / "pydantic_settings.py").write_text("raise ImportError\n")
    code = "import sys; sys.path.insert(0, '.'); import typed_rmq.settings"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1].endswith("pip install 'typed_rmq[settings]'")
