"""The commands, put together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from typed_rmq import __version__

from . import check, consume, dashboard, dead, demo, embedded, publish, schema, stats, steer, tail
from .common import ExitCode
from .output import say, write_line

__all__ = ["app", "run"]

app: typer.Typer = typer.Typer(
    name="typed-rmq",
    help="Look at, fill, work, and repair the queues of typed_rmq.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part or not found, 4 Redis "
    "does not answer, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


def _version(value: bool) -> None:
    if value:
        write_line(f"typed-rmq {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Look at, fill, work, and repair the queues of typed_rmq."""


app.command("stats")(stats.stats)
app.command("peek")(stats.peek)
app.command("tail")(tail.tail)
app.command("publish")(publish.publish)
app.command("consume")(consume.consume)
app.add_typer(dead.app)
app.command("doctor")(check.doctor)
app.command("audit")(check.audit)
app.command("pause")(steer.pause)
app.command("resume")(steer.resume)
app.command("purge")(steer.purge)
app.command("dashboard")(dashboard.dashboard)
app.command("asyncapi")(schema.asyncapi)
app.add_typer(embedded.app)
app.command("demo")(demo.demo)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. What is wrong with its usage is said in one line."""
    command = typer.main.get_command(app)
    if os.environ.get("_TYPED_RMQ_COMPLETE"):  # a shell asks what may come next
        command(args=list(arguments), prog_name="typed-rmq")
    try:
        code: object = command.main(
            args=list(arguments), prog_name="typed-rmq", standalone_mode=False
        )
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except Exception as error:
        # Typer's usage errors: their class is not public, what they can do is.
        message: object = getattr(error, "format_message", lambda: None)()
        if not isinstance(message, str):
            raise
        if not message:  # "no arguments: here is the help", which has been shown
            return ExitCode.USAGE
        context: object = getattr(error, "ctx", None)
        path = getattr(context, "command_path", "typed-rmq")
        say(f"{message} See: {path} --help")
        return int(getattr(error, "exit_code", ExitCode.USAGE))
    finally:
        _flush()
    return code if isinstance(code, int) else ExitCode.DONE


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
