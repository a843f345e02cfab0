"""``make bench-check``: what got dearer is found, and what could not be compared is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import callgrind, instructions
from benchmarks.baseline import BEGIN, END, TOLERANCES, Baseline, compare, markdown
from benchmarks.instructions import DOCS, RESULTS, Sizes, of_client, of_server, traffic

ROOT = Path(__file__).resolve().parents[2]
FACTS = {need: "1" for tolerance in TOLERANCES.values() for need in tolerance.needs}
SAVED = Baseline(
    FACTS,
    {
        "server: publish one": 100_000.0,
        "client: publish one": 100_000.0,
        "requests: publish one": 1.0,
        "requests: loop": 0.01,
        "bytes in: publish one": 400.0,
    },
)
TINY = Sizes(20, 20)


def changed(**figures: float) -> Baseline:
    return replace(SAVED, figures={**SAVED.figures, **figures})


def test_the_same_figures_are_fine() -> None:
    found = compare(SAVED, SAVED)
    assert (found.worse, found.not_compared) == ([], [])
    assert len(found.lines) == len(SAVED.figures)


@pytest.mark.parametrize(
    ("name", "within", "above"),
    [
        ("server: publish one", 104_900.0, 105_100.0),
        ("client: publish one", 107_900.0, 108_100.0),
        ("requests: publish one", 1.019, 1.021),
        ("bytes in: publish one", 407.0, 409.0),
        ("requests: loop", 0.014, 0.016),
    ],
)
def test_what_is_above_its_tolerance_is_named(name: str, within: float, above: float) -> None:
    assert compare(SAVED, changed(**{name: within})).worse == []
    assert compare(SAVED, changed(**{name: 0.0})).worse == [], "less is not worse"
    found = compare(SAVED, changed(**{name: above}))
    assert found.worse == [name]
    (row,) = (row for row in found.table() if row.startswith(name))
    assert row.endswith("MORE")


@pytest.mark.parametrize(
    ("fact", "still"),
    [
        ("python", {"server", "requests", "bytes in"}),
        ("server", {"client", "requests", "bytes in"}),
    ],
)
def test_instructions_of_other_versions_are_not_compared(fact: str, still: set[str]) -> None:
    dearer = Baseline({**FACTS, fact: "2"}, {name: 2 * n for name, n in SAVED.figures.items()})
    found = compare(SAVED, dearer)
    assert {name.partition(":")[0] for name in found.worse} == still
    (reason,) = found.not_compared
    assert f"{fact} is 2 here, 1 in the baseline" in reason


def test_what_only_one_side_has_is_named() -> None:
    new = changed(**{"commands: publish one": 7.0})
    del new.figures["client: publish one"]
    found = compare(SAVED, new)
    assert found.not_compared == [
        "not measured in this run: client: publish one",
        "not in the baseline: commands: publish one",
    ]
    assert found.worse == []


def test_a_baseline_survives_its_file(tmp_path: Path) -> None:
    SAVED.save(tmp_path / "b.json")
    assert Baseline.load(tmp_path / "b.json") == SAVED


def test_the_documentation_shows_the_saved_instructions() -> None:
    shown = DOCS.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == markdown(Baseline.load(RESULTS)), "run make bench-check ARGS=--save"


def test_the_saved_figures_are_whole_and_name_no_machine() -> None:
    saved = Baseline.load(RESULTS)
    kinds = len(TOLERANCES)
    assert len(saved.figures) == kinds * len(instructions.OPERATIONS)
    assert all(value > 0 for value in saved.figures.values())
    assert set(saved.facts) == set(FACTS)
    assert "/" not in "".join(saved.facts.values())


@pytest.mark.parametrize("dearer", [False, True])
def test_the_command_fails_where_something_is_dearer(
    dearer: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    SAVED.save(tmp_path / "b.json")
    now = changed(**{"server: publish one": 110_000.0}) if dearer else SAVED
    monkeypatch.setattr(instructions, "RESULTS", tmp_path / "b.json")
    monkeypatch.setattr(instructions, "measure", lambda: now)
    monkeypatch.setattr(sys, "argv", ["instructions"])
    if dearer:
        with pytest.raises(SystemExit, match="MORE THAN BEFORE: server: publish one"):
            instructions.main()
    else:
        instructions.main()
    assert "1.100" in capsys.readouterr().out or not dearer


# ------------------------------------------------------- measured, with paths made slower

_SLOW_CLIENT = """
from typed_rmq import Queue
publish = Queue.publish
def slow(self, *args, **options):
    for _ in range(5_000):
        pass
    return publish(self, *args, **options)
Queue.publish = slow
"""
_SLOW_SCRIPT = """
import hashlib
from typed_rmq import scripts
source = b"for i = 1, 10 do redis.call('EXISTS', KEYS[1]) end\\n" + scripts.ENQUEUE.source
scripts.ENQUEUE = scripts.Script("enqueue", source, hashlib.sha1(source).hexdigest().encode())
"""
_TWICE = """
from typed_rmq import Queue
publish = Queue.publish
def twice(self, *args, **options):
    publish(self, *args, **options)
    return publish(self, *args, **options)
Queue.publish = twice
"""


def child(first: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"{first}\nfrom benchmarks.instructions import work; work()")


def found(counts: Iterable[tuple[str, float]], slow: Iterable[tuple[str, float]]) -> list[str]:
    return compare(Baseline(FACTS, dict(counts)), Baseline(FACTS, dict(slow))).worse


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_extra_requests_and_extra_commands_are_found(server_kind: str) -> None:
    one = ("publish one",)
    before = dict(traffic(TINY, one))
    assert found(before.items(), before.items()) == []
    assert found(before.items(), traffic(TINY, one, child(_TWICE))) == [
        "requests: publish one",
        "commands: publish one",
        "bytes in: publish one",
        "bytes out: publish one",
    ]
    assert found(before.items(), traffic(TINY, one, child(_SLOW_SCRIPT))) == [
        "commands: publish one"
    ]


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_extra_instructions_are_found(server_kind: str) -> None:
    if callgrind.version() is None:
        # Said loudly at the end of the run as well; CI installs it, and must not go without.
        assert not os.environ.get("CI"), f"no valgrind: {callgrind.HOW_TO_INSTALL}"
        pytest.skip(f"no valgrind: {callgrind.HOW_TO_INSTALL}")
    one = ("publish one",)
    assert found(of_client(TINY, one), of_client(TINY, one, child(_SLOW_CLIENT))) == [
        "client: publish one"
    ]
    assert found(of_server(TINY, one), of_server(TINY, one, child(_SLOW_SCRIPT))) == [
        "server: publish one"
    ]


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_without_valgrind_it_says_so_and_compares_the_rest(
    server_kind: str, tmp_path: Path
) -> None:
    shell = shutil.which("sh")
    assert shell
    (tmp_path / "sh").symlink_to(shell)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.instructions"],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "!! NOT COMPARED: not measured in this run: server: LPUSH" in done.stdout
    assert "apt-get install valgrind" in done.stdout
    assert "requests: publish one" in done.stdout
