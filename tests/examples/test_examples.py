"""Every example, run as a user runs it: a process of its own, on a real server."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from examples.data.generate import ORDERS, generate
from examples.demo.__main__ import conclude
from examples.models import Order
from typed_rmq import Queue

ROOT = Path(__file__).parents[2]
TIMEOUT = 150.0


def complaints(stderr: str) -> str:
    """What it complains of, but for the one warning that the servers of the tests deserve."""
    return "".join(
        line for line in stderr.splitlines(keepends=True) if "may lose messages" not in line
    )


def command(module: str, *arguments: str) -> list[str]:
    # A warning in an example, such as one about a socket left open, fails its test.
    return [sys.executable, "-W", "error", "-m", f"examples.{module}", *arguments]


def environment(**extra: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name != "REDIS_URL"},
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def run(module: str, *arguments: str) -> str:
    """The example's output; it must exit with 0 and write nothing to stderr."""
    finished = subprocess.run(
        command(module, *arguments),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert complaints(finished.stderr) == ""
    return finished.stdout


# ------------------------------------------------------------------ one feature each


def test_dedup_keys(redis_url: str) -> None:
    output = run("dedup_keys", "--url", redis_url)
    conflict = "duplicate, and a conflict: the same key with other content"
    assert verdicts(output) == {
        "By the whole content (the default)": ["stored", "duplicate", "stored"],
        "By one field, Dedup(fields=('order_id',))": ["stored", conflict],
        "By a key of your own, Dedup(key=...)": ["stored", conflict],
        "By a field marked in the model, Annotated[str, DedupKey]": ["stored", conflict],
        "By a key given with the call, dedup_key=": ["stored", "duplicate", "stored"],
        "Within a window, Dedup(window=0.3 s)": ["stored", "duplicate", "stored"],
        "While the message lives, Dedup(until='done')": ["stored", "duplicate", "stored"],
        "Off, dedup=None": ["stored", "stored"],
    }


def verdicts(output: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        if line.startswith("  "):
            found[list(found)[-1]].append(line[21:].strip())
        else:
            found[line.rstrip(":")] = []
    return found


def test_unions(redis_url: str) -> None:
    lines = run("unions", "--url", redis_url).splitlines()
    assert [line.split()[0] for line in lines] == ["Created", "Paid", "Cancelled"]
    assert lines[0].endswith("created for TEA-SENCHA-250")
    assert lines[1].endswith("paid with 16.50")
    assert lines[2].endswith("cancelled: ordered twice")


def test_retries_and_dead_letters(redis_url: str) -> None:
    output = run("retries_and_dead_letters", "--url", redis_url)
    assert "DE: shipped in attempt 1" in output
    assert [output.count(f"SE: attempt {n} failed") for n in (1, 2, 3)] == [1, 1, 0]
    assert "SE: shipped in attempt 3" in output
    assert [output.count(f"CH: attempt {n} failed") for n in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert "Dead letters: 2" in output
    assert "FR: discontinued (attempts: 1)" in output
    assert "CarrierDownError: out of service" in output
    assert 'raise CarrierDownError("out of service")' in output
    assert "redriven: 1" in output
    assert "CH: shipped in attempt 1" in output
    assert "Dead letters left: 1, purged: 1" in output


def test_delayed(redis_url: str) -> None:
    first, *rest = run("delayed", "--url", redis_url).splitlines()
    assert first == "ready 1, delayed 3"
    arrivals = [re.fullmatch(r"after (\d+\.\d) s: (.+)", line) for line in rest]
    assert [found[2] for found in arrivals if found] == [
        "at once",
        "after 0.3 seconds",
        "after timedelta(seconds=0.6)",
        "at a time, one second from now",
    ]
    for found, earliest in zip(arrivals, (0.0, 0.3, 0.6, 1.0), strict=True):
        assert found is not None
        # A second late is a slow machine; a tenth early is the rounding of the output.
        assert earliest - 0.1 < float(found[1]) < earliest + 1.5


def test_priorities(redis_url: str) -> None:
    output = run("priorities", "--url", redis_url)
    delivered = re.findall(r"^delivered (.+)$", output, re.MULTILINE)
    assert delivered == ["high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"]


def test_worker_concurrency(redis_url: str) -> None:
    threads, tasks = run("worker_concurrency", "--url", redis_url).splitlines()
    pattern = r"(.+): 20 orders of 0\.1 s each in (\d+\.\d) s, at most (\d+) at a time"
    for line, what, most in ((threads, "run, 4 threads", 4), (tasks, "arun, 10 tasks", 10)):
        found = re.fullmatch(pattern, line)
        assert found is not None
        assert found[1] == what
        assert 1 < int(found[3]) <= most
        assert float(found[2]) < 2.0  # one after the other takes 2 s and more


def test_fastapi_lifespan(redis_url: str) -> None:
    output = run("fastapi_lifespan", "--url", redis_url)
    assert output.count("first click: 202, accepted") == 3
    assert output.count("second click: 202, duplicate") == 3
    assert "an incomplete order: 422" in output
    assert "shipped in the background: 3" in output


def test_encryption_and_rotation(redis_url: str) -> None:
    output = run("encryption_and_rotation", "--url", redis_url)
    assert "Redis holds the customer's address in the open: False" in output
    assert ", old key" in output
    assert ", new key" in output
    assert output.count("read one with the new key") == 1
    assert output.count("kept as a dead letter, unread:") == 1
    assert "redriven with both keys: 1" in output
    assert output.count("read the forgotten one") == 1


def test_own_serializer(redis_url: str) -> None:
    lines = run("own_serializer", "--url", redis_url).splitlines()
    assert re.fullmatch(r"stored: \d{7}\|TEA-SENCHA-250\|16\.50", lines[0])
    assert lines[1].startswith('stored: {"receipt":')
    assert lines[2:] == [
        "received: receipt 0, TEA-SENCHA-250, 16.50",
        "received: receipt 1, COF-FILTER-V60, 6.20",
    ]


# ------------------------------------------------------------------ several terminals

# The embedded server is a Valkey; the features above run on the other servers, too.
on_valkey = pytest.mark.servers("valkey")

SENDERS = ("send_messages", "async_send_messages")
RECEIVERS = ("receive_messages", "async_receive_messages")


class Terminal:
    """An example that runs on, as in a terminal of its own."""

    def __init__(self, module: str, *arguments: str, **extra: str) -> None:
        self.process = subprocess.Popen(
            command(module, *arguments),
            cwd=ROOT,
            env=environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def wait_for(self, beginning: str, times: int = 1) -> None:
        """Read on until that many lines with this beginning have come."""
        assert self.process.stdout is not None
        while times:
            line = self.process.stdout.readline()
            if not line:
                output, errors = self.process.communicate(timeout=TIMEOUT)
                pytest.fail(f"ended early: {self.lines} {output} {errors}")
            self.lines.append(line.rstrip("\n"))
            times -= line.startswith(beginning)

    def ctrl_c(self) -> str:
        """The last line after a real SIGINT; the exit code must be 0, stderr empty."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> str:
        output, errors = self.process.communicate(timeout=TIMEOUT)
        self.lines += output.splitlines()
        assert self.process.returncode == 0, errors
        assert complaints(errors) == ""
        return self.lines[-1]

    def count(self, beginning: str) -> int:
        return sum(line.startswith(beginning) for line in self.lines)


@contextlib.contextmanager
def terminal(module: str, *arguments: str, **extra: str) -> Generator[Terminal]:
    opened = Terminal(module, *arguments, **extra)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            opened.process.kill()
            opened.process.communicate()


@on_valkey
@pytest.mark.parametrize("sender", SENDERS)
def test_a_sender_ends_by_itself_at_its_count(redis_url: str, sender: str) -> None:
    with terminal(sender, "--url", redis_url, "--count", "5", "--rate", "100") as sending:
        last = sending.ended()
    assert last == "Sent 5 orders; 0 duplicates were not stored again."
    assert sending.count("sent ord-") == 5


@on_valkey
@pytest.mark.parametrize("sender", SENDERS)
def test_ctrl_c_ends_a_sender_with_a_summary(redis_url: str, sender: str) -> None:
    with terminal(sender, "--url", redis_url, "--rate", "50") as sending:
        sending.wait_for("sent ord-", times=3)
        last = sending.ctrl_c()
    assert last.startswith(f"Sent {sending.count('sent ord-')} orders; ")


@on_valkey
@pytest.mark.parametrize("receiver", RECEIVERS)
def test_a_receiver_ends_when_nothing_is_left(redis_url: str, receiver: str) -> None:
    run("send_messages", "--url", redis_url, "--count", "4", "--rate", "100")
    output = run(receiver, "--url", redis_url, "--until-empty", "--work", "0.01")
    assert output.count("received ord-") == 4
    assert output.endswith("Received 4 orders.\n")


@on_valkey
@pytest.mark.parametrize("receiver", RECEIVERS)
def test_a_receiver_ends_at_its_count(redis_url: str, receiver: str) -> None:
    run("async_send_messages", "--url", redis_url, "--count", "4", "--rate", "100")
    output = run(receiver, "--url", redis_url, "--count", "3", "--work", "0.01")
    assert output.endswith("Received 3 orders.\n")
    assert run(receiver, "--url", redis_url, "--until-empty").endswith("Received 1 orders.\n")


@on_valkey
@pytest.mark.parametrize("receiver", RECEIVERS)
def test_ctrl_c_ends_an_idle_receiver(redis_url: str, receiver: str) -> None:
    with terminal(receiver, "--url", redis_url) as receiving:
        receiving.wait_for("Receiving")
        time.sleep(0.5)  # now it waits in Redis
        assert receiving.ctrl_c() == "Received 0 orders."


@on_valkey
@pytest.mark.parametrize("receiver", RECEIVERS)
def test_ctrl_c_ends_a_receiver_after_the_order_in_hand(redis_url: str, receiver: str) -> None:
    run("send_messages", "--url", redis_url, "--count", "12", "--rate", "1000")
    with terminal(receiver, "--url", redis_url, "--work", "0.2") as receiving:
        receiving.wait_for("received ord-", times=2)
        last = receiving.ctrl_c()
    taken = receiving.count("received ord-")
    assert last == f"Received {taken} orders."
    assert 2 <= taken < 12
    # What it had fetched ahead went back at once: the next one need not wait for a lease.
    rest = run(receiver, "--url", redis_url, "--until-empty", "--work", "0")
    assert rest.endswith(f"Received {12 - taken} orders.\n")


def wait_until_empty(redis_url: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    with Queue[Order]("orders", redis_url) as orders:
        while (stats := orders.stats()).ready + stats.delayed + stats.in_flight:
            assert time.monotonic() < deadline, stats
            time.sleep(0.05)


@on_valkey
def test_two_senders_and_three_receivers_in_five_terminals(redis_url: str) -> None:
    with (
        terminal("receive_messages", "--url", redis_url, "--work", "0.01") as first,
        terminal("async_receive_messages", "--url", redis_url, "--work", "0.01") as second,
        terminal("receive_messages", "--url", redis_url, "--work", "0.01") as third,
        terminal("send_messages", "--url", redis_url, "--count", "40", "--rate", "80") as left,
        terminal(
            "async_send_messages", "--url", redis_url, "--count", "40", "--rate", "80"
        ) as right,
    ):
        receivers = (first, second, third)
        left.ended()
        right.ended()
        sent = left.count("sent ord-") + right.count("sent ord-")
        wait_until_empty(redis_url)
        for receiver in receivers:
            receiver.ctrl_c()
    assert sum(receiver.count("received ord-") for receiver in receivers) == sent


def test_without_a_url_the_terminals_share_an_embedded_server(tmp_path: Path) -> None:
    embedded = {"TYPED_RMQ_DATA": str(tmp_path / "data")}
    with terminal("receive_messages", "--count", "4", "--work", "0", **embedded) as receiving:
        receiving.wait_for("Receiving")
        with terminal("async_send_messages", "--count", "4", "--rate", "50", **embedded) as sending:
            sending.process.communicate(timeout=TIMEOUT)
            assert sending.process.returncode == 0
        output, warning = receiving.process.communicate(timeout=TIMEOUT)
    assert receiving.process.returncode == 0
    assert output.endswith("Received 4 orders.\n")
    # The one warning that says where the data is.
    assert warning.count("\n") == 1
    assert str(tmp_path / "data") in warning
    assert processes_of(tmp_path) == []


# ------------------------------------------------------------------ the data and the demo


def test_the_orders_are_as_generated() -> None:
    assert ORDERS.read_text(encoding="utf-8").splitlines() == generate()


@pytest.mark.slow
def test_the_demo_adds_up(tmp_path: Path) -> None:
    output = demo(tmp_path)
    table = parse_table(output)
    assert table["lines read"] == len(generate()) == 3_000
    assert table["lines read"] == table["refused"] + table["duplicates"] + table["published"]
    assert table["published"] == table["processed once"] + table["dead"]
    assert table["refused"] == 60
    assert table["dead"] == table["CUP-PAPER-50 is discontinued"] > 0
    assert table["in the killed worker's hands"] >= 1
    assert table["redelivered after the crash"] == table["in the killed worker's hands"]
    assert table["deliveries in all"] > table["published"]
    assert "worker-3 killed with -9 in the middle of an order" in output
    assert "The sums add up" in output


@pytest.mark.slow
def test_the_demo_on_a_terminal_leaves_nothing_behind(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    shown = bytearray()
    with subprocess.Popen(
        command("demo"),
        cwd=ROOT,
        env=environment(TMPDIR=str(tmp_path), TERM="xterm-256color", COLUMNS="100"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # so a terminal says that nobody writes any more
            while piece := os.read(ours, 65_536):
                shown += piece
        os.close(ours)
        assert process.wait(TIMEOUT) == 0
    text = shown.decode()
    for expected in ("worker-3", "sync, killed with -9", "of 3,000", "The sums add up"):
        assert expected in text
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_sums_that_are_off_end_the_demo_with_an_error() -> None:
    said = StringIO()
    assert conclude(Console(file=said, width=100), ["2 messages are left in the queue"], 8.0) == 1
    assert "do not add up" in said.getvalue()
    assert "  - 2 messages are left in the queue" in said.getvalue()


def test_ctrl_c_ends_the_demo_and_all_its_processes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("demo"),
        cwd=ROOT,
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # the processes are started
    time.sleep(1.5)
    if sys.platform == "linux":
        assert len(processes_of(tmp_path)) >= 5
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert complaints(errors) == ""
    assert "Interrupted" in output
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def demo(folder: Path) -> str:
    finished = subprocess.run(
        command("demo"),
        cwd=ROOT,
        env=environment(TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert complaints(finished.stderr) == ""
    return finished.stdout


def parse_table(output: str) -> dict[str, int]:
    """What the table's first column says, and its number."""
    found = re.findall(r"^ +(\S.*?) {2,}([\d,]+)\s*$", output, re.MULTILINE)
    return {what: int(number.replace(",", "")) for what, number in found}


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder (on Linux; elsewhere none)."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # gone meanwhile
            continue
        if str(folder) in words:
            found.append(words)
    return found
