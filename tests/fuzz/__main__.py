"""A bounded run of the fuzz target by Atheris: ``python -m tests.fuzz [--seconds 20]``.

New inputs go to a folder of its own. What fails is written to ``crash-...`` in the working folder,
and belongs into the corpus.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["typed_rmq.wire", "typed_rmq.serializers"]):
    from tests.fuzz.target import one_input

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=20)
    seconds = parser.parse_args().seconds
    corpus = Path(__file__).with_name("corpus")
    with tempfile.TemporaryDirectory() as found:
        bounds = [f"-max_total_time={seconds}", "-max_len=8192", "-timeout=20"]
        atheris.Setup([sys.argv[0], *bounds, found, str(corpus)], one_input)
        atheris.Fuzz()
