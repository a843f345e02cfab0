"""``python -m typed_rmq.cli`` is ``typed-rmq``."""

from __future__ import annotations

from typed_rmq.cli import main

if __name__ == "__main__":
    main()
