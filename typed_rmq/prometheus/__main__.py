"""The exporter: ``python -m typed_rmq.prometheus --redis URL --queue a --queue b --port 9400``.

Exit codes: 0 after SIGINT or SIGTERM, 1 where the port is taken, 2 for wrong options.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from importlib.resources import files
from types import FrameType

from prometheus_client import CollectorRegistry, start_http_server

from .. import Connection, Queue, TypedRMQError
from . import make_collector


def _arguments(argv: list[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="python -m typed_rmq.prometheus",
        description="Serve the state of queues to Prometheus, at /metrics.",
    )
    parser.add_argument(
        "--redis",
        default=os.environ.get("REDIS_URL"),
        metavar="URL",
        help="where Redis is (default: $REDIS_URL, which keeps a password out of `ps`)",
    )
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="a queue to report; give it as often as you have queues",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=9400, help="port to listen on (%(default)s)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="how long a scrape waits for Redis (%(default)s)",
    )
    parser.add_argument(
        "--dashboard", action="store_true", help="print the Grafana dashboard, and end"
    )
    return parser, parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit code."""
    parser, options = _arguments(argv)
    if options.dashboard:
        dashboard = files("typed_rmq.prometheus").joinpath("grafana.json")
        sys.stdout.write(dashboard.read_text("utf-8"))
        return 0
    if not options.redis:
        parser.error("say where Redis is: --redis URL, or REDIS_URL in the environment")
    if not options.queue:
        parser.error("name at least one queue: --queue NAME")
    registry = CollectorRegistry()
    stop = threading.Event()
    try:
        # A question that comes too late for its scrape should not be tried for much longer.
        connection = Connection(options.redis, retry_budget=options.timeout)
        queues = [Queue[object](name, connection, dedup=None) for name in options.queue]
        registry.register(make_collector(queues, timeout=options.timeout))
    except TypedRMQError as error:
        parser.error(str(error))
    try:
        server, thread = start_http_server(options.port, options.host, registry)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1

    def leave(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    host, port = server.server_address[:2]
    sys.stdout.write(f"serving {', '.join(options.queue)} at http://{host!s}:{port}/metrics\n")
    sys.stdout.flush()
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()
    connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
