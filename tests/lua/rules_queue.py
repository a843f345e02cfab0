"""Rules 8 to 10: dedup keys, the bell, bounds, pause, purge, dead letters, and counters."""

from __future__ import annotations

from typed_rmq import commands

from .cases import rule
from .kit import (
    WINDOW,
    Kit,
    ack,
    attempt,
    bury,
    fields,
    message_id,
    now_ms,
    payload,
    release,
    retry,
)

# --- 8: dedup keys


@rule("8", ("publish", "  if first then\n", "  if false then\n"))
def equal_messages_are_one(kit: Kit) -> None:
    kit.publish(b"x", key="K")
    reply = kit.publish(b"x", b"x", key="K")
    assert reply.answer == "0=idididididididid00000001,1=idididididididid00000001"
    assert kit.ready() == [b"x"]
    assert kit.counter("duplicates") == 2


@rule(
    "8",
    (
        "publish",
        "      taken[key] = value\n",
        "",
    ),
    ("enqueue", "at_once = not twice", "at_once = true"),
)
def equal_messages_in_one_batch_are_one(kit: Kit) -> None:
    assert kit.publish(b"x", b"x", key="K").answer == "1=idididididididid00000001"
    assert kit.ready() == [b"x"]


@rule(
    "8",
    ("enqueue", "'NX', 'PX', window\n", "'NX', 'PX', '1000'\n"),
    ("enqueue", "items[2 * i] = key, value\n", "items[2 * i] = key, items[2] or value\n"),
    ("enqueue", "and pcall('MSETEX', count, unpack(items)) == 1", ""),
    ("enqueue", "unpack(items)) == 1", "unpack(items)) ~= nil"),
)
def of_many_at_once_each_holds_its_key_for_the_window(kit: Kit) -> None:
    def batch(*keys: str) -> list[bytes]:
        return [kit.envelope(b"x" + key.encode(), key=key) for key in keys]

    assert kit.store(batch("K", "L", "M")).answer == ""
    assert [kit.dedup(key) for key in "KLM"] == [
        b"idididididididid0000000%d" % n for n in (1, 2, 3)
    ]
    for key in "KLM":
        left = kit.client.pttl(kit.keys.prefix + b"dedup:" + key.encode().ljust(22, b"_"))
        assert WINDOW / 2 < left <= WINDOW
    assert kit.store(batch("N", "L", "O")).answer == "1=idididididididid00000002"
    assert kit.dedup("O") == b"idididididididid00000006"
    assert kit.ready() == [b"xK", b"xL", b"xM", b"xN", b"xO"]


@rule("8", ("publish", "and '!' or '='", "and '=' or '='"))
def the_same_explicit_key_with_other_content_is_a_conflict(kit: Kit) -> None:
    kit.publish(b"x", key="K", content="one")
    assert "!" not in kit.publish(b"x", key="K", content="one").answer
    assert kit.publish(b"y", key="K", content="two").answer == "0!idididididididid00000001"


@rule("8", ("publish", "new_values[i], 'PX', window)", "new_values[i])"))
def a_window_ends_by_itself_and_until_done_does_not(kit: Kit) -> None:
    kit.publish(b"x", key="W")
    kit.publish(b"x", key="D", until_done=True, window=0)
    prefix = kit.keys.prefix + b"dedup:"
    assert 0 < kit.client.pttl(prefix + b"W".ljust(22, b"_")) <= WINDOW
    assert kit.client.pttl(prefix + b"D".ljust(22, b"_")) == -1


@rule("8", ("cycle", "if head_ok(e) and dedup_until_done(e) then freed[#freed + 1] = e end", ""))
def an_ack_frees_a_key_that_is_held_until_done(kit: Kit) -> None:
    kit.publish(b"x", key="K", until_done=True, window=0)
    kit.publish(b"y", key="W")
    kit.cycle(verdicts=[ack(e) for e in kit.claim()])
    assert kit.dedup("K") is None
    assert kit.dedup("W") is not None


