"""``embedded``: the server that comes with the extra ``embedded``, kept running by hand."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from typed_rmq import QueueUnavailable
from typed_rmq.embedded import ServerStatus, start, status

from .common import ExitCode, JsonFlag, guarded
from .output import json_line, say, write_line

__all__ = ["app", "hold"]

app: typer.Typer = typer.Typer(
    name="embedded",
    help="The embedded server: keep it running without a program that uses it, and look at it.",
    no_args_is_help=True,
)

LOCK: Final = "kept.lock"
"""In the data folder; held by the process that keeps the server, whose id it holds."""
STOP_TIMEOUT: Final = 15.0

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="FOLDER",
        help="The data folder; TYPED_RMQ_DATA or the user's own by default.",
        show_default=False,
    ),
]


@app.command("start")
@guarded
def start_(folder: Folder = None, json: JsonFlag = False) -> int:
    """Start the server and keep it until `embedded stop`; prints its URL."""
    kept = _keeper(status(folder))
    if kept is None:
        code = _keep(folder)
        if code:
            return code
    found = status(folder)
    if json:
        write_line(json_line(_record(found)))
    else:
        write_line(found.url)
    return ExitCode.DONE


@app.command("stop")
@guarded
def stop(folder: Folder = None) -> int:
    """Let go of the server: it stops, unless other programs use it. Its data stays."""
    found = status(folder)
    keeper = _keeper(found)
    if keeper is None:
        used = "; other programs use it" if found.running else ""
        say(f"the server of {found.data_folder} was not started by `embedded start`{used}")
        return ExitCode.PARTLY
    os.kill(keeper, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while _keeper(found) is not None:
        if time.monotonic() > deadline:
            raise QueueUnavailable(f"process {keeper} does not end")
        time.sleep(0.02)
    if status(folder).running:
        say("other programs use the server: it stops when the last of them ends")
    else:
        say("the server has stopped; its data stays")
    return ExitCode.DONE


@app.command("status")
@guarded
def status_(folder: Folder = None, json: JsonFlag = False) -> int:
    """Show whether the server runs, and where. Exit code 3 where it does not."""
    found = status(folder)
    if json:
        write_line(json_line(_record(found)))
    else:
        state = f"running, pid {found.pid}" if found.running else "not running"
        write_line(f"state\t{state}")
        write_line(f"kept\t{'yes' if _keeper(found) is not None else 'no'}")
        write_line(f"url\t{found.url}")
        write_line(f"data\t{found.data_folder}")
    return ExitCode.DONE if found.running else ExitCode.PARTLY


def _record(found: ServerStatus) -> dict[str, object]:
    return {
        "running": found.running,
        "kept": _keeper(found) is not None,
        "pid": found.pid,
        "url": found.url,
        "data_folder": str(found.data_folder),
    }


def _keeper(found: ServerStatus) -> int | None:
    """The process that keeps the server, if one does: it holds the lock for as long as it lives."""
    path = found.data_folder / LOCK
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                written = file.read().strip()
                return int(written) if written.isdigit() else None
    except (FileNotFoundError, NotADirectoryError):
        pass
    return None


def _keep(folder: Path | None) -> int:
    """Start the process that keeps the server, and wait until the server answers."""
    arguments = [] if folder is None else [str(folder.expanduser().resolve())]
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "typed_rmq.cli.embedded", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    ) as keeper:
        assert keeper.stdout is not None
        said = keeper.stdout.readline()
        if said.strip() == b"ready":
            keeper.returncode = 0  # it lives on: nobody waits for it
            return ExitCode.DONE
        code = keeper.wait()
    try:
        text = str(json.loads(said))
    except ValueError:
        text = "the process that keeps the server did not start"
    say(text)
    return code or ExitCode.FAILED


def hold(folder: str | None) -> int:
    """Be the process that keeps the server: until SIGTERM."""
    from typed_rmq import ConfigError, TypedRMQError

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = sys.stdout
    try:
        with start(folder) as server:
            lock = os.open(server.data_folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Not given up before the end: whoever asks for it learns that we live.
            if not _locked(lock):
                out.write("ready\n")  # another one was quicker, and keeps the server
                return ExitCode.DONE
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            out.write("ready\n")
            out.flush()
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, out.fileno())
            while True:
                signal.pause()
    except KeyboardInterrupt:
        return ExitCode.DONE
    except TypedRMQError as error:
        out.write(json.dumps(str(error)) + "\n")
        return ExitCode.USAGE if isinstance(error, ConfigError) else ExitCode.FAILED


def _locked(lock: int) -> bool:
    """Take the lock; those who only look hold it for a moment."""
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False


if __name__ == "__main__":
    sys.exit(hold(sys.argv[1] if len(sys.argv) > 1 else None))
