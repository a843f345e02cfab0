"""What a session tells: to its queue's observers, and to the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from . import wire
from .commands import ReapReply, Verdict
from .deliveries import Report
from .events import (
    Claimed,
    DataLoss,
    Dead,
    LeaseExpired,
    Observer,
    Observers,
    Outcome,
    Reaped,
    Retried,
    Settled,
    Settlement,
    Stale,
)
from .message import Delivery
from .steps import Cycle
from .watching import OUTCOMES

E = TypeVar("E")

__all__ = ["Reports"]

logger: Final = logging.getLogger("typed_rmq")


class Reports(Report):
    """Makes events of what the core reports.

    Args:
        queue_name: of the session's queue.
        observers: are told; without any, nothing is put together.
    """

    def __init__(self, queue_name: str, observers: Observers) -> None:
        self.queue_name: str = queue_name
        self._observers = observers
        self._observed = bool(observers)

    def _tell(self, method: Callable[[Observer, E], None], make: Callable[[], E]) -> None:
        if self._observed:
            self._observers.tell(method, make())

    def claimed(self, envelopes: list[bytes], seconds: float) -> None:
        self._tell(
            Observer.claimed,
            lambda: Claimed(
                self.queue_name,
                tuple(_id(envelope[wire.FIELD]) for envelope in envelopes),
                tuple(map(Delivery, envelopes)),
                seconds,
            ),
        )

    def settled(self, request: Cycle, stale: tuple[bytes, ...], seconds: float) -> None:
        for field in stale:
            logger.warning(
                "queue %s: the verdict on message %s came after its lease was lost and has no "
                "effect",
                self.queue_name,
                _id(field),
            )
        if not self._observed:
            return
        gone = set(stale)
        for field in stale:
            self._tell(Observer.stale, partial(Stale, self.queue_name, _id(field)))
        for field in request.acks:
            if field not in gone:
                self._tell_settled(field, "done")
        for verdict in request.verdicts:
            if verdict.field not in gone:
                self._tell_verdict(verdict)
        outcomes: list[tuple[str, Outcome]] = [
            *((_id(field), "done") for field in request.acks if field not in gone),
            *((_id(v.field), OUTCOMES[v.kind]) for v in request.verdicts if v.field not in gone),
        ]
        if outcomes or stale:
            lost = tuple(map(_id, stale))
            event = Settlement(self.queue_name, tuple(outcomes), lost, seconds)
            self._tell(Observer.settlement, lambda: event)

    def _tell_verdict(self, verdict: Verdict) -> None:
        message_id = _id(verdict.field)
        if verdict.kind == b"r":
            delay = int(verdict.a) / 1000
            self._tell(Observer.retried, lambda: Retried(self.queue_name, message_id, delay))
        elif verdict.kind == b"d":
            reason = verdict.a.decode() if isinstance(verdict.a, bytes) else str(verdict.a)
            self._tell(Observer.dead, lambda: Dead(self.queue_name, message_id, reason))
        self._tell_settled(verdict.field, OUTCOMES[verdict.kind])

    def _tell_settled(self, field: bytes, outcome: Outcome) -> None:
        self._tell(Observer.settled, lambda: Settled(self.queue_name, _id(field), outcome))

    def lease_lost(self, fields: list[bytes]) -> None:
        logger.warning(
            "queue %s: this consumer lost its lease; %d messages belong to others now",
            self.queue_name,
            len(fields),
        )
        self._tell(
            Observer.lease_lost,
            lambda: LeaseExpired(self.queue_name, tuple(_id(field) for field in fields)),
        )

    def data_loss(self, lost: int) -> None:
        logger.error(
            "queue %s: Redis has lost %d operations that it had confirmed", self.queue_name, lost
        )
        self._tell(Observer.data_loss, lambda: DataLoss(self.queue_name, lost))

    def undecodable(self, envelope: bytes, reason: str) -> None:
        logger.error(
            "queue %s: message %s cannot be read (%s); it is a dead letter now, with its raw bytes",
            self.queue_name,
            _id(envelope[wire.FIELD]),
            reason,
        )

    def reaped(self, session: bytes, reply: ReapReply) -> None:
        """What came of reaping a session."""
        if reply.state not in ("reaped", "part"):
            return
        if reply.returned or reply.buried:
            logger.warning(
                "queue %s: consumer %s lost its lease; %d of its messages were given back, %d are "
                "dead letters",
                self.queue_name,
                wire.shown(session),
                len(reply.returned),
                len(reply.buried),
            )
        self._tell(
            Observer.reaped,
            lambda: Reaped(self.queue_name, wire.shown(session), reply.returned, reply.buried),
        )

    def chore_failed(self, error: BaseException | None) -> None:
        logger.warning(
            "queue %s: a chore of the consumer failed (%s); it is tried again",
            self.queue_name,
            error,
        )

    def could_not_close(self, error: BaseException) -> None:
        logger.warning(
            "queue %s: a consumer could not say goodbye (%s); what it held comes back when its "
            "lease ends",
            self.queue_name,
            error,
        )


def _id(field: bytes) -> str:
    return wire.shown(field[:24])
