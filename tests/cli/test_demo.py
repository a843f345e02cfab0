"""demo: what it promises of itself, and what a person does with `demo --stay`."""

from __future__ import annotations

import re
import signal
import threading

import pytest

from tests.cli.conftest import Shell, until
from typed_rmq import Queue
from typed_rmq.cli.demo_app import QUEUE, Order


@pytest.mark.slow
def test_the_sums_add_up_and_nothing_is_left(shell: Shell) -> None:
    done = shell.process("demo", "--orders", "80", env={"TMPDIR": str(shell.folder)})
    assert done.code == 0, done.out + done.err
    assert "is killed with -9" in done.out
    assert "10 dead letters are redriven" in done.out
    assert "the sums add up" in done.out
    assert list(shell.folder.glob("trmq-demo-*")) == []


@pytest.mark.slow
def test_a_person_finds_a_dead_letter_reads_it_redrives_it_and_sees_it_processed(
    shell: Shell,
) -> None:
    process = shell.start("demo", "--stay", "--orders", "40")
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    reader.start()
    command = until(lambda: next((line for line in lines if "dead redrive" in line), None))
    found = re.search(r"--redis (\S+)", command)
    assert found is not None, command
    url = found[1]
    at = ("--redis", url)
    rows = shell("dead", "list", QUEUE, *at).rows
    assert len(rows) == 5
    shown = shell("dead", "show", QUEUE, rows[0]["id"], *at, "--show-payloads").out
    assert "warehouse 3 is closed" in shown
    assert '"warehouse":3' in shown
    with Queue[Order](QUEUE, url) as queue:
        before = queue.stats().completed
        assert shell("dead", "redrive", QUEUE, rows[0]["id"], *at).code == 0
        until(lambda: rows[0]["id"] in {seen.id for seen in queue.peek(1000, "done")})
        assert queue.stats().completed > before
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    reader.join()
