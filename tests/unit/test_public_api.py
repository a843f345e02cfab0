"""The public names: exports, the error tree, frozen results, and what is never shown."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

import typed_rmq
from typed_rmq import (
    AlreadySettled,
    ConfigError,
    Connection,
    DataLossDetected,
    DeadLetter,
    Dedup,
    DurabilityNotReached,
    LeaseLost,
    Observer,
    PayloadError,
    Peeked,
    Queue,
    QueueCorrupt,
    QueueFull,
    QueueStats,
    QueueUnavailable,
    Receipt,
    Retry,
    ServerUnsupported,
    TypedRMQError,
)

ERRORS = [
    AlreadySettled,
    ConfigError,
    DataLossDetected,
    DurabilityNotReached,
    LeaseLost,
    PayloadError,
    QueueCorrupt,
    QueueFull,
    QueueUnavailable,
    ServerUnsupported,
]

SECRET = "hunter2-4711"


# --- exports


def test_everything_that_is_exported_is_there_and_documented() -> None:
    assert len(set(typed_rmq.__all__)) == len(typed_rmq.__all__)
    assert sorted(typed_rmq.__all__) == typed_rmq.__all__
    for name in typed_rmq.__all__:
        exported = getattr(typed_rmq, name)
        if inspect.isclass(exported) or inspect.isfunction(exported):
            assert inspect.getdoc(exported), name


def test_nothing_else_is_public() -> None:
    public = {
        name
        for name, value in vars(typed_rmq).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public <= set(typed_rmq.__all__)


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert typed_rmq.__version__ == version("typed_rmq")


def test_every_sync_method_has_its_async_twin_with_the_same_parameters() -> None:
    twins = {
        "publish": "apublish",
        "publish_many": "apublish_many",
        "receive": "areceive",
        "run": "arun",
        "stats": "astats",
        "peek": "apeek",
        "find": "afind",
        "consumers": "aconsumers",
        "doctor": "adoctor",
        "audit": "aaudit",
        "promote": "apromote",
        "purge": "apurge",
        "pause": "apause",
        "resume": "aresume",
        "close": "aclose",
        "__iter__": "__aiter__",
        "__enter__": "__aenter__",
        "__exit__": "__aexit__",
    }
    for sync, asynchronous in twins.items():
        first = dict(inspect.signature(getattr(Queue, sync)).parameters)
        if sync == "run":
            # An event loop must not wait for processes; each of them has its own way to run.
            del first["processes"]
        second = inspect.signature(getattr(Queue, asynchronous)).parameters
        assert list(first) == list(second), sync
        assert [p.default for p in first.values()] == [p.default for p in second.values()], sync
        assert [p.kind for p in first.values()] == [p.kind for p in second.values()], sync


def test_the_defaults_are_those_of_the_contract() -> None:
    made = inspect.signature(Queue.__init__).parameters
    defaults = {name: parameter.default for name, parameter in made.items()}
    assert defaults["redis"] is None
    assert defaults["dedup"] == Dedup()
    assert defaults["retry"] == Retry()
    assert defaults["lease"] == 60.0
    assert (defaults["max_length"], defaults["overflow"]) == (None, "raise")
    assert (defaults["keep_done"], defaults["keep_dead"]) == (0, 10_000)
    assert (defaults["observers"], defaults["max_payload"]) == ((), 1_048_576)
    retry = Retry()
    assert (retry.max_attempts, retry.backoff, retry.factor) == (5, 1.0, 2.0)
    assert (retry.max_backoff, retry.jitter) == (600.0, "full")
    assert (Dedup().window, Dedup().until) == (3600.0, None)
    consume = inspect.signature(Queue.consume).parameters
    assert {name: p.default for name, p in consume.items() if name != "self"} == {
        "prefetch": "auto",
        "ack_linger": 0.005,
        "until_empty": False,
        "idle_timeout": None,
        "max_messages": None,
        "handler_timeout": None,
        "stop_on_signals": True,
    }
    assert inspect.signature(Connection).parameters["retry_budget"].default == 30.0


# --- the error tree


def test_the_error_tree() -> None:
    for error in ERRORS:
        assert error.__base__ is TypedRMQError
        assert inspect.getdoc(error)
    assert TypedRMQError.__base__ is Exception
    exported = [getattr(typed_rmq, name) for name in typed_rmq.__all__]
    errors = [one for one in exported if inspect.isclass(one) and issubclass(one, Exception)]
    assert set(errors) == {*ERRORS, TypedRMQError}


def test_the_tree_is_drawn_in_its_module() -> None:
    from typed_rmq import errors

    for error in ERRORS:
        assert f"── {error.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize("error", [*ERRORS, TypedRMQError])
def test_an_error_says_which_queue_and_message(error: type[TypedRMQError]) -> None:
    made = error("what happened", queue="orders", message_id="m1")
    assert (str(made), made.queue, made.message_id) == ("what happened", "orders", "m1")
    bare = error("what happened")
    assert (bare.queue, bare.message_id) == (None, None)


@pytest.mark.parametrize(
    "error",
    [
        *(each("what happened", queue="orders", message_id="m1") for each in ERRORS),
        TypedRMQError("what happened"),
        PayloadError("bad", queue="orders", index=7, problems=(("sku", "missing"),)),
        DataLossDetected("gone", queue="orders", lost=3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling_and_copying(error: TypedRMQError) -> None:
    error.add_note("seen on host 3")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert type(back) is type(error)
        assert (str(back), back.args) == (str(error), error.args)
        assert vars(back) == vars(error)
    assert vars(copy.copy(error)) == vars(error)


# --- results


NOW = datetime(2026, 1, 1, tzinfo=UTC)
LETTER = DeadLetter[Any](
    id="m1",
    payload=None,
    raw=SECRET.encode(),
    reason="no",
    error=None,
    traceback=SECRET,
    attempts=1,
    published_at=NOW,
    died_at=NOW,
)
PEEKED = Peeked[Any](
    id="m1",
    state="ready",
    payload=None,
    raw=SECRET.encode(),
    attempt=1,
    published_at=NOW,
    headers={},
    priority="normal",
)
STATS = QueueStats(0, 0, 0, 0, 0, 0.0, 0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "record",
    [Receipt("m1"), STATS, LETTER, PEEKED, Retry(), Dedup()],
    ids=lambda record: type(record).__name__,
)
def test_results_are_frozen_and_equal_by_content(record: Any) -> None:
    for field in dataclasses.fields(record):
        with pytest.raises((AttributeError, TypeError)):
            setattr(record, field.name, None)
    with pytest.raises((AttributeError, TypeError)):
        record.something_new = 1
    assert dataclasses.replace(record) == record
    assert pickle.loads(pickle.dumps(record)) == record


def test_every_event_is_frozen_and_has_its_method() -> None:
    from typed_rmq import events

    methods = [name for name in vars(Observer) if not name.startswith("_")]
    assert len(methods) == 16
    for name in methods:
        method = getattr(Observer, name)
        assert inspect.getdoc(method), name
        assert method(Observer(), object()) is None
    records = [
        value
        for value in vars(events).values()
        if dataclasses.is_dataclass(value) and value.__module__ == events.__name__
    ]
    # Those of the two methods that tell of a beginning have a second record, for the end.
    ends = {events.PublishEnded, events.Handled}
    assert len(records) == len(methods) + len(ends)
    for record in records:
        assert record.__dataclass_params__.frozen, record  # type: ignore[attr-defined]  # of every dataclass
        assert record in ends or "queue" in {field.name for field in dataclasses.fields(record)}


# --- what is never shown


class Login(BaseModel):
    user: str
    password: str


def test_no_repr_shows_a_secret() -> None:
    url = f"redis://user:{SECRET}@127.0.0.1:1/0"
    connection = Connection(url)
    queue = Queue[Login]("logins", url)
    shown = [connection, queue, queue.consume(), queue.dead, LETTER, PEEKED, Queue[Login]]
    for one in shown:
        assert SECRET not in repr(one)
        assert SECRET not in str(one)
    assert repr(queue) == "<Queue[Login] 'logins'>"
    assert repr(connection) == "<Connection by a URL>"


def test_no_error_shows_a_url_with_credentials() -> None:
    for wrong in (f"http://user:{SECRET}@host", f"{SECRET}", f"redis://u:{SECRET}@host:port/0"):
        with pytest.raises(ConfigError) as caught:
            Queue[Login]("logins", wrong)
        assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_no_error_shows_a_payload() -> None:
    queue = Queue[Login]("logins", "redis://127.0.0.1:1/0")
    payload: Any = {"user": 7, "password": [SECRET]}
    with pytest.raises(PayloadError) as caught:
        queue.publish(payload)
    error = caught.value
    assert SECRET not in f"{error} {error!r} {error.problems!r}"
    assert error.__cause__ is None
    assert error.__context__ is None
    assert {where for where, _ in error.problems} == {"user", "password"}


# --- durations


@pytest.mark.parametrize("value", [90, 90.0, timedelta(minutes=1.5)])
def test_durations_are_seconds_or_timedeltas(value: Any) -> None:
    Queue[int]("q", "redis://127.0.0.1:1/0", lease=value, dedup=Dedup(window=value))
    assert Retry(backoff=value, jitter="none").delay(1) == 90.0


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": 10_000},
        {"backoff": -1},
        {"backoff": float("nan")},
        {"factor": 0.5},
        {"max_backoff": -1},
        {"jitter": "some"},
    ],
)
def test_a_wrong_retry_policy_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Retry(**options)


def test_the_backoff_grows_to_its_bound() -> None:
    policy = Retry(backoff=2, factor=3, max_backoff=50, jitter="none")
    assert [policy.delay(attempt) for attempt in range(1, 6)] == [2, 6, 18, 50, 50]
    assert policy.delay(9_999) == 50
    jittered = Retry(backoff=2, factor=3, max_backoff=50)
    delays = [jittered.delay(3) for _ in range(200)]
    assert all(0 <= delay <= 18 for delay in delays)
    assert min(delays) < 4 < 14 < max(delays)
