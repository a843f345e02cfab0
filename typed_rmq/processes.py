"""``run(processes=N)``: the same queue and handler in several processes, supervised.

A process is spawned, not forked, so that it begins clean: it imports the handler's module and makes
the queue anew, from its options. For that both are pickled on their way to it; nothing else is, and
no payload ever.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from typing import Final, NoReturn

from . import supervisor as supervising
from .errors import ConfigError, TypedRMQError
from .supervisor import Supervisor

__all__ = ["make", "supervise"]

logger: Final = logging.getLogger("typed_rmq")

MOST: Final = 256
GRACE: Final = 30.0
"""Seconds that processes get to end after the message in hand."""


def make(
    queue: object,
    name: str,
    handler: Callable[..., object],
    options: Mapping[str, object],
    processes: int,
    *,
    signals: bool,
) -> Supervisor:
    """A supervisor of ``queue.run(handler, **options)`` in so many processes.

    Raises:
        ConfigError: there is no such number of processes, or a process could not be given these.
    """
    if not isinstance(processes, int) or not 1 <= processes <= MOST:
        raise ConfigError(f"processes must be 1 to {MOST}, got {processes!r:.50}", queue=name)
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        _unguarded(name)
    _check_handler(handler, name)
    try:
        packed = pickle.dumps((queue, handler, dict(options)))
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - any type may have its own reason
        raise ConfigError(
            f"queue {name!r}: run(processes={processes}) must hand the queue and the handler to "
            f"other processes, and one of them cannot be: {error}. The handler must be a function "
            "at the top of a module, and so must what the queue is given: a Dedup(key=...), "
            "a serializer, observers. `typed-rmq consume --processes` imports both instead",
            queue=name,
        ) from None
    return Supervisor(
        lambda _number: _Process(packed),
        processes,
        grace=GRACE,
        ends=any(options.get(each) for each in ("until_empty", "idle_timeout", "max_messages")),
        reloading=False,
        say=lambda text: logger.info("queue %s: %s", name, text),
        signals=_stop_signals() if signals else (),
    )


def supervise(supervisor: Supervisor, name: str) -> None:
    """Run it until all processes have ended."""
    code = supervisor.run()
    if code == supervising.MISCONFIGURED:
        raise ConfigError(
            f"queue {name!r}: a worker process could not begin; it has said why on standard error",
            queue=name,
        )
    if code != supervising.DONE:
        logger.error(
            "queue %s: worker processes had to be killed; what they held comes back with their "
            "lease",
            name,
        )


def _stop_signals() -> tuple[signal.Signals, ...]:
    """Those that an application leaves to us: it has no handler of its own for them."""
    if threading.current_thread() is not threading.main_thread():
        return ()
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    return tuple(
        number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) in defaults
    )


def _check_handler(handler: Callable[..., object], queue: str) -> None:
    main = sys.modules["__main__"]
    if getattr(handler, "__module__", None) == "__main__" and not hasattr(main, "__file__"):
        raise ConfigError(
            f"queue {queue!r}: other processes cannot import a handler that was typed in; put it "
            "into a module",
            queue=queue,
        )


def _unguarded(queue: str) -> NoReturn:
    """A process that has just begun runs the program again, up to here."""
    sys.stderr.write(
        f"typed_rmq: queue {queue!r}: a program that calls run(processes=...) must do so below "
        'if __name__ == "__main__":, as each process imports it\n'
    )
    raise SystemExit(supervising.MISCONFIGURED)


class _Process:
    """A worker as a function in a spawned process."""

    def __init__(self, packed: bytes) -> None:
        self._process = multiprocessing.get_context("spawn").Process(target=_work, args=(packed,))
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def sentinel(self) -> int | None:
        return self._process.sentinel

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        self._process.join()
        self._process.close()


def _work(packed: bytes) -> None:
    """In the process: work until told to end."""
    os.setpgid(0, 0)  # Ctrl-C reaches the supervisor alone, which tells us
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(
        target=_end_with, args=(parent.sentinel,), name="typed_rmq parent watch", daemon=True
    ).start()
    try:
        queue, handler, options = pickle.loads(packed)  # noqa: S301 - made by our parent
        with queue:
            queue.run(handler, **options)
    except ConfigError as error:
        sys.stderr.write(f"typed_rmq: {error}\n")
        sys.exit(supervising.MISCONFIGURED)
    except TypedRMQError as error:
        sys.stderr.write(f"typed_rmq: {error}\n")
        sys.exit(supervising.FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with(parent: int) -> None:
    wait([parent])
    os.kill(os.getpid(), signal.SIGTERM)
