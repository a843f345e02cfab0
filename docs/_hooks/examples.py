"""A griffe extension: docstrings say ``Example:``, griffe's section is called ``Examples:``.

Without it the doctests of a docstring would be read as Markdown.
"""

# mkdocstrings loads this file by its path: it is no module of a package.
# ruff: noqa: INP001

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Renames the section before the docstring is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, and function."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
