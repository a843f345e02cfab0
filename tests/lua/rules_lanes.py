"""Rules 1, 2 and 5 to 7: numbers, sessions, claims, suspects, reaping."""

from __future__ import annotations

import time

from typed_rmq import commands

from .cases import rule
from .kit import (
    LEASE,
    Kit,
    attempt,
    bury,
    delivery,
    fields,
    message_id,
    now_ms,
    payload,
    release,
    retry,
    suspect,
)

# --- 1: operation numbers

AGAIN = "  if n == number then return 'again', 0, space and string.sub(last, space + 1) or '' end\n"
OLD = "  if n < number then return 'old', 0, '' end\n"


@rule("1", ("publish", AGAIN, "if n == number then return 'new', 0, '' end"))
def a_repeated_publish_is_answered_and_not_done_again(kit: Kit) -> None:
    envelope = kit.envelope(b"x")
    assert kit.store([envelope], n=1).status == "new"
    assert kit.store([envelope], n=1).status == "again"
    assert kit.ready() == [b"x"]


@rule("1", ("publish", "lane_leave(lane, ARGV[1], text)", "lane_leave(lane, ARGV[1], '')"))
def a_repeated_publish_gets_the_first_answer(kit: Kit) -> None:
    kit.publish(b"x", key="K")
    first = kit.publish(b"y", key="K", n=2)
    assert first.answer.startswith("0=")
    assert kit.publish(b"y", key="K", n=2).answer == first.answer


@rule("1", ("publish", OLD, ""))
def a_late_duplicate_is_refused(kit: Kit) -> None:
    kit.publish(b"x", n=1)
    kit.publish(b"y", n=2)
    assert kit.publish(b"x", n=1).status == "old"
    assert kit.ready() == [b"x", b"y"]


@rule("1", ("publish", "lane_leave(lane, ARGV[1], 'full')", ""))
def a_refusal_is_recorded(kit: Kit) -> None:
    kit.publish(b"x", lane=b"other")
    assert kit.publish(b"y", n=1, max_length=1).answer == "full"
    kit.claim()
    assert kit.publish(b"y", n=1, max_length=1).answer == "full"
    assert kit.ready() == []


@rule(
    "1",
    (
        "cycle",
        "return { state, 0, stored, lost, 0, {}, mine }",
        "return { state, 0, stored, lost, 0, {}, {} }",
    ),
    ("cycle", AGAIN, "if n == number then return 'new', 0, '' end"),
    ("cycle", OLD, ""),
)
def a_repeated_claim_brings_the_same_batch(kit: Kit) -> None:
    kit.publish(b"1", b"2", b"3", b"4")
    first = kit.cycle(n=1, want=2)
    again = kit.cycle(n=1, want=2)
    assert again.status == "again"
    assert set(again.envelopes) == set(first.envelopes)
    assert kit.ready() == [b"3", b"4"]
    kit.cycle(n=2)
    assert kit.cycle(n=1, want=2).status == "old"
    assert kit.ready() == [b"3", b"4"]


@rule(
    "1",
    (
        "cycle",
        "redis.call('ZADD', sessions, 'XX', string.format('%.0f', now + lease), session)",
        "",
    ),
)
def a_repeated_call_renews(kit: Kit) -> None:
    kit.cycle(n=1)
    kit.expire(b"a")
    kit.cycle(n=1)
    assert (kit.client.zscore(kit.keys.sessions, b"a") or 0) > now_ms() + LEASE / 2


@rule("1", ("cycle", "if not alive and not closing", "if false"))
def a_repeated_call_says_that_its_session_was_reaped_meanwhile(kit: Kit) -> None:
    kit.publish(b"x")
    kit.cycle(n=1, want=1)
    kit.crash(b"a")
    again = kit.cycle(n=1, want=1)
    assert (again.reaped, again.envelopes) == (True, [])


