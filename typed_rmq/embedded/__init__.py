"""A real Redis without an installation: one server per data folder, for every process that asks.

:func:`start` attaches to the server of a data folder and starts it if none runs. The server
listens on a unix socket only, appends every write to a file (synced once a second), and stops
when its last user leaves, however that one leaves: by :meth:`EmbeddedServer.release`, at exit,
or killed with -9. The data stays in the folder and is there at the next start.

Example:
    >>> import tempfile
    >>> from typed_rmq.embedded import start
    >>> folder = tempfile.TemporaryDirectory()
    >>> with folder as path, start(path) as server:
    ...     server.url.startswith("unix:///")
    True

Works on Linux and macOS; the data folder must be on a local disk.
"""

from __future__ import annotations

import sys

from typed_rmq.errors import ConfigError

if sys.platform == "win32":
    raise ConfigError(
        "the embedded server runs on Linux and macOS only; on Windows use WSL, "
        "or set REDIS_URL to a Redis server"
    )

from typed_rmq.embedded._binary import find_binary
from typed_rmq.embedded._server import EmbeddedServer, start
from typed_rmq.embedded._status import ServerStatus, status

__all__ = ["EmbeddedServer", "ServerStatus", "find_binary", "start", "status"]
