"""Look at the server of a data folder without becoming a user of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from typed_rmq.embedded import _guard
from typed_rmq.embedded._folder import resolved, socket_path

__all__ = ["ServerStatus", "status"]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of the server of a data folder.

    Attributes:
        running: whether a server runs on this folder.
        pid: its process, where it runs.
        url: its address, whether it runs or not.
        socket_path: its unix socket.
        data_folder: the folder.
    """

    running: bool
    pid: int | None
    url: str
    socket_path: Path
    data_folder: Path


def status(folder: Path | str | None = None) -> ServerStatus:
    """Look whether the server of a data folder runs; starts nothing and makes no folder.

    Args:
        folder: as for :func:`~typed_rmq.embedded.start`.

    Example:
        >>> import tempfile
        >>> from typed_rmq.embedded import start, status
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with start(folder) as server:
        ...         status(folder).running, status(folder).url == server.url
        ...     status(folder).running
        (True, True)
        False
    """
    place = resolved(folder)
    socket = socket_path(place)
    lock = place / "server.lock"
    running = lock.exists() and _guard.is_held(str(lock))
    written = lock.read_text(encoding="ascii", errors="replace").strip() if running else ""
    return ServerStatus(
        running=running,
        pid=int(written) if written.isdigit() else None,
        url=f"unix://{quote(str(socket))}",
        socket_path=socket,
        data_folder=place,
    )