@rule(
    "1",
    ("cycle", "not reaped and lost == 0 and not closing", "not reaped and not closing"),
    ("cycle", "if not gone[sub(e, 26, 56)] then", "if true then"),
    (
        "cycle",
        "return { 'lost', wait, text, lost, drain, expired, mine }",
        "return { 'lost', wait, text, lost, drain, expired, {} }",
    ),
    (
        "cycle",
        "return { 'lost', wait, text, lost, drain, expired, mine }",
        "return { 'lost', wait, text, 1, drain, expired, mine }",
    ),
    ("cycle", "  if losses then state, lost, stored = 'lost', tonumber(losses), rest end\n", ""),
)
def lost_operations_are_counted_and_nothing_is_claimed(kit: Kit) -> None:
    kit.publish(b"1", b"2", b"3")
    one, two = kit.cycle(n=1, want=2).envelopes
    for _ in range(2):  # the second time as a repeat
        reply = kit.cycle(n=4, want=5, held=2, acks=fields([one]))
        assert (reply.status, reply.lost) == ("lost", 2)
        assert reply.envelopes == [two]
    assert kit.counter("completed") == 1
    assert kit.ready() == [b"3"]


@rule(
    "1",
    (
        "cycle",
        "if not last then return 'new', 0, '', true end",
        "if not last then return 'new', n - 1, '', true end",
    ),
)
def a_missing_lane_is_no_loss(kit: Kit) -> None:
    kit.publish(b"x")
    kit.cycle(n=1)
    kit.client.delete(kit.keys.lane(b"a"))
    reply = kit.cycle(n=7, want=1)
    assert (reply.status, reply.lost, len(reply.envelopes)) == ("new", 0, 1)


EPOCH = "redis.pcall('HSET', stats, 'epoch', now)"


@rule(
    "1",
    ("enqueue", EPOCH, "1"),
    ("publish", EPOCH, "1"),
    ("enqueue", "before and 0 or n", "0"),
    ("enqueue", "before and 0 or n", "n"),
    ("publish", "unknown and n or 0", "0"),
    ("publish", "unknown and n or 0", "n"),
    ("cycle", "return 'new', 0, '', true end", "return 'new', 0, '' end"),
    ("cycle", "redis.pcall('HGET', stats, 'epoch')", "false"),
)
def a_lane_that_is_not_known_is_told_the_epoch(kit: Kit) -> None:
    told = kit.cycle(n=1).told
    assert told is not None
    assert (told.epoch, told.n) == (b"-", 1), "of a queue that nothing was published to"
    lives: list[bytes] = []
    for later in (0, 60_000):  # the two scripts that store messages
        first = kit.publish(b"1", lane=b"first", delay=later).told
        gone = kit.publish(b"2", lane=b"second", n=7, delay=later).told
        known = kit.publish(b"3", lane=b"first", delay=later, touch=True).told
        session = kit.cycle(b"b%d" % later, n=3).told
        assert first is not None
        assert gone is not None
        assert known is not None
        assert session is not None
        assert (first.n, gone.n, known.n, session.n) == (1, 7, 0, 3)
        assert {first.epoch, gone.epoch, known.epoch, session.epoch} == {first.epoch}
        assert abs(first.seconds - now_ms() / 1000) < 60
        assert kit.cycle(b"b%d" % later, n=4).told is None
        lives.append(first.epoch)
        kit.client.delete(*kit.client.keys(kit.keys.prefix.replace(b"{", b"[{]") + b"*"))
        kit.numbers.clear()
        time.sleep(0.002)
    assert lives[0] != lives[1]


@rule("1", ("cycle", "'PX', '3600000')", "'PX', '1')"))
def a_lane_outlives_its_session(kit: Kit) -> None:
    kit.cycle(n=1)
    kit.cycle(n=2, closing=True)
    assert kit.client.zcard(kit.keys.sessions) == 0
    assert 3_500_000 < kit.client.pttl(kit.keys.lane(b"a")) <= 3_600_000
    assert kit.cycle(n=1).status == "old"
    assert kit.client.zcard(kit.keys.sessions) == 0