@rule(
    "8",
    (
        "cycle",
        "        failed = failed + 1\n        freed[#freed + 1] = e\n",
        "      failed = failed + 1\n",
    ),
)
def a_dead_letter_frees_its_key(kit: Kit) -> None:
    kit.publish(b"x", key="K")
    kit.cycle(verdicts=[bury(e) for e in kit.claim()])
    assert kit.dedup("K") is None


@rule("8", ("cycle", "if value and string.sub(value, 1, 24) == ids[i] then", "if value then"))
def a_key_that_another_message_holds_is_left_alone(kit: Kit) -> None:
    kit.publish(b"x", key="K")
    [held] = kit.claim()
    kit.client.set(kit.keys.prefix + b"dedup:" + b"K".ljust(22, b"_"), b"another-message-of-24-chr")
    kit.cycle(verdicts=[bury(held)])
    assert kit.dedup("K") == b"another-message-of-24-chr"


@rule("8", ("publish", "owned = dedup_owned(prefix, victims)", "owned = {}"))
def what_is_dropped_frees_its_key(kit: Kit) -> None:
    kit.publish(b"1", key="K")
    kit.publish(b"2", max_length=1, overflow="drop_oldest")
    assert kit.ready() == [b"2"]
    assert kit.dedup("K") is None


@rule("8", ("purge", "local owned = dedup_owned(prefix, gone)", "local owned = {}"))
def a_purge_frees_keys(kit: Kit) -> None:
    kit.publish(b"1", key="K")
    kit.publish(b"2", key="L", delay=10_000)
    kit.purge()
    assert (kit.dedup("K"), kit.dedup("L")) == (None, None)


def buried(kit: Kit, *payloads: bytes, **options: object) -> list[bytes]:
    """Dead letters with these payloads."""
    kit.publish(*payloads, **options)
    held = kit.claim()
    kit.cycle(verdicts=[bury(e) for e in held])
    kit.silence()
    return held


@rule(
    "8", ("redrive", "if holder and string.sub(holder, 1, 24) ~= head_id(e) then", "if false then")
)
def redrive_leaves_a_message_dead_whose_key_is_taken(kit: Kit) -> None:
    [held] = buried(kit, b"x", key="K")
    kit.publish(b"x", key="K")
    reply = kit.redrive()
    assert reply.redriven == 0
    assert reply.conflicts == ((message_id(held), "idididididididid00000002"),)
    assert kit.dead_payloads() == [b"x"]
    assert kit.ready() == [b"x"]


@rule(
    "8",
    (
        "redrive",
        "local holder = key and (taken[key] or redis.call('GET', key))",
        "local holder = key and redis.call('GET', key)",
    ),
)
def of_two_letters_with_one_key_one_is_redriven(kit: Kit) -> None:
    buried(kit, b"x", key="K")
    buried(kit, b"x", key="K")
    assert (kit.redrive().redriven, kit.ready()) == (1, [b"x"])


@rule(
    "8",
    ("redrive", "    redis.call('SET', take[1], take[2], 'PX', window)", ""),
    ("redrive", "    redis.call('SET', take[1], take[2])\n", ""),
    (
        "redrive",
        "else\n    redis.call('SET', take[1], take[2], 'PX', window)",
        "else redis.call('SET', take[1], take[2])",
    ),
)
def redrive_takes_the_key_back_for_a_window_or_until_done(kit: Kit) -> None:
    buried(kit, b"x", key="K", content="one")
    buried(kit, b"y", key="D", until_done=True, window=0)
    kit.redrive()
    prefix = kit.keys.prefix + b"dedup:"
    assert kit.dedup("K") == b"idididididididid00000001" + b"one".ljust(22, b"_")
    assert 0 < kit.client.pttl(prefix + b"K".ljust(22, b"_")) <= WINDOW
    assert kit.client.pttl(prefix + b"D".ljust(22, b"_")) == -1


