"""Run the examples in the docstrings of modules: ``run_doctests.py MODULE...``.

Prints one JSON object: module -> what failed, as text ("" where all passed). The server at
REDIS_URL is emptied before every docstring, so that examples do not see each other's queues.
"""

from __future__ import annotations

import doctest
import importlib
import io
import json
import os
import sys
import traceback

import redis


def failures(name: str, client: redis.Redis) -> str:
    """What failed in the docstrings of one module."""
    try:
        module = importlib.import_module(name)
    except Exception:
        return traceback.format_exc()
    out = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        if test.examples:
            client.flushall()
            runner.run(test, out=out.write)
    return out.getvalue()


if __name__ == "__main__":
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as shared:
        report = {name: failures(name, shared) for name in sys.argv[1:]}
    sys.stdout.write(json.dumps(report))
