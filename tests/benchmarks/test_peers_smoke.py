"""The comparison's tool runs on what is installed here, and the page shows the saved figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.payload import PAYLOAD_BYTES, Order
from benchmarks.peers.__main__ import RESULTS
from benchmarks.peers.catalogue import ENTRIES, chosen
from benchmarks.peers.items import SIZES, Items, as_json
from benchmarks.peers.plots import Bar, chart
from benchmarks.peers.results import Results
from benchmarks.peers.standing import Standing, standings
from benchmarks.peers.tables import BEGIN, CHARTS, DOCS, END, NOT_MEASURED, charts, markdown

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_a_quick_run_of_raw_and_ours(server_kind: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.peers", "--quick", "--json", str(file)]
    done = subprocess.run(
        [*command, "--only", "raw/single", "typed_rmq/default"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = Results.load(file)
    assert results.data["problems"] == {}
    for entry in ("redis-py, single", "typed_rmq, default"):
        for where in ("cross/order", "same/order", "cross/1k", "cross/64k"):
            if where.startswith("same") and where not in str(results.data["slices"]):
                continue
            for verb in ("publish", "bulk", "consume"):
                found = results.summary(f"{where}/{verb}", entry)
                assert found is not None
                assert found.rate > 0
                assert found.client > 0
        latency = results.latency(entry)
        assert latency is not None
        assert latency.p50 > 0
        assert results.data["memory"][entry] > PAYLOAD_BYTES
    # What goes over the wire for one LPUSH of one record: only the key and the command besides.
    published = results.summary("cross/order/publish", "redis-py, single")
    assert published is not None
    assert PAYLOAD_BYTES < published.to_server < PAYLOAD_BYTES + 50
    assert {at.what for at in standings(results)} >= {"publish, sync", "idle wake-up, p50"}
    assert "typed_rmq, default" in markdown(results)
    assert set(charts(results)) >= {"peers-consume.svg", "peers-latency.svg"}
    for text in (file.read_text(), done.stdout):
        assert str(ROOT) not in text
        assert str(tmp_path) not in text
    again = subprocess.run(
        [*command, "--resume", "--only", "raw/single", "typed_rmq/default"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert "cross/order" not in again.stdout, "what was measured is not measured again"


def test_the_page_shows_the_saved_figures() -> None:
    shown = DOCS.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    if not RESULTS.exists():
        assert shown == NOT_MEASURED
        assert not CHARTS.exists()
        return
    results = Results.load(RESULTS)
    assert shown == markdown(results).strip(), "run python -m benchmarks.peers --render"
    for name, svg in charts(results).items():
        assert (CHARTS / name).read_text("utf-8") == svg


def test_all_are_given_the_same_record() -> None:
    for size, length in SIZES.items():
        (item,) = Items().dicts(1, size)
        assert len(as_json(item)) == length
        assert as_json(item) == Order.model_validate(item).model_dump_json().encode()


def test_every_peer_has_its_adapter_and_its_pins() -> None:
    home = ROOT / "benchmarks" / "peers"
    for entry in ENTRIES:
        assert (home / "adapters" / f"{entry.module}.py").exists()
        pins = home / "requirements" / f"{entry.environment}.txt"
        assert not entry.environment or "==" in pins.read_text()
    assert {entry.config for entry in chosen(["saq", "arq/best"])} == {"default", "best"}
    with pytest.raises(SystemExit, match="unknown: nothing"):
        chosen(["nothing"])


def test_a_ratio_is_taken_round_by_round() -> None:
    results = Results()
    for slow in (1, 7, 3):
        for name, cost in (("ours", 2), ("raw", 1)):
            clocks = dict.fromkeys(("client_ns", "server_ns", "to_server", "from_server"), 5)
            results.add("w", name, {"n": 10, "wall_ns": slow * cost * 1000, **clocks})
    assert results.ratio("w", "ours", "w", "raw") == 0.5
    summary = results.summary("w", "raw")
    assert summary is not None
    assert summary.low < summary.rate < summary.high
    assert summary.to_server == 0.5
    assert json.loads(json.dumps(results.data))["slices"]["w"]["raw"][0]["n"] == 10


def test_goals_and_charts() -> None:
    assert Standing("a", 2.0, 2.0, "b").reached
    assert not Standing("a", 2.1, 2.0, "b", at_most=True).reached
    bars = [
        Bar("a <b>", "typed_rmq", 1000.0, 900.0, 1200.0, "1,000"),
        Bar("c", "at most once", 3.0, None, None, "3"),
    ]
    root = ET.fromstring(chart("A & B", bars))
    words = "".join(root.itertext())
    assert "a <b>" in words
    assert "A & B" in words
