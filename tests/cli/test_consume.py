"""consume: real worker processes, killed, frozen, told to end, and started anew."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time

import psutil
import pytest

from tests.cli.conftest import Shell, until
from tests.cli.models import Order
from typed_rmq import Queue

WORK = ("--queue", "tests.cli.app:orders", "--log-level", "error")


def publish(shell: Shell, *orders: Order) -> None:
    with Queue[Order]("orders", shell.url, dedup=None) as queue:
        queue.publish_many(orders)


class Running:
    """A supervisor in the background, and what it says."""

    def __init__(self, shell: Shell, *arguments: str, handler: str = "ship") -> None:
        self.shell = shell
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] = shell.start(
            "consume", "--handler", f"tests.cli.app:{handler}", *WORK, *arguments
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(line.rstrip() for line in self.process.stderr)

    def said(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until it has said this so often."""

        def found() -> list[str]:
            return [line for line in self.lines if re.search(pattern, line)]

        until(lambda: len(found()) >= times, f"{pattern} x {times} in {self.lines}")
        return found()

    def pids(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(60)
        self._reader.join()
        return code


@pytest.mark.slow
def test_it_works_a_queue_until_it_is_empty(shell: Shell) -> None:
    publish(shell, *(Order(order_id=n) for n in range(50)))
    for handler in ("ship", "aship"):
        running = Running(shell, "-p", "2", "-c", "4", "--until-empty", handler=handler)
        assert running.wait() == 0
        running.said(r"worker \d .* is done", 2)
        assert len(set(shell.journal_lines("shipped"))) == 50
        publish(shell, *(Order(order_id=n) for n in range(50)))


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_its_message_is_shipped(shell: Shell) -> None:
    publish(shell, Order(order_id=1, sku="hang"))
    running = Running(shell, "-p", "2", handler="hang_once")
    running.said("started", 2)
    victim = int(until(lambda: shell.journal_lines("hangs"))[0].split()[1])
    assert victim in running.pids()
    os.kill(victim, signal.SIGKILL)
    running.said(rf"pid {victim}\) was killed by SIGKILL; starting it again now")
    running.said("started", 3)
    shipped = until(lambda: shell.journal_lines("shipped 1"))
    assert int(shipped[0].split()[2]) != victim
    until(lambda: len(running.pids()) == 2)
    assert running.end() == 0


@pytest.mark.slow
def test_one_that_crashes_again_and_again_is_started_ever_later(shell: Shell) -> None:
    publish(shell, *(Order(order_id=n, sku="exit") for n in range(5)))
    running = Running(shell)
    running.said("exit code 9; starting it again now")
    running.said("exit code 9; starting it again in 1 s")
    assert running.end() == 0


@pytest.mark.slow
def test_sigterm_finishes_the_message_in_hand(shell: Shell) -> None:
    publish(shell, *(Order(order_id=n, sku="slow") for n in range(20)))
    running = Running(shell, "-p", "2")
    until(lambda: len(shell.journal_lines("started")) >= 2)
    assert running.end() == 0
    started = {line.split()[1] for line in shell.journal_lines("started")}
    assert {line.split()[1] for line in shell.journal_lines("shipped")} == started
    with Queue[Order]("orders", shell.url) as queue:
        stats = queue.stats()
    assert (stats.ready, stats.in_flight, stats.failed) == (20 - len(started), 0, 0)


@pytest.mark.slow
def test_a_second_signal_interrupts_and_a_hanging_worker_is_killed_after_the_grace(
    shell: Shell,
) -> None:
    publish(shell, Order(order_id=1, sku="hang"))
    running = Running(shell)
    until(lambda: shell.journal_lines("hangs"))
    running.process.send_signal(signal.SIGINT)
    running.said("once more to interrupt")
    assert running.end(signal.SIGINT) == 0
    with Queue[Order]("orders", shell.url) as queue:
        stats = queue.stats()
        assert (stats.ready, stats.in_flight, stats.released) == (1, 0, 1)
        until(lambda: queue.stats().ready == 1)
    running = Running(shell, "--grace", "0.5")
    until(lambda: len(shell.journal_lines("hangs")) == 2)
    assert running.end() == 1
    running.said("killing 1 workers")


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_ends_it_and_leaves_no_process(shell: Shell) -> None:
    screen = shell.screen("consume", "--handler", "tests.cli.app:ship", *WORK, "-p", "2")
    screen.shows(r"worker 2 \(pid \d+\) started")
    publish(shell, Order(order_id=1))
    until(lambda: shell.journal_lines("shipped"))
    children = psutil.Process(screen.process.pid).children(recursive=True)
    screen.type("\x03")
    assert screen.ends() == 0
    assert psutil.wait_procs(children, timeout=30)[1] == []


@pytest.mark.slow
def test_workers_end_when_their_supervisor_is_killed(shell: Shell) -> None:
    running = Running(shell, "-p", "2")
    publish(shell, Order(order_id=1))
    until(lambda: shell.journal_lines("shipped"))
    workers = [psutil.Process(pid) for pid in running.pids()]
    running.process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert (len(gone), alive) == (2, [])
    running.wait()
    with Queue[Order]("orders", shell.url) as queue:
        assert queue.stats().consumers == 0, "they said goodbye"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--handler", "tests.cli.app:nothing", *WORK), "has no 'nothing'"),
        (("--handler", "tests.cli.models:__doc__", *WORK), "cannot be called"),
        (("--handler", "tests.cli.app:ship", "--queue", "tests.cli.app:ship"), "is no Queue"),
        (("--handler", "broken:ship", *WORK), r"importing broken failed: NameError.*broken\.py"),
    ],
)
@pytest.mark.slow
def test_what_is_configured_wrongly_ends_it_at_once(
    shell: Shell, arguments: tuple[str, ...], says: str
) -> None:
    (shell.folder / "broken.py").write_text("x = 1\nship = nowhere\n")
    done = shell.process("consume", *arguments)
    assert done.code == 2
    assert re.search(says, done.err)
    assert "starting it again" not in done.err


@pytest.mark.slow
def test_reload_starts_anew_when_a_file_changes(shell: Shell) -> None:
    module = shell.folder / "jobs.py"

    def write(text: str) -> None:
        module.write_text(f"from tests.cli.app import note\n\n\ndef ship(order):\n    {text}\n")

    write("note(f'old {order.order_id}')")
    process = shell.start("consume", "--handler", "jobs:ship", *WORK, "--reload")
    publish(shell, Order(order_id=1))
    until(lambda: shell.journal_lines("old 1"))
    write("this is no Python")
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
    reader.start()
    until(lambda: any("waiting for a change" in line for line in lines))
    write("note(f'new {order.order_id}')")
    publish(shell, Order(order_id=2))
    until(lambda: shell.journal_lines("new 2"))
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    reader.join()
    assert any("jobs.py has changed" in line for line in lines)
