"""What the processes run. Each writes what it knows to a file of its own, line by line.

A line is written before the next thing is done, by one ``write`` to a file that is only appended
to: what a process has known is there when it is killed.
"""

from __future__ import annotations

__all__ = ["CONSUMERS", "PRODUCERS"]

COMMON = """
import json, random

PATH, SEED, LEASE = sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
rng, out = random.Random(SEED), os.open(PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
logging.disable(logging.CRITICAL)
queue = Queue[int](NAME, URL, dedup=None, lease=LEASE,
                   retry=Retry(max_attempts=8, backoff=0.05, max_backoff=0.5))

def note(what, **more):
    line = json.dumps({"what": what, "at": time.monotonic_ns(), **more}) + "\\n"
    os.write(out, line.encode())

class Failed(Exception):
    pass

def begin(msg):
    delivery = int(msg.envelope[50:56])
    note("begin", id=msg.id, payload=msg.payload, attempt=msg.attempt, delivery=delivery)

def outcome(msg):
    draw = rng.random()
    if draw < 0.05:
        raise Failed
    if draw < 0.07:
        msg.reject("no good")
    elif draw < 0.1:
        msg.release()
    else:
        msg.ack()
        note("ack", id=msg.id)
        return True
    return False

def handle(msg: Message[int]) -> None:
    begin(msg)
    time.sleep(rng.random() * 0.004)
    acked = outcome(msg)
    if rng.random() < 0.5:
        msg.settle()
        if acked:
            note("settled", id=msg.id)
"""

PRODUCER = (
    COMMON
    + """
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
first = SEED * 1_000_000

def batch():
    global first
    size = rng.choice([1, 1, 1, 5])
    first += size
    numbers = list(range(first - size, first))
    note("try", payloads=numbers)
    return numbers
"""
)

SYNC_PRODUCER = (
    PRODUCER
    + """
say("ready")
while not stopping:
    numbers = batch()
    try:
        if len(numbers) == 1:
            receipts = [queue.publish(numbers[0])]
        else:
            receipts = queue.publish_many(numbers)
    except QueueUnavailable:
        continue
    note("ok", payloads=numbers, ids=[one.id for one in receipts])
    time.sleep(rng.random() * 0.01)
queue.close()
"""
)

ASYNC_PRODUCER = (
    PRODUCER
    + """
async def main():
    async with queue:
        say("ready")
        while not stopping:
            numbers = batch()
            try:
                if len(numbers) == 1:
                    receipts = [await queue.apublish(numbers[0])]
                else:
                    receipts = await queue.apublish_many(numbers)
            except QueueUnavailable:
                continue
            note("ok", payloads=numbers, ids=[one.id for one in receipts])
            await asyncio.sleep(rng.random() * 0.01)

asyncio.run(main())
"""
)

SYNC_CONSUMER = (
    COMMON
    + """
say("ready")
while True:
    consumer = queue.consume(prefetch=rng.choice(["auto", 1, 8]))
    try:
        for msg in consumer:
            with msg:
                handle(msg)
    except QueueUnavailable:
        continue
    break
queue.close()
"""
)

ASYNC_CONSUMER = (
    COMMON
    + """
async def main():
    async with queue:
        say("ready")
        while True:
            try:
                async for msg in queue.consume(prefetch=rng.choice(["auto", 1, 8])):
                    with msg:
                        begin(msg)
                        await asyncio.sleep(rng.random() * 0.004)
                        acked = outcome(msg)
                        if rng.random() < 0.5:
                            await msg.asettle()
                            if acked:
                                note("settled", id=msg.id)
            except QueueUnavailable:
                continue
            break

asyncio.run(main())
"""
)

WORKER = (
    COMMON
    + """
say("ready")
while True:
    try:
        queue.run(handle, concurrency=3)
    except QueueUnavailable:
        continue
    break
queue.close()
"""
)

PRODUCERS = (SYNC_PRODUCER, ASYNC_PRODUCER)
CONSUMERS = (SYNC_CONSUMER, ASYNC_CONSUMER, WORKER, SYNC_CONSUMER)
