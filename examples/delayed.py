"""Messages for later: after a delay, or at a time.

python -m examples.delayed
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from typed_rmq import Queue

from .options import redis_url


class Reminder(BaseModel):
    """What to remind somebody of."""

    reminder_id: int
    text: str


def main() -> None:
    url = redis_url(__doc__)
    number = random.randrange(1_000_000_000)

    def reminder(text: str) -> Reminder:
        return Reminder(reminder_id=number, text=text)

    with Queue[Reminder]("example-delayed", url) as reminders:
        reminders.purge()
        started = time.monotonic()
        in_a_second = datetime.now(UTC) + timedelta(seconds=1)
        reminders.publish(reminder("at a time, one second from now"), at=in_a_second)
        reminders.publish(reminder("after timedelta(seconds=0.6)"), delay=timedelta(seconds=0.6))
        reminders.publish(reminder("after 0.3 seconds"), delay=0.3)
        reminders.publish(reminder("at once"))

        stats = reminders.stats()
        print(f"ready {stats.ready}, delayed {stats.delayed}")
        # The loop blocks in Redis until the next one is due: nothing polls.
        for msg in reminders.consume(max_messages=4):
            with msg as due:
                print(f"after {time.monotonic() - started:.1f} s: {due.text}")


if __name__ == "__main__":
    main()
