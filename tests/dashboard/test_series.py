"""The last hour in memory: bounded, honest about gaps, and drawn within its frame."""

from __future__ import annotations

import gc
import re
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typed_rmq import ConsumerInfo, DeadLetter, Peeked, QueueStats
from typed_rmq.dashboard import words
from typed_rmq.dashboard.charts import HEIGHT, WIDTH, charts_of, spark
from typed_rmq.dashboard.series import KEPT, SEEN, SIGHTINGS, TIMES, History, percentile
from typed_rmq.dashboard.timeline import timeline

NOW = 1_800_000_000.0
STATS = QueueStats(0, 0, 0, 0, 0, 0.0, 0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def done(message_id: str, at: float, took: float = 0.5) -> Peeked[object]:
    finished = datetime.fromtimestamp(at, UTC)
    return Peeked(
        id=message_id,
        state="done",
        payload=None,
        raw=b"",
        attempt=1,
        published_at=finished - timedelta(seconds=2 * took),
        headers={},
        priority="normal",
        finished_at=finished,
        duration=took,
    )


def test_rates_are_growth_over_time() -> None:
    history = History()
    for n in range(7):
        history.record(NOW + 5 * n, replace(STATS, published=50 * n, completed=25 * n), 5)
    assert history.rate(NOW + 30, "published") == pytest.approx(10)
    assert history.rate(NOW + 30, "completed") == pytest.approx(5)
    assert History().rate(NOW, "published") is None


def test_what_grew_in_a_gap_or_shrank_is_not_shown() -> None:
    history = History()
    history.record(NOW, replace(STATS, published=10), 5)
    history.record(NOW + 60, replace(STATS, published=1000), 5)  # nobody looked in between
    assert history.rate(NOW + 60, "published") is None
    history.record(NOW + 65, replace(STATS, published=3), 5)  # made anew
    assert history.rate(NOW + 65, "published") is None
    history.record(NOW + 70, replace(STATS, published=13), 5)
    assert history.rate(NOW + 70, "published") == pytest.approx(2)


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    tracemalloc.start()
    try:
        history = busy_hours()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_200_000, "bytes for one queue, at the most"
    assert len(history.buckets) == KEPT
    assert all(len(b.total) <= TIMES and len(b.handling) <= TIMES for b in history.buckets)
    assert len(history._seen) == SEEN
    assert len(history.sightings("always")) == SIGHTINGS
    assert history.sightings("m250") == ()
    assert len(history._failures) == SEEN


def busy_hours() -> History:
    """More than an hour in which everything that is bounded comes to its bound."""
    history = History()
    for n in range(800):
        at = NOW + 6 * n
        history.record(at, replace(STATS, published=n), 6)
        history.record_done(at, [done(f"{n}-{i}", at - i / 1000) for i in range(60)])
        names = tuple(f"{name}{n if n < 300 else n % 200}" for name in "mn")
        held = ConsumerInfo(f"{n:016}@host:1", "host", 1, 1.0, 2, (*names, "always"))
        history.record_consumers(at, [held], 5)
        failed = [replace(done(f"{n}-{i}", at), attempt=2 + i % 20) for i in range(3)]
        history.record_retries(at, failed)
    return history


def test_completions_are_counted_once_and_only_from_now_on() -> None:
    history = History()
    history.record_done(NOW, [done("b", NOW - 1), done("a", NOW - 2)])
    assert not history.buckets, "what came before is nobody's figure"
    newer = [done("d", NOW + 2, 4.0), done("c", NOW + 1, 3.0), done("b", NOW - 1)]
    history.record_done(NOW + 3, newer)
    history.record_done(NOW + 4, newer)
    [bucket] = history.buckets
    assert list(bucket.handling) == [4.0, 3.0]
    assert list(bucket.total) == [8.0, 6.0]


def test_a_message_is_seen_in_spans() -> None:
    history = History()
    held = ConsumerInfo("s1", "web", 7, 50.0, 1, ("m",))
    for at in (0, 5, 10, 100, 105):
        history.record_consumers(NOW + at, [held], 5)
    history.record_consumers(NOW + 110, [replace(held, session="s2")], 5)
    spans = [(one.session, one.first - NOW, one.last - NOW) for one in history.sightings("m")]
    assert spans == [("s1", 0, 10), ("s1", 100, 105), ("s2", 110, 110)]


@pytest.mark.parametrize(("age", "span"), [(0, 300), (299, 300), (301, 900), (4000, 3600)])
def test_the_window_grows_with_what_is_known(age: float, span: float) -> None:
    history = History()
    history.record(NOW, STATS, 5)
    assert history.span(NOW + age) == span


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 10**9)), min_size=1, max_size=60),
    st.integers(0, 4000),
)
def test_every_line_stays_in_its_frame(samples: list[tuple[int, int]], later: int) -> None:
    history = History()
    samples.sort()
    for at, depth in samples:
        history.record(NOW + at, replace(STATS, ready=depth, published=depth), 5)
    now = NOW + samples[-1][0] + later
    paths = [spark(history, now)]
    for chart in charts_of(history, now, keeps_done=True):
        paths += [line.path for line in chart.lines] + [line.area for line in chart.lines]
        for one in chart.slices:
            assert 0 <= one.x <= WIDTH - one.width + 0.2
            assert len(one.values) == len(chart.lines)
    for path in paths:
        assert re.fullmatch(r"[MLZ0-9. -]*", path)
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path):
            assert -1 <= float(x) <= WIDTH + 1
            assert 0 <= float(y) <= HEIGHT