@rule(
    "8",
    ("redrive", "published or ", ""),
    ("redrive", "published or '3600000'", "published or '1'"),
    ("enqueue", "call('HSET', stats, 'window', window)", ""),
    ("enqueue", "if before ~= nil and window ~= '0' then", "if before ~= nil then"),
    ("publish", "call('HSET', stats, 'window', window)", ""),
    ("publish", "if n == 1 and window ~= '0' then", "if n == 1 then"),
)
def redrive_by_name_takes_the_key_back_for_the_window_of_the_publishers(kit: Kit) -> None:
    for number, later in enumerate((0, 60_000)):  # the two scripts that store messages
        first, second = b"window%d" % number, b"until%d" % number
        kit.publish(b"w", key=f"W{number}", lane=first, window=90_000, delay=later)
        kit.publish(b"d", key=f"D{number}", lane=second, window=0, until_done=True, delay=later)
        assert kit.client.hget(kit.keys.stats, "window") == b"90000"
        kit.client.hdel(kit.keys.stats, "window")
        kit.publish(b"v", key=f"V{number}", lane=first, window=90_000, delay=later)
        assert kit.client.hget(kit.keys.stats, "window") is None, "not with each call"
    for known, most in ((b"90000", 90_000), (None, 3_600_000)):
        buried(kit, b"x", key="K")
        kit.client.hdel(kit.keys.stats, "window")
        if known is not None:
            kit.client.hset(kit.keys.stats, "window", known)
        kit.redrive(window=0)
        left = kit.client.pttl(kit.keys.prefix + b"dedup:" + b"K".ljust(22, b"_"))
        assert most - 30_000 < left <= most
        kit.purge()


@rule("8", ("redrive", "if at[i] and not seen[at[i]] then", "if at[i] then"))
def an_id_given_twice_is_redriven_once(kit: Kit) -> None:
    [held] = buried(kit, b"x")
    identity = message_id(held)
    assert kit.redrive(identity, "no-such-id", identity).redriven == 1
    assert kit.ready() == [b"x"]


@rule(
    "8",
    ("redrive", "list[#list + 1] = head_next(e, 1, '-')", "list[#list + 1] = e"),
    ("redrive", "local list = back[head_priority(e)]", "local list = back[2]"),
)
def redriven_messages_begin_anew(kit: Kit) -> None:
    kit.publish(b"x", priority="high")
    [held] = kit.claim()
    kit.cycle(verdicts=[retry(held)])
    [held] = kit.claim()
    kit.cycle(verdicts=[bury(held)])
    kit.redrive()
    assert kit.ready(0) == [b"x"]
    [held] = kit.claim()
    assert attempt(held) == 1
    assert not kit.client.exists(kit.keys.dead, kit.keys.dead_ids), "an empty stream is a key"


# --- 9: the bell


@rule("9", ("publish", "if ring then redis.call('RPUSH', bell, '1') end", ""))
def new_work_rings_once(kit: Kit) -> None:
    kit.publish(b"1")
    kit.publish(b"2")
    assert kit.client.llen(kit.keys.bell) == 1


@rule("9", ("publish", "ring = ring and redis.call('HGET', meta, 'paused') ~= '1'", ""))
def a_paused_queue_does_not_ring(kit: Kit) -> None:
    kit.pause()
    kit.publish(b"x")
    assert not kit.rung()


@rule(
    "9",
    ("publish", "ring = not earliest[2] or due < tonumber(earliest[2])", "ring = not earliest[2]"),
    ("publish", "ring = not earliest[2] or due < tonumber(earliest[2])", "ring = true"),
    ("publish", "ring = not earliest[2] or due < tonumber(earliest[2])", "ring = false"),
)
def a_delayed_message_rings_when_the_earliest_time_moves(kit: Kit) -> None:
    kit.publish(b"1", delay=20_000)
    assert kit.rung()
    kit.silence()
    kit.publish(b"2", delay=30_000)
    assert not kit.rung()
    kit.publish(b"3", delay=10_000)
    assert kit.rung()


