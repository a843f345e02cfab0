"""Pages from templates: everything foreign is escaped, and every link knows where it is mounted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Final
from urllib.parse import quote, urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from . import words
from .options import Options

__all__ = ["STATES", "Links", "Renderer", "static_file"]

STATES: Final = {
    "ready": "Ready",
    "delayed": "Delayed",
    "in_flight": "In flight",
    "dead": "Dead",
    "done": "Done",
}

TYPES: Final = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


@cache
def static_file(name: str) -> tuple[bytes, str, str] | None:
    """A file of the package: its content, type, and version; ``None`` where there is none."""
    if name not in TYPES:
        return None
    content = (resources.files("typed_rmq.dashboard") / "static" / name).read_bytes()
    return content, TYPES[name], hashlib.blake2b(content, digest_size=6).hexdigest()


class Links:
    """Paths of pages, below where the app is mounted."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def home(self) -> str:
        return f"{self._root}/"

    def login(self) -> str:
        return f"{self._root}/login"

    def logout(self) -> str:
        return f"{self._root}/logout"

    def search(self) -> str:
        return f"{self._root}/search"

    def static(self, name: str) -> str:
        found = static_file(name)
        return f"{self._root}/static/{name}?v={found[2] if found else ''}"

    def queue(self, queue: str) -> str:
        return f"{self._root}/queues/{quote(queue, safe=':')}"

    def messages(self, queue: str, state: str, after: str = "") -> str:
        query = f"?{urlencode({'after': after})}" if after else ""
        return f"{self.queue(queue)}/{state.replace('_', '-')}{query}"

    def message(self, queue: str, message_id: str) -> str:
        return f"{self.queue(queue)}/messages/{quote(message_id, safe='')}"

    def action(self, queue: str, action: str, *ids: str) -> str:
        query = f"?{urlencode([('id', one) for one in ids])}" if ids else ""
        return f"{self.queue(queue)}/do/{action}{query}"


class Renderer:
    """The templates, with what all of them need."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._env = jinja2.Environment(
            loader=jinja2.PackageLoader("typed_rmq.dashboard"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._env.filters.update(
            ago=words.ago,
            clock=words.clock,
            duration=words.duration,
            number=words.number,
            rate=words.rate,
            visible=words.visible,
            shortened=words.shortened,
        )

    def links(self, request: Request) -> Links:
        """The links of the app that answers this request."""
        return Links(str(request.scope.get("root_path", "")))

    def page(
        self,
        request: Request,
        template: str,
        context: Mapping[str, object],
        *,
        status: int = 200,
    ) -> HTMLResponse:
        """One page."""
        html = self._env.get_template(template).render(
            context,
            to=self.links(request),
            options=self._options,
            states=STATES,
            now=datetime.now(UTC),
        )
        return HTMLResponse(html, status)

    def error(self, request: Request, status: int, title: str, text: str) -> HTMLResponse:
        """A page that says what went wrong."""
        return self.page(request, "error.html", {"title": title, "text": text}, status=status)