def test_a_chart_says_in_words_what_it_draws() -> None:
    history = History()
    for n in range(10):
        history.record(NOW + 5 * n, replace(STATS, ready=n, published=10 * n), 5)
    depth, throughput, oldest, failures = charts_of(history, NOW + 45, keeps_done=False)
    assert depth.summary == (
        "Depth, messages, over the last 5 minutes: Ready 9, Delayed 0, In flight 0; "
        "highest value 9."
    )
    assert throughput.lines[0].now == "2"
    assert oldest.title == "Oldest ready message"
    assert failures.lines[1].now == "0"
    latency = charts_of(history, NOW + 45, keeps_done=True)[2]
    assert latency.empty


def test_percentiles_are_nearest_ranks() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([3.0], 0.01) == 3.0
    assert percentile([], 0.5) is None


# --- time lines


def texts(*args: Any) -> list[str]:
    failures = args[3:] or ({},)
    return [moment.text for moment in timeline(*args[:3], *failures)]


def test_the_time_line_of_a_dead_letter() -> None:
    at = datetime.fromtimestamp(NOW, UTC)
    letter = DeadLetter[object](
        id="m",
        payload=None,
        raw=b"",
        reason="it raised",
        error=None,
        traceback=None,
        attempts=3,
        published_at=at,
        died_at=at + timedelta(minutes=1),
    )
    assert texts(None, letter, []) == [
        "Published",
        "Attempts 1 and 2 failed; when was not seen",
        "Dead after attempt 3: it raised",
    ]


def test_the_time_line_has_each_attempt_that_was_seen_to_fail() -> None:
    at = datetime.fromtimestamp(NOW, UTC)
    waiting = replace(done("m", NOW), state="delayed", attempt=7, published_at=at, due_at=at)
    history = History()
    for attempt, later in ((1, 5), (3, 10), (3, 15), (4, 20)):
        history.record_retries(NOW + later, [replace(waiting, attempt=attempt)])
    history.record_consumers(NOW + 12, [ConsumerInfo("s", "web", 7, 1.0, 1, ("m",))], 5)
    seen = [(one, "web") for one in history.sightings("m")]
    moments = timeline(waiting, None, seen, history.failures("m"))
    assert [(one.text, one.at and one.at.timestamp() - NOW) for one in moments] == [
        ("Published", 0),
        ("Attempt 1 failed; when was not seen", None),
        ("Attempt 2 had failed: seen waiting for attempt 3", 10),
        ("Seen in flight at web", 12),
        ("Attempt 3 had failed: seen waiting for attempt 4", 20),
        ("Attempts 4 to 6 failed; when was not seen", None),
        ("Due for attempt 7", 0),
    ]


def test_the_time_line_of_one_that_is_done_at_once() -> None:
    assert texts(done("m", NOW), None, []) == [
        "Published",
        "Attempt 1 began, which took 500 ms",
        "Done in attempt 1",
    ]


# --- words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (1, "1 s"),
        (1.34, "1.3 s"),
        (90, "90 s"),
        (300, "5 min"),
        (9000, "2.5 h"),
        (400_000, "5 d"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_foreign_text_cannot_hide_or_turn_anything() -> None:
    assert words.visible("a\u202eb\u200bc\x00d\x1b[31m\ud800") == (
        "a\\u202eb\\u200bc\\u0000d\\u001b[31m\\ud800"
    )
    assert words.visible("für 雪 🎉\n\tx") == "für 雪 🎉\n\tx"


def test_payloads_read_well_and_end_somewhere() -> None:
    assert words.payload_text({"a": [1, "ü"]}) == '{\n  "a": [\n    1,\n    "ü"\n  ]\n}'
    assert words.payload_text(object()).startswith('"<object')
    assert words.raw_text(b"plain") == "plain"
    assert words.raw_text(b"\xff" * 20) == (
        f"00000000  {' '.join(['ff'] * 16)}\n00000010  ff ff ff ff"
    )
    assert words.raw_text(b"x" * 100_000).endswith("and 34,464 more characters")
    assert "more bytes" in words.raw_text(b"\xff" * 100_000)