@rule(
    "9",
    ("cycle", "local work = not paused and left_over + suspects_left > 0", "local work = false"),
    ("cycle", "and bell_before > 0 and (claims or closing) then", "and false then"),
)
def a_claim_passes_the_bell_on_or_silences_it(kit: Kit) -> None:
    kit.publish(b"1", b"2", b"3")
    kit.silence()
    kit.claim(want=2)
    assert kit.rung()
    kit.claim(want=2)
    # The short way leaves a stale ring behind, until the next call finds nothing.
    assert kit.claim(want=2) == []
    assert not kit.rung()


@rule(
    "9",
    (
        "cycle",
        "elseif not tell and not next_due and bell_before",
        "elseif not tell and bell_before",
    ),
)
def a_bell_for_an_earlier_time_is_not_silenced_by_who_is_busy(kit: Kit) -> None:
    kit.publish(b"later", delay=60_000)
    kit.publish(b"now")
    kit.claim(want=5)
    assert kit.rung()


@rule(
    "9",
    (
        "cycle",
        "local work = not paused and left_over + suspects_left > 0",
        "local work = not paused and left_over > 0",
    ),
)
def a_waiting_suspect_rings(kit: Kit) -> None:
    kit.publish(b"1", b"2")
    kit.claim(b"crashing")
    kit.crash(b"crashing")
    kit.silence()
    kit.claim()
    assert kit.rung()


@rule("9", ("cycle", "local tell = work or", "local tell = (work and not closing) or"))
def who_closes_rings_if_there_is_work(kit: Kit) -> None:
    kit.cycle()
    kit.publish(b"x")
    kit.silence()
    kit.cycle(closing=True)
    assert kit.rung()


@rule("9", ("cycle", "or (closing and (next_due or next_lease))", ""))
def who_closes_rings_for_others_that_must_take_over_its_watch(kit: Kit) -> None:
    kit.publish(b"x", delay=10_000)
    kit.cycle()
    kit.silence()
    kit.cycle(closing=True)
    assert kit.rung()


