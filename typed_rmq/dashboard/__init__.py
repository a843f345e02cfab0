"""A dashboard for queues: what is in them, how they do, and what to do about it.

``create_app`` makes an ASGI app to mount in FastAPI, Starlette, or beside Django; ``serve`` and
``python -m typed_rmq.dashboard`` run it by itself. It needs the extra: ``pip install
'typed_rmq[dashboard]'``.
"""

from __future__ import annotations

from importlib.util import find_spec

_missing = [name for name in ("jinja2", "starlette", "uvicorn") if find_spec(name) is None]
if _missing:
    raise ImportError(
        f"the dashboard needs {', '.join(_missing)}: pip install 'typed_rmq[dashboard]'"
    )

from .app import create_app  # noqa: E402 - the error above says more than the import's own
from .options import Auth  # noqa: E402
from .queues import DashboardQueue, Discovery, QueueSource  # noqa: E402
from .server import serve  # noqa: E402

__all__ = ["Auth", "DashboardQueue", "Discovery", "QueueSource", "create_app", "serve"]
