"""What all commands share: their options, their errors, and how they come to a queue."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Final, ParamSpec, cast
from urllib.parse import urlsplit

import typer

from typed_rmq import (
    ConfigError,
    Connection,
    Dedup,
    Queue,
    QueueUnavailable,
    TypedRMQError,
    queues,
)

from .loading import load
from .output import one_line, say

__all__ = [
    "ExitCode",
    "JsonFlag",
    "Model",
    "QueueName",
    "RedisUrl",
    "ShowPayloads",
    "Target",
    "Yes",
    "address",
    "confirmed",
    "guarded",
]

P = ParamSpec("P")

RETRY_BUDGET: Final = 5.0
"""Seconds for which a command tries to reach Redis: somebody is waiting for it."""

COMPLETION_BUDGET: Final = 0.5


class ExitCode:
    """What the shell learns; docs/command-line.md has the same table."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    UNAVAILABLE = 4
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


def complete_queue(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of queues, for the shell's completion; nothing where Redis does not answer."""
    given: object = ctx.params.get("redis")
    url = given if isinstance(given, str) else os.environ.get("REDIS_URL")
    if not url:
        return []  # nobody wants a server started by the Tab key
    logging.getLogger("typed_rmq").addHandler(logging.NullHandler())
    try:
        with Connection(url, retry_budget=COMPLETION_BUDGET) as connection:
            return [name for name in queues(connection) if name.startswith(incomplete)]
    except TypedRMQError:
        return []


RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        envvar="REDIS_URL",
        help="Where Redis is: redis://, rediss://, unix://, or redis+cluster:// and "
        "redis+sentinel:// with several hosts. Left out: REDIS_URL, else the embedded server. A "
        "password is better kept in REDIS_URL, where ps does not show it.",
        show_default=False,
    ),
]
QueueName = Annotated[
    str,
    typer.Argument(
        metavar="QUEUE",
        help="The queue's name.",
        autocompletion=complete_queue,
        show_default=False,
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
ShowPayloads = Annotated[
    bool, typer.Option("--show-payloads", help="Show payloads, which are hidden otherwise.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODULE:NAME",
        help="The type of the payloads, or a Queue object, which brings its serializer and its "
        "deduplication. Left out: any JSON.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


_opened: list[Connection] = []
"""What the command under way has opened; closed when it ends."""


class Target:
    """The Redis that a command works on."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self.connection: Connection | None = None
        if url is None:
            say("neither --redis nor REDIS_URL is given: using the embedded server")
        else:
            # For queues that --model and --queue import: they are made without an address.
            os.environ["REDIS_URL"] = url
            self.connection = Connection(url, retry_budget=RETRY_BUDGET)
            _opened.append(self.connection)

    def names(self) -> list[str]:
        """All queues."""
        return queues(self.connection)

    def queue(self, name: str, *, window: float | None = None) -> Queue[object]:
        """A queue of which only the name is known: its payloads are whatever JSON holds.

        ``window`` is how long a redriven message takes its dedup key back for, in seconds; left
        out: for as long as its publishers hold it.
        """
        return Queue[object](name, self.connection, dedup=_dedup(window))

    def typed(self, name: str, model: str | None, *, window: float | None = None) -> Queue[object]:
        """A queue with the type, or the ``Queue`` object, that ``--model`` names."""
        if model is None:
            return self.queue(name, window=window)
        found = load(model, "--model")
        if isinstance(found, Queue):
            if window is not None:
                raise ConfigError(f"leave --window out: the queue {model} has one of its own")
            return same_name(cast("Queue[object]", found), name, model)
        maker: type[Queue[object]] = Queue.__class_getitem__(found)
        return maker(name, self.connection, dedup=_dedup(window))

    def missing(self, queue: Queue[object]) -> bool:
        """Whether there is no such queue; says so, and what there is.

        A slip of the finger would look like an empty queue otherwise.
        """
        names = self.names()
        if queue.name in names:
            return False
        there = f"there are: {', '.join(names[:10])}" if names else "there is none at all"
        more = f", and {len(names) - 10} more" if len(names) > 10 else ""
        say(f"no queue {queue.name!r} at {address(self.url)}; {there}{more}")
        return True


def _dedup(window: float | None) -> Dedup[object] | None:
    return None if window is None else Dedup(window=window)


def same_name(queue: Queue[object], name: str, model: str) -> Queue[object]:
    """The imported queue, if it is the one that was named."""
    if queue.name != name:
        raise ConfigError(f"{model} is the queue {queue.name!r}, not {name!r}")
    return queue


def address(url: str | None) -> str:
    """An address without user, password, and options."""
    if url is None:
        return "the embedded server"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask before something is deleted. Without a terminal nobody can answer: that is an error."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("this deletes messages: confirm it with --yes")
    return typer.confirm(question, err=True)


class _Terminated(SystemExit):
    """SIGTERM, as an exception: contexts are left, the terminal is put right."""


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Terminated(ExitCode.TERMINATED)


def guarded(command: Callable[P, int | None]) -> Callable[P, None]:
    """A command whose errors end in one line on standard error, and in its exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        _set_up()
        try:
            code = command(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read our output has enough. Nothing more may be flushed at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = ExitCode.BROKEN_PIPE
        except (KeyboardInterrupt, typer.Abort):
            code = ExitCode.INTERRUPTED
        except TypedRMQError as error:
            code = failure(error)
        except OSError as error:
            code = _failed(f"{error.strerror or error}{_file(error)}")
        except (typer.Exit, typer.BadParameter):
            raise
        except Exception as error:
            if os.environ.get("TYPED_RMQ_DEBUG"):
                raise
            code = _failed(
                f"{type(error).__name__}: {error} (TYPED_RMQ_DEBUG=1 shows where it comes from)"
            )
        finally:
            while _opened:
                _opened.pop().close()
        raise typer.Exit(code or 0)

    return run


def failure(error: TypedRMQError) -> int:
    """Say what happened; the exit code."""
    say(str(error))
    if isinstance(error, ConfigError):
        return ExitCode.USAGE
    return ExitCode.UNAVAILABLE if isinstance(error, QueueUnavailable) else ExitCode.FAILED


def _failed(text: str) -> int:
    say(text)
    return ExitCode.FAILED


def _file(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"typed-rmq: {one_line(record.getMessage())}"


def _set_up() -> None:
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    logger = logging.getLogger("typed_rmq")
    # That Redis does not answer is told once, at the end, by the error.
    logger.setLevel(logging.ERROR)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine())
        logger.addHandler(handler)
