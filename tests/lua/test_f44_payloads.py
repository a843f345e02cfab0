"""F44: no script decodes a payload: cjson loses large integers and turns ``[]`` into ``{}``."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
import redis

from typed_rmq import Queue, Retry

PAYLOADS: list[Any] = [2**53 + 1, 2**70, [], {}, {"a": []}, 1.0, "é\x00\n", [[{"b": {}}]]]


@pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
def test_f44_a_payload_keeps_its_bytes_on_every_way(
    client: redis.Redis, redis_url: str, queue_name: str, payload: Any
) -> None:
    retry = Retry(max_attempts=2, backoff=0)
    with Queue[Any](queue_name, redis_url, retry=retry, keep_done=10) as queue:
        queue.publish(payload)
        raw = queue.peek()[0].raw
        for msg in queue.consume(until_empty=True, max_messages=1):
            msg.release()
        for msg in queue.consume(until_empty=True):
            msg.retry()
        assert [letter.raw for letter in queue.dead] == [raw]
        assert queue.dead.redrive() == 1
        for msg in queue.consume(until_empty=True):
            assert msg.payload == payload
            assert type(msg.payload) is type(payload)
        assert [done.raw for done in queue.peek(state="done")] == [raw]


def test_f44_no_script_knows_a_decoder() -> None:
    folder = resources.files("typed_rmq") / "lua"
    files = [*folder.iterdir(), *(folder / "lib").iterdir()]
    sources = {each.name: each.read_text("utf-8") for each in files if each.name.endswith(".lua")}
    assert "cycle.lua" in sources
    for name, source in sources.items():
        for decoder in ("cjson", "cmsgpack", "struct.", "loadstring"):
            assert decoder not in source, name
