"""The faults that are planted, by name, and what must be said of each when it is noticed.

Each is a change to the scripts, or to the consumer core, that somebody could make by mistake. The
first five are those that the issue of this proof names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.lua.kit import Mutant
from typed_rmq.core import ConsumerCore

__all__ = ["IN_THE_MIDDLE", "PLANTED", "Planted"]

AGAIN = "  if n == number then return 'again', 0, space and string.sub(last, space + 1) or '' end\n"
OLD = "  if n < number then return 'old', 0, '' end\n"
DONE_AGAIN = "  if n == number then return 'new', 0, '' end\n"
BURY = "  for _, letter in ipairs(letters) do bury(dead, dead_ids, letter) end\n"
SETTLE = "    if present[i] then settled[#settled + 1] = field else stale[#stale + 1] = field end"
# Of whoever holds the message now, under whatever number.
BY_ID = """    if present[i] then settled[#settled + 1] = field else
      local other
      for _, s in ipairs(redis.call('ZRANGE', sessions, 0, -1)) do
        local theirs = prefix .. 'inflight:' .. s
        for _, f in ipairs(redis.call('HKEYS', theirs)) do
          if sub(f, 1, 24) == sub(field, 1, 24) then other = redis.call('HDEL', theirs, f) end
        end
      end
      if other then completed = completed + 1 else stale[#stale + 1] = field end
    end"""
ASIDE = """
for _, e in ipairs(redis.call('LRANGE', prefix .. 'aside', 0, -1)) do
  local at = redis.call('XADD', dead, '*', 'e', e, 'r', 'late')
  redis.call('HSET', dead_ids, string.sub(e, 26, 49), at)
end
redis.call('DEL', prefix .. 'aside')
"""
REMOVE = "if #settled > 0 then redis.call('HDEL', inflight, unpack(settled)) end"
IN_PLACE = "local COLLISION = 'another copy of this message is being delivered'\n"


@dataclass(frozen=True)
class Planted:
    """A fault.

    Attributes:
        says: a piece of what the proof says when it has found it.
        seed: of an episode that is known to find it; others are tried where it does not any more.
    """

    says: str
    mutants: tuple[Mutant, ...] = ()
    core: Callable[[pytest.MonkeyPatch], None] | None = None
    seed: int = 1


def _new_number(patch: pytest.MonkeyPatch) -> None:
    """A call without an answer is forgotten: the next one is another."""
    original = ConsumerCore.next

    def forgetful(self: ConsumerCore[int], now: float) -> object:
        self._open = None
        return original(self, now)

    patch.setattr(ConsumerCore, "next", forgetful)


def _no_second_look(patch: pytest.MonkeyPatch) -> None:
    """Who was reaped goes on under the same name."""
    original = ConsumerCore._abandon_session

    def stubborn(self: ConsumerCore[int]) -> None:
        session = self.session
        original(self)
        self.session = session

    patch.setattr(ConsumerCore, "_abandon_session", stubborn)


PLANTED: dict[str, Planted] = {
    "no fence": Planted(
        "came too late",
        (
            Mutant(
                "cycle",
                "local trusted = size == held and acks <= size and lost == 0 and not reaped",
                "local trusted = true",
            ),
            Mutant("cycle", " and redis.call('HLEN', inflight) == held and acks <= held", ""),
        ),
        seed=4,
    ),
    "ack by id alone": Planted(
        "came too late",
        (
            Mutant("cycle", SETTLE, BY_ID),
            Mutant("cycle", "  completed = #settled\n", "  completed = completed + #settled\n"),
        ),
        seed=4,
    ),
    "dead letter in two steps": Planted(
        "dead holds other messages",
        (
            Mutant(
                "cycle",
                BURY,
                "  for _, letter in ipairs(letters) do\n"
                "    redis.call('RPUSH', prefix .. 'aside', letter[1])\n"
                "  end\n",
            ),
            Mutant("cycle", IN_PLACE, IN_PLACE + ASIDE),
        ),
    ),
    "no operation number: cycle": Planted("must be 'again'", (Mutant("cycle", AGAIN, DONE_AGAIN),)),
    "no operation number: publish": Planted(
        "must be 'again'", (Mutant("publish", AGAIN, DONE_AGAIN),), seed=2
    ),
    "no operation number: enqueue": Planted(
        "numbered",
        (Mutant("enqueue", "if state ~= 'new' then return { state, stored, 0 } end", ""),),
        seed=8,
    ),
    "a late duplicate is done: cycle": Planted(
        "must be 'old'", (Mutant("cycle", OLD, ""),), seed=2
    ),
    "a late duplicate is done: enqueue": Planted(
        "must be 'old'", (Mutant("enqueue", OLD, ""),), seed=8
    ),
    "a late purge is done": Planted("a purge must be", (Mutant("purge", OLD, ""),), seed=6),
    "a repeated redrive is done": Planted(
        "redrive", (Mutant("redrive", AGAIN, DONE_AGAIN),), seed=14
    ),
    "a refusal is not recorded": Planted(
        "", (Mutant("publish", "    lane_leave(lane, ARGV[1], 'full')\n", ""),), seed=6
    ),
    "a late answer is another one": Planted(
        "came too late",
        (
            Mutant(
                "cycle",
                "lane_leave(lane, ARGV[1], text)\nlocal told",
                "lane_leave(lane, ARGV[1], '')\nlocal told",
            ),
        ),
        seed=10,
    ),
    "enqueue without its undo": Planted(
        "ready holds other messages",
        (Mutant("enqueue", "    call('LTRIM', ready, 0, -#new - 1)\n", "    do end\n"),),
        seed=9,
    ),
    "enqueue without the undo of its keys": Planted(
        "dedup keys",
        (Mutant("enqueue", "  for i = 1, #new_keys do call('DEL', new_keys[i]) end\n", ""),),
        seed=9,
    ),
    "reap leaves the short way open": Planted(
        "the short way was open",
        (
            Mutant(
                "reap",
                "if number and not string.find(number, ' ', 1, true) then "
                "lane_leave(lane, number .. ' ', '') end\n",
                "",
            ),
        ),
        seed=31,
    ),
    "the bell is not passed on": Planted(
        "the bell is silent",
        (
            Mutant(
                "cycle",
                "local work = not paused and left_over + suspects_left > 0",
                "local work = false",
            ),
        ),
    ),
    "the bell is not passed on: short way": Planted(
        "the bell is silent",
        (Mutant("cycle", "if way == 'woken' and #items == tonumber(ARGV[2])", "if false"),),
        seed=7,
    ),
    "a publish does not ring": Planted(
        "the bell is silent",
        (Mutant("enqueue", "if ring and #new > 0 then call('RPUSH', bell, '1') end", ""),),
    ),
    "a reap does not ring": Planted(
        "the bell is silent",
        (
            Mutant(
                "reap",
                "if #back > 0 and bell_before == 0 and not paused then "
                "redis.call('RPUSH', bell, '1') end",
                "",
            ),
        ),
    ),
    "a suspect beside others": Planted(
        "suspect",
        (Mutant("cycle", "if claims and suspects_before + #suspected > 0 then", "if false then"),),
    ),
    "a crash of several counts for all": Planted(
        "not what was stored",
        (Mutant("reap", "size == 1 and attempt + 1 or attempt", "attempt + 1"),),
    ),
    "a living session is reaped": Planted(
        "a lease that has run out",
        (Mutant("reap", "if tonumber(deadline) > now then return { 'renewed', {}, {} } end", ""),),
        seed=4,
    ),
    "a reaped session goes on": Planted(
        "reaped",
        (
            Mutant(
                "cycle", "local reaped = not score and n > 1 and size == 0", "local reaped = false"
            ),
        ),
        seed=4,
    ),
    "delivered before its time": Planted(
        "while it was delayed",
        (
            Mutant(
                "cycle",
                "'-inf', now, 'LIMIT', 0, math.max",
                "'-inf', now + 500, 'LIMIT', 0, math.max",
            ),
        ),
    ),
    "a dead letter keeps its key": Planted(
        "",
        (Mutant("cycle", "if #owned > 0 then redis.call('DEL', unpack(owned)) end", ""),),
    ),
    "redriven beside the holder of its key": Planted(
        "redriven beside",
        (
            Mutant(
                "redrive",
                "if holder and string.sub(holder, 1, 24) ~= head_id(e) then",
                "if false then",
            ),
        ),
        seed=23,
    ),
    "acks are refused when memory is full": Planted(
        "OOM",
        (
            Mutant(
                "cycle",
                "if full then redis.call('DEL', prefix .. 'none') end\nif #letters",
                "if #letters",
            ),
        ),
    ),
    "a paused queue is claimed from": Planted(
        "claimed what must not be claimed",
        (
            Mutant(
                "cycle", "local claims = want > 0 and not paused and", "local claims = want > 0 and"
            ),
        ),
        seed=6,
    ),
    "a claim leaves one behind": Planted(
        "",
        (
            Mutant(
                "cycle",
                "redis.call('LTRIM', ready[p], from_list[p], -1)",
                "redis.call('LTRIM', ready[p], from_list[p] - 1, -1)",
            ),
        ),
    ),
    "closing forgets what is held": Planted(
        "other sessions or leases",
        (Mutant("cycle", "if closing and remaining <= 0 then", "if closing then"),),
        seed=8,
    ),
    "core: an unanswered call is given up": Planted("", core=_new_number),
    "core: a reaped session keeps its name": Planted("", core=_no_second_look),
}

IN_THE_MIDDLE: dict[str, tuple[str, tuple[Mutant, ...]]] = {
    "remove before copy: acks and dead letters": (
        "cycle",
        (
            Mutant(
                "cycle",
                REMOVE,
                "",
            ),
            Mutant(
                "cycle",
                "if full then redis.call('DEL', prefix .. 'none') end\nif #letters",
                REMOVE + "\nif #letters",
            ),
        ),
    ),
    "remove before copy: claims": (
        "cycle",
        (
            Mutant(
                "cycle",
                "if #claimed > 0 then\n  -- A session",
                "for p = 1, 3 do\n"
                "  if from_list[p] > 0 then redis.call('LTRIM', ready[p], from_list[p], -1) end\n"
                "  from_list[p] = 0\n"
                "end\n"
                "if #claimed > 0 then\n  -- A session",
            ),
        ),
    ),
    "remove before copy: the short way": (
        "cycle short",
        (
            Mutant(
                "cycle",
                "good = type(redis.pcall('HSET', inflight, unpack(pairs_))) == 'number'",
                "redis.call('HSET', inflight, unpack(pairs_))",
            ),
        ),
    ),
    "remove before copy: reap": (
        "reap",
        (
            Mutant(
                "reap",
                "for i = #back, 1, -1 do redis.call('LPUSH', suspects, back[i]) end\n",
                "",
            ),
            Mutant(
                "reap",
                "dedup_free(owned)\nif #letters",
                "for i = #back, 1, -1 do redis.call('LPUSH', suspects, back[i]) end\n"
                "dedup_free(owned)\nif #letters",
            ),
        ),
    ),
    "remove before copy: redrive": (
        "redrive",
        (
            Mutant("redrive", "bury_forget(dead, dead_ids, moved, total)\n", ""),
            Mutant(
                "redrive",
                "for _, take in ipairs(takes) do",
                "bury_forget(dead, dead_ids, moved, total)\nfor _, take in ipairs(takes) do",
            ),
        ),
    ),
}
