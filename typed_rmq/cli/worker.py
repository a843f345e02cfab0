"""One worker process of ``consume``: ``python -m typed_rmq.cli.worker OPTIONS``."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from pydantic import TypeAdapter

from typed_rmq import ConfigError, Queue, QueueUnavailable, TypedRMQError

from .common import ExitCode
from .loading import load
from .output import one_line, visible

__all__ = ["Options", "main"]

logger: Final = logging.getLogger("typed_rmq.worker")


@dataclass
class Options:
    """What a worker is to do; the supervisor passes it on as JSON."""

    number: int
    handler: str
    queue: str
    concurrency: int
    until_empty: bool
    idle_timeout: float | None
    max_messages: int | None
    log_level: str


def main(text: str) -> int:
    """Work until told to end; the exit code."""
    options = TypeAdapter(Options).validate_json(text)
    _end_with_parent()
    try:
        handler = load(options.handler, "--handler")
        queue = load(options.queue, "--queue")
        _log(options)
        if not isinstance(queue, Queue):
            raise ConfigError(f"--queue: {options.queue} is no Queue")
        if not callable(handler):
            raise ConfigError(f"--handler: {options.handler} cannot be called")
        with queue:
            _work(cast("Queue[object]", queue), handler, options)
    except TypedRMQError as error:
        sys.stderr.write(f"typed-rmq: {one_line(str(error))}\n")
        if isinstance(error, ConfigError):
            return ExitCode.USAGE
        return ExitCode.UNAVAILABLE if isinstance(error, QueueUnavailable) else ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


def _work(queue: Queue[object], handler: Callable[..., object], options: Options) -> None:
    call = getattr(handler, "__call__", None)  # noqa: B004 - an object whose call is async
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call):

        async def work() -> None:
            async with queue:
                await queue.arun(
                    handler,
                    concurrency=options.concurrency,
                    until_empty=options.until_empty,
                    idle_timeout=options.idle_timeout,
                    max_messages=options.max_messages,
                )

        asyncio.run(work())
        return
    queue.run(
        handler,
        concurrency=options.concurrency,
        until_empty=options.until_empty,
        idle_timeout=options.idle_timeout,
        max_messages=options.max_messages,
    )


def _log(options: Options) -> None:
    """Log to standard error, unless the application has set logging up itself."""
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(
            _Visible(f"%(asctime)s worker {options.number} %(levelname)s %(name)s: %(message)s")
        )
        logging.basicConfig(level=options.log_level.upper(), handlers=[handler])


class _Visible(logging.Formatter):
    """An exception's text may come from anywhere: nothing in it moves the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n")


def _end_with_parent() -> None:
    """End gracefully when the supervisor is gone: then the pipe at standard input has an end."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def wait() -> None:
        while os.read(pipe, 64):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="typed_rmq parent watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
