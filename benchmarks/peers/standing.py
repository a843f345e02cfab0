"""Where typed_rmq stands: its figures against raw calls and against the fastest peers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .results import Results

__all__ = ["Standing", "standings"]

OURS, OURS_ASYNC = "typed_rmq, default", "typed_rmq async, default"
RAW, RAW_ASYNC = "redis-py, single", "redis-py async, single"
BATCHES = ("FastStream, list batch", "FastStream, stream batch", "FastStream, stream")
"""Those that read many messages at once, whole backlogs or batches."""


@dataclass(frozen=True)
class Standing:
    """One comparison: ours against another entry, with what was aimed at."""

    what: str
    value: float
    goal: float
    other: str
    at_most: bool = False
    unit: str = "x"

    @property
    def reached(self) -> bool:
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def standings(results: Results, pinning: str = "cross") -> list[Standing]:
    """What can be said with the entries that were measured."""
    return [*_rates(results, pinning), *_rest(results, pinning)]


def _rates(results: Results, pinning: str) -> Iterable[Standing]:
    def where(verb: str) -> str:
        return f"{pinning}/order/{verb}"

    def against(
        what: str, goal: float, verb: str, ours: str, other: str | None, of: str = ""
    ) -> Iterable[Standing]:
        if other is None:
            return
        value = results.ratio(where(verb), ours, where(of or verb), other)
        if value is not None:
            yield Standing(what, value, goal, other)

    peers = [name for name in results.data["about"] if not name.startswith(("typed_", "redis-py"))]

    def fastest(verb: str, names: Iterable[str]) -> str | None:
        rates = {name: s.rate for name in names if (s := results.summary(where(verb), name))}
        return max(rates, key=lambda name: rates[name], default=None)

    about = results.data["about"]
    by_message = [n for n in peers if n not in BATCHES and about[n]["acks"] != "batch"]
    stateful = [n for n in peers if "job state" in about[n]["extras"]]
    rest = [n for n in peers if not n.startswith("huey")]
    huey = [n for n in peers if n.startswith("huey")]
    lists = [n for n in peers if n.startswith("FastStream, list")]
    yield from against("publish, sync", 0.9, "publish", OURS, RAW)
    yield from against("publish, async", 0.9, "publish", OURS_ASYNC, RAW_ASYNC)
    yield from against("publish_many", 25, "bulk", OURS, RAW, "publish")
    yield from against("consume, sync", 35, "consume", OURS, RAW)
    yield from against("consume, async", 35, "consume", OURS_ASYNC, RAW)
    fast = fastest("consume", by_message)
    yield from against("consume, fastest message by message", 20, "consume", OURS, fast)
    yield from against(
        "consume, fastest in batches", 4, "consume", OURS, fastest("consume", BATCHES)
    )
    yield from against("bulk, fastest list", 2, "bulk", OURS, fastest("bulk", lists))
    yield from against("bulk, fastest with job state", 10, "bulk", OURS, fastest("bulk", stateful))
    yield from against("publish, fastest but huey", 1.5, "publish", OURS, fastest("publish", rest))
    yield from against("publish, huey", 1.0, "publish", OURS, fastest("publish", huey))


def _rest(results: Results, pinning: str) -> Iterable[Standing]:
    ours, raw = results.latency(OURS), results.latency(RAW)
    if ours and raw:
        yield Standing("idle wake-up, p50", ours.p50 / raw.p50, 1.2, RAW, at_most=True)
    others = {
        name: found.p99
        for name in results.data["latency"]
        if not name.startswith(("typed_", "redis-py")) and (found := results.latency(name))
    }
    if ours and others:
        best = min(others, key=lambda name: others[name])
        yield Standing("idle wake-up, p99", ours.p99 / others[best], 1.0, best, at_most=True)
    spent = results.summary(f"{pinning}/order/consume", OURS)
    if spent:
        yield Standing(
            "server's CPU, consume", spent.server, 4.0, "", at_most=True, unit="µs a message"
        )
