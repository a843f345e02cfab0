"""Who takes part, in which configuration, and in which of the measurements."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENTRIES", "Entry", "chosen"]


@dataclass(frozen=True)
class Entry:
    """One system in one configuration.

    Attributes:
        system: as readers know it.
        module: of ``adapters``.
        environment: of ``requirements``; empty for this process's own.
        config: a key of the adapter's ``configs``.
        idle: waits like no other entry, so that its wake-up is measured too.
        sizes: is measured with the larger payloads too.
    """

    system: str
    module: str
    environment: str
    config: str
    idle: bool = True
    sizes: bool = False

    @property
    def name(self) -> str:
        return f"{self.system}, {self.config}"


def _peer(
    name: str, module: str, *configs: str, sizes: str = "best", idle: tuple[str, ...] = ()
) -> list[Entry]:
    return [
        Entry(name, module, module, config, not idle or config in idle, config == sizes)
        for config in configs
    ]


ENTRIES = [
    Entry("redis-py", "raw", "", "single", sizes=True),
    Entry("redis-py", "raw", "", "batch", idle=False),
    Entry("redis-py async", "raw_async", "", "single"),
    Entry("typed_rmq", "typed_rmq", "", "default", sizes=True),
    Entry("typed_rmq", "typed_rmq", "", "prefetch=1"),
    Entry("typed_rmq", "typed_rmq", "", "no dedup", idle=False),
    Entry("typed_rmq async", "typed_rmq_async", "", "default", sizes=True),
    Entry("typed_rmq async", "typed_rmq_async", "", "concurrency=100", idle=False),
    *_peer(
        "redis-message-queue", "rmq", "default", "dedup", "best", sizes="dedup", idle=("dedup",)
    ),
    Entry("redis-message-queue async", "rmq_async", "rmq", "default"),
    *_peer(
        "FastStream",
        "faststream",
        "list",
        "list batch",
        "stream",
        "stream batch",
        sizes="stream batch",
    ),
    *_peer("repid", "repid", "default", "best"),
    *_peer("dramatiq", "dramatiq", "default", "best"),
    *_peer("taskiq", "taskiq", "stream", "list", "best"),
    *_peer("huey", "huey", "default", "best", idle=("best",)),
    *_peer("BullMQ (Python)", "bullmq", "default", "best", idle=("best",)),
    *_peer("SAQ", "saq", "default", "best", idle=("best",)),
    *_peer("streaQ", "streaq", "default", "best", idle=("best",)),
    *_peer("Celery", "celery", "default", "best"),
    *_peer("RQ", "rq", "default", "best"),
    *_peer("arq", "arq", "default", "best"),
]


def chosen(names: list[str]) -> list[Entry]:
    """Entries by their module, such as ``saq``, or by module and config: ``saq/best``."""
    if not names:
        return ENTRIES
    known = {entry.module for entry in ENTRIES} | {f"{e.module}/{e.config}" for e in ENTRIES}
    unknown = set(names) - known
    if unknown:
        raise SystemExit(
            f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(known))}"
        )
    return [e for e in ENTRIES if e.module in names or f"{e.module}/{e.config}" in names]
