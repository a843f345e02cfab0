"""The dashboard as a program of its own."""

from __future__ import annotations

from collections.abc import Iterable

import uvicorn

from typed_rmq import ConfigError

from .app import create_app
from .guard import is_loopback
from .options import Auth
from .queues import DashboardQueue, QueueSource

__all__ = ["serve"]


def serve(
    queues: Iterable[DashboardQueue] | QueueSource,
    *,
    host: str = "127.0.0.1",
    port: int = 8070,
    token: str | None = None,
    auth: Auth | None = None,
    read_only: bool = False,
    show_payloads: bool = False,
    interval: float = 5.0,
    title: str = "typed_rmq",
) -> None:
    """Serve the dashboard until SIGINT or SIGTERM.

    Args:
        queues: the queues to show, or a ``Discovery``, which shows all there are.
        host: the address to listen on. Any other than a loopback one needs ``token`` or ``auth``.
        port: the port to listen on; 0 for any that is free.
        token: see ``create_app``, as for all that follow.
        auth: your own check of requests.
        read_only: only look.
        show_payloads: show what messages hold.
        interval: seconds between two samples.
        title: stands at the top of each page.

    Raises:
        ConfigError: an option is wrong, or the host is not a loopback one and nothing guards it.
    """
    if not is_loopback(host) and token is None and auth is None:
        raise ConfigError(
            f"the dashboard would be open to everybody who reaches {host!r:.100}: give it a token "
            "or an auth callable, or listen on 127.0.0.1"
        )
    app = create_app(
        queues,
        token=token,
        auth=auth,
        read_only=read_only,
        show_payloads=show_payloads,
        interval=interval,
        title=title,
    )
    # Proxy headers are not believed: whoever is asked without a token could make them up.
    uvicorn.run(
        app, host=host, port=port, log_level="warning", proxy_headers=False, server_header=False
    )
