"""Each script's header says what the Python side sends, and every script keeps the ground rules."""

from __future__ import annotations

import re
from importlib import resources

import pytest
import redis

from tests.servers import RunningServer
from typed_rmq import commands, lookups, scripts
from typed_rmq.commands import Command, Verdict
from typed_rmq.keys import QueueKeys
from typed_rmq.scripts import Script

FOLDER = resources.files("typed_rmq") / "lua"
KEYS = QueueKeys("q")
LANE = KEYS.lane(b"producer")

COMMANDS: list[Command[object]] = [
    commands.publish(
        KEYS,
        LANE,
        1,
        window_ms=2,
        delay_ms=3,
        due_ms=4,
        max_length=5,
        overflow="raise",
        envelopes=[b"one", b"two"],
    ),
    commands.enqueue(
        commands.enqueue_keys(KEYS, b"producer", 0),
        1,
        window_ms=2,
        touch=True,
        envelopes=[b"one", b"two"],
        dedup_keys=[KEYS.dedup + b"a", KEYS.dedup + b"b"],
    ),
    commands.cycle(
        commands.SessionKeys(KEYS, b"sess", lease_ms=2, keep_dead=5, keep_done=6),
        1,
        want=3,
        held=4,
        way="short",
        closing=True,
        acks=[b"ack"],
        verdicts=[Verdict(b"d", b"field", "a", "b", "c")],
    ),
    commands.reap(KEYS, b"sess", max_attempts=1, keep_dead=2),
    commands.renew(KEYS, b"sess", lease_ms=1),
    commands.control(KEYS, LANE, 1, paused=True),
    commands.purge(KEYS, LANE, 1),
    commands.redrive(KEYS, LANE, 1, window_ms=2, ids=["one"]),
    commands.dead_purge(KEYS, LANE, 1),
    commands.dead_read(KEYS, message_id="x"),
    commands.stats(KEYS),
    commands.peek(KEYS, state="ready", limit=1),
    lookups.find(KEYS, state="ready", message_id="x"),
    lookups.consumers(KEYS, limit=1, some=2),
    lookups.checkup(KEYS, words=["GET", "SET"]),
    lookups.audit(KEYS, limit=1, place=2, after="x"),
    commands.promote(KEYS, LANE, 1, skip=2, limit=3, ids=["one"]),
]
BY_NAME = {command.script.name: command for command in COMMANDS}

KEY_NAMES = {
    b"trmq:{q}:lane:producer": "lane",
    b"trmq:{q}:lane:sess": "lane",
    b"trmq:{q}:inflight:sess": "inflight",
    b"trmq:{q}:ready:high": "high",
    b"trmq:{q}:ready:normal": "normal",
    b"trmq:{q}:ready:low": "low",
    b"trmq:{q}:dead:ids": "dead_ids",
    **{
        b"trmq:{q}:" + name.encode(): name
        for name in "suspects delayed sessions dead done bell room meta stats".split()
    },
}

VALUES: dict[str, dict[str, object]] = {
    "publish": {
        "n": 1,
        "prefix": KEYS.prefix,
        "window": 2,
        "delay": 3,
        "due": 4,
        "max_length": 5,
        "overflow": "raise",
        "envelope...": [b"one", b"two"],
    },
    "enqueue": {"n": b"1", "window": b"2", "touch": b"1", "envelope...": [b"one", b"two"]},
    "cycle": {
        "n": 1,
        "want": 3,
        "held": 4,
        "acks": 1,
        "way": "short",
        "options": b"sess 2 5 6 1 " + KEYS.prefix,
        "field...": [b"ack"],
        "{ kind field a b c }...": [b"d", b"field", b"a", b"b", b"c"],
    },
    "reap": {
        "session": b"sess",
        "max_attempts": 1,
        "prefix": KEYS.prefix,
        "keep_dead": 2,
        "full": "",
    },
    "renew": {"session": b"sess", "lease": 1, "full": "", "prefix": KEYS.prefix},
    "control": {"n": 1, "paused": 1},
    "purge": {"n": 1, "prefix": KEYS.prefix, "limit": 1000},
    "redrive": {
        "n": 1,
        "prefix": KEYS.prefix,
        "window": 2,
        "after": "-",
        "limit": 500,
        "id...": ["one"],
    },
    "dead_purge": {"n": 1},
    "dead_read": {"id": "x", "after": "-", "limit": 100},
    "stats": {"prefix": KEYS.prefix},
    "peek": {"prefix": KEYS.prefix, "state": "ready", "limit": 1, "after": ""},
    "find": {"prefix": KEYS.prefix, "state": "ready", "id": "x", "after": "", "limit": 1000},
    "consumers": {"prefix": KEYS.prefix, "limit": 1, "some": 2},
    "checkup": {"command...": ["GET", "SET"]},
    "audit": {"prefix": KEYS.prefix, "limit": 1, "place": 2, "after": "x"},
    "promote": {"n": 1, "from": 2, "limit": 3, "id...": ["one"]},
}
"""What each argument of ``COMMANDS`` must be, by the name that the header gives it."""


