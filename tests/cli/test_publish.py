"""publish: every line is a message or a refusal, once, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell, until
from tests.cli.models import Order
from tests.servers import RunningServer
from typed_rmq import Queue

MODEL = ("--model", "tests.cli.models:Order")


def lines_of(shell: Shell, name: str = "orders") -> list[int]:
    """The order ids in a queue, in their order, as consumers would get them."""
    with Queue[Order](name, shell.url) as queue:
        found: list[int] = []
        for msg in queue.consume(until_empty=True):
            with msg as order:
                found.append(order.order_id)
    return found


def wait_for_more(shell: Shell, more: int) -> None:
    """Until more than so many messages have been published since now."""
    with Queue[Order]("orders", shell.url) as queue:
        before = queue.stats().published
        until(lambda: queue.stats().published > before + more)


def write(shell: Shell, *lines: str | bytes | dict[str, Any], name: str = "in.ndjson") -> Path:
    path = shell.folder / name
    with path.open("ab") as file:
        for line in lines:
            text = json.dumps(line) if isinstance(line, dict) else line
            file.write((text.encode() if isinstance(text, str) else text) + b"\n")
    return path


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"order_id": number} for number in numbers]


def test_good_lines_are_published_and_bad_ones_refused_with_number_and_reason(
    shell: Shell,
) -> None:
    write(shell, *numbered(1, 2), "", "not json", {"order_id": "x"}, *numbered(2, 3), b"\xff\xfe")
    done = shell("publish", "orders", "in.ndjson", *MODEL, "--json")
    assert done.code == 3
    record = done.records[0]
    assert (record["published"], record["duplicates"], record["refused"]) == (3, 1, 3)
    assert (record["lines"], record["finished"]) == (8, True)
    assert lines_of(shell) == [1, 2, 3]
    refused = [
        json.loads(line) for line in (shell.folder / "in.ndjson.refused").read_text().splitlines()
    ]
    assert [one["line"] for one in refused] == [4, 5, 8]
    assert "Invalid JSON" in refused[0]["reason"]
    assert "order_id: Input should be a valid integer" in refused[1]["reason"]
    assert json.loads(refused[1]["text"]) == {"order_id": "x"}
    assert (shell.folder / "in.ndjson.refused").stat().st_mode & 0o077 == 0


def test_what_only_the_queue_refuses_is_refused_alone(shell: Shell) -> None:
    # Pydantic takes a lone surrogate or a payload of any size; a queue does not.
    write(shell, *numbered(1), {"order_id": 2, "sku": "x" * 1_100_000}, *numbered(3))
    done = shell("publish", "orders", "in.ndjson", *MODEL)
    assert (done.code, lines_of(shell)) == (3, [1, 3])
    assert '"line": 2' in (shell.folder / "in.ndjson.refused").read_text()[:20]


def test_a_line_that_is_too_long_is_refused_without_being_held(shell: Shell) -> None:
    write(shell, *numbered(1), b'"' + b"x" * (17 * 1024 * 1024) + b'"', *numbered(2))
    assert shell("publish", "orders", "in.ndjson", *MODEL).code == 3
    assert lines_of(shell) == [1, 2]
    refused = (shell.folder / "in.ndjson.refused").read_text()
    assert "too long" in refused
    assert len(refused) < 1000


def test_a_second_run_publishes_only_what_was_added(shell: Shell) -> None:
    write(shell, *numbered(*range(1200)))
    assert shell("publish", "orders", "in.ndjson", *MODEL).code == 0
    done = shell("publish", "orders", "in.ndjson", *MODEL)
    assert (done.code, "nothing to do" in done.err) == (0, True)
    assert len(lines_of(shell)) == 1200
    write(shell, *numbered(5000))
    assert shell("publish", "orders", "in.ndjson", *MODEL).code == 0
    assert lines_of(shell) == [5000]
    # Another queue is another publish.
    assert shell("publish", "others", "in.ndjson", *MODEL).code == 0
    assert len(lines_of(shell, "others")) == 1201


def test_a_file_that_was_changed_is_not_continued_in_its_middle(shell: Shell) -> None:
    path = write(shell, *numbered(1, 2, 3))
    shell("publish", "orders", "in.ndjson", *MODEL)
    path.write_text(path.read_text().replace("2", "7"))
    done = shell("publish", "orders", "in.ndjson", *MODEL)
    assert done.code == 2
    assert "--restart" in done.err
    assert shell("publish", "orders", "in.ndjson", *MODEL, "--restart").code == 0
    assert lines_of(shell) == [1, 2, 3, 7], "what was there before is recognized"


@pytest.mark.parametrize("policy", [(), ("--no-dedup",)])
@pytest.mark.slow
def test_killed_and_run_again_nothing_is_doubled_and_nothing_lost(
    shell: Shell, shared_server: RunningServer, policy: tuple[str, ...]
) -> None:
    """kill -9 while a batch is on its way: Redis has it, the progress does not say so."""
    repeated = 7 if policy else 0
    write(shell, *numbered(*range(2000)), *numbered(*range(repeated)))
    expected = sorted([*range(2000), *range(repeated)])
    command = ["publish", "orders", "in.ndjson", *MODEL, *policy, "--batch", "20"]
    kills = 0
    for _ in range(3):
        process = shell.start(*command)
        # Frozen, the server answers a batch only after its sender is dead.
        wait_for_more(shell, 40)
        if process.poll() is None:
            shared_server.signal(signal.SIGSTOP)
            time.sleep(0.2)
            process.kill()
            process.wait()
            shared_server.signal(signal.SIGCONT)
            kills += 1
    assert kills == 3
    progress = next(shell.folder.glob("*.progress"))
    assert json.loads(progress.read_text())["pending"] is not None
    done = shell(*command)
    assert done.code == 0
    assert "going on at line" in done.err
    assert sorted(lines_of(shell)) == expected


@pytest.mark.slow
def test_stopped_by_a_signal_it_ends_after_the_batch_and_goes_on(shell: Shell) -> None:
    write(shell, *numbered(*range(20_000)))
    command = ["publish", "orders", "in.ndjson", *MODEL, "--batch", "5"]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = shell.start(*command)
        wait_for_more(shell, 0)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert "goes on from there" in err
        assert json.loads(next(shell.folder.glob("*.progress")).read_text())["pending"] is None
    assert shell(*command, "--batch", "1000").code == 0
    assert lines_of(shell) == list(range(20_000))


def test_where_a_repetition_cannot_be_recognized_one_is_asked(shell: Shell) -> None:
    """A Queue object has a deduplication of its own, here none: a batch in doubt stays in doubt."""
    write(shell, *numbered(1, 2, 3, 4))
    shell.env["REDIS_URL"] = shell.url
    command = ("publish", "orders", "in.ndjson", "--model", "tests.cli.app:orders", "--batch", "2")
    assert shell(*command).code == 0
    record = next(shell.folder.glob("*.progress"))
    state = json.loads(record.read_text())
    half = b"".join((shell.folder / "in.ndjson").read_bytes().splitlines(keepends=True)[:2])
    state |= {
        "offset": len(half),
        "line": 2,
        "digest": hashlib.blake2b(half).hexdigest(),
        "pending": time.time(),
        "pending_batch": 2,
        "finished": False,
    }
    record.write_text(json.dumps(state))
    done = shell(*command)
    assert done.code == 2
    assert "from line 3 on" in done.err
    assert "--in-doubt" in done.err
    assert shell(*command, "--in-doubt", "skip").code == 0
    assert lines_of(shell) == [1, 2, 3, 4]
    record.write_text(json.dumps(state))
    assert shell(*command, "--in-doubt", "resend").code == 0
    assert lines_of(shell) == [3, 4]


def test_standard_input_headers_priority_and_delay(shell: Shell) -> None:
    done = shell(
        *("publish", "orders", "-", *MODEL, "--header", "from=cron", "--priority", "high"),
        *("--delay", "60", "--json"),
        stdin='{"order_id": 1}\n{"order_id": 2}',
    )
    assert done.code == 0, done.err
    seen = shell("peek", "orders", "--state", "delayed", "--json").records
    assert [one["headers"] for one in seen] == [{"from": "cron"}] * 2
    assert {one["priority"] for one in seen} == {"high"}


def test_dedup_by_fields(shell: Shell) -> None:
    write(shell, {"order_id": 1, "sku": "a"}, {"order_id": 1, "sku": "b"}, {"order_id": 2})
    done = shell("publish", "orders", "in.ndjson", *MODEL, "--dedup-field", "order_id", "--json")
    assert (done.records[0]["duplicates"], done.records[0]["conflicts"]) == (1, 1)
    done = shell("publish", "x", "in.ndjson", *MODEL, "--dedup-field", "no_such_field")
    assert (done.code, done.err.count("\n")) == (2, 1)


@pytest.mark.slow
def test_a_progress_bar_on_a_terminal(shell: Shell) -> None:
    write(shell, *numbered(*range(30_000)))
    screen = shell.screen("publish", "orders", "in.ndjson", *MODEL, "--batch", "50")
    screen.shows(r"orders .*\d+% .*lines.*lines/s.*time left")
    screen.type("\x03")
    assert screen.ends() == 130
    screen.shows("the same command goes on from there")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("in.ndjson", "--model", "no_such_module:X"), "no module 'no_such_module'"),
        (("in.ndjson", "--model", "tests.cli.models:Nothing"), "has no 'Nothing'"),
        (("in.ndjson", "--model", "tests.cli.models"), "takes module:name"),
        (("nowhere.ndjson", *MODEL), "No such file or directory: nowhere.ndjson"),
        (("in.ndjson", *MODEL, "--header", "x"), "NAME=VALUE"),
        (("in.ndjson",), "--model"),
        (("in.ndjson", *MODEL, "--batch", "0"), "--batch"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    shell: Shell, arguments: tuple[str, ...], says: str
) -> None:
    write(shell, *numbered(1))
    done = shell("publish", "orders", *arguments)
    assert done.code in (1, 2)
    assert says in done.err
    assert re.fullmatch(r"typed-rmq: .+\n", done.err)
    assert [path.name for path in shell.folder.iterdir()] == ["in.ndjson"]