@rule("9", ("cycle", "or (due_moved and not paused)", ""))
def a_retry_that_is_due_earlier_rings(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.cycle(verdicts=[retry(held, 5_000)])
    assert kit.rung()


@rule("9", ("cycle", " or new_lease_first or busy\n", " or busy\n"))
def a_lease_that_ends_before_all_others_rings(kit: Kit) -> None:
    kit.cycle(b"b")
    kit.silence()
    kit.cycle(b"a", lease=1_000)
    assert kit.rung()
    kit.silence()
    kit.cycle(b"a", lease=1_000)
    assert not kit.rung(), "only when it is new"


@rule("9", ("cycle", " or new_lease_first or busy\n", " or new_lease_first\n"))
def who_takes_something_passes_on_what_is_due(kit: Kit) -> None:
    """Found by the model: two consumers found nothing and are about to wait, one ring for both."""
    kit.cycle(b"a", want=1)
    kit.cycle(b"b", want=1)
    kit.publish(b"now")
    kit.publish(b"soon", delay=1000)
    assert kit.client.blpop([kit.keys.bell], timeout=1)
    assert [payload(e) for e in kit.cycle(b"a", want=1).envelopes] == [b"now"]
    # a is busy: b must not fall asleep beside what is due in a second.
    assert kit.client.blpop([kit.keys.bell], timeout=1), "b sleeps, and does not know"
    assert 0 < (kit.cycle(b"b", want=1).wait or 0) <= 1


@rule("9", ("cycle", "next_due - now < 15000", "true"))
def what_is_due_in_a_long_time_wakes_nobody(kit: Kit) -> None:
    kit.publish(b"now")
    kit.publish(b"later", delay=60_000)
    kit.silence()
    assert [payload(e) for e in kit.cycle(b"a", want=1).envelopes] == [b"now"]
    assert not kit.rung()


@rule("9", ("control", "if bell_before == 0 then redis.call('RPUSH', KEYS[3], '1') end", ""))
def resume_rings(kit: Kit) -> None:
    kit.pause()
    kit.publish(b"x")
    kit.pause(False)
    assert kit.rung()
    assert not kit.client.exists(kit.keys.meta)


@rule("9", ("reap", "redis.call('RPUSH', bell, '1')", "redis.call('LLEN', bell)"))
def what_was_reaped_rings(kit: Kit) -> None:
    kit.publish(b"x")
    kit.claim()
    kit.silence()
    kit.crash(b"a")
    assert kit.rung()


@rule("9", ("redrive", "redis.call('RPUSH', bell, '1')", "redis.call('LLEN', bell)"))
def what_was_redriven_rings(kit: Kit) -> None:
    buried(kit, b"x")
    kit.redrive()
    assert kit.rung()


@rule("9", ("purge", "if left == 0 then redis.call('DEL', bell) end", ""))
def an_emptied_queue_has_no_bell(kit: Kit) -> None:
    kit.publish(b"x")
    kit.purge()
    assert not kit.rung()


@rule(
    "9",
    (
        "cycle",
        "if not paused and drain == 0 then sooner(next_due) end",
        "if drain == 0 then sooner(next_due) end",
    ),
)
def nothing_is_due_now_while_paused(kit: Kit) -> None:
    kit.publish(b"x", delay=10_000)
    kit.all_due()
    kit.silence()
    kit.pause()
    assert kit.cycle(want=1).wait is None
    assert not kit.rung()


@rule(
    "9",
    (
        "cycle",
        "if not paused and drain == 0 then sooner(next_due) end",
        "if not paused then sooner(next_due) end",
    ),
)
def nothing_is_due_now_for_who_must_drain(kit: Kit) -> None:
    kit.publish(b"held")
    kit.claim(want=1)
    kit.publish(b"suspect")
    kit.claim(b"crashing", want=1)
    kit.crash(b"crashing")
    kit.publish(*[b"%d" % i for i in range(150)], delay=10_000)
    kit.all_due()
    reply = kit.cycle(want=1)
    assert (reply.drain, reply.wait) == (True, None)


@rule("9", ("cycle", "if not paused and drain == 0 then sooner(next_due) end", ""))
def the_next_due_time_is_told(kit: Kit) -> None:
    kit.publish(b"x", delay=10_000)
    wait = kit.cycle(want=1).wait
    assert wait is not None
    assert 9 < wait <= 10


@rule(
    "9",
    ("cycle", "if room_before == 0 and #claimed + #letters > 0 then", "if false then"),
    ("publish", "wake = waiting > now and", "wake = false and"),
)
def a_claim_makes_room_and_room_is_passed_on(kit: Kit) -> None:
    kit.publish(b"1", b"2", max_length=2, overflow="block")
    assert kit.publish(b"3", max_length=2, overflow="block", lane=b"other").answer == "full"
    kit.claim()
    assert kit.client.delete(kit.keys.room) == 1
    kit.publish(b"3", max_length=2, overflow="block", lane=b"third")
    assert kit.client.llen(kit.keys.room) == 1
    assert kit.client.pttl(kit.keys.room) > 0


@rule("9", ("purge", "local wake = #gone > 0 and", "local wake = false and"))
def a_purge_makes_room(kit: Kit) -> None:
    kit.publish(b"1", max_length=1, overflow="block")
    kit.publish(b"2", max_length=1, overflow="block")
    kit.purge()
    assert kit.client.llen(kit.keys.room) == 1


# --- 10: the rest


@rule("10", ("publish", "+ redis.call('LLEN', suspects) + delayed_before + #new", "+ #new"))
def the_bound_counts_ready_delayed_and_suspects(kit: Kit) -> None:
    kit.publish(b"suspect")
    kit.claim(b"crashing")
    kit.crash(b"crashing")
    kit.publish(b"delayed", delay=10_000)
    kit.publish(b"ready", max_length=3)
    assert kit.publish(b"more", max_length=3).answer == "full"


@rule("10", ("publish", "+ #new - max_length", "- max_length"))
def a_batch_is_refused_whole(kit: Kit) -> None:
    assert kit.publish(b"1", b"2", b"3", max_length=2, key=None).answer == "full"
    assert (kit.ready(), kit.counter("published")) == ([], 0)


@rule(
    "10",
    ("publish", "ipairs({ low, normal, high })", "ipairs({ high, normal, low })"),
    ("publish", "if #victims > 0 then deltas.dropped = #victims end", ""),
)
def the_oldest_of_the_lowest_priority_goes_first(kit: Kit) -> None:
    for priority in ("high", "normal", "low"):
        kit.publish(b"1", b"2", priority=priority)
    kit.publish(b"delayed", delay=10_000)
    reply = kit.publish(b"3", b"4", b"5", max_length=7, overflow="drop_oldest")
    assert (kit.ready(0), kit.ready(1), kit.ready(2)) == (
        [b"1", b"2"],
        [b"2", b"3", b"4", b"5"],
        [],
    )
    assert reply.answer.count("-") == 3
    assert kit.counter("dropped") == 3
    kit.publish(b"6", max_length=1, overflow="drop_oldest")
    assert (kit.ready(1), kit.delayed(), kit.ready(0)) == ([b"6"], [], [])


@rule("10", ("purge", "ZREMRANGEBYRANK", "ZRANGE"))
def a_purge_takes_ready_and_delayed_and_leaves_what_is_held(kit: Kit) -> None:
    kit.publish(b"held")
    kit.claim()
    kit.publish(b"1", b"2", b"3")
    kit.publish(b"4", b"5", delay=10_000)
    assert kit.purge(limit=2) == ("new", 2, 3)
    assert kit.purge(limit=2) == ("new", 2, 1)
    assert kit.purge(limit=2) == ("new", 1, 0)
    assert (kit.ready(), kit.delayed(), kit.held()) == ([], [], {b"held"})


@rule("10", ("cycle", "local claims = want > 0 and not paused and", "local claims = want > 0 and"))
def paused_nothing_is_claimed_or_promoted_and_all_else_goes_on(kit: Kit) -> None:
    kit.publish(b"1", b"2")
    one, _two = kit.claim()
    kit.publish(b"3")
    kit.publish(b"4", delay=10_000)
    kit.all_due()
    kit.pause()
    reply = kit.cycle(want=5, acks=fields([one]), held=2)
    assert (reply.envelopes, kit.delayed(), kit.counter("completed")) == ([], [b"4"], 1)
    assert (kit.client.zscore(kit.keys.sessions, b"a") or 0) > now_ms()
    kit.crash(b"a")
    assert [payload(e) for e in kit.suspects()] == [b"2"]
    kit.pause(False)
    assert [payload(e) for e in kit.claim(b"b")] == [b"2"]
    assert [payload(e) for e in kit.claim(b"c")] == [b"3", b"4"]


@rule(
    "10",
    ("cycle", "local excess = math.min(total - keep, 1000)", "local excess = 0"),
    (
        "cycle",
        "deltas.dropped = bury_excess(dead, dead_ids, #letters, keep_dead)",
        "",
    ),
    ("cycle", "if #names > 0 then redis.call('HDEL', ids, unpack(names)) end", ""),
)
def dead_letters_are_trimmed_exactly_and_counted(kit: Kit) -> None:
    kit.publish(*[b"%d" % i for i in range(10)])
    held = kit.claim()
    kit.cycle(verdicts=[bury(e) for e in held], keep_dead=3)
    assert kit.dead_payloads() == [b"7", b"8", b"9"]
    assert kit.client.hlen(kit.keys.dead_ids) == 3
    assert (kit.counter("dead_lettered"), kit.counter("dropped")) == (10, 7)
    kit.publish(b"x")
    kit.cycle(verdicts=[bury(e) for e in kit.claim()], keep_dead=0)
    assert not kit.client.exists(kit.keys.dead, kit.keys.dead_ids)


@rule(
    "10",
    ("cycle", "if head_readable(e) and not unindexed then names", "if head_readable(e) then names"),
)
def a_raw_copy_that_is_trimmed_leaves_the_letter_of_its_id_findable(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.client.rpush(kit.keys.ready[1], held)
    kit.claim()
    kit.cycle(verdicts=[bury(held)], keep_dead=1)
    command = commands.dead_read(kit.keys, message_id=message_id(held))
    assert [entry.reason for entry in kit.run(command)] == ["no good"]


@rule(
    "10",
    (
        "cycle",
        "local cap = string.format('%.0f', math.max(keep_done, done_before - 1000))",
        "local cap = keep_done",
    ),
)
def the_log_of_completions_is_capped_in_bounded_steps(kit: Kit) -> None:
    with kit.client.pipeline(transaction=False) as pipe:
        for _ in range(2500):
            pipe.xadd(kit.keys.done, {"e": "x", "d": "1"})
        pipe.execute()
    sizes: list[int] = []
    for _ in range(4):
        kit.publish(b"x")
        kit.cycle(verdicts=[ack(e) for e in kit.claim()], keep_done=10)
        sizes.append(int(kit.client.xlen(kit.keys.done)))
    assert sizes == [1500, 500, 10, 10]


@rule(
    "10",
    ("cycle", "LPUSH', ready[p], front[p][i]", "RPUSH', ready[p], front[p][i]"),
    ("cycle", "if #front[p] > 1 then table.sort(front[p]) end", ""),
)
def what_is_released_goes_to_the_front_in_its_order(kit: Kit) -> None:
    kit.publish(b"1", b"2", b"3", b"4")
    held = kit.claim(want=3)
    kit.cycle(verdicts=[release(e) for e in held])
    assert kit.ready() == [b"1", b"2", b"3", b"4"]
    assert (kit.counter("released"), kit.counter("failed")) == (3, 0)
    held = kit.claim(want=3)
    kit.cycle(verdicts=[release(held[1]), release(held[2]), release(held[0])])
    assert kit.ready() == [b"1", b"2", b"3", b"4"], "verdicts come in any order"
    held = kit.claim(want=2)
    reply = kit.cycle(verdicts=[release(e) for e in held], want=1)
    assert ([payload(e) for e in reply.envelopes], kit.ready()) == ([b"1"], [b"2", b"3", b"4"])


@rule("10", ("cycle", "LIMIT', 0, math.max(want, 100))", "LIMIT', 0, 5000)"))
def due_messages_are_promoted_in_order_and_in_bounded_numbers(kit: Kit) -> None:
    for start in range(0, 300, 100):
        kit.publish(*[b"%03d" % i for i in range(start, start + 100)], delay=10_000)
    for i, member in enumerate(sorted(kit.client.zrange(kit.keys.delayed, 0, -1), key=payload)):
        kit.client.zadd(kit.keys.delayed, {member: i + 1})
    assert [payload(e) for e in kit.claim(want=3)] == [b"000", b"001", b"002"]
    assert (len(kit.ready()), len(kit.delayed())) == (97, 200)
    assert kit.rung()
    taken = [payload(e) for e in kit.claim(b"b", want=1000)]
    assert taken == [b"%03d" % i for i in range(3, 300)]


@rule("10", ("cycle", "for p = 1, 3 do\n    local last", "for p = 3, 1, -1 do\n    local last"))
def priorities_are_taken_in_their_order(kit: Kit) -> None:
    for priority in ("low", "normal", "high"):
        kit.publish(b"1" + priority.encode(), b"2" + priority.encode(), priority=priority)
    got = [payload(e) for e in kit.claim(want=5)]
    assert got == [b"1high", b"2high", b"1normal", b"2normal", b"1low"]


@rule("10", ("publish", "if due <= now then due = 0 end", ""))
def what_is_due_in_the_past_is_ready(kit: Kit) -> None:
    kit.publish(b"x", due=now_ms() - 60_000)
    assert kit.ready() == [b"x"]
    kit.publish(b"y", due=now_ms() + 60_000)
    assert kit.delayed() == [b"y"]


@rule("10", ("cycle", "if closing and remaining <= 0 then", "if closing then"))
def who_closes_with_something_in_hand_stays_until_its_lease_ends(kit: Kit) -> None:
    kit.publish(b"x")
    kit.claim()
    kit.cycle(closing=True)
    assert kit.client.zcard(kit.keys.sessions) == 1
    assert kit.crash(b"a").state == "reaped"
    assert len(kit.suspects()) == 1