def scripts_there() -> dict[str, Script]:
    return {one.name: one for one in vars(scripts).values() if isinstance(one, Script)}


def header(name: str) -> str:
    text = (FOLDER / f"{name}.lua").read_text("utf-8")
    return text[: re.search(r"^(?!--)", text, re.MULTILINE).start()]  # type: ignore[union-attr]  # each has such a line


def listed(name: str, what: str) -> list[str]:
    """The names after KEYS or ARGV, over as many lines as it takes."""
    found = re.search(
        rf"^-- {what:5}((?: .*\n)(?:--       \S[^ ]*(?: \S+)*\n)*)", header(name), re.MULTILINE
    )
    assert found, f"{name}.lua does not say its {what}"
    text = found.group(1).replace("\n--", " ")
    return re.findall(r"\{[^}]*\}\.\.\.|\S+", text)


def test_every_file_is_a_script_and_every_script_is_compared() -> None:
    files = {entry.name[:-4] for entry in FOLDER.iterdir() if entry.name.endswith(".lua")}
    assert files == set(scripts_there()) == set(BY_NAME) == set(VALUES)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_header_starts_with_name_and_purpose(name: str) -> None:
    assert re.match(rf"-- {name}: [a-z].*[.:]\n", header(name))
    assert re.search(r"^-- Reply \S", header(name), re.MULTILINE)


@pytest.mark.parametrize("name", BY_NAME)
def test_keys_are_sent_as_the_header_says(name: str) -> None:
    sent = [KEY_NAMES.get(key, "dedup") for key in BY_NAME[name].keys]
    if name == "enqueue":
        assert sent == ["lane", "stats", "high", "bell", "meta", "dedup", "dedup"]
        assert listed(name, "KEYS") == ["lane", "stats", "ready", "bell", "meta", "dedup..."]
    else:
        assert sent == listed(name, "KEYS")


@pytest.mark.parametrize("name", BY_NAME)
def test_arguments_are_sent_as_the_header_says(name: str) -> None:
    expected: list[object] = []
    assert listed(name, "ARGV") == list(VALUES[name])
    for value in VALUES[name].values():
        if isinstance(value, list):
            expected.extend(value)
        else:
            expected.append(value)
    assert BY_NAME[name].args == expected


@pytest.mark.parametrize("name", BY_NAME)
def test_the_flag_for_a_full_redis_is_where_python_sets_it(name: str) -> None:
    names = listed(name, "ARGV")
    flag = "way" if name == "cycle" else "full"
    assert BY_NAME[name].full_at == (names.index(flag) if flag in names else None)


@pytest.mark.parametrize("name", BY_NAME)
def test_includes_are_those_that_are_used(name: str) -> None:
    body = (FOLDER / f"{name}.lua").read_text("utf-8")
    places = re.findall(r"^ *-- include:(.*)$", body, re.MULTILINE)
    included = {one for place in places for one in place.split()}
    used = {"short"} if name == "cycle" else set()  # a piece of it, which defines no function
    pending = [body]
    while pending:  # what an include itself uses must be there, too
        text = pending.pop()
        for entry in (FOLDER / "lib").iterdir():
            library = entry.read_text("utf-8")
            defined = re.findall(r"^local function (\w+)", library, re.MULTILINE)
            one = entry.name[:-4]
            calls = any(re.search(rf"\b{function}\(", text) for function in defined)
            if calls and one not in used and library != text:
                used.add(one)
                pending.append(library)
    assert included == used


@pytest.mark.parametrize("name", BY_NAME)
def test_ground_rules(name: str) -> None:
    source = scripts_there()[name].source.decode()
    code = re.sub(r"--.*", "", source)
    assert not source.startswith("#!"), "Redis 6.2 takes a shebang for a syntax error"
    assert "cjson" not in code, "payloads are never decoded in Lua"
    assert not re.search(r"'(KEYS|SCAN|EVAL|FLUSHALL|RANDOMKEY)'", code)
    assert not re.search(r"\b(loadstring|dofile|setmetatable|rawset)\b", code)
    assert len(source.splitlines()) < 1000


@pytest.mark.parametrize("name", BY_NAME)
def test_every_server_takes_every_script(
    name: str, server: RunningServer, client: redis.Redis
) -> None:
    script = scripts_there()[name]
    loaded = client.script_load(script.source.decode())
    assert loaded == script.sha.decode()