@rule("1", ("purge", OLD, ""), ("purge", AGAIN, ""))
def a_late_purge_does_not_delete_what_came_after(kit: Kit) -> None:
    kit.publish(b"x")
    assert kit.purge(n=1).deleted == 1
    kit.publish(b"confirmed")
    assert kit.purge(n=1) == ("again", 1, 0)
    kit.purge(n=2, limit=0)
    kit.purge(n=1)
    assert kit.ready() == [b"confirmed"]


@rule("1", ("redrive", AGAIN, ""))
def a_repeated_redrive_is_answered(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.cycle(verdicts=[bury(held)])
    assert kit.redrive(n=1).redriven == 1
    [held] = kit.claim()
    kit.cycle(verdicts=[bury(held)])
    assert kit.redrive(n=1).redriven == 1
    assert kit.ready() == []


@rule("1", ("dead_purge", AGAIN, ""))
def a_repeated_dead_purge_is_answered(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.cycle(verdicts=[bury(held)])
    assert kit.dead_purge(n=1) == 1
    kit.publish(b"y")
    [held] = kit.claim()
    kit.cycle(verdicts=[bury(held)])
    assert kit.dead_purge(n=1) == 1
    assert kit.dead_payloads() == [b"y"]


# --- 2: session ids


@rule(
    "2",
    ("cycle", "local reaped = not score and n > 1 and size == 0", "local reaped = false"),
    ("cycle", "elseif not reaped then\n", "else\n"),
    ("cycle", "not paused and not reaped and lost", "not paused and lost"),
)
def a_reaped_session_is_told_and_takes_nothing_more(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.crash(b"a")
    reply = kit.cycle(want=5, acks=fields([held]), held=1)
    assert (reply.reaped, reply.stale, reply.envelopes) == (True, (held[25:56],), [])
    assert kit.client.zcard(kit.keys.sessions) == 0
    assert len(kit.suspects()) == 1


# --- 5: claims never overwrite


@rule("5", ("cycle", "if remaining > 0 and #claimed > 0 then", "if false then"))
def a_copy_of_what_is_held_goes_to_the_dead_letters(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.client.rpush(kit.keys.ready[1], held)
    kit.publish(b"y")
    assert [payload(e) for e in kit.claim()] == [b"y"]
    assert kit.held() == {b"x", b"y"}
    assert kit.dead()[0][0] == held
    assert not kit.client.exists(kit.keys.dead_ids)


@rule(
    "5",
    ("cycle", "for i = 1, #settled do seen[settled[i]] = true end", ""),
)
def a_copy_of_what_is_just_settled_is_not_lost(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.client.rpush(kit.keys.ready[1], held)
    assert kit.cycle(want=5, acks=fields([held])).envelopes == []
    assert [e for e, _ in kit.dead()] == [held]


@rule("5", ("cycle", "  if seen[field] then\n", "  if false then\n"))
def a_copy_within_a_batch_goes_to_the_dead_letters(kit: Kit) -> None:
    kit.publish(b"x")
    [envelope] = kit.client.lrange(kit.keys.ready[1], 0, -1)
    kit.client.rpush(kit.keys.ready[1], envelope)
    assert kit.claim() == [envelope]
    assert [e for e, _ in kit.dead()] == [envelope]


@rule("5", ("cycle", "if #e < 56 or byte(e, 1) ~= 49 or byte(e, 50) ~= 58 then", "if false then"))
def foreign_bytes_go_raw_to_the_dead_letters(kit: Kit) -> None:
    foreign = [b"", b"{}", b"\xff\x00" * 40, b"1" * 55]
    kit.client.rpush(kit.keys.ready[1], *foreign)
    kit.publish(b"x")
    assert [payload(e) for e in kit.claim()] == [b"x"]
    assert [e for e, _ in kit.dead()] == foreign
    assert kit.counter("dead_lettered") == 4


@rule(
    "5",
    ("cycle", "if claims and drain == 0 and #claimed == 0 and left_over", "if false and left_over"),
)
def a_batch_of_foreign_bytes_is_not_an_empty_queue(kit: Kit) -> None:
    kit.client.rpush(kit.keys.ready[1], b"foreign")
    kit.publish(b"x")
    reply = kit.cycle(want=1)
    assert (reply.envelopes, reply.wait) == ([], 0)
    assert kit.cycle(want=1).wait is None


@rule("5", ("cycle", "if not e or judged[field] then", "if not e then"))
def two_verdicts_in_one_call_do_not_double_a_message(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    reply = kit.cycle(verdicts=[release(held), retry(held)])
    assert kit.ready() == [b"x"]
    assert reply.stale == (held[25:56],)


# --- 6: a suspect is alone


def two_suspects(kit: Kit) -> None:
    kit.publish(b"1", b"2", b"3")
    kit.claim(b"crashing", want=2)
    kit.crash(b"crashing")


@rule("6", ("cycle", "if claims and suspects_before + #suspected > 0 then", "if false then"))
def a_suspect_is_delivered_alone(kit: Kit) -> None:
    two_suspects(kit)
    assert [payload(e) for e in kit.claim(want=10)] == [b"1"]
    assert [payload(e) for e in kit.claim(b"b", want=10)] == [b"2"]
    assert [payload(e) for e in kit.claim(b"c", want=10)] == [b"3"]


@rule(
    "6",
    (
        "cycle",
        "  if remaining > 0 then\n    drain = 1\n  elseif",
        "  if false then\n    drain = 1\n  elseif",
    ),
)
def nobody_takes_a_suspect_beside_something_else(kit: Kit) -> None:
    kit.publish(b"0")
    [held] = kit.claim(want=1)
    two_suspects(kit)
    reply = kit.cycle(want=10)
    assert (reply.envelopes, reply.drain) == ([], True)
    reply = kit.cycle(want=10, acks=fields([held]))
    assert ([payload(e) for e in reply.envelopes], reply.drain) == ([b"1"], False)


@rule("6", ("reap", "size == 1 and attempt + 1 or attempt", "attempt + 1"))
def of_a_batch_nobody_is_counted(kit: Kit) -> None:
    two_suspects(kit)
    assert [(payload(e), attempt(e), suspect(e)) for e in kit.suspects()] == [
        (b"1", 1, True),
        (b"2", 1, True),
    ]
    assert (kit.counter("failed"), kit.counter("retried")) == (0, 0)


@rule(
    "6",
    (
        "reap",
        "elseif size == 1 and attempt >= max_attempts then",
        "elseif attempt >= max_attempts then",
    ),
)
def a_batch_mate_at_its_limit_does_not_die(kit: Kit) -> None:
    kit.publish(b"1", b"2")
    kit.claim()
    assert kit.crash(b"a", max_attempts=1).buried == ()
    assert len(kit.suspects()) == 2


@rule(
    "6",
    ("reap", "size == 1 and attempt + 1 or attempt", "attempt"),
    ("reap", "elseif size == 1 and attempt >= max_attempts then", "elseif false then"),
)
def one_that_was_held_alone_is_counted_and_dies_at_the_limit(kit: Kit) -> None:
    kit.publish(b"poison", key="K")
    kit.claim()
    assert len(kit.crash(b"a", max_attempts=2).returned) == 1
    [again] = kit.claim(b"b")
    assert (attempt(again), delivery(again), suspect(again)) == (2, 2, True)
    reply = kit.crash(b"b", max_attempts=2)
    assert (reply.returned, reply.buried) == ((), (message_id(again),))
    [(envelope, reason)] = kit.dead()
    assert (envelope, b"attempt 2 of 2" in reason) == (again, True)
    assert kit.dedup("K") is None
    assert (kit.counter("failed"), kit.counter("dead_lettered")) == (2, 1)


@rule(
    "6",
    (
        "cycle",
        "local again = head_next(e, head_attempt(e) + 1, '-')",
        "local again = head_next(e, head_attempt(e) + 1, 's')",
    ),
)
def a_failure_clears_the_mark(kit: Kit) -> None:
    kit.publish(b"x")
    kit.claim(b"crashing")
    kit.crash(b"crashing")
    [held] = kit.claim()
    kit.cycle(verdicts=[retry(held)])
    [held] = kit.claim()
    assert not suspect(held)


@rule(
    "6",
    (
        "cycle",
        "local list = head_suspect(e) and suspected or front[head_priority(e)]",
        "local list = front[head_priority(e)]",
    ),
)
def a_suspect_that_was_not_started_stays_one(kit: Kit) -> None:
    two_suspects(kit)
    [held] = kit.claim()
    kit.cycle(verdicts=[release(held)])
    assert [payload(e) for e in kit.suspects()] == [b"1", b"2"]
    assert all(suspect(e) for e in kit.suspects())


# --- 7: reaping


@rule("7", ("reap", "if tonumber(deadline) > now then return { 'renewed', {}, {} } end", ""))
def a_living_session_is_not_reaped(kit: Kit) -> None:
    kit.publish(b"x")
    kit.claim()
    assert kit.reap(b"a").state == "renewed"
    assert kit.held() == {b"x"}


@rule(
    "7",
    ("reap", "if not deadline then return { 'gone', {}, {} } end", "deadline = deadline or '0'"),
)
def a_session_is_reaped_once(kit: Kit) -> None:
    kit.publish(b"x")
    kit.claim()
    assert kit.crash(b"a").state == "reaped"
    assert kit.reap(b"a").state == "gone"
    assert len(kit.suspects()) == 1


@rule(
    "7",
    (
        "cycle",
        "local reaped = not score and n > 1 and size == 0",
        "local reaped = score and tonumber(score) <= now",
    ),
)
def expired_and_not_reaped_the_verdict_counts(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.expire(b"a")
    reply = kit.cycle(acks=fields([held]))
    assert (reply.stale, reply.reaped, kit.counter("completed")) == ((), False, 1)


@rule("7", ("cycle", "and acks <= size and lost == 0 and not reaped", "and lost == 0"))
def reaped_the_verdict_is_stale_even_where_the_sizes_agree(kit: Kit) -> None:
    """A consumer that counts while another thread records an ack counts one too few."""
    kit.publish(b"x")
    [held] = kit.claim()
    kit.crash(b"a")
    reply = kit.cycle(acks=fields([held]), held=0)
    assert (len(reply.stale), kit.counter("completed"), kit.counter("stale")) == (1, 0, 1)


@rule(
    "7",
    (
        "cycle",
        "local trusted = size == held and acks <= size and lost == 0 and not reaped",
        "local trusted = true",
    ),
)
def an_ack_without_its_message_is_stale(kit: Kit) -> None:
    kit.publish(b"1", b"2")
    one, two = kit.claim()
    kit.cycle(acks=fields([one]))
    reply = kit.cycle(acks=fields([one, two]), held=2)
    assert (reply.stale, kit.counter("completed")) == ((one[25:56],), 2)


@rule("7", ("reap", "if size > #fields then return { 'part', returned, buried } end", ""))
def a_large_session_is_reaped_in_parts_and_nobody_is_counted(kit: Kit) -> None:
    for _ in range(3):
        kit.publish(*[b"%d" % i for i in range(900)])
        kit.cycle(want=1000, held=-1)
    states: list[str] = []
    kit.expire(b"a")
    while not states or states[-1] == "part":
        states.append(kit.reap(b"a").state)
        assert len(states) < 10
    assert states[0] == "part"
    assert states[-1] == "reaped"
    found = kit.suspects()
    assert (len(found), {attempt(e) for e in found}) == (2700, {1})
    assert not kit.client.exists(kit.keys.inflight(b"a"))


@rule(
    "7",
    (
        "reap",
        "for i = #back, 1, -1 do redis.call('LPUSH'",
        "for i = 1, #back do redis.call('LPUSH'",
    ),
)
def what_comes_back_keeps_its_order(kit: Kit) -> None:
    kit.publish(*[b"%02d" % i for i in range(30)])
    kit.claim()
    kit.crash(b"a")
    assert [payload(e) for e in kit.suspects()] == [b"%02d" % i for i in range(30)]


@rule(
    "7",
    (
        "cycle",
        "if name ~= session then expired[#expired + 1] = name end",
        "expired[#expired + 1] = name",
    ),
)
def expired_sessions_are_reported_to_others(kit: Kit) -> None:
    kit.cycle(b"b")
    kit.cycle(b"c", lease=5_000)
    kit.expire(b"b")
    kit.cycle(b"a")
    kit.expire(b"a")
    reply = kit.cycle(b"a")
    assert reply.expired == (b"b",)
    assert reply.wait is not None
    assert 4 < reply.wait <= 5


@rule(
    "7",
    (
        "renew",
        "if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end",
        "redis.call('ZADD', KEYS[1], 1, ARGV[1])",
    ),
)
def a_renewal_does_not_bring_a_reaped_session_back(kit: Kit) -> None:
    kit.cycle(b"a")
    kit.expire(b"a")
    assert kit.run(commands.renew(kit.keys, b"a", lease_ms=LEASE))
    assert kit.reap(b"a").state == "renewed"
    kit.crash(b"a")
    assert not kit.run(commands.renew(kit.keys, b"a", lease_ms=LEASE))
    assert kit.client.zcard(kit.keys.sessions) == 0


@rule(
    "7",
    (
        "cycle",
        "local again = head_next(e, head_attempt(e), head_suspect(e) and 's' or '-')",
        "local again = e",
    ),
)
def deliveries_strictly_increase(kit: Kit) -> None:
    kit.publish(b"x")
    seen = [held := kit.claim()[0]]
    kit.cycle(verdicts=[release(held)])
    seen.append(held := kit.claim()[0])
    kit.cycle(verdicts=[retry(held)])
    seen.append(held := kit.claim()[0])
    kit.cycle(verdicts=[bury(held)])
    kit.redrive()
    seen.append(kit.claim()[0])
    kit.crash(b"a")
    seen.append(kit.claim(b"b")[0])
    assert [delivery(e) for e in seen] == [1, 2, 3, 4, 5]
    assert [attempt(e) for e in seen] == [1, 1, 2, 1, 2]
    late = kit.cycle(b"b", acks=fields(seen[:4]), held=-1)
    assert len(late.stale) == 4


@rule(
    "7",
    (
        "cycle",
        "if kind ~= 'a' and kind ~= 'd' and (not head_readable(e) or head_worn(e)) then",
        "if false then",
    ),
)
def a_message_out_of_numbers_becomes_a_dead_letter(kit: Kit) -> None:
    kit.publish(b"x")
    [envelope] = kit.client.lrange(kit.keys.ready[1], 0, -1)
    kit.client.lset(kit.keys.ready[1], 0, envelope[:50] + b"999999" + envelope[56:])
    [held] = kit.claim()
    kit.cycle(verdicts=[retry(held)])
    assert [e for e, _ in kit.dead()] == [held]


# --- the short way of cycle: open only where none of the rules above has anything to say


@rule(
    "2",
    (
        "reap",
        "if number and not string.find(number, ' ', 1, true) then",
        "if false then",
    ),
)
def a_reaped_session_finds_the_short_way_closed(kit: Kit) -> None:
    kit.cycle(n=1)
    kit.crash(b"a")
    kit.publish(b"x")
    reply = kit.cycle(n=2, want=1, way="short", held=0)
    assert (reply.status, reply.reaped, reply.envelopes) == ("new", True, [])
    assert kit.ready() == [b"x"]


@rule(
    "6",
    (
        "cycle",
        "redis.call('EXISTS', high, low, suspects, delayed, meta)",
        "redis.call('EXISTS', high, low, delayed, meta)",
    ),
)
def a_suspect_closes_the_short_way(kit: Kit) -> None:
    kit.cycle(n=1)
    two_suspects(kit)
    assert [payload(e) for e in kit.cycle(want=5, way="short").envelopes] == [b"1"]


@rule(
    "9",
    ("cycle", "* 1000 + 16000 then beside", "* 1000 then beside"),
    ("cycle", "if beside == 1 then", "if beside == 1 then beside = 0 end if beside == 1 then"),
)
def what_is_due_soon_or_of_high_priority_closes_the_short_way(kit: Kit) -> None:
    kit.cycle(n=1)
    kit.publish(b"later", delay=14_000)
    kit.publish(b"1", b"2")
    kit.silence()
    assert kit.cycle(want=1, way="short").status == "new"
    assert kit.rung(), "nobody else knows when it is due"
    kit.client.delete(kit.keys.delayed)
    kit.publish(b"first", priority="high")
    assert [payload(e) for e in kit.cycle(want=1, way="short", held=1).envelopes] == [b"first"]


@rule("9", ("cycle", "if beside == 1 then", "if false then"))
def what_is_due_later_leaves_the_short_way_open(kit: Kit) -> None:
    kit.cycle(n=1)
    kit.publish(b"later", delay=60_000)
    kit.publish(b"1", b"2")
    assert kit.cycle(want=1, way="short").status == "short"


@rule(
    "1",
    ("cycle", "local items = entered == n and", "local items ="),
    ("cycle", "else redis.call('DECR', lane) end", "end"),
)
def the_short_way_is_for_the_next_number_only(kit: Kit) -> None:
    kit.publish(b"1", b"2", b"3", b"4", b"5")
    kit.cycle(n=1, want=1)
    first = kit.cycle(n=2, want=1, way="short")
    assert first.status == "short"
    again = kit.cycle(n=2, want=1, way="short", held=1)
    assert (again.status, len(again.envelopes)) == ("again", 2)
    again = kit.cycle(n=2, want=1, way="short", held=2)
    assert (again.status, len(again.envelopes)) == ("again", 2)
    assert kit.cycle(n=1, want=1, way="short", held=2).status == "old"
    lost = kit.cycle(n=5, want=1, way="short", held=2)
    assert (lost.status, lost.lost) == ("lost", 2)
    assert kit.ready() == [b"3", b"4", b"5"]


@rule(
    "7",
    ("cycle", "and redis.call('HLEN', inflight) == held and acks <= held", "and acks <= held"),
)
def an_ack_that_may_be_stale_goes_the_long_way(kit: Kit) -> None:
    kit.publish(b"1", b"2")
    [one] = kit.cycle(n=1, want=1).envelopes
    kit.client.delete(kit.keys.inflight(b"a"))
    reply = kit.cycle(want=1, way="short", acks=fields([one]), held=1)
    assert (len(reply.stale), kit.counter("completed")) == (1, 0)


@rule(
    "5",
    ("cycle", "good = good and not present[i] end\n      end", "good = good end\n      end"),
)
def the_short_way_overwrites_nothing_that_is_held(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.cycle(n=1, want=1).envelopes
    kit.client.rpush(kit.keys.ready[1], held)
    assert kit.cycle(want=1, way="short").envelopes == []
    assert [e for e, _ in kit.dead()] == [held]
    assert kit.held() == {b"x"}


@rule("5", ("cycle", "      for i = #items, 1, -1 do redis", "      for i = 1, #items do redis"))
def what_the_short_way_cannot_take_stays_in_its_order(kit: Kit) -> None:
    kit.cycle(n=1)
    kit.pause()
    kit.pause(False)
    kit.publish(b"1")
    kit.client.rpush(kit.keys.ready[1], b"foreign")
    kit.publish(b"2", b"3")
    taken = kit.cycle(want=9, way="short").envelopes
    assert [payload(e) for e in taken] == [b"1", b"2", b"3"]
    assert [e for e, _ in kit.dead()] == [b"foreign"]


@rule(
    "9",
    ("cycle", "if way == 'woken' and #items", "if false and #items"),
)
def who_was_woken_passes_the_ring_on(kit: Kit) -> None:
    kit.cycle(n=1)
    kit.publish(b"1", b"2", b"3")
    kit.silence()
    assert kit.cycle(want=2, way="woken").status == "short"
    assert kit.rung()
    kit.silence()
    kit.cycle(want=2, way="woken", held=2)
    assert not kit.rung()
