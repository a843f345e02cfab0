"""What an operator can do: each action first asks on a page of its own, then does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from .guard import COOKIE, COOKIE_SECONDS, sign, token_matches
from .options import Options
from .pages import Pages
from .queues import Reach
from .render import Renderer
from .sampler import Sampler

__all__ = ["Actions"]

LARGEST_FORM: Final = 256 * 1024
MOST_IDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Action:
    """``question`` and ``text`` are asked with the count of what it is about put in."""

    question: str
    text: str
    verb: str
    run: Callable[[Reach, tuple[str, ...]], Awaitable[int]]
    back: str
    danger: bool = False
    one: str = ""
    """The question for one chosen message."""


async def _pause(reach: Reach, _: tuple[str, ...]) -> int:
    await reach.pause()
    return 0


async def _resume(reach: Reach, _: tuple[str, ...]) -> int:
    await reach.resume()
    return 0


ACTIONS: Final = {
    "pause": Action(
        "Pause {queue}?",
        "Consumers finish what they hold and take nothing more, until somebody resumes the queue. "
        "Publishing goes on.",
        "Pause",
        _pause,
        "",
    ),
    "resume": Action("Resume {queue}?", "Consumers go on at once.", "Resume", _resume, ""),
    "purge": Action(
        "Delete all that waits in {queue} ({n})?",
        "All ready and delayed messages are deleted. What consumers hold and the dead "
        "letters are not touched.",
        "Delete them",
        lambda reach, _: reach.purge(),
        "",
        danger=True,
    ),
    "redrive": Action(
        "Redrive dead letters of {queue} ({n})?",
        "What is redriven is ready again, as new, with all its attempts. A message whose dedup key "
        "belongs to another one by now stays a dead letter.",
        "Redrive",
        lambda reach, ids: reach.redrive(*ids),
        "dead",
        one="Redrive this dead letter of {queue}?",
    ),
    "promote": Action(
        "Retry delayed messages of {queue} now ({n})?",
        "What is retried is ready at once, and does not wait for its time.",
        "Retry now",
        lambda reach, ids: reach.promote(*ids),
        "delayed",
        one="Retry this message of {queue} now?",
    ),
    "purge-dead": Action(
        "Delete all dead letters of {queue} ({n})?",
        "With them go their payloads, reasons, and tracebacks.",
        "Delete them",
        lambda reach, _: reach.bury_for_good(),
        "dead",
        danger=True,
    ),
}


class Actions:
    """The endpoints that ask and do, and those of the login."""

    def __init__(
        self, options: Options, sampler: Sampler, renderer: Renderer, pages: Pages
    ) -> None:
        self._options = options
        self._sampler = sampler
        self._renderer = renderer
        self._pages = pages

    async def ask(self, request: Request) -> Response:
        """The question, with what the answer would mean."""
        reach, name, action = self._action(request)
        ids = _checked(request.query_params.getlist("id"))
        await self._sampler.refresh(max_age=0)
        context: dict[str, object] = {
            "queue": reach.name,
            "action": name,
            "question": self._question(name, action, reach, ids),
            "text": action.text,
            "verb": action.verb,
            "danger": action.danger,
            "ids": ids,
            "back": self._back(request, reach, action),
        }
        return self._renderer.page(request, "confirm.html", context)

    async def do(self, request: Request) -> Response:
        """Do it, and go back to where the outcome shows."""
        reach, name, action = self._action(request)
        form = await _form(request)
        ids = _checked(form.get("id", []))
        if "chosen" in form and not ids:
            raise HTTPException(400, "No message was chosen.")
        count = await action.run(reach, ids)
        await self._sampler.refresh(max_age=0)
        query = urlencode({"did": name, "n": count})
        return RedirectResponse(f"{self._back(request, reach, action)}?{query}", 303)

    def _action(self, request: Request) -> tuple[Reach, str, Action]:
        if self._options.read_only:
            raise HTTPException(403, "This dashboard only looks.")
        name = request.path_params["action"]
        if name not in ACTIONS:
            raise HTTPException(404, "There is no such action.")
        return self._pages.reach(request), name, ACTIONS[name]

    def _question(self, name: str, action: Action, reach: Reach, ids: tuple[str, ...]) -> str:
        stats = self._sampler.history(reach.name).latest
        count = len(ids)
        if not ids and stats is not None:
            count = {
                "purge": stats.ready + stats.delayed,
                "redrive": stats.dead,
                "purge-dead": stats.dead,
                "promote": stats.delayed,
            }.get(name, 0)
        asked = action.one if count == 1 and ids and action.one else action.question
        return asked.format(queue=reach.name, n=f"{count:,}")

    def _back(self, request: Request, reach: Reach, action: Action) -> str:
        links = self._renderer.links(request)
        return links.messages(reach.name, action.back) if action.back else links.queue(reach.name)

    # --- login

    async def login(self, request: Request) -> Response:
        """The page that asks for the token, and its answer."""
        links, token = self._renderer.links(request), self._options.token
        if token is None:
            return RedirectResponse(links.home(), 303)
        wrong = False
        if request.method == "POST":
            [given] = (await _form(request)).get("token", [""])[:1]
            if token_matches(token, given):
                response = RedirectResponse(links.home(), 303)
                response.set_cookie(
                    COOKIE,
                    sign(token),
                    max_age=COOKIE_SECONDS,
                    path=links.home(),
                    secure=request.url.scheme == "https",
                    httponly=True,
                    samesite="strict",
                )
                return response
            wrong = True
        status = 401 if wrong else 200
        return self._renderer.page(request, "login.html", {"wrong": wrong}, status=status)

    async def logout(self, request: Request) -> Response:
        """Forget the cookie."""
        links = self._renderer.links(request)
        response = RedirectResponse(links.login(), 303)
        response.delete_cookie(COOKIE, path=links.home())
        return response


def _checked(ids: list[str]) -> tuple[str, ...]:
    if len(ids) > MOST_IDS or any(len(one) > 100 for one in ids):
        raise HTTPException(400, f"At most {MOST_IDS} messages can be chosen at once.")
    return tuple(ids)


async def _form(request: Request) -> dict[str, list[str]]:
    """The fields of a form, as browsers send it by default."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, "The form is too large.")
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
