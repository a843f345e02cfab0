"""doctor and audit: what they show, and what the shell learns."""

from __future__ import annotations

import redis

from tests.cli.conftest import Shell
from typed_rmq import Queue


def test_doctor_says_what_to_do(shell: Shell) -> None:
    with Queue[int]("orders", shell.url) as queue:
        queue.publish(1)
    done = shell("doctor", "orders", "--json")
    assert done.code == 0, done.err
    topics = {record["topic"]: record for record in done.records}
    assert topics["keys"]["level"] == "ok"
    assert topics["consumers"]["advice"] == "start a worker"
    assert "start a worker" in shell("doctor", "orders").out


def test_doctor_fails_where_something_is_an_error(shell: Shell) -> None:
    with redis.Redis.from_url(shell.url) as client:
        client.set("trmq:{orders}:delayed", "foreign")
    done = shell("doctor", "orders", "--json")
    assert done.code == 1
    [record] = [one for one in done.records if one["level"] == "error"]
    assert "trmq:{orders}:delayed" in record["what"]


def test_audit_says_in_words_what_is_wrong(shell: Shell) -> None:
    with Queue[int]("orders", shell.url) as queue:
        queue.publish_many([1, 2, 3])
    done = shell("audit", "orders")
    assert (done.code, done.out) == (0, "")
    assert "all is well; looked at 3 messages in 1 call" in done.err
    with redis.Redis.from_url(shell.url) as client:
        client.lpop("trmq:{orders}:ready:normal")
    done = shell("audit", "orders", "--json")
    assert done.code == 1
    assert "1 messages are nowhere" in done.records[0]["what"]
    assert shell("audit", "ordes").code == 3
