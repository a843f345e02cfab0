"""Write the tables of options in docs/command-line.md from what ``--help`` shows.

``--check`` only compares: exit code 1 where they differ. The text around the tables is by hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from typed_rmq.cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "command-line.md"
BLOCK = re.compile(
    r"(<!-- options: (?P<path>[a-z ]+) -->\n).*?(<!-- end of options -->)", re.DOTALL
)


def find(path: str) -> Any:
    """The command of these words."""
    command: Any = typer.main.get_command(app)
    for word in path.split():
        command = command.commands[word]
    return command


def table(path: str) -> str:
    """The arguments and options of a command."""
    rows = ["", "| Argument or option | Meaning |", "|---|---|"]
    for parameter in find(path).params:
        if "--help" in parameter.opts:
            continue
        if parameter.param_type_name == "argument":
            name = f"`{parameter.metavar}`"
        else:
            short = [opt for opt in parameter.opts if not opt.startswith("--")]
            name = ", ".join(f"`{opt}`" for opt in (*short, *_long(parameter)))
        text = (parameter.help or "").replace("|", "\\|")
        rows.append(f"| {name} | {text}{_default(parameter)} |")
    return "\n".join([*rows, "", ""])


def _long(parameter: Any) -> list[str]:
    names = [opt for opt in parameter.opts if opt.startswith("--")]
    if parameter.is_flag:
        return names
    value = parameter.metavar or _choices(parameter) or "N"
    return [f"{name} {value}" for name in names]


def _choices(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return "\\|".join(get_args(annotation))
    return "TEXT" if annotation is str else ""


def _default(parameter: Any) -> str:
    if parameter.param_type_name == "argument" or parameter.required or parameter.is_flag:
        return " Required." if parameter.required and parameter.opts[0].startswith("-") else ""
    if parameter.default is None or not parameter.show_default:
        return ""
    return f" Default: `{parameter.default}`."


def written(text: str) -> str:
    """The page with the tables as they are to be."""
    return BLOCK.sub(lambda match: match[1] + table(match["path"]) + match[3], text)


def main() -> int:
    """Write, or compare; the exit code."""
    text = PAGE.read_text(encoding="utf-8")
    new = written(text)
    if "--check" in sys.argv:
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
