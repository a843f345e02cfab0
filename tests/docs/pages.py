"""The fenced blocks of a Markdown page, with the marks that a comment above them sets.

Marks stand alone on the line above a block, blank lines between them allowed::

    <!-- not run: needs two machines -->      the Python block is shown, not run
    <!-- output -->                           the text block is what the Python above it prints
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[A-Za-z]*)[^`]*$")
_MARK = re.compile(r"^<!-- (?:(?P<output>output)|not run: (?P<reason>\S.*)) -->$")
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    ``line`` is the line of the page that holds the block's first line of code, from 1.
    """

    language: str
    code: str
    line: int
    not_run: str | None
    is_output: bool


def pages() -> list[Path]:
    """README.md and every page under docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """All fenced blocks, in order. A fence that is never closed raises ``ValueError``."""
    found: list[Block] = []
    mark: re.Match[str] | None = None
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        if fence := _FENCE.match(line):
            indent, closing = fence["indent"], fence["indent"] + "```"
            code: list[str] = []
            for _, inner in lines:
                if inner.rstrip() == closing:
                    break
                code.append(inner.removeprefix(indent))
            else:
                raise ValueError(f"the fence in line {number} is not closed")
            found.append(
                Block(
                    language=fence["language"],
                    code="\n".join(code) + "\n",
                    line=number + 1,
                    not_run=mark["reason"] if mark else None,
                    is_output=bool(mark and mark["output"]),
                )
            )
            mark = None
        elif line.strip():
            mark = _MARK.match(line.strip())
    return found


def make_targets(text: str) -> set[str]:
    """The targets of ``make`` that the console blocks of a page use."""
    return {
        target
        for block in blocks(text)
        if block.language in {"console", "bash", "sh"}
        for target in _MAKE.findall(block.code)
    }
