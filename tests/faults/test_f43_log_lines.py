"""F43: what somebody wrote into Redis cannot forge a line of the log, whatever its bytes."""

from __future__ import annotations

import logging

import pytest
import redis

from tests.servers import RunningServer
from typed_rmq import Queue, wire

FORGED = b"x\nERROR payment \xff\x1b[2Jfail"[:24].ljust(24, b"!")


def plant(client: redis.Redis, name: str) -> None:
    """A message with an id that no producer makes, and a payload that can be read."""
    envelope = wire.build(wire.build_start("normal", b"-", b""), FORGED, b"", b"", b"7")
    client.rpush(f"trmq:{{{name}}}:ready:normal", b"1%013d" % 1_700_000_000_000 + envelope)


def test_f43_an_id_cannot_forge_a_log_line(
    server: RunningServer,
    client: redis.Redis,
    redis_url: str,
    queue_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plant(client, queue_name)
    with Queue[int](queue_name, redis_url) as queue:
        with caplog.at_level(logging.DEBUG, "typed_rmq"):
            for msg in queue.consume(until_empty=True, max_messages=1):
                assert "\n" not in msg.id
                assert "\n" not in repr(msg)
                with msg:
                    raise RuntimeError("failed")
        lines = [record.getMessage() for record in caplog.records]
        assert lines
        assert all("\n" not in line and "\x1b" not in line for line in lines)
        queue.purge()
    client.delete(*client.keys(f"trmq:{{{queue_name}}}:*"))
