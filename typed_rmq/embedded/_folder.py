"""Where the data and the socket of an embedded server are."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

from typed_rmq.errors import ConfigError

__all__ = ["data_folder", "make_socket_folder", "resolved", "socket_path"]

SOCKET_LIMIT = 100
"""Bytes that a socket's path may have: macOS takes 103, Linux 107."""


def data_folder(folder: Path | str | None) -> Path:
    """Resolve and make the data folder, private to its user.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        path = resolved(folder)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        raise ConfigError(
            f"cannot make the embedded server's data folder: {error}; "
            "choose another one with the variable TYPED_RMQ_DATA"
        ) from error
    return path


def resolved(folder: Path | str | None) -> Path:
    """The data folder's path, made or not."""
    return (Path(folder).expanduser() if folder is not None else _default()).resolve()


def _default() -> Path:
    chosen = os.environ.get("TYPED_RMQ_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "typed_rmq"
    # The XDG rules: a path that is not absolute is to be ignored.
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    base = data_home if data_home.is_absolute() else Path.home() / ".local" / "share"
    return base / "typed_rmq"


def socket_path(folder: Path) -> Path:
    """The socket of a (resolved) data folder: in it, or, where its path is too long, near the root.

    Every process must come to the same answer, whatever its environment, so the short folder
    depends only on the user and on the data folder; not on TMPDIR or XDG_RUNTIME_DIR, which a
    login session has and a cron job has not.
    """
    inside = folder / "redis.sock"
    if len(os.fsencode(inside)) <= SOCKET_LIMIT:
        return inside
    digest = hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    short = f"typed_rmq-{os.geteuid()}-{digest}"
    return Path("/tmp") / short / "redis.sock"  # noqa: S108  # see make_socket_folder


def make_socket_folder(folder: Path, socket: Path) -> None:
    """Make the short folder of a socket that is not in its data folder.

    To be called by a holder of ``users.lock``: who stops a server removes the short folder.

    Raises:
        ConfigError: it is not a private folder of this user.
    """
    short = socket.parent
    if short == folder:
        return
    try:
        short.mkdir(mode=0o700, exist_ok=True)
        found = short.lstat()
    except OSError as error:
        raise ConfigError(
            f"cannot make {short} for the socket of {folder}: {error}; use a shorter data folder"
        ) from error
    # /tmp is open to everybody: another user may have put something there first.
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077 == 0
    if not private or found.st_uid != os.geteuid():
        raise ConfigError(
            f"{short} is not a private folder of this user, so the socket of {folder} cannot be "
            "there; remove it or use a shorter data folder"
        )
