"""`make bench-scale` runs at a small size, and its figures make sense. Not its speed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.report import BEGIN, END, load, markdown
from benchmarks.scale.__main__ import DOCS, RESULTS
from benchmarks.scale.sizes import FULL, QUICK
from tests.benchmarks.quick import ROOT, quick_run
from typed_rmq.deadletters import REDRIVE
from typed_rmq.steering import PURGE


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_a_small_run_measures_everything(server_kind: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = quick_run("benchmarks.scale", file, 200)
    assert not done.stderr
    found = {figure.name: figure for part in load(file).parts for figure in part.figures}

    ready = found[f"{QUICK.ready:,} ready messages, bytes each"]
    assert 200 < ready.value < 600
    for call in ("publish", "publish with a delay", "claim, prefetch=1", "claim, in batches"):
        for other in ("an empty queue", "an empty server's"):
            assert found[f"{call}: the server's CPU time / {other}"].value > 0

    redrive = found[f"redrive of {QUICK.dead:,} dead letters, longest call"]
    # And one call each to count them before and to find nothing more.
    assert QUICK.dead / REDRIVE <= calls(redrive.detail) <= QUICK.dead / REDRIVE + 2
    purged = next(found[name] for name in found if re.match(r"purge of [\d,]+ messages, l", name))
    assert calls(purged.detail) >= QUICK.ready / PURGE
    assert found["keys that are left then"].value < QUICK.ready

    assert found[f"commands of {QUICK.queues:,} idle queues in {QUICK.quiet:g} s"].value == 0
    assert found["threads of that process"].value == 1
    assert found["connections of that process"].reached
    crowd = QUICK.crowds[-1]
    assert found[f"of {crowd} consumers, had work when messages took time"].value > 1
    herd = found[f"requests for a message that wakes one of {crowd} consumers / the only one"]
    assert herd.value < crowd
    assert str(ROOT) not in file.read_text()
    assert str(tmp_path) not in file.read_text()


def calls(detail: str) -> int:
    return int(detail.partition(" calls")[0].replace(",", ""))


def test_the_documentation_shows_the_saved_figures() -> None:
    shown = DOCS.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    report = load(RESULTS)
    assert shown == markdown(report).strip(), "run python -m benchmarks.scale --save"
    names = " ".join(figure.name for part in report.parts for figure in part.figures)
    # A whole run, not a small one.
    for size in (FULL.ready, FULL.delayed, FULL.dead, FULL.queues):
        assert f"{size:,}" in names
