"""A process that uses an embedded server, told what to do by lines on its standard input.

Each line is a JSON list, a verb and its arguments; each answer is one JSON line. Run as
``python -m tests.embedded.user_process``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable

from typed_rmq.embedded import EmbeddedServer, start
from typed_rmq.embedded._guard import FileLock, ask

servers: list[EmbeddedServer] = []


def do_start(folder: str) -> str:
    servers.append(start(folder))
    return str(servers[-1].socket_path)


def do_ask(command: str) -> str:
    return ask(str(servers[-1].socket_path), command)[0].decode()


def do_release() -> None:
    servers.pop().release()


def do_fork(release: bool) -> int:
    """Fork a child that stays until it is killed; say its process id when it is set up."""
    ready, told = os.pipe()
    child = os.fork()
    if child:
        os.read(ready, 1)
        return child
    if release:
        do_release()
    os.write(told, b".")
    while True:
        signal.pause()


def do_fork_with_lock(path: str) -> bool:
    """Say whether a lock that was held during a fork is free after the parent closed it."""
    lock = FileLock(path)
    lock.take(exclusive=True)
    child = do_fork(release=False)
    lock.close()
    again = FileLock(path)
    free = again.take(exclusive=True)
    again.close()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return free


def do_churn(folder: str, times: int) -> None:
    for _ in range(times):
        with start(folder) as server:
            ask(str(server.socket_path), "INCR churned")


def main() -> None:
    verbs: dict[str, Callable[..., object]] = {
        "start": do_start,
        "ask": do_ask,
        "release": do_release,
        "fork": do_fork,
        "fork_with_lock": do_fork_with_lock,
        "churn": do_churn,
    }
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        print(json.dumps(verbs[verb](*arguments)), flush=True)


if __name__ == "__main__":
    main()
