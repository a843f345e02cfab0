"""The commands and their options, as Typer sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from typed_rmq.cli.app import app


def commands() -> list[tuple[tuple[str, ...], Any]]:
    """Each command's words and the command itself; groups are left out."""

    def walk(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path, command
            return
        for name, child in children.items():
            yield from walk((*path, name), child)

    return list(walk((), typer.main.get_command(app)))


def options(command: Any) -> dict[str, str]:
    """Each long option of a command, with its help."""
    found: dict[str, str] = {}
    for parameter in command.params:
        for name in parameter.opts:
            if name.startswith("--") and name != "--help":
                found[name] = parameter.help or ""
    return found
