"""`make bench` runs, and the documentation shows the figures that were saved. Not its speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import BEGIN, DOCS, END, RESULTS, Part, Report, load, markdown, save
from benchmarks.slices import Case, Figure, alternate, ratio
from tests.benchmarks.quick import ROOT, quick_run


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_a_quick_run_measures_every_section(server_kind: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    quick_run("benchmarks", file, 100)
    report = load(file)
    names = " ".join(figure.name for part in report.parts for figure in part.figures)
    for what in (
        "publish_many",
        "async loop",
        "prefetch=1",
        "wake-up",
        "backlog",
        "growth",
        "idle",
    ):
        assert what in names
    assert all(figure.value >= 0 for part in report.parts for figure in part.figures[:3])
    assert str(ROOT) not in file.read_text()
    assert str(tmp_path) not in file.read_text()


def test_the_documentation_shows_the_saved_figures() -> None:
    shown = DOCS.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == markdown(load(RESULTS)).strip(), "run python -m benchmarks --save"


def test_a_ratio_is_taken_round_by_round() -> None:
    # Every round the machine is twice as slow: the rates differ, the ratio does not.
    slow = [1]

    def run(cost: int) -> Case:
        def work(n: int) -> int:
            slow[0] *= 2
            return n * cost * slow[0]

        return Case(f"costs {cost}", work, 1e9)

    ours, raw = run(4), run(2)
    alternate([raw, ours], rounds=4, seconds=0.001)
    figure = ratio(ours, raw, goal=0.5)
    assert len(ours.rates) == len(raw.rates) == 4
    assert {figure.low, figure.high} == {0.25, 1.0}
    assert figure.reached is True


def test_a_bound_is_missed_from_above() -> None:
    assert Figure("bytes", 208, unit="B", goal=207, at_most=True).reached is False
    assert Figure("rate", 0.79, goal=0.8).reached is False
    assert Figure("told only", 1).reached is None


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    figure = Figure("a | b", 1.234, 1.0, 2.0, goal=1.0, detail="12/s")
    part = Part("P", "Seven rounds.", [figure])
    report = Report("2026-01-01", {"cores": 2}, "Busy.", [part])
    file = tmp_path / "report.json"
    save(report, file)
    assert load(file) == report
    assert json.loads(file.read_text())["parts"][0]["figures"][0]["value"] == 1.234
    assert r"| a \| b | 1.23x (1 to 2) | ≥ 1x | reached | 12/s |" in markdown(report)
