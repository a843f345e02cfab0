"""F17: a lease that cannot be renewed is known to be lost before anybody takes over."""

from __future__ import annotations

import signal
import time

from tests.conftest import MakeServer
from typed_rmq import Queue
from typed_rmq.keys import QueueKeys


def test_f17_where_renewal_fails_lease_lost_is_set_before_the_deadline(
    make_server: MakeServer,
) -> None:
    server = make_server("valkey", tcp=True)
    keys = QueueKeys("renewed")
    with Queue[int]("renewed", server.url, lease=2.0) as queue, server.client() as client:
        queue.publish_many([1, 2, 3])
        loop = queue.consume(prefetch=2, idle_timeout=1)
        with loop:
            session = loop.sync_session()
            message = session.take()
            assert message is not None
            assert not message.lease_lost
            seconds, micro = client.time()
            ahead = seconds + micro / 1e6 - time.monotonic()
            server.signal(signal.SIGSTOP)
            try:
                deadline = time.monotonic() + 30
                while not message.lease_lost:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                believed = session.core.lease_until
                # What was fetched ahead is not started any more.
                assert session.core.take(time.monotonic()) is None
            finally:
                server.signal(signal.SIGCONT)
            [(_, score)] = client.zrange(keys.sessions, 0, -1, withscores=True)
            # A renewal that left before the stop may be answered after it.
            assert believed + ahead <= score / 1000 + 0.05
