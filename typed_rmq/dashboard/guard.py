"""Who may come in: the checks that every request passes before a page is made.

1. **Without a token or an auth callable the dashboard answers on loopback only**: the client's
   address, the ``Host`` header (so that no foreign name can be bent to point here: DNS rebinding),
   and no sign of a proxy in between must all say so.
2. **With one**, each request must carry it: the token as ``Authorization: Bearer``, or as the
   cookie that the login page sets. The cookie holds a signature, not the token.
3. **What changes something** must come from a page of ours: ``Sec-Fetch-Site`` and ``Origin`` are
   looked at, and a request with neither is refused.
4. **Every answer** says what a browser may do with it: nothing but this host's own style sheet and
   script, no frames, no cache.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import ipaddress
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .options import Options
from .render import Renderer

__all__ = ["COOKIE", "Guard", "is_loopback", "sign", "token_matches"]

COOKIE: Final = "typed_rmq_dashboard"
COOKIE_SECONDS: Final = 12 * 3600
SAFE: Final = frozenset({"GET", "HEAD"})

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # With no-referrer browsers would send "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

PROXIED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Guard:
    """The checks, around the app."""

    def __init__(self, app: ASGIApp, options: Options, renderer: Renderer) -> None:
        self._app = app
        self._options = options
        self._renderer = renderer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        refusal = await self._refusal(request)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (refusal or self._app)(scope, receive, send_guarded)

    async def _refusal(self, request: Request) -> Response | None:
        if not self._options.guarded and (why := not_loopback(request)):
            return self._renderer.error(request, 403, "Not from here", why)
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        # The login page needs its looks, and there is nothing to see in either.
        is_open = path == "/login" or path.startswith("/static/")
        if not is_open and not await self._may_come_in(request):
            if self._options.token is None:
                return self._renderer.error(
                    request, 403, "Not allowed", "The application's own check refused this request."
                )
            if request.method in SAFE and "authorization" not in request.headers:
                return RedirectResponse(self._renderer.links(request).login(), 303)
            return self._renderer.error(
                request, 401, "Not allowed", "The token is missing or wrong."
            )
        if request.method not in SAFE:
            if why := from_elsewhere(request):
                return self._renderer.error(request, 403, "Refused", why)
            if self._options.read_only and path != "/login":
                return self._renderer.error(
                    request, 403, "Read-only", "This dashboard only looks; nothing was changed."
                )
        return None

    async def _may_come_in(self, request: Request) -> bool:
        if self._options.auth is not None:
            answer = self._options.auth(request)
            return bool(await answer if inspect.isawaitable(answer) else answer)
        token = self._options.token
        if token is None:
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token_matches(token, given):
            return True
        return is_signed(token, request.cookies.get(COOKIE, ""))


def token_matches(token: str, given: str) -> bool:
    """Compared in the same time, however much of it is right."""
    return hmac.compare_digest(token.encode(), given.strip().encode("utf-8", "replace"))


def sign(token: str, now: float | None = None) -> str:
    """A cookie for who knows the token: when it ends, and a signature of that."""
    ends = str(int((time.time() if now is None else now) + COOKIE_SECONDS))
    return f"{ends}.{_signature(token, ends)}"


def is_signed(token: str, cookie: str, now: float | None = None) -> bool:
    """Whether this is a cookie of ours that has not ended."""
    ends, _, signature = cookie.partition(".")
    if not hmac.compare_digest(_signature(token, ends).encode(), signature.encode()):
        return False
    return float(ends) > (time.time() if now is None else now)


def _signature(token: str, ends: str) -> str:
    return hmac.new(token.encode(), f"dashboard {ends}".encode(), hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether a host name or an address is this machine's own, without asking any name server."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def not_loopback(request: Request) -> str | None:
    """Why this request is not surely from this machine."""
    how = "To be reached from elsewhere, the dashboard needs token=... or auth=..."
    client = request.client
    if client is None or not is_loopback(client.host):
        return f"The request came from another machine. {how}"
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if not is_loopback(host):
        return f"The Host header is not this machine's own name. {how}"
    if any(name in request.headers for name in PROXIED):
        return f"The request came through a proxy. {how}"
    return None


def from_elsewhere(request: Request) -> str | None:
    """Why a request that changes something may not come from one of our own pages."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        return "It does not say which page it comes from (no Origin and no Sec-Fetch-Site header)."
    if site not in (None, "same-origin"):
        return "It comes from a page of another site (Sec-Fetch-Site)."
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        return "It comes from a page of another site (Origin)."
    return None
