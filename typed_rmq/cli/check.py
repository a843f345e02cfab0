"""``doctor`` and ``audit``: what is wrong with a queue and its server."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from typed_rmq import Finding

from .common import ExitCode, JsonFlag, QueueName, RedisUrl, Target, guarded
from .output import Column, Value, say, show

__all__ = ["audit", "doctor"]

_COLUMNS: Final = (
    Column("level", "level", style="bold"),
    Column("topic", "topic"),
    Column("what", "what was found"),
    Column("advice", "what to do"),
)


def _show(found: Sequence[Finding], *, as_json: bool) -> int:
    """All findings; the exit code says whether one is an error."""
    rows: list[dict[str, Value]] = [dataclasses.asdict(one) for one in found]
    if rows:
        show(_COLUMNS, rows, as_json=as_json)
    return ExitCode.FAILED if any(one.level == "error" for one in found) else ExitCode.DONE


@guarded
def doctor(queue: QueueName, redis: RedisUrl = None, json: JsonFlag = False) -> int:
    """Check the server and a queue, and say what to do about each thing that is found.

    Exit code 1 where something is an error; warnings are only shown.
    """
    with Target(redis).queue(queue) as one:
        return _show(one.doctor(), as_json=json)


@guarded
def audit(
    queue: QueueName,
    redis: RedisUrl = None,
    limit: Annotated[
        int,
        typer.Option(
            min=1, max=100_000, help="How many messages one call looks at; larger queues take more."
        ),
    ] = 5_000,
    json: JsonFlag = False,
) -> int:
    """Check that every message is in exactly one place, and that the counters agree.

    It only looks. Exit code 1 where something is wrong.
    """
    target = Target(redis)
    with target.queue(queue) as one:
        found = one.audit(limit=limit)
        if not found.messages and target.missing(one):
            return ExitCode.PARTLY
    code = _show(found.findings, as_json=json)
    if not json:
        calls = "1 call" if found.steps == 1 else f"{found.steps:,} calls"
        state = "all is well" if found.clean else "not all is well"
        say(f"{queue}: {state}; looked at {found.messages:,} messages in {calls}")
    return code
