"""``asyncapi``: the queues of an application as an AsyncAPI document."""

from __future__ import annotations

from typing import Annotated

import typer

from typed_rmq.asyncapi import Role, main

from .common import guarded

__all__ = ["asyncapi"]


@guarded
def asyncapi(
    queues: Annotated[
        list[str],
        typer.Argument(metavar="MODULE[:QUEUE]...", help="All queues of a module, or one of them."),
    ],
    title: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The application's name; the first module's by default.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[str, typer.Option(metavar="TEXT", help="Of its interface.")] = "1.0.0",
    description: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What it does, in Markdown.", show_default=False),
    ] = None,
    role: Annotated[Role, typer.Option(help="What the application does with the queues.")] = "both",
    yaml: Annotated[bool, typer.Option("--yaml", help="As YAML (extra `asyncapi`).")] = False,
) -> int:
    """Print the queues of an application as an AsyncAPI document, with their JSON Schemas."""
    options = ["--version", version, "--role", role]
    if title is not None:
        options += ["--title", title]
    if description is not None:
        options += ["--description", description]
    return main([*options, *(["--yaml"] if yaml else []), "--", *queues])
