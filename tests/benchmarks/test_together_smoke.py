"""`python -m benchmarks.together` runs, and its table is that of the docs. Not its speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.machine import running
from benchmarks.together import DOCS, Together, replace_in_docs, table


@pytest.mark.servers("valkey")
def test_callers_at_once_are_measured(server_kind: str) -> None:
    with running(None, pinned=False) as server:
        together = Together(server)
        try:
            rows = together.rows(1, 0.05, tasks=(1, 20), threads=(1, 2))
        finally:
            together.close()
    one, many, thread, _ = rows
    assert one.calls == [1.0]
    assert thread.calls == [1.0]
    assert many.calls[0] < 0.5
    assert len(table(rows)) == 2 + 4


def test_a_new_table_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    copy = tmp_path / "performance.md"
    text = DOCS.read_text("utf-8")
    copy.write_text(text, "utf-8")
    replace_in_docs(["| the new table |"], copy)
    found = copy.read_text("utf-8")
    assert "\n\n| the new table |\n\n" in found
    assert "100 tasks" not in found
    assert found.partition("together: begin")[0] == text.partition("together: begin")[0]
    assert found.partition("together: end")[2] == text.partition("together: end")[2]
