"""Record the terminal pictures of the documentation: ``make docs-media``.

Real commands on a real server, on a terminal of 100 columns; what they printed becomes an SVG. Ids
and times differ from run to run, nothing else does. A picture that would show a path of this
machine shows one of an imagined one.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
MEDIA = ROOT / "docs" / "media"
COLUMNS = 100
WIDE = 132
"""Of the live screen, which has room for sparklines then."""
PATIENCE = 120.0

APP = {
    "app/__init__.py": "",
    "app/models.py": """\
from pydantic import BaseModel


class Order(BaseModel):
    order_id: int
    sku: str
""",
    "app/queues.py": """\
from typed_rmq import Queue, Retry

from app.models import Order

orders = Queue[Order]("orders", retry=Retry(max_attempts=2, backoff=0), keep_done=1000)
""",
    "app/jobs.py": """\
import time

from app.models import Order


def ship(order: Order) -> None:
    time.sleep(0.004)
    if order.sku == "X-9":
        raise LookupError("no article X-9 in the warehouse")
""",
}


class Terminal:
    """Commands on a terminal, one after the other."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "REDIS_URL": url,
            "TZ": "UTC",
        }

    def _start(
        self, command: Sequence[str], rows: int, columns: int = COLUMNS
    ) -> tuple[subprocess.Popen[bytes], int]:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=self.folder, env=self.env,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        return process, master

    def run(self, *command: str) -> str:
        """Run to the end; what is on the terminal then, with its colours."""
        process, master = self._start(command, 60)
        raw = b"".join(_until_closed(master))
        process.wait(PATIENCE)
        return raw.decode()

    def screen(
        self, *command: str, rows: int, ready: Callable[[str], bool], settle: float = 0.0
    ) -> Text:
        """Run until ``ready`` and ``settle`` seconds more; the screen as it is then."""
        screen = pyte.Screen(WIDE, rows)
        stream = pyte.ByteStream(screen)
        process, master = self._start(command, rows, WIDE)
        deadline, end = time.monotonic() + PATIENCE, None
        while end is None or time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                stream.feed(os.read(master, 65536))
            if end is None and ready("\n".join(screen.display)):
                end = time.monotonic() + settle
            if time.monotonic() > deadline:
                raise TimeoutError("\n".join(screen.display))
        shot = _shot(screen)
        process.send_signal(signal.SIGINT)
        for _ in _until_closed(master):
            pass
        process.wait(PATIENCE)
        return shot


def _until_closed(master: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := os.read(master, 65536):
            yield data
    os.close(master)


def _shot(screen: pyte.Screen) -> Text:
    lines: list[Text] = []
    for row in range(screen.lines):
        line = Text()
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            style = " ".join(
                part
                for part in ("bold" if cell.bold else "", "" if cell.fg == "default" else cell.fg)
                if part
            )
            line.append(cell.data, style or None)
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return Text("\n").join(lines)


def save(name: str, title: str, parts: Sequence[Text], width: int = COLUMNS) -> None:
    """Write one picture."""
    console = Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    for part in parts:
        console.print(part, soft_wrap=False, overflow="fold")
    MEDIA.mkdir(exist_ok=True)
    svg = console.export_svg(title=title, unique_id=name)
    # Its fonts would be fetched from elsewhere: the viewer's own monospaced one does as well.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (MEDIA / f"{name}.svg").write_text(
        "\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8"
    )


def session(terminal: Terminal, commands: Sequence[Sequence[str] | str]) -> list[Text]:
    """Commands with what they print, as in a shell; a string is one for a shell."""
    parts: list[Text] = []
    for command in commands:
        words = ("sh", "-c", command) if isinstance(command, str) else command
        typed = command if isinstance(command, str) else " ".join(command)
        prompt = Text.assemble(("$ ", "green"), (typed, "bold"))
        said = terminal.run(*words).replace("\r\n", "\n")
        said = said.replace(str(terminal.folder), "/srv/shop")
        said = said.replace(f"{ROOT}/typed_rmq", "/srv/venv/typed_rmq").rstrip("\n")
        parts += [prompt, Text.from_ansi(said), Text()]
    return parts[:-1]


