"""``consume``: a supervised worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from watchfiles import PythonFilter, watch

from typed_rmq.supervisor import Supervisor

from .common import RedisUrl, guarded
from .output import say
from .worker import Options

__all__ = ["consume"]


@guarded
def consume(
    handler: Annotated[
        str,
        typer.Option(
            metavar="MODULE:NAME",
            help="What is called with each payload, or with the Message; may be async.",
        ),
    ],
    queue: Annotated[str, typer.Option(metavar="MODULE:NAME", help="The Queue object to consume.")],
    redis: RedisUrl = None,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, max=256, help="Worker processes.")
    ] = 1,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            max=1000,
            help="Messages at a time in each of them: threads, or tasks of an async handler.",
        ),
    ] = 1,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing is ready.")
    ] = False,
    idle_timeout: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="End after so long without a message.",
            show_default=False,
        ),
    ] = None,
    max_messages: Annotated[
        int | None,
        typer.Option(min=1, help="End each process after so many messages.", show_default=False),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long workers may take to end, before they are killed.",
        ),
    ] = 30.0,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: start anew when a .py file changes.")
    ] = False,
    reload_dir: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="What --reload watches; the current folder by default.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(help="Of the workers' log, where the application sets none up."),
    ] = "info",
) -> int:
    """Work a queue in supervised processes.

    One that crashes is started again. SIGTERM or Ctrl-C ends them after the message in hand, a
    second one interrupts it, and the message goes back to the queue.
    """
    if redis is not None:
        os.environ["REDIS_URL"] = redis  # for the workers

    def start(number: int) -> _Process:
        options = Options(
            number, handler, queue, concurrency, until_empty, idle_timeout, max_messages, log_level
        )
        return _Process([sys.executable, "-m", "typed_rmq.cli.worker", json.dumps(asdict(options))])

    supervisor = Supervisor(
        start,
        processes,
        grace=grace,
        ends=until_empty or idle_timeout is not None or max_messages is not None,
        reloading=reload,
        say=say,
    )
    if not reload:
        return supervisor.run()
    over = threading.Event()
    folders = reload_dir or [Path.cwd()]
    watcher = threading.Thread(target=_watch, args=(folders, supervisor, over), daemon=True)
    watcher.start()
    try:
        return supervisor.run()
    finally:
        over.set()
        watcher.join(5)


class _Process:
    """A worker as a command of its own."""

    sentinel: int | None = None

    def __init__(self, command: list[str]) -> None:
        # Standard input is a pipe that only we hold open: a worker that sees its end knows that
        # we are gone, also by kill -9. A group of its own: Ctrl-C reaches us alone.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)  # noqa: S603
        self.poll = self._process.poll
        self.send_signal = self._process.send_signal

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def _watch(folders: list[Path], supervisor: Supervisor, over: threading.Event) -> None:
    for changes in watch(*folders, watch_filter=PythonFilter(), stop_event=over, rust_timeout=1000):
        if changes:
            supervisor.changed(Path(min(path for _, path in changes)).name)
