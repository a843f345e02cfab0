"""Threads that use a connection for the first time at once share one pool, which `close` closes."""

from __future__ import annotations

import sys
import threading

from typed_rmq import Connection, Queue


def test_threads_at_first_use_share_one_pool(redis_url: str, queue_name: str) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            connection = Connection(redis_url)
            queues = [Queue[int](queue_name, connection, dedup=None) for _ in range(8)]
            together = threading.Barrier(len(queues))
            sources: list[object] = []

            def use(queue: Queue[int], together: threading.Barrier = together,
                    sources: list[object] = sources) -> None:  # fmt: skip
                together.wait()
                queue.publish(1)
                sources.append(queue._parts.sync.driver.source)

            threads = [threading.Thread(target=use, args=(queue,)) for queue in queues]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(set(map(id, sources))) == 1
            for queue in queues:
                queue.close()
            connection.close()
    finally:
        sys.setswitchinterval(interval)