def main() -> None:
    """Record all pictures."""
    from tests.servers import available, free_port, start

    kind = next(kind for kind, missing in available().items() if not missing)
    with tempfile.TemporaryDirectory() as folder, start(kind, port=free_port()) as server:
        terminal = Terminal(Path(folder), server.url)
        for name, text in APP.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        lines = [
            f'{{"order_id": {n}, "sku": "{"X-9" if n % 400 == 7 else "A-1"}"}}' for n in range(1500)
        ]
        lines[700] = '{"order_id": "seven hundred", "sku": "A-1"}'
        (Path(folder) / "orders.ndjson").write_text("\n".join([*lines, *lines[:20]]) + "\n")
        rmq, model = "typed-rmq", ("--model", "app.models:Order")
        save(
            "cli-publish",
            "publish a file",
            session(
                terminal,
                [
                    (rmq, "publish", "orders", "orders.ndjson", *model),
                    ("cat", "orders.ndjson.refused"),
                    (rmq, "publish", "orders", "orders.ndjson", *model),
                    (rmq, "stats"),
                    (rmq, "peek", "orders", "-n", "2", "--show-payloads"),
                ],
            ),
        )
        worker = subprocess.Popen(
            [rmq, "consume", "--handler", "app.jobs:ship", "--queue", "app.queues:orders"],
            cwd=folder, env=terminal.env, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            shot = terminal.screen(
                rmq, "stats", "--watch", "--interval", "0.25",
                rows=8, ready=lambda text: " 0.0 s " not in text and "orders" in text, settle=6,
            )  # fmt: skip
            save("cli-watch", "typed-rmq stats --watch", [shot], WIDE)
            _until_worked(terminal)
        finally:
            worker.terminate()
            worker.wait(PATIENCE)
        letter = terminal.run(rmq, "dead", "list", "orders", "-n", "1", "--json")
        letter_id = letter.split('"id":"')[1].split('"')[0]
        save(
            "cli-dead",
            "dead letters",
            session(
                terminal,
                [
                    (rmq, "dead", "list", "orders"),
                    (rmq, "dead", "show", "orders", letter_id, "--show-payloads"),
                    (rmq, "dead", "redrive", "orders", letter_id),
                ],
            ),
        )

        _metrics(terminal)
        _tests(terminal)


def _metrics(terminal: Terminal) -> None:
    """The exporter at work, and what is read from it."""
    exporter = subprocess.Popen(
        [sys.executable, "-m", "typed_rmq.prometheus", "--queue", "orders", "--port", "9400"],
        cwd=terminal.folder, env=terminal.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert exporter.stdout is not None
        exporter.stdout.readline()  # it listens
        page = "curl -s http://127.0.0.1:9400/metrics"
        save("metrics", "metrics", session(terminal, [f"{page} | grep -v '^#' | grep -v _created"]))
    finally:
        exporter.terminate()
        exporter.wait(PATIENCE)
        exporter.stdout.close()


def _tests(terminal: Terminal) -> None:
    """The first tests of docs/testing.md."""
    from tests.docs.pages import blocks

    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    code = next(block.code for block in blocks(page) if block.language == "python")
    (terminal.folder / "test_shop.py").write_text(code, "utf-8")
    # The plugins of our own environment stay out of the picture.
    options = "-q -p no:cacheprovider -p no:asyncio --durations=3"
    (terminal.folder / "pytest.ini").write_text(f"[pytest]\naddopts = {options}\n", "utf-8")
    save("tests", "tests on a real Redis", session(terminal, [("pytest", "test_shop.py")]))


def _until_worked(terminal: Terminal) -> None:
    deadline = time.monotonic() + PATIENCE
    while '"ready":0,"delayed":0,"in_flight":0' not in terminal.run("typed-rmq", "stats", "--json"):
        if time.monotonic() > deadline:
            raise TimeoutError("the queue is not worked")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
