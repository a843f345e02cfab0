"""A consumer that crashes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from tests.conformance.harness import AsyncQueue, Mode, Order, SyncQueue
from typed_rmq import Message, Queue

__all__ = ["Crashed"]


class Crashed:
    """A process that took a message, and fetched ahead, and was killed with -9 while it held them.

    Attributes:
        message_id: the message in its hands.
        attempt: its attempt.
        at: when it was killed, by the monotonic clock.
    """

    def __init__(self, mode: Mode, **options: Any) -> None:
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            # Nothing of the test may run on here: whatever happens, the process ends.
            try:
                _take_and_wait(mode, options, writable)
            finally:
                os._exit(1)
        os.close(writable)
        try:
            with os.fdopen(readable) as pipe:
                line = pipe.readline()
                os.kill(child, signal.SIGKILL)
        finally:
            os.waitpid(child, 0)
        assert line, "the process failed before it had a message"
        self.at = time.monotonic()
        message_id, attempt = line.split()
        self.message_id = message_id
        self.attempt = int(attempt)


def _take_and_wait(mode: Mode, options: dict[str, Any], writable: int) -> None:
    prefetch = options.pop("prefetch", 1)
    queue = Queue[Order](mode.queue_name, mode.url, **options)

    def tell(msg: Message[Order]) -> float:
        os.write(writable, f"{msg.id} {msg.attempt}\n".encode())
        return 60.0

    if mode.name == "sync":
        SyncQueue(queue).each(tell, prefetch=prefetch)
    else:
        asyncio.run(AsyncQueue(queue).each(tell, prefetch=prefetch))
