"""Run the Python blocks of one page, in order, as one program: ``run_page.py PAGE``.

Each block keeps its place in the page, so that a traceback names the page's own line. A block of
expected output is compared with what the Python block above it printed. A handler's exception does
not end a loop, so a mistake in one (a wrong name, a wrong attribute) is looked for in the log.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import types
from pathlib import Path

from tests.docs.pages import blocks

MISTAKES = (NameError, AttributeError, TypeError, ImportError)


class _Mistakes(logging.Handler):
    """Collects the exceptions in the log that no example raises on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MISTAKES):
            self.found.append(error)


def main(page: Path) -> int:
    mistakes = _Mistakes()
    logging.getLogger("typed_rmq").addHandler(mistakes)
    # Pydantic and pickle look names up in sys.modules["__main__"], as they would in a script.
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    printed = ""
    for block in blocks(page.read_text()):
        if block.is_output:
            if block.code.strip() != printed.strip():
                print(f"{page}:{block.line}: the page shows\n{block.code}\nbut this was printed:")
                print(printed)
                return 1
        elif block.language == "python":
            source = "\n" * (block.line - 1) + block.code
            code = compile(source, str(page), "exec", dont_inherit=True)
            if block.not_run is not None:
                continue
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, program.__dict__)
            printed = out.getvalue()
            if mistakes.found:
                raise mistakes.found[0]
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
