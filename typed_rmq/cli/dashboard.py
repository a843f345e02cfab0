"""``dashboard``: starts the dashboard of the extra ``dashboard``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from typed_rmq import ConfigError, Queue

from .common import ExitCode, RedisUrl, Target, guarded
from .loading import load
from .output import say

if TYPE_CHECKING:
    from typed_rmq.dashboard import DashboardQueue

__all__ = ["dashboard"]

TOKEN = "TYPED_RMQ_DASHBOARD_TOKEN"  # noqa: S105 - the name of a variable


@guarded
def dashboard(
    queues: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE:NAME]...",
            help="Queue objects, whose models then print their payloads. Left out: all queues of "
            "this Redis.",
            show_default=False,
        ),
    ] = None,
    redis: RedisUrl = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; any other than a loopback one needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 8070,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Holds the token that visitors need; or set {TOKEN}.",
            show_default=False,
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Only look.")] = False,
    show_payloads: Annotated[
        bool, typer.Option("--show-payloads", help="Show payloads, which are hidden otherwise.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.5, metavar="SECONDS", help="How often queues are looked at.")
    ] = 5.0,
) -> int:
    """Serve the dashboard in the browser until Ctrl-C."""
    try:
        from typed_rmq.dashboard import Discovery, serve
    except ImportError as error:
        raise ConfigError(str(error)) from None
    target = Target(redis)
    token = os.environ.get(TOKEN) or None
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8").strip()
    shown = [_queue(place) for place in queues or ()]
    say(f"dashboard on http://{host}:{port}/ (Ctrl-C ends it)")
    with contextlib.suppress(KeyboardInterrupt):
        serve(
            shown or Discovery(target.connection),
            host=host,
            port=port,
            token=token,
            read_only=read_only,
            show_payloads=show_payloads,
            interval=interval,
        )
    return ExitCode.DONE


def _queue(place: str) -> DashboardQueue:
    found = load(place, "dashboard")
    if not isinstance(found, Queue):
        raise ConfigError(f"{place} is no Queue")
    return cast("DashboardQueue", found)
