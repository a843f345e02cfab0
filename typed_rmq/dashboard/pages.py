"""The pages that only look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from typed_rmq import ConsumerInfo, DeadLetter, Peeked, State

from . import words
from .charts import charts_of, spark
from .options import Options
from .queues import Reach
from .render import STATES, Renderer, static_file
from .sampler import Sampler
from .series import History, Sighting
from .timeline import timeline

__all__ = ["Pages"]

PAGE: Final = 25
"""Messages on a page."""
LONGEST_ID: Final = 100
NOTES: Final = {
    "pause": "The queue is paused.|The queue is paused.",
    "resume": "Consumers go on.|Consumers go on.",
    "purge": "One message was deleted.|{n} messages were deleted.",
    "redrive": "One dead letter is ready again.|{n} dead letters are ready again.",
    "promote": "One message is ready now.|{n} messages are ready now.",
    "purge-dead": "One dead letter was deleted.|{n} dead letters were deleted.",
}
"""What an action came to: for one message, and for any other number."""
COUNTERS: Final = {
    "published": "messages stored",
    "duplicates": "recognized and not stored",
    "completed": "messages acknowledged",
    "failed": "attempts, crashes included",
    "retried": "attempts scheduled again",
    "dead_lettered": "messages given up",
    "released": "given back, uncounted",
    "stale": "verdicts past their lease",
    "dropped": "to make room",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A queue in the list of all."""

    name: str
    history: History
    spark: str
    published: float | None
    completed: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as its page shows it, dead or alive."""

    seen: Peeked[object] | None
    letter: DeadLetter[object] | None
    payload_type: str
    payload: str | None
    raw: str

    @property
    def any(self) -> Peeked[object] | DeadLetter[object]:
        found = self.letter or self.seen
        assert found is not None
        return found


class Pages:
    """The endpoints; each is one page."""

    def __init__(self, options: Options, sampler: Sampler, renderer: Renderer) -> None:
        self._options = options
        self._sampler = sampler
        self._renderer = renderer

    def reach(self, request: Request) -> Reach:
        """The queue that the path names; 404 where there is none."""
        reach = self._sampler.reaches.get(request.path_params["queue"])
        if reach is None:
            raise HTTPException(404, "There is no queue of this name here.")
        return reach

    async def static(self, request: Request) -> Response:
        """The style sheet and the script."""
        found = static_file(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "There is no such file.")
        content, media_type, _ = found
        headers = {"cache-control": "public, max-age=86400"}
        return Response(content, media_type=media_type, headers=headers)

    async def home(self, request: Request) -> Response:
        """All queues."""
        await self._sampler.refresh()
        now = time.time()
        rows = [
            Row(
                name,
                history,
                spark(history, now),
                history.rate(now, "published"),
                history.rate(now, "completed"),
            )
            for name, history in sorted(self._sampler.histories.items())
        ]
        since = min((r.history.since for r in rows if r.history.since), default=None)
        context: dict[str, object] = {
            "rows": rows,
            "since": None if since is None else datetime.fromtimestamp(since, UTC),
            "error": self._sampler.error,
        }
        return self._renderer.page(request, "home.html", context)

    async def queue(self, request: Request) -> Response:
        """One queue: charts, consumers, counters."""
        reach = self.reach(request)
        await self._sampler.refresh()
        history, now = self._sampler.history(reach.name), time.time()
        consumers: Sequence[ConsumerInfo] = ()
        if history.error is None:
            consumers = await reach.consumers()
        stats = history.latest
        context: dict[str, object] = {
            "queue": reach.name,
            "history": history,
            "stats": stats,
            "charts": charts_of(history, now, keeps_done=bool(stats and stats.done)),
            "consumers": sorted(consumers, key=_consumer_order),
            "counters": COUNTERS,
            "since": None if history.since is None else datetime.fromtimestamp(history.since, UTC),
            "note": _note(request),
            "tab": "overview",
        }
        return self._renderer.page(request, "queue.html", context)

    async def messages(self, request: Request) -> Response:
        """The messages of one state."""
        reach = self.reach(request)
        state = cast("State", request.path_params["state"].replace("-", "_"))
        if state not in STATES:
            raise HTTPException(404, "There is no such page.")
        after = request.query_params.get("after", "")
        await self._sampler.refresh()
        history = self._sampler.history(reach.name)
        found = await reach.peek(PAGE + 1, state, after)
        consumers: Sequence[ConsumerInfo] = ()
        if state == "in_flight":
            consumers = await reach.consumers()
        context: dict[str, object] = {
            "queue": reach.name,
            "history": history,
            "stats": history.latest,
            "state": state,
            "messages": found[:PAGE],
            "after": after,
            "next": found[PAGE - 1].cursor if len(found) > PAGE else "",
            "preview": self._preview,
            "where": {one.session: one for one in consumers},
            "note": _note(request),
            "tab": state,
        }
        return self._renderer.page(request, "messages.html", context)

    async def message(self, request: Request) -> Response:
        """One message, dead or alive."""
        reach = self.reach(request)
        message_id = request.path_params["id"]
        letter = await reach.letter(message_id) if len(message_id) <= LONGEST_ID else None
        seen = None
        if letter is None and len(message_id) <= LONGEST_ID:
            seen = await reach.find(message_id)
        if letter is None and seen is None:
            raise HTTPException(
                404,
                "No message of this id is in the queue. It may be done: completions are only kept "
                "where the queue was made with keep_done.",
            )
        shown = self._shown(seen, letter)
        await self._sampler.refresh(max_age=self._options.interval)
        history = self._sampler.history(reach.name)
        consumers = {one.session: one for one in await reach.consumers()}
        context: dict[str, object] = {
            "queue": reach.name,
            "history": history,
            "stats": history.latest,
            "id": message_id,
            "shown": shown,
            "state": "dead" if letter is not None else seen.state if seen else "",
            "consumer": consumers.get(seen.consumer or "") if seen else None,
            "timeline": timeline(
                seen,
                letter,
                self._sightings(history, message_id, consumers),
                history.failures(message_id),
            ),
            "tab": "dead" if letter is not None else seen.state if seen else "",
        }
        return self._renderer.page(request, "message.html", context)

    async def search(self, request: Request) -> Response:
        """A message by its id, in all queues."""
        wanted = request.query_params.get("q", "").strip()
        queues: list[str] = []
        if wanted in self._sampler.reaches:
            return RedirectResponse(self._renderer.links(request).queue(wanted), 303)
        if 0 < len(wanted) <= LONGEST_ID:
            reaches = list(self._sampler.reaches.values())
            gate = asyncio.Semaphore(8)

            async def holds(reach: Reach) -> bool:
                async with gate:
                    return bool(await reach.letter(wanted) or await reach.find(wanted))

            found = await asyncio.gather(*(holds(reach) for reach in reaches))
            queues = [one.name for one, has in zip(reaches, found, strict=True) if has]
        if len(queues) == 1:
            return RedirectResponse(self._renderer.links(request).message(queues[0], wanted), 303)
        context: dict[str, object] = {
            "wanted": wanted,
            "queues": queues,
        }
        return self._renderer.page(request, "search.html", context, status=200 if queues else 404)

    # --- what is shown of a payload

    def _preview(self, seen: Peeked[object]) -> str:
        if not self._options.show_payloads:
            return ""
        raw = seen.raw[:160].decode("utf-8", "replace")
        return words.visible(raw).replace("\n", " ")

    def _shown(self, seen: Peeked[object] | None, letter: DeadLetter[object] | None) -> Shown:
        found = letter or seen
        assert found is not None
        payload, raw = None, ""
        if self._options.show_payloads:
            raw = words.raw_text(found.raw)
            if found.payload is not None:
                payload = words.payload_text(found.payload)
        return Shown(seen, letter, type(found.payload).__name__, payload, raw)

    def _sightings(
        self, history: History, message_id: str, consumers: dict[str, ConsumerInfo]
    ) -> list[tuple[Sighting, str]]:
        return [
            (one, where(one.session, consumers.get(one.session)))
            for one in history.sightings(message_id)
        ]


def where(session: str, consumer: ConsumerInfo | None) -> str:
    """Who a session is, as well as it is known."""
    if consumer is not None and consumer.host:
        return f"{consumer.host}, process {consumer.pid}"
    # Its name goes on after the random part with where it ran.
    return session.partition("@")[2] or session


def _consumer_order(consumer: ConsumerInfo) -> tuple[str, int, str]:
    return consumer.host, consumer.pid, consumer.session


def _note(request: Request) -> str:
    """What the last action came to: a sentence of ours with a number, never foreign text."""
    one, _, many = NOTES.get(request.query_params.get("did", ""), "").partition("|")
    given = request.query_params.get("n", "")
    count = int(given) if given.isascii() and given.isdecimal() and len(given) < 16 else 0
    return one if count == 1 else many.format(n=f"{count:,}")
